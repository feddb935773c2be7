"""Problems frozen before their first trial: signed, numbered and chained, one log a problem.

An entry is a version of the problem: its hash and that of its gates, what judges in it and what doesn't, and how many
trials had been recorded until then. The trainer signs it before it fits anything, and a candidate carries the very
entry it was trained under, so that leaving one out of the log later is seen.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from tasks import evidence
from tasks.domain import history, names
from tasks.domain.errors import UsageError, VerificationFailed
from tasks.domain.gates import Policy
from tasks.domain.history import Version
from tasks.domain.problem import Problem
from tasks.home import as_json, exclusive, sha256

PAYLOAD = "application/vnd.countersign.problem+json"


class Frozen(NamedTuple):
    """The version in force and the bytes of its signed entry."""

    number: int
    entry: bytes


def log_folder(problem: str) -> Path:
    return evidence.problem_folder(problem) / "problem"


def freeze(problem: Problem, policy: Policy, trials: int) -> Frozen:
    """Make sure that the newest version of the log is this problem under these gates.

    Args:
        trials: how many were recorded for the problem until now, of all its versions.

    Raises:
        VerificationFailed: the log is not whole; nothing is added to it.
        UsageError: the log can't be written.
    """
    folder = log_folder(problem.name)
    try:
        with exclusive(f"{problem.name}-versions", wait=True):
            found = entries(problem.name)
            wanted = contents(problem, policy)
            if not found or any(found[-1][name] != value for name, value in wanted.items()):
                changed = changes(found[-1], wanted) if found else []
                content = wanted | {"changes": changed, "trials": trials, "at": now()}
                evidence.append_chained(folder, PAYLOAD, content, evidence.signer(names.TRAINER), names.TRAINER)
            newest = max(folder.glob("*.json"))
            return Frozen(int(newest.stem), newest.read_bytes())
    except OSError as fault:
        raise UsageError(
            f"{folder}: cannot be read or written ({fault.strerror}); a problem must be frozen there before its trials"
        ) from None


def entries(problem: str) -> list[dict[str, Any]]:
    return evidence.chained(log_folder(problem), PAYLOAD, names.TRAINER)


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


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions_until(problem: str, entry: bytes, frozen: bytes) -> list[Version]:
    """The versions up to the one that `entry` signs, `frozen` (the bytes of problem.json) being what it froze.

    Raises:
        VerificationFailed: the log is not whole, doesn't hold the entry, or the entry is about another problem.
    """
    found = entries(problem)
    held = [path.read_bytes() for path in sorted(log_folder(problem).glob("*.json"))]
    if entry not in held:
        raise VerificationFailed("log problem: does not hold the version that the candidate was trained under")
    number = held.index(entry) + 1
    if not is_about(found[number - 1], frozen):
        raise VerificationFailed(f"log problem: version {number} is not the problem that was frozen with the model")
    return [Version(each["sequence"], each["judged"], each["trials"]) for each in found[:number]]


def is_about(entry: dict[str, Any], frozen: bytes) -> bool:
    """Whether an entry tells of these very bytes, in its hash and in its words."""
    told = entry["judged"] | entry["besides"]
    own = {name: text for name, text in told.items() if not name.startswith(history.GATES)}
    return bool(entry["problem_sha256"] == sha256(frozen) and own == history.layout(json.loads(frozen)))
