"""How `up` shows what runs: drawn anew on a terminal; elsewhere a line when something changes."""

import io

import pytest
from rich.console import Console

from flows import screen

WELL = {
    "servers": [
        {"name": "prefect", "url": "here", "answers": True},
        {"name": "mlflow", "url": "there", "answers": True},
    ],
    "reconciler": {"at": "2026-01-02T03:04:05", "waiting": ["p/1"], "differences": []},
}
ILL = {
    "servers": [WELL["servers"][0], {"name": "mlflow", "url": "there", "answers": False}],
    "reconciler": {
        "at": "2026-01-02T03:06:05",
        "waiting": [],
        "differences": [{"problem": "p", "model": "p/1", "what": "metric a: MLflow shows 2, signed was 1"}],
    },
}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    file = io.StringIO()
    monkeypatch.setattr(screen, "out", Console(file=file, width=100))
    return file


def test_elsewhere_only_what_changes_is_told(told: io.StringIO) -> None:
    with screen.health(quiet=False) as draw:
        for health in (WELL, WELL, ILL, WELL):
            draw(health)
    assert told.getvalue().splitlines() == [
        "all servers answer; waiting for people: p/1; differences: 0",
        "no answer from: mlflow; waiting for people: nothing; differences: 1",
        "all servers answer; waiting for people: p/1; differences: 0",
    ]


def test_a_terminal_shows_every_server_and_every_difference(told: io.StringIO) -> None:
    screen.out.print(screen.healthy(ILL))
    lines = told.getvalue()
    assert "no answer" in next(line for line in lines.splitlines() if "mlflow" in line)
    assert "answers" in next(line for line in lines.splitlines() if "prefect" in line)
    assert "metric a: MLflow shows 2" in lines


def test_nothing_is_drawn_where_a_program_reads(told: io.StringIO) -> None:
    with screen.health(quiet=True) as draw:
        draw(ILL)
    assert told.getvalue() == ""


def test_before_the_first_round_nothing_is_claimed() -> None:
    assert screen.waits({}) == "the reconciler has not looked yet"
