"""Looks at the lockbox: a signed, numbered, chained log a problem. What was seen once is not unseen again.

A candidate's look is written down before its scores meet the lockbox, so that a validation that was broken off counts
as well. The hurdle of the deflated Sharpe ratio grows with the trials of all of them (ADR 0003); the log says how often
these very sessions have been asked.
"""

from pathlib import Path
from typing import Any

from tasks import evidence, freeze, lake
from tasks.candidates import Candidate
from tasks.domain import names
from tasks.domain.errors import UsageError, VerificationFailed
from tasks.home import exclusive

PAYLOAD = "application/vnd.countersign.look+json"
LOOKS = "lockbox.looks"


def log_folder(problem: str) -> Path:
    return evidence.problem_folder(problem) / "looks"


def record(found: Candidate) -> float:
    """Write down that a candidate is about to be judged; how many have been, on any session of its lockbox.

    Raises:
        VerificationFailed: the log is not whole; nothing is added to it.
        UsageError: the log cannot be written.
    """
    snapshot, folder = found.snapshot(), log_folder(found.model)
    first, last = str(snapshot.manifest["lockbox_starts"]), snapshot.as_of
    try:
        with exclusive(f"{found.model}-looks", wait=True):
            if all(entry["candidate"] != found.id for entry in entries(found.model)):
                seen = {"lockbox": snapshot.digest(lake.LOCKBOX), "first": first, "last": last}
                content = {"candidate": found.id, "model": found.reference, "at": freeze.now()} | seen
                evidence.append_chained(folder, PAYLOAD, content, evidence.signer(names.VALIDATOR), names.VALIDATOR)
            return float(sum(entry["last"] >= first and entry["first"] <= last for entry in entries(found.model)))
    except OSError as fault:
        raise UsageError(f"{folder}: cannot be read or written ({fault.strerror}); looks are recorded there") from None


def entries(problem: str) -> list[dict[str, Any]]:
    return evidence.chained(log_folder(problem), PAYLOAD, names.VALIDATOR)


def check(found: Candidate) -> None:
    """See that the log is whole and holds a candidate that says it was looked at.

    Raises:
        VerificationFailed: it is not.
    """
    if LOOKS in found.figures(names.VALIDATE) and all(each["candidate"] != found.id for each in entries(found.model)):
        raise VerificationFailed(f"log looks: does not hold the look that {found.reference} had at its lockbox")
