"""How long a score is worth something: forward returns over other horizons, and scores acted on late."""

import numpy as np
import pandas as pd

from tasks.domain import metrics
from tasks.domain.accuracy import Figures, Lockbox
from tasks.domain.analysis.stretches import FEWEST
from tasks.domain.labels import forward_return
from tasks.domain.lockbox.stability import mean_and_error

HORIZONS = (1, 2, 5, 10, 21, 63)  # sessions
DELAYS = (0, 1, 2, 5)
WIDE = 1.96  # standard errors to each end of a normal 95 % interval


def horizons(box: Lockbox, close: pd.DataFrame, horizon: int) -> pd.DataFrame:
    """Mean rank IC against returns over each horizon, the model's own among them.

    Args:
        close: sessions × instruments, to the end of the lockbox.

    Returns:
        `horizon`, `sessions`, `rank_ic`, `standard_error` (labels of so many sessions overlap), `lower`, `upper` (95 %,
        normal). Horizons that fewer than 20 sessions have a label for are left out.
    """
    lines = []
    for ahead in sorted({*HORIZONS, horizon}):
        series = metrics.rank_ic_series(box.scores, forward_return(close, ahead).loc[box.scores.index])
        lines.append((ahead, len(series), *mean_and_error(series, box.scores.index, ahead)))
    return described(lines, "horizon")


def delays(box: Lockbox, horizon: int) -> pd.DataFrame:
    """Mean rank IC of scores so many sessions old against the returns from now on; columns as in `horizons`, with
    `sessions_late` in place of the horizon."""
    lines = []
    for late in DELAYS:
        series = metrics.rank_ic_series(box.scores.shift(late), box.labels)
        lines.append((late, len(series), *mean_and_error(series, box.scores.index, horizon)))
    return described(lines, "sessions_late")


def described(lines: list[tuple[int, int, float, float]], first: str) -> pd.DataFrame:
    found = pd.DataFrame(lines, columns=[first, "sessions", "rank_ic", "standard_error"])
    found["lower"] = found["rank_ic"] - WIDE * found["standard_error"]
    found["upper"] = found["rank_ic"] + WIDE * found["standard_error"]
    return found[found["sessions"] >= FEWEST].reset_index(drop=True)


def figures(by_horizon: pd.DataFrame, late: pd.DataFrame) -> Figures:
    told: Figures = {
        f"lockbox.rank_ic_horizon_{int(ahead)}": float(value) for ahead, value in pairs(by_horizon, "horizon")
    }
    return told | {
        f"lockbox.rank_ic_late_{int(count)}": float(value) for count, value in pairs(late, "sessions_late") if count
    }


def pairs(found: pd.DataFrame, first: str) -> np.ndarray:
    return found[[first, "rank_ic"]].to_numpy(dtype=float)
