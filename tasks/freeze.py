"""Problems frozen before their first trial, in the problem's journal.

Such an event is a version of the problem: its hash and that of its gates, what judges in it and what doesn't, and how
many trials had been recorded until then. The trainer signs it before it fits anything, and a candidate carries a copy
of the version it was trained under, so that leaving one out of the journal later is seen.
"""

import json
from typing import Any, NamedTuple

from tasks import journal
from tasks.domain import history
from tasks.domain.errors import VerificationFailed
from tasks.domain.gates import Policy
from tasks.domain.history import Version
from tasks.domain.problem import Problem
from tasks.home import as_json, sha256
from tasks.journal import Event


class Frozen(NamedTuple):
    """The version in force and what its event says, as bytes."""

    number: int
    entry: bytes


def freeze(problem: Problem, policy: Policy, trials: int) -> Frozen:
    """Make sure that the newest version in the journal is this problem under these gates.

    Args:
        trials: how many were recorded for the problem until now, of all its versions.

    Raises:
        VerificationFailed: the journal is not whole; nothing is added to it.
        UsageError: the journal can't be written.
    """
    wanted = contents(problem, policy)
    with journal.held(problem.name):
        found = entries(problem.name)
        last = found[-1].content if found else None
        if last is None or any(last[name] != value for name, value in wanted.items()):
            told = {"changes": changes(last, wanted) if last else [], "trials": trials}
            found.append(journal.add(problem.name, journal.PROBLEM, wanted | told))
    return Frozen(len(found), as_bytes(found[-1]))


def entries(problem: str) -> list[Event]:
    """The versions, oldest first."""
    return journal.read(problem, journal.PROBLEM)


def as_bytes(event: Event) -> bytes:
    return as_json(event.content)


def contents(problem: Problem, policy: Policy) -> dict[str, Any]:
    gates = policy.model_dump(mode="json")
    fields = history.layout(problem.model_dump(mode="json")) | history.gates(gates)
    judged = history.judged(fields)
    return {
        "problem": problem.name,
        "problem_sha256": problem.sha256,
        "policy_sha256": sha256(as_json(gates)),
        "criteria_sha256": sha256(as_json(judged)),
        "judged": judged,
        "besides": {name: text for name, text in fields.items() if name not in judged},
    }


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[dict[str, Any]]:
    """For whoever reads the log."""
    found = history.changes(*(entry["judged"] | entry["besides"] for entry in (before, after)))
    return [change._asdict() | {"criterion": history.judges(change.field)} for change in found]


def versions_until(problem: str, entry: bytes, frozen: bytes) -> list[Version]:
    """The versions up to the one that `entry` is a copy of, `frozen` (the bytes of problem.json) being what it froze.

    Raises:
        VerificationFailed: the journal is not whole, doesn't hold the entry, or the entry is about another problem.
    """
    found = entries(problem)
    held = list(map(as_bytes, found))
    if entry not in held:
        raise VerificationFailed(
            "journal: does not hold the version of the problem that the candidate was trained under"
        )
    number = held.index(entry) + 1
    if not is_about(found[number - 1].content, frozen):
        raise VerificationFailed(f"journal: version {number} of the problem is not what was frozen with the model")
    return [
        Version(at, each.content["judged"], each.content["trials"]) for at, each in enumerate(found[:number], start=1)
    ]


def is_about(entry: dict[str, Any], frozen: bytes) -> bool:
    """Whether an entry tells of these very bytes, in its hash and in its words."""
    told = entry["judged"] | entry["besides"]
    own = {name: text for name, text in told.items() if not name.startswith(history.GATES)}
    return bool(entry["problem_sha256"] == sha256(frozen) and own == history.layout(json.loads(frozen)))
