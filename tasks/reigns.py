"""Which version was champion from when until when, by the journal, and whether its bytes are still those approved."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from tasks import candidates, journal, ledger
from tasks.domain import names
from tasks.domain.errors import CountersignError
from tasks.home import digests_apart


class Reign(NamedTuple):
    """`until`: None while it lasts; `entry`: of the journal that began it; `bytes_now`: what a comparison of the
    registered files with those signed says."""

    version: int
    candidate: str
    since: datetime
    until: datetime | None
    by: str
    entry: int
    bytes_now: str


def reigns(problem: str) -> list[Reign]:
    """All champions of a problem, oldest first.

    Raises:
        VerificationFailed: the journal is not whole.
    """
    live = names.live(problem)
    moves = [
        event
        for event in journal.read(problem, journal.ALIAS)
        if (event.content["model"], event.content["alias"]) == (live, names.CHAMPION)
    ]
    ends = [event.at for event in moves[1:]]
    return [
        Reign(
            int(event.content["version"]),
            str(event.content["candidate"]),
            event.at,
            until,
            event.by,
            event.number,
            compared(problem, int(event.content["version"]), str(event.content["candidate"])),
        )
        for event, until in zip(moves, [*ends, None][: len(moves)], strict=True)
    ]


def compared(problem: str, version: int, candidate: str) -> str:
    """Whether a released version has the bytes that its trainer signed and its approvers named."""
    try:
        signed = candidates.Candidate(problem, version, candidate).signed_model()
        faults = digests_apart(signed, ledger.model_digests(names.live(problem), version))
    except CountersignError as fault:  # such as a version that is gone
        return f"no: {fault}"
    return "; ".join(["no", *faults]) if faults else "yes"


def rollbacks(found: Sequence[Reign]) -> list[Reign]:
    """Those by which an earlier champion came back."""
    return [each for at, each in enumerate(found) if any(each.candidate == other.candidate for other in found[:at])]


def during(found: Sequence[Reign], moment: datetime) -> Reign | None:
    """The champion at a moment."""
    return next((each for each in reversed(found) if each.since <= moment), None)
