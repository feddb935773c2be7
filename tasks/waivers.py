"""Waivers: a person's signed word that one candidate's failure of one gate is borne until a date.

An approver signs it into the problem's journal. A decision says how many waivers there were when it was made, so that
none given afterwards is read into it.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any, NamedTuple

from securesystemslib.signer import CryptoSigner

from tasks import journal
from tasks.candidates import Candidate
from tasks.domain.errors import VerificationFailed
from tasks.domain.gates import Waived, Waiver
from tasks.journal import Event

LOG, ON = "waiver_entries", "decided_on"  # of a decision


class Standing(NamedTuple):
    """What a decision knew of waivers. `entries`: of the problem's journal; `waived`: this candidate's."""

    entries: int
    waived: Waived

    @property
    def told(self) -> dict[str, Any]:
        """As the decision tells it."""
        return {LOG: self.entries, ON: self.waived.on.isoformat()}


def entries(problem: str) -> list[Event]:
    return journal.read(problem, journal.WAIVER)


def append(found: Candidate, waiver: Waiver, by: CryptoSigner) -> Waiver:
    """Sign a waiver into the journal; returns it with its number there.

    Raises:
        VerificationFailed: the journal is not whole, or the key may not waive; nothing is added.
        UsageError: the journal cannot be written.
    """
    about = {"candidate": found.id, "model": found.reference}
    content = about | waiver.model_dump(mode="json", exclude={"entry"})
    return waiver.model_copy(update={"entry": journal.append(found.model, journal.WAIVER, content, by).number})


def standing(found: Candidate, on: date) -> Standing:
    """All that is known of a candidate's waivers for a decision made on a day.

    Raises:
        VerificationFailed: the journal is not whole.
    """
    known = entries(found.model)
    return Standing(len(known), Waived(of_candidate(found, known), on))


def standing_then(found: Candidate, decision: dict[str, Any]) -> Standing:
    """What a decision knew when it was made; one from before there were waivers knew none.

    Raises:
        VerificationFailed: the journal is not whole, or has fewer waivers than it had then.
    """
    count = int(decision.get(LOG, 0))
    known = entries(found.model)
    if len(known) < count:
        raise VerificationFailed(
            f"journal: has {len(known)} waivers, the decision on {found.reference} was made with {count}"
        )
    return Standing(
        count, Waived(of_candidate(found, known[:count]), date.fromisoformat(decision.get(ON, str(date.max))))
    )


def of_candidate(found: Candidate, known: Sequence[Event]) -> list[Waiver]:
    return [
        Waiver(entry=each.number, **{name: each.content[name] for name in ("figure", "until", "by", "reason")})
        for each in known
        if each.content["candidate"] == found.id
    ]


def given_since(found: Candidate, decision: dict[str, Any]) -> bool:
    """Whether a candidate was given a waiver that a decision on it did not know."""
    return bool(of_candidate(found, entries(found.model)[int(decision.get(LOG, 0)) :]))
