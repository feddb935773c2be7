"""Looks at the lockbox: a signed, numbered, chained log a problem. What was seen once is not unseen again.

A candidate's look is written down before its scores meet the lockbox, so that a validation that was broken off counts
as well. Each look leaves less of the permitted error to the next (`domain.spending`).
"""

from itertools import takewhile
from pathlib import Path
from typing import Any

import pandas as pd

from tasks import evidence, freeze, lake
from tasks.candidates import Candidate
from tasks.domain import names
from tasks.domain.errors import UsageError, VerificationFailed
from tasks.domain.spending import LOOKS, Look
from tasks.home import exclusive

PAYLOAD = "application/vnd.countersign.look+json"


def log_folder(problem: str) -> Path:
    return evidence.problem_folder(problem) / "looks"


def record(found: Candidate) -> list[Look]:
    """Write down that a candidate is about to be judged; returns the looks before it, of whatever candidates.

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
            return earlier(found)
    except OSError as fault:
        raise UsageError(f"{folder}: cannot be read or written ({fault.strerror}); looks are recorded there") from None


def earlier(found: Candidate) -> list[Look]:
    """Looks that were written down before that of a candidate."""
    before = list(takewhile(lambda entry: entry["candidate"] != found.id, entries(found.model)))
    return [Look(pd.Timestamp(entry["first"]), pd.Timestamp(entry["last"])) for entry in before]


def entries(problem: str) -> list[dict[str, Any]]:
    return evidence.chained(log_folder(problem), PAYLOAD, names.VALIDATOR)


def check(found: Candidate) -> None:
    """See that the log is whole and holds a candidate that says it was looked at.

    Raises:
        VerificationFailed: it is not.
    """
    told = found.figures(names.VALIDATE).keys() & {LOOKS, names.FAULTS}
    if told and all(each["candidate"] != found.id for each in entries(found.model)):
        raise VerificationFailed(f"log looks: does not hold the look that {found.reference} had at its lockbox")
