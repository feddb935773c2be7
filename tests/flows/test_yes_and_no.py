"""The way to yes and the way to no, through the command line, on markets with and without a planted signal."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Countersign
from tests.support.market import market


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Countersign, Path, dict[str, Any]]:
    """A market with a signal, retrained with no server running."""
    folder = tmp_path_factory.mktemp("planted")
    countersign, problem = Countersign(folder / "state"), market(folder, "planted", signal=0.003)
    return countersign, problem, countersign.json("retrain", problem)


@pytest.fixture(scope="module")
def worthless(tmp_path_factory: pytest.TempPathFactory, prefect: str) -> tuple[Countersign, Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("worthless")
    countersign, problem = Countersign(folder / "state", prefect), market(folder, "worthless", signal=0.0)
    return countersign, problem, countersign.json("retrain", problem)


def key(countersign: Countersign, role: str) -> Path:
    return countersign.home / "keys" / f"{role}.pem"


def approve(countersign: Countersign, model: str, role: str, code: int) -> str:
    arguments = ("--role", "approver", "--key", key(countersign, role), "--comment", "read and understood")
    return countersign("approve", model, *arguments, code=code)


def test_planted_signal_is_accepted_and_goes_to_shadow(planted: Any) -> None:
    countersign, _, result = planted
    assert result["verdict"]["accepted"], result["verdict"]["summary"]
    assert result["verdict"]["live"] == "planted.live/1"
    checked = countersign.json("verify", "planted/1")
    assert checked["faults"] == []
    assert checked["aliases"] == {"planted@challenger": 1, "planted.live@shadow": 1}


def test_every_stage_is_recorded_below_its_retrain_though_no_server_was_running(planted: Any) -> None:
    countersign, _, _ = planted
    with sqlite3.connect(countersign.home / "prefect" / "prefect.db") as database:
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
def test_no_other_role_can_approve(planted: Any, role: str) -> None:
    countersign, _, _ = planted
    said = approve(countersign, "planted/1", role, code=5)
    assert f"is the {role}'s; only the approver may approve" in said


def test_approver_makes_champion_and_the_next_retrain_is_measured_against_it(planted: Any) -> None:
    countersign, problem, first = planted
    approve(countersign, "planted/1", "approver", code=0)
    checked = countersign.json("verify", "planted.live/1")
    assert checked["approved"]
    assert checked["aliases"]["planted.live@champion"] == 1

    again = countersign.json("retrain", problem)
    assert not again["new"]
    assert again["trained"]["model"] == "planted/1"

    forced = countersign.json("retrain", problem, "--force")
    assert forced["trained"]["model"] == "planted/2"
    assert forced["trained"]["model_sha256"] == first["trained"]["model_sha256"], "same inputs, same bytes"
    compared = {finding["figure"]: finding for finding in forced["verdict"]["findings"]}
    assert compared["champion.rank_ic_difference_lower"]["outcome"] == "pass"
    assert compared["champion.rank_ic_difference_lower"]["value"] == 0.0


def test_a_changed_byte_cannot_be_approved(planted: Any) -> None:
    countersign, _, _ = planted
    [parameters] = [
        path
        for path in (countersign.home / "artifacts").rglob("parameters.txt")
        if path.stat().st_mtime
        == max(p.stat().st_mtime for p in (countersign.home / "artifacts").rglob("parameters.txt"))
    ]
    before = parameters.read_bytes()
    parameters.write_bytes(before[:-2] + b"7" + before[-1:])
    try:
        newest = countersign.json("status")["problems"]
        model = next(row["newest"] for row in newest if row["problem"] == "planted")
        said = approve(countersign, model, "approver", code=5)
        assert "model/artifacts/parameters.txt: altered" in said
    finally:
        parameters.write_bytes(before)


def test_without_signal_the_chain_refuses_and_the_refusal_verifies(worthless: Any) -> None:
    countersign, problem, result = worthless
    assert not result["verdict"]["accepted"]
    assert "live" not in result["verdict"]
    checked = countersign.json("verify", "worthless/1")
    assert checked["decision"] == "refused"
    assert checked["faults"] == []
    said = approve(countersign, "worthless/1", "approver", code=5)
    assert "refused:" in said
    countersign("retrain", problem, "--fail-on-refusal", code=3)


def test_the_model_loads_without_this_project_and_unpickles_nothing(planted: Any) -> None:
    countersign, _, _ = planted
    files = {path.name for path in (countersign.home / "artifacts").rglob("models/*/artifacts/**/*") if path.is_file()}
    assert not [name for name in files if name.endswith((".pkl", ".joblib", ".cloudpickle"))]
    spec = next((countersign.home / "artifacts").rglob("spec.json"))
    assert json.loads(spec.read_text())["features"] == "price_only"
