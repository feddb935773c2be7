"""Every yardstick of a case: figures, tables for the report, and pictures."""

import math
from typing import Any

import numpy as np
import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks import plots_validation
from tasks.cases import Case
from tasks.domain.accuracy import Figures
from tasks.domain.bars import wide
from tasks.domain.lockbox import decay, known_factors, stability, yardsticks
from tasks.home import write_whole
from tasks.recording import Record

Tables = dict[str, Any]


@task(cache_policy=NO_CACHE)
def mark(case: Case, record: Record) -> tuple[Figures, Tables]:
    """Accuracy with intervals, its stability and decay, and what known factors leave of it.

    Pictures go into the record's folder; figures and tables are for the report.
    """
    box, problem = case.lockbox, case.problem
    close, volume = wide(case.bars, "close"), traded_volume(case.bars)
    marks = yardsticks.table(box, problem.horizon, problem.strategy.long_fraction, problem.label, problem.seed)
    by_state = stability.table(box, close, volume, problem.strategy.sectors, problem.horizon)
    by_horizon, late = decay.horizons(box, close, problem.horizon), decay.delays(box, problem.horizon)
    left = known_factors.regress(box.scores, known_factors.factors(close, box.scores.index))
    beyond = known_factors.figures(box, left, problem.horizon, problem.seed)
    pictures = {
        "yardsticks.png": plots_validation.yardsticks(marks),
        "rank_ic_by_state.png": plots_validation.by_state(by_state),
        "rank_ic_decay.png": plots_validation.decay(by_horizon, late, problem.horizon),
    }
    for name, picture in pictures.items():
        write_whole(record.folder / name, picture)
    figures = yardsticks.figures(marks) | stability.figures(box, by_state, problem.horizon)
    tables = {
        "yardsticks": {name: plain(line) for name, line in marks.to_dict("index").items()},
        "rank_ic_by_state": records(by_state),
        "rank_ic_by_horizon": records(by_horizon),
        "rank_ic_when_late": records(late),
        "known_factors": plain({name.removeprefix("lockbox."): value for name, value in beyond.items()})
        | {"sessions": len(left.r_squared)},
    }
    return figures | decay.figures(by_horizon, late) | beyond, tables


def traded_volume(bars: pd.DataFrame) -> pd.DataFrame | None:
    """Volumes, sessions × instruments; None where none is known."""
    known = "volume" in bars and bars["volume"].notna().any()
    return wide(bars, "volume") if known else None


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A table's rows for JSON."""
    return [plain(row) for row in table.to_dict("records")]


def plain(row: Any) -> dict[str, Any]:
    """Values as JSON knows them; what could not be computed is null."""
    values = {str(name): value.item() if isinstance(value, np.generic) else value for name, value in row.items()}
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()
    }
