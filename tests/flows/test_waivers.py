"""A refusal that a person bears: signed, told everywhere, never called a pass, and missed where it is taken away."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tasks import candidates, decision, journal, report, verification, waiving
from tasks.domain import names
from tasks.domain.errors import UsageError, VerificationFailed
from tasks.home import HOME_VARIABLE, tracking_uri
from tests.flows.conftest import History
from tests.support.command import CHECKOUT, Countersign

MODEL, FIGURE = "planted/2", "backtest.max_drawdown"
TODAY = datetime.now(UTC).date()
NEXT_MONTH = (TODAY + timedelta(days=30)).isoformat()


class Case(NamedTuple):
    """A version decided on by gates that allow next to no drawdown."""

    strict: Countersign
    folder: Path
    refused: dict[str, Any]

    def key(self, role: str) -> Path:
        return self.strict.home / "keys" / f"{role}.pem"


@pytest.fixture(scope="module")
def case(history: History, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    """Version 2 as if it had never been decided on, then decided on by stricter gates; put back at the end."""
    [folder] = (history.countersign.home / "evidence" / "planted").glob("*-2/")
    [link] = folder.glob(f"{names.DECIDE}.*.link")
    before = link.read_bytes()
    link.unlink()
    strict = replace(history.countersign, checkout=stricter(tmp_path_factory.mktemp("strict")))
    try:
        yield Case(strict, folder, strict.json("promote", MODEL))
    finally:
        link.write_bytes(before)


@pytest.fixture(autouse=True)
def here(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's own process looks into the same state."""
    monkeypatch.setenv(HOME_VARIABLE, str(history.countersign.home))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri(history.countersign.home))


def stricter(folder: Path) -> Path:
    for room in ("flows", "tasks", "problems", "expectations"):
        shutil.copytree(CHECKOUT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(CHECKOUT / "requirements.lock", folder)
    gates = folder / "expectations" / "models" / "alpha-v1.yaml"
    fields = yaml.safe_load(gates.read_text())
    [gate] = (gate for gate in fields["gates"] if gate["figure"] == FIGURE)
    gate["at_most"] = 0.0001
    gates.write_text(yaml.safe_dump(fields))
    return folder


def waive(case: Case, figure: str = FIGURE, until: str = NEXT_MONTH, role: str = names.APPROVER) -> dict[str, Any]:
    return waiving.waive(MODEL, figure, until, "one bad week, known and hedged", case.key(role))


def test_a_waiver_is_for_a_failed_gate_that_may_be_waived_by_one_who_may(case: Case) -> None:
    assert not case.refused["accepted"]
    assert [each["figure"] for each in case.refused["findings"] if waiving.blocks(each)] == [FIGURE]
    with pytest.raises(VerificationFailed, match="trainer, not approver; only the approver may waive a gate"):
        waive(case, role=names.TRAINER)
    with pytest.raises(VerificationFailed, match="validator, not approver; only the approver may waive a gate"):
        waive(case, role=names.VALIDATOR)
    with pytest.raises(UsageError, match="no blocking gate of alpha-v1 on it failed"):
        waive(case, figure="lockbox.hit_rate")
    for until in (TODAY - timedelta(days=1), TODAY + timedelta(days=400)):
        with pytest.raises(UsageError, match="expected a date from"):
            waive(case, until=until.isoformat())
    assert journal.read("planted", journal.WAIVER) == []


def test_the_decision_is_made_anew_and_never_called_a_pass(case: Case) -> None:
    given = waive(case)
    [signed] = journal.read("planted", journal.WAIVER)
    assert (given["entry"], given["by"]) == (signed.number, "development-approver")
    assert verification.verify(MODEL).decision == "refused", "a waiver alone changes no decision"

    anew = case.strict.json("promote", MODEL)
    assert (anew["new"], anew["accepted"], anew["waived"]) == (True, True, [FIGURE])
    assert anew["summary"].startswith("accepted with 1 waiver: ")
    [borne] = [each for each in anew["findings"] if each["waived"]]
    assert (borne["figure"], borne["outcome"], borne["waived"]["until"]) == (FIGURE, "fail", NEXT_MONTH)
    assert not decision.is_due(candidates.candidate("planted", 2)), "nothing new was given since"

    checked = verification.verify(MODEL)
    assert (checked.faults, checked.decision) == ([], "accepted with 1 waiver")
    assert any(f"waived until {NEXT_MONTH}" in said for said in checked.warnings)
    told = report.report(MODEL, None)
    page = Path(told["page"]).read_text()
    assert told["signed"]
    assert "! ACCEPTED WITH 1 WAIVER" in page
    assert "one bad week, known and hedged" in page
    with pytest.raises(UsageError, match="is accepted with 1 waiver already"):
        waive(case)


def put_aside(path: Path) -> Callable[[], object]:
    away = path.with_name(f"{path.name}-aside")
    path.rename(away)
    return lambda: away.rename(path)


@pytest.mark.parametrize(
    ("pattern", "named"),
    [
        ("journal", "link collect: collect."),
        ("*-2/superseded", "earlier link decide: "),
    ],
)
def test_what_it_rests_on_is_missed(case: Case, pattern: str, named: str) -> None:
    [path] = case.folder.parent.glob(pattern)
    undo = put_aside(path)
    try:
        assert any(fault.startswith(named) for fault in verification.verify(MODEL).faults)
    finally:
        undo()
    assert verification.verify(MODEL).faults == []


def test_an_altered_waiver_is_named(case: Case) -> None:
    [signed] = journal.read("planted", journal.WAIVER)
    path = journal.folder("planted") / f"{signed.number:06d}.json"
    before = path.read_bytes()
    path.write_text(json.dumps(json.loads(before) | {"signatures": []}))
    try:
        assert any(f"journal: entry {path.name} is altered" in said for said in verification.verify(MODEL).faults)
    finally:
        path.write_bytes(before)
