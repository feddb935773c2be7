"""The process that forks stages: how its children end, and what becomes of them and of it."""

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from flows import nursery, process
from tasks import access, accounts
from tasks.domain.errors import StageKilled
from tasks.home import prepare


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in os.environ.items():  # whatever `prepare` changes is put back
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COUNTERSIGN_HOME", str(tmp_path))
    return prepare()


@pytest.fixture
def born(home: Path) -> Iterator[nursery.Nursery]:
    made = nursery.Nursery()
    yield made
    made.socket.close()
    made.process.wait(timeout=30)


def child(born: nursery.Nursery, sink: Path, kept: dict[str, int] | None = None) -> nursery.Forked:
    with sink.open("wb") as said:
        return born.fork(["collect", "p"], access.Start(dict(os.environ), {}), said, kept or {})


def test_a_child_ends_when_its_input_does_and_a_killed_one_says_so(born: nursery.Nursery, tmp_path: Path) -> None:
    read, written = os.pipe()
    first, second = (child(born, tmp_path / f"{name}.log", {"KEPT": written}) for name in ("first", "second"))
    os.close(written)
    first.communicate()
    assert first.wait() == 0
    [left] = [each for each in forked() if str(Path(f"/proc/{each.pid}/fd/1").readlink()).endswith("second.log")]
    left.kill()
    second.communicate()
    assert second.wait() == -9
    with os.fdopen(read, "rb") as pipe:
        assert pipe.read() == b"", "nobody else kept the descriptor: not the nursery, not a sibling"


def forked() -> list[psutil.Process]:
    """Children of nurseries that this process started."""
    return [each for each in psutil.Process().children(recursive=True) if each.ppid() != os.getpid()]


def test_without_the_nursery_a_stage_ends_in_one_line(born: nursery.Nursery, tmp_path: Path) -> None:
    held = child(born, tmp_path / "held.log")
    born.process.kill()
    born.process.wait()
    with pytest.raises(StageKilled, match="collect: the process that starts stages is gone; retrain again"):
        child(born, tmp_path / "late.log")
    held.communicate()
    assert held.wait() == 255


def test_stages_that_become_another_user_are_not_forked(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "load", lambda: "accounts of their own")
    nursery.begin.cache_clear()
    try:
        assert nursery.begin() is process.spawn
    finally:
        nursery.begin.cache_clear()
