"""The way to yes and the way to no, through the command line, on markets with and without a planted signal."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.flows.conftest import History, approve
from tests.support.command import Countersign


def test_planted_signal_is_accepted_and_goes_to_shadow(history: History) -> None:
    verdict = history.first["verdict"]
    assert verdict["accepted"], verdict["summary"]
    assert verdict["live"] == "planted.live/1"


def test_every_stage_is_recorded_below_its_retrain_though_no_server_was_running(history: History) -> None:
    with sqlite3.connect(history.countersign.home / "prefect" / "prefect.db") as database:
        flows = database.execute("select state_type, parent_task_run_id from flow_run").fetchall()
        tasks = database.execute("select name, state_type from task_run").fetchall()
    assert sorted(parent is None for _, parent in flows) == [False] * 5 + [True]
    assert {state for state, _ in flows} == {"COMPLETED"}
    assert {state for _, state in tasks} == {"COMPLETED"}
    stages = {"collect", "train", "validate", "backtest", "promote"}
    inside = {"deliver", "check", "cleanse_bars", "store", "search", "open_case", "probe", "run_engines", "judge"}
    seen = {name for name, _ in tasks}
    assert stages <= seen
    assert all(any(name.startswith(expected) for name in seen) for expected in inside)


@pytest.mark.parametrize("role", ["trainer", "validator", "steward", "owner"])
def test_no_other_role_can_approve(history: History, role: str) -> None:
    said = approve(history.countersign, "planted/1", role, code=5)
    whose = "belongs to nobody who is listed" if role == "owner" else f"development-{role} is {role}, not approver"
    assert f"{whose}; only the approver may approve" in said


def test_approver_makes_champion(history: History) -> None:
    checked = history.countersign.json("verify", "planted.live/1")
    assert checked["faults"] == []
    assert checked["standing"] == "approved by development-approver"
    assert checked["aliases"] == {"planted.live@champion": 1}


def test_forced_retrain_gives_the_same_bytes_and_is_measured_against_the_champion(history: History) -> None:
    assert history.forced["trained"]["model"] == "planted/2"
    assert history.forced["trained"]["model_sha256"] == history.first["trained"]["model_sha256"]
    compared = {finding["figure"]: finding for finding in history.forced["verdict"]["findings"]}
    assert compared["champion.rank_ic_difference_lower"]["outcome"] == "pass"
    assert compared["champion.rank_ic_difference_lower"]["value"] == 0.0
    assert compared["champion.cumulative_distance"]["value"] == 0.0


def test_the_report_says_what_the_skill_rests_on_and_how_it_stands_to_the_champion(history: History) -> None:
    path = newest(history.countersign.home / "artifacts", "validation.json")
    report = json.loads(path.read_text())
    assert set(report["champion"]["answers"].values()) == {"not worse", "the same"}
    assert (report["champion"]["model"], report["champion"]["champions_since_reference"]) == ("planted/1", [])
    told = report["yardsticks"]["rank_ic"]
    assert (told["lower"], told["upper"]) == tuple(
        report["figures"][f"lockbox.rank_ic_{end}"] for end in ("lower", "upper")
    )
    assert {line["kind"] for line in report["rank_ic_by_state"]} == {"year", "volatility", "market", "size"}
    assert report["rank_ic_when_late"][0]["rank_ic"] == report["figures"]["lockbox.rank_ic"]
    assert {"yardsticks.png", "rank_ic_by_state.png", "rank_ic_decay.png"} <= {
        each.name for each in path.parent.iterdir()
    }


def test_a_changed_byte_cannot_be_approved(history: History) -> None:
    parameters = newest(history.countersign.home / "artifacts", "parameters/parameters.json")
    before = parameters.read_bytes()
    parameters.write_bytes(before[:-3] + b"0" + before[-2:])
    try:
        said = approve(history.countersign, "planted/2", "approver", code=5)
        assert "model/artifacts/parameters/parameters.json: altered" in said
    finally:
        parameters.write_bytes(before)


def newest(folder: Path, name: str) -> Path:
    """The file of the newest version; a file put back by another test is newer than its folder."""
    return max(folder.rglob(name), key=lambda path: path.parent.stat().st_mtime)


def test_without_signal_the_chain_refuses_and_the_refusal_verifies(
    worthless: tuple[Countersign, Path, dict[str, Any]],
) -> None:
    countersign, problem, result = worthless
    assert not result["verdict"]["accepted"]
    assert "live" not in result["verdict"]
    checked = countersign.json("verify", "worthless/1")
    assert checked["decision"] == "refused"
    assert checked["faults"] == []
    said = approve(countersign, "worthless/1", "approver", code=5)
    assert "refused:" in said
    told = " ".join(countersign("report", "worthless/1").split())
    assert "Its ranking of names cannot be told from guessing." in told
    assert "Page (signed with the decision): " in told
    again = countersign("retrain", problem, "--fail-on-refusal", code=3)
    assert "Nothing new: worthless/1 is already trained, validated and decided" in " ".join(again.split())
    [row] = [row for row in countersign.json("status")["problems"] if row["problem"] == "worthless"]
    assert row["versions"] == 1


def test_the_model_loads_without_this_project_and_unpickles_nothing(history: History) -> None:
    model = newest(history.countersign.home / "artifacts", "MLmodel").parent
    files = {path.relative_to(model).as_posix() for path in model.rglob("*") if path.is_file()}
    code = {name for name in files if name.startswith(("artifacts/features/", "artifacts/inference/"))}
    assert {Path(name).suffix for name in code} == {".py"}
    assert files - code == {
        *("MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt", "scorer.py"),
        *("input_example.json", "serving_input_example.json"),
        *("artifacts/parameters/parameters.json", "artifacts/spec.json"),
    }
    code = "import sys, mlflow; mlflow.pyfunc.load_model(sys.argv[1]); print('tasks' in sys.modules)"
    command = [sys.executable, "-P", "-W", "ignore", "-c", code, str(model)]
    loaded = subprocess.run(command, capture_output=True, text=True, cwd=model, check=True)
    assert loaded.stdout.strip() == "False"
