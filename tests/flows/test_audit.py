"""What an auditor asks: every question is answered of a champion, of a version after it and of a refused one."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tasks.audit import QUESTIONS
from tasks.controls import CONTROLS
from tests.flows.conftest import History
from tests.support.command import CHECKOUT, Countersign

Worthless = tuple[Countersign, Path, dict[str, Any]]


@pytest.fixture(scope="module")
def champion(history: History) -> dict[str, Any]:
    return history.countersign.json("report", "planted/1")


def answer(report: dict[str, Any], begins: str) -> str:
    [said] = [" ".join(said) for question, said in report["answers"].items() if question.startswith(begins)]
    return said


def test_fifteen_questions_are_answered_of_a_champion(champion: dict[str, Any]) -> None:
    assert len(champion["answers"]) == len(QUESTIONS) == 15
    assert all(said for said in champion["answers"].values())
    assert "Owner: quant-research" in answer(champion, "What is it for")
    assert "0 trials of the problem had been seen until then" in answer(champion, "Were the criteria")
    assert "trained by development-trainer" in answer(champion, "Who validated it")
    assert "could have trained it" in answer(champion, "Who validated it"), "development keys separate nobody"
    assert "approved by development-approver" in answer(champion, "Who approved it")
    assert "This version is champion now." in answer(champion, "What was live")
    assert "365 days after it became champion" in answer(champion, "Incidents")
    html, pdf = (Path(champion["audit"][kind]) for kind in ("html", "pdf"))
    page = html.read_text()
    assert all(question in page for question in champion["answers"])
    assert "read and understood" in page, "what the approver said"
    assert "http" not in page.replace("https://www.w3.org", ""), "it opens offline"
    assert pdf.read_bytes().startswith(b"%PDF-")


def test_a_version_after_it_is_compared_with_it(history: History) -> None:
    report = history.countersign.json("report", "planted/2")
    assert "Compared with planted/1" in answer(report, "Is it better")
    assert "from the champion" in answer(report, "What changed since")
    assert "This version is not champion now." in answer(report, "What was live")


def test_a_refused_one_is_told_of_too(worthless: Worthless, tmp_path: Path) -> None:
    countersign, _, _ = worthless
    report = countersign.json("report", "worthless/1", "--audit", tmp_path / "audit")
    assert sorted(path.name for path in (tmp_path / "audit").iterdir()) == ["audit.html", "audit.pdf"]
    assert "refused" in answer(report, "Which gates ran")
    assert "No version of this problem was ever made champion." in answer(report, "What was live")


def test_what_was_live_at_a_time(history: History) -> None:
    now = history.countersign.json("history", "planted", "--at", datetime.now(UTC).isoformat())
    assert (now["model"], now["version"], now["bytes_now"]) == ("planted.live", 1, "yes")
    assert history.countersign.json("history", "planted", "--at", "2020-01-01")["version"] is None
    assert "expected a time like" in history.countersign("history", "planted", "--at", "noon", code=2)


def test_every_control_is_checked_and_documented(history: History) -> None:
    told = history.countersign.json("controls", "planted")
    assert told["model"] == "planted/1"
    found = {each["id"]: each["state"] for each in told["controls"]}
    assert list(found) == [f"C{number:02d}" for number in range(1, 28)]
    assert {name: found[name] for name in ("C04", "C10", "C17", "C26")} == {
        "C04": "yes",
        "C10": "partly",  # development keys
        "C17": "no",
        "C26": "yes",
    }
    assert sum(told["counts"].values()) == len(CONTROLS)
    page = (CHECKOUT / "docs" / "controls.md").read_text()
    assert all(f"| {each.id} | {each.asks} | {each.source} | {each.here} |\n" in page for each in CONTROLS)
