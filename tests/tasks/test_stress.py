"""The stage as a whole: every figure that the shipped gates ask of it, words for people, and the same again."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tasks import stress
from tasks.candidates import Candidate
from tasks.cases import Case, on_lockbox
from tasks.clock import Clock
from tasks.configuration import load_policy, load_problem, load_scenarios
from tasks.domain import gates, probes
from tasks.domain.bars import wide
from tasks.home import as_json
from tests.support.market import bars as market_bars
from tests.support.market import canonical

TRIALS = {
    "chosen": 1,
    "trials": [
        {"family": "ridge", "train.rank_ic": 0.02, "train.rank_ic_standard_error": 0.01, "pruned": False},
        {"family": "lightgbm", "train.rank_ic": 0.025, "train.rank_ic_standard_error": 0.01, "pruned": False},
    ],
}


class Trained(Candidate):
    """A candidate of which only the trials are signed."""

    def file(self, stage: str, name: str) -> bytes:
        return json.dumps(TRIALS).encode()


class Folder:
    """As much of a record as the stage needs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder


def score(bars: pd.DataFrame, since: pd.Timestamp | None = None) -> pd.DataFrame:
    close = wide(bars, "close")
    return -np.log(close.ffill(limit=5)).diff(5).where(close.notna()).iloc[5:]


def peeking(bars: pd.DataFrame, since: pd.Timestamp | None = None) -> pd.DataFrame:
    return wide(bars, "close").ffill().pct_change(fill_method=None).shift(-1)


def case(model: Any) -> Case:
    made = market_bars(0.0, names=10, sessions=400).rename(columns={"date": "timestamp", "symbol": "instrument"})
    bars, problem = canonical(made), load_problem("sp500_alpha")
    start = bars["timestamp"].unique()[300]
    scores = model(bars)
    box = on_lockbox(scores, bars, problem.horizon, start)
    return Case(Trained("x", 1, "x"), problem, bars, start, model, [], scores, box, {})


def probed(asked: Case) -> dict[str, probes.Finding]:
    return probes.every(asked.score, asked.bars, asked.scores, pd.DatetimeIndex(asked.lockbox.scores.index), 7)


def test_every_figure_that_gates_ask_of_it_is_there_and_the_same_again(tmp_path: Path) -> None:
    asked = case(score)
    clocks = Clock(), Clock()
    first, second = (stress.stress.fn(asked, probed(asked), clock, Folder(tmp_path)) for clock in clocks)
    figures = first.figures | probes.figures(first.findings)
    policy = load_policy("alpha-v1")
    wanted = {gate.figure for gate in policy.gates if gate.figure.startswith(("scenario.", "robustness.", "probe."))}
    assert wanted - set(figures) == {"probe.rescaling_share"}
    of_stage = [gate for gate in policy.gates if gate.figure in wanted & set(figures)]
    found = {finding.figure: finding for finding in gates.decide(policy, figures).findings}
    refused = [gate.figure for gate in of_stage if gate.severity == "block" and found[gate.figure].outcome == "fail"]
    assert refused == []

    assert set(clocks[0].seconds) >= {"probe.missing_names", "scenario.bad_tick", "robustness.surrogate"}
    assert clocks[0].seconds.keys() == clocks[1].seconds.keys()
    assert as_json([first.told, first.figures]) == as_json([second.told, second.figures])
    assert set(first.told["scenarios"]) == {each.name for each in load_scenarios("alpha").scenarios}
    assert "fell over the last week" in first.told["robustness"]["in_words"]
    assert first.told["robustness"]["complexity"].startswith("lightgbm gains +0.0050 rank IC over ridge")
    assert figures["robustness.complexity_justified"] == 0.0
    assert len(json.loads((tmp_path / stress.LIBRARY).read_bytes())["scenarios"]) == len(first.told["scenarios"])
    assert (tmp_path / stress.PICTURE).read_bytes().startswith(b"\x89PNG")


def test_a_mute_model_gets_no_figures_and_so_no_pass(tmp_path: Path) -> None:
    asked = case(score)
    mute = asked._replace(scores=asked.scores * np.nan)
    told = stress.stress.fn(mute, {}, Clock(), Folder(tmp_path))
    assert told.figures == {}
    assert "too few sessions" in told.told["robustness"]["in_words"]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_a_peeking_model_looks_at_stands_in_the_report(tmp_path: Path) -> None:
    asked = case(peeking)
    told = stress.stress.fn(asked, probed(asked), Clock(), Folder(tmp_path)).told["probes"]
    for name in ("truncation", "perturbation", "extra_rows"):
        assert "it rests on the close of N00, the first time on that of 20" in told[name]
    assert told["repetition"] == "scores are the same"
