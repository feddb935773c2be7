"""SIGKILL in each stage in turn: the next retrain finishes, one version results, nothing stays RUNNING."""

import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import httpx
import psutil
import pytest

from tasks.home import exclusive
from tests.support.command import Countersign, kill_group
from tests.support.market import market

STAGES = ("collect", "train", "validate", "backtest", "decide")


def running(home: Path, stage: str) -> int:
    """MLflow runs of a stage that say RUNNING."""
    return count(
        home,
        "select count(*) from runs r join experiments e using (experiment_id) "
        "where r.status = 'RUNNING' and e.name like ?",
        f"%/{stage}",
    )


def versions(home: Path) -> int:
    return count(home, "select count(*) from model_versions where name = ?", "killed")


def count(home: Path, query: str, value: str) -> int:
    database = home / "mlflow.db"
    if not database.exists():
        return 0
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        try:
            return int(connection.execute(query, (value,)).fetchone()[0])
        except sqlite3.OperationalError:  # the tables are being made
            return 0


def wait_for(condition: object, process: "subprocess.Popen[str]", seconds: float = 120) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, f"ended before it could be killed: {process.communicate()}"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_killed_in_each_stage_in_turn(tmp_path: Path, prefect: str) -> None:
    countersign, problem = Countersign(tmp_path / "state", prefect), market(tmp_path, "killed", signal=0.0)
    for stage in STAGES:
        process = countersign.start("retrain", problem)
        wait_for(lambda stage=stage: running(countersign.home, stage), process)
        kill_group(process)
        assert running(countersign.home, stage) == 1, "it was killed in the middle"
    result = countersign.json("retrain", problem)
    assert result["trained"]["model"] == "killed/1"
    assert versions(countersign.home) == 1
    assert running(countersign.home, "%") == 0
    assert prefect_running(prefect) == []
    assert countersign.json("verify", "killed/1")["faults"] == []


def test_a_killed_stage_ends_its_retrain_with_one_line(tmp_path: Path, prefect: str) -> None:
    countersign, problem = Countersign(tmp_path / "state", prefect), market(tmp_path, "killed", signal=0.0)
    process = countersign.start("retrain", problem)
    wait_for(lambda: running(countersign.home, "train"), process)
    stage_process(process.pid, "train").kill()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "countersign: train: its process ended without a result (status -9)" in err
    assert "Traceback" not in err
    assert running(countersign.home, "%") == 0
    assert prefect_running(prefect) == []
    assert versions(countersign.home) == 0


def stage_process(root: int, stage: str) -> psutil.Process:
    """A stage is forked and has its parent's command line; it is known by the log it writes."""
    [found] = [
        child
        for child in psutil.Process(root).children(recursive=True)
        if writes_to(child.pid).endswith(f"-{stage}.log")
    ]
    return found


def writes_to(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/fd/1").readlink())
    except OSError:  # it ended meanwhile
        return ""


def prefect_running(api: str) -> list[str]:
    state = {"flow_runs": {"state": {"type": {"any_": ["RUNNING", "CANCELLING"]}}}}
    return [run["name"] for run in httpx.post(f"{api}/flow_runs/filter", json=state, timeout=10).json()]


def test_a_second_run_on_a_problem_is_turned_away(
    tmp_path: Path, prefect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    countersign, problem = Countersign(tmp_path / "state", prefect), market(tmp_path, "killed", signal=0.0)
    with monkeypatch.context() as here:
        here.setenv("COUNTERSIGN_HOME", str(countersign.home))
        with exclusive("killed"):
            here.undo()
            said = countersign("retrain", problem, code=2)
    assert "another run holds this problem" in said


@pytest.fixture(autouse=True)
def no_process_is_left(tmp_path: Path) -> object:
    """Whatever was killed, nothing that worked on this state folder survives for long."""
    yield
    deadline = time.monotonic() + 10
    while left := [process for process in psutil.process_iter() if works_on(process, tmp_path)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def works_on(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.environ().get("COUNTERSIGN_HOME", "").startswith(str(folder))
    except psutil.Error:
        return False
