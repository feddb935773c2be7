"""Waivers: a person's signed word that one candidate's failure of one gate is borne until a date.

Signed by the approver, numbered and chained, one log a problem. A decision says how many entries the log had when it
was made, so that one that was left out later is seen, and that none given afterwards is read into it.
"""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from securesystemslib.signer import CryptoSigner

from tasks import evidence, freeze
from tasks.candidates import Candidate
from tasks.domain import names
from tasks.domain.errors import UsageError, VerificationFailed
from tasks.domain.gates import Waived, Waiver
from tasks.home import exclusive

PAYLOAD = "application/vnd.countersign.waiver+json"
LOG, ON = "waiver_entries", "decided_on"  # of a decision


class Standing(NamedTuple):
    """What a decision knew of waivers. `entries`: of the problem's log; `waived`: this candidate's."""

    entries: int
    waived: Waived

    @property
    def told(self) -> dict[str, Any]:
        """As the decision tells it."""
        return {LOG: self.entries, ON: self.waived.on.isoformat()}


def log_folder(problem: str) -> Path:
    return evidence.problem_folder(problem) / "waivers"


def entries(problem: str) -> list[dict[str, Any]]:
    return evidence.chained(log_folder(problem), PAYLOAD, names.APPROVER)


def append(found: Candidate, waiver: Waiver, by: CryptoSigner) -> Waiver:
    """Sign a waiver into the log; returns it with its number there.

    Raises:
        VerificationFailed: the log is not whole; nothing is added to it.
        UsageError: the log cannot be written.
    """
    folder = log_folder(found.model)
    about = {"candidate": found.id, "model": found.reference, "at": freeze.now(), "keyid": by.public_key.keyid}
    content = about | waiver.model_dump(mode="json", exclude={"entry"})
    try:
        with exclusive(f"{found.model}-waivers", wait=True):
            evidence.append_chained(folder, PAYLOAD, content, by, names.APPROVER)
            return waiver.model_copy(update={"entry": len(entries(found.model))})
    except OSError as fault:
        raise UsageError(f"{folder}: cannot be written ({fault.strerror}); waivers are recorded there") from None


def standing(found: Candidate, on: date) -> Standing:
    """All that is known of a candidate's waivers for a decision made on a day.

    Raises:
        VerificationFailed: the log is not whole.
    """
    known = entries(found.model)
    return Standing(len(known), Waived(of_candidate(found, known), on))


def standing_then(found: Candidate, decision: dict[str, Any]) -> Standing:
    """What a decision knew when it was made; one from before there were waivers knew none.

    Raises:
        VerificationFailed: the log is not whole, or shorter than it was then.
    """
    count = int(decision.get(LOG, 0))
    known = entries(found.model)
    if len(known) < count:
        raise VerificationFailed(
            f"log waivers: has {len(known)} entries, the decision on {found.reference} was made with {count}"
        )
    return Standing(
        count, Waived(of_candidate(found, known[:count]), date.fromisoformat(decision.get(ON, str(date.max))))
    )


def of_candidate(found: Candidate, known: Sequence[dict[str, Any]]) -> list[Waiver]:
    return [
        Waiver(entry=each["sequence"], **{name: each[name] for name in ("figure", "until", "by", "reason")})
        for each in known
        if each["candidate"] == found.id
    ]


def given_since(found: Candidate, decision: dict[str, Any]) -> bool:
    """Whether a candidate was given a waiver that a decision on it did not know."""
    return any(each.entry > int(decision.get(LOG, 0)) for each in of_candidate(found, entries(found.model)))
