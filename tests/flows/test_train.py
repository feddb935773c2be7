"""The train stage on a small market: Alpha158 beside a feature of the user's own, a search that is killed half way, a
model that says the same in a fresh process."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd

from tests.flows.test_kill import running, wait_for
from tests.support.command import Countersign, kill_group
from tests.support.market import market

OWN = """
def overnight(bars, history=1):
    return bars["open"] / bars["close"].groupby(bars["instrument"]).shift(1) - 1
"""
AHEAD = """
def tomorrow(bars, history=0):
    return bars["close"].groupby(bars["instrument"]).shift(-1) / bars["close"] - 1
"""
BUDGET = 8
FAMILIES = [
    {"family": "tree", "max_depth": [2, 3]},
    {
        "family": "lightgbm",
        "num_leaves": {"low": 3, "high": 31, "log": True},
        "num_rounds": 20,
        "learning_rate": {"low": 0.01, "high": 0.2, "log": True},
        "trials": BUDGET,
    },
]
SCORE = """
import sys, mlflow, pandas as pd
bars = pd.read_parquet(sys.argv[2]).rename(columns={"date": "timestamp", "symbol": "instrument"})
bars["timestamp"] = bars["timestamp"].astype("datetime64[us]")
model = mlflow.pyfunc.load_model(sys.argv[1])
whole = model.predict(bars)
last = model.predict(bars, params={"since": str(bars["timestamp"].max().date())})
gap = (last.merge(whole, on=["timestamp", "instrument"]).eval("score_x - score_y").abs()).max()
print(len(whole), len(last), gap, "tasks" in sys.modules)
"""


def with_volume(path: Path) -> None:
    """Give a market's bars volumes that change, or much of Alpha158 would say nothing."""
    bars = pd.read_parquet(path)
    volume = np.exp(13 + 0.5 * np.random.default_rng(5).normal(size=len(bars)))
    bars.assign(volume=volume.round()).to_parquet(path)


def trials(home: Path) -> list[tuple[str, int, str]]:
    """Ended trials as MLflow holds them: key, number, parent."""
    query = (
        "select k.value, cast(n.value as integer), t.value from runs r join params k using (run_uuid) "
        "join params n using (run_uuid) join tags t using (run_uuid) where k.key = 'trial_key' and n.key = 'number' "
        "and t.key = 'mlflow.parentRunId' and r.status = 'FINISHED' order by 2"
    )
    with closing(sqlite3.connect(f"file:{home / 'mlflow.db'}?mode=ro", uri=True)) as connection:
        return list(connection.execute(query))


def ended(home: Path) -> int:
    try:
        return len(trials(home))
    except sqlite3.OperationalError:  # the tables are being made
        return 0


def test_a_killed_search_goes_on_and_its_model_stands_alone(tmp_path: Path, prefect: str) -> None:
    (tmp_path / "own.py").write_text(OWN)
    fields = {"features": ["alpha158", "overnight"], "feature_file": str(tmp_path / "own.py"), "families": FAMILIES}
    problem = market(tmp_path, "searched", signal=0.0, **fields)
    with_volume(tmp_path / "searched.parquet")
    countersign = Countersign(tmp_path / "state", prefect)
    process = countersign.start("retrain", problem)
    wait_for(lambda: running(countersign.home, "train") and ended(countersign.home) >= 4, process, seconds=240)
    kill_group(process)
    before = trials(countersign.home)
    assert 4 <= len(before) < 2 + BUDGET, "it was killed in the middle"

    result = countersign.json("retrain", problem)
    after = trials(countersign.home)
    assert [number for _, number, _ in after] == list(range(2 + BUDGET)), "none lost"
    assert len({key for key, _, _ in after}) == len(after), "none twice"
    assert [key for key, _, _ in after][: len(before)] == [key for key, _, _ in before]
    assert len({parent for _, _, parent in after}) == 1, "all below the run that ended the search"

    [run] = {parent for _, _, parent in after}
    folder = countersign.home / "artifacts" / "searched" / "train" / run / "artifacts"
    told = json.loads((folder / "trials.json").read_text())
    assert len(told["trials"]) == 2 + BUDGET
    card = (folder / "model_card.html").read_text()
    assert "http" not in card.replace("http-equiv", "")
    assert told["trials"][told["chosen"]]["family"] in card
    assert (folder / "complexity.png").stat().st_size > 0

    model = next((countersign.home / "artifacts").rglob("MLmodel")).parent
    assert (model / "artifacts" / "own.py").read_text() == OWN
    command = [sys.executable, "-P", "-W", "ignore", "-c", SCORE, str(model), str(tmp_path / "searched.parquet")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    scored, newest, gap, imported = done.stdout.split()
    assert (int(scored), int(newest), imported) == ((1500 - 60) * 24, 24, "False")
    assert float(gap) <= 1e-12
    assert result["trained"]["model"] == "searched/1"


def test_a_feature_that_looks_ahead_is_refused_before_any_trial(tmp_path: Path, prefect: str) -> None:
    (tmp_path / "own.py").write_text(AHEAD)
    fields = {"features": ["price_only", "tomorrow"], "feature_file": str(tmp_path / "own.py")}
    problem = market(tmp_path, "ahead", signal=0.0, **fields)
    countersign = Countersign(tmp_path / "state", prefect)
    said = countersign("retrain", problem, code=2)
    assert "tomorrow looks into the future" in said
    assert "Traceback" not in said
    assert ended(countersign.home) == 0
