"""What an auditor's questions are answered from: the signed files of one version and its problem's journal."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from tasks import approvals, evidence, journal, reigns, verdict_page
from tasks.candidates import Candidate
from tasks.domain import names
from tasks.domain.verdict_words import Plain
from tasks.journal import Event
from tasks.reigns import Reign
from tasks.verification import Verification


class Case(NamedTuple):
    """All that the answers are taken from. `own`: the journal's events about the version; `all`: of its problem."""

    found: Candidate
    decision: Mapping[str, Any]
    validation: Mapping[str, Any]
    backtest: Mapping[str, Any]
    trials: Mapping[str, Any]
    manifest: Mapping[str, Any]
    own: Sequence[Event]
    all: Sequence[Event]
    reigns: Sequence[Reign]
    checked: Verification
    now: datetime

    @property
    def figures(self) -> dict[str, float]:
        return {**self.validation.get("figures", {}), **self.backtest.get("figures", {})}

    def of(self, *kinds: str) -> list[Event]:
        return [event for event in self.own if event.kind in kinds]

    def last(self, kind: str) -> Event:
        return self.of(kind)[-1]

    @property
    def approved(self) -> list[Event]:
        """Approvals that count."""
        return [event for event in self.of(names.APPROVE) if not event.void]

    def products(self, stage: str) -> Mapping[str, str]:
        return evidence.read_statement(self.found.folder, stage).products

    def materials(self, stage: str) -> Mapping[str, str]:
        return evidence.read_statement(self.found.folder, stage).materials


def gather(found: Candidate, checked: Verification, now: datetime) -> Case:
    def signed(stage: str, name: str) -> Any:
        return json.loads(found.file(stage, name))

    events = journal.whole(found.model)
    return Case(
        found,
        found.decision(),
        signed(names.VALIDATE, names.VALIDATION),
        signed(names.BACKTEST, names.BACKTEST_REPORT),
        signed(names.TRAIN, names.TRIALS),
        found.snapshot().manifest,
        [event for event in events if is_about(found, event)],
        events,
        reigns.reigns(found.model),
        checked,
        now,
    )


def is_about(found: Candidate, event: Event) -> bool:
    return approvals.is_about(found, event) or event.content.get("candidate") == found.id


def plain(case: Case) -> Plain:
    return verdict_page.words(case.found, case.decision)


def at(case: Case, stage: str, name: str) -> str:
    """Where a signed file lies: its name, stage and run, and the entry of the journal that says so."""
    run = evidence.read_statement(case.found.folder, stage).run_id
    return f"{name} of {stage} run {run[:8]}, journal entry {case.last(stage).number}"


def when(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def number(value: Any) -> str:
    return "–" if value is None else f"{value:.4g}"


def percent(value: Any) -> str:
    return "–" if value is None else f"{value:.1%}"
