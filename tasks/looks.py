"""Looks at the lockbox, in the problem's journal. What was seen once is not unseen again.

A candidate's look is written down before its scores meet the lockbox, so that a validation that was broken off counts
as well. Each look leaves less of the permitted error to the next (`domain.spending`).
"""

from itertools import takewhile

import pandas as pd

from tasks import journal, lake
from tasks.candidates import Candidate
from tasks.domain import names
from tasks.domain.errors import VerificationFailed
from tasks.domain.spending import LOOKS, Look
from tasks.journal import Event


def record(found: Candidate) -> list[Look]:
    """Write down that a candidate is about to be judged; returns the looks before it, of whatever candidates.

    Raises:
        VerificationFailed: the journal is not whole; nothing is added to it.
        UsageError: the journal cannot be written.
    """
    snapshot = found.snapshot()
    first, last = str(snapshot.manifest["lockbox_starts"]), snapshot.as_of
    with journal.held(found.model):
        if all(event.content["candidate"] != found.id for event in entries(found.model)):
            seen = {"lockbox": snapshot.digest(lake.LOCKBOX), "first": first, "last": last}
            journal.add(found.model, journal.LOOK, {"candidate": found.id, "model": found.reference} | seen)
    return earlier(found)


def earlier(found: Candidate) -> list[Look]:
    """Looks that were written down before that of a candidate."""
    before = takewhile(lambda event: event.content["candidate"] != found.id, entries(found.model))
    return [Look(pd.Timestamp(event.content["first"]), pd.Timestamp(event.content["last"])) for event in before]


def entries(problem: str) -> list[Event]:
    return journal.read(problem, journal.LOOK)


def check(found: Candidate) -> None:
    """See that the journal is whole and holds a candidate that says it was looked at.

    Raises:
        VerificationFailed: it is not.
    """
    told = found.figures(names.VALIDATE).keys() & {LOOKS, names.FAULTS}
    if told and all(each.content["candidate"] != found.id for each in entries(found.model)):
        raise VerificationFailed(f"journal: does not hold the look that {found.reference} had at its lockbox")
