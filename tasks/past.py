"""What happened to a problem: its journal, one line an event, in words."""

from datetime import datetime
from typing import Any

from tasks import journal, register, reigns
from tasks.domain import names
from tasks.domain.errors import UsageError
from tasks.journal import Event
from tasks.register import Version

# Of each kind of event, what is told of it besides when, who and about which version.
TOLD = {
    journal.PROBLEM: "version of the problem frozen, {trials} trials before it",
    journal.LOOK: "looked at the lockbox {first} to {last}",
    journal.WAIVER: "{figure} borne until {until}: {reason}",
    journal.QUARANTINE: "{action} row {row} of part {part:.8}: {comment}",
    journal.ALIAS: "{alias} of {model} points to version {version}",
    journal.REJECTION: "{comment}",
    journal.CONCERN: "{comment}",
    journal.ANSWER: "to concern {concern}: {comment}",
    journal.DIFFERENCE: "{what}",
    journal.REFUSAL: "data refused: {why}",
    names.APPROVE: "{comment}",
}


def history(problem: str) -> dict[str, Any]:
    """The events of a problem, oldest first (number, at, by, kind, about, said), the versions of the register (number,
    at, said) and the journal's head.

    Raises:
        UsageError: nothing happened to a problem of that name.
        VerificationFailed: the journal is not whole.
    """
    found = journal.whole(problem)
    if not found:
        raise UsageError(f"problem {problem!r}: nothing happened to it yet; see `countersign status`")
    told = [line(event) for event in found]
    return {"problem": problem, "events": told, "register": people(), "head": journal.head(problem)}


def people() -> list[dict[str, Any]]:
    """The versions of the register: number, at, said."""
    return [
        {"number": number, "at": each.at.isoformat(), "said": in_words(each)}
        for number, each in enumerate(register.load().versions, start=1)
    ]


def in_words(version: Version) -> str:
    revoked = [f"{name}'s key revoked from {how.since} on: {how.why}" for name, how in version.people.revocations()]
    kind = "development keys" if version.development else f"{len(version.people.people)} people"
    needed = version.people.approvals
    return "; ".join([f"{kind}, approvals needed: pilot {needed.pilot}, full {needed.full}", *revoked])


def live(problem: str, moment: datetime) -> dict[str, Any]:
    """What was champion at a moment, since when, by whom, and whether its bytes are still those that were approved;
    `version` is None where there was none.

    Raises:
        VerificationFailed: the journal is not whole.
    """
    told = {"problem": problem, "model": names.live(problem), "at": moment.isoformat(timespec="seconds")}
    found = reigns.during(reigns.reigns(problem), moment)
    if found is None:
        return told | {"version": None}
    ended = found.until.isoformat() if found.until else None
    return told | found._asdict() | {"since": found.since.isoformat(), "until": ended}


def line(event: Event) -> dict[str, Any]:
    said = event.content
    about = str(said.get("candidate") or said.get("folder") or "") if event.kind == journal.ALIAS else said.get("model")
    return {
        "number": event.number,
        "at": event.at.isoformat(),
        "by": event.by,
        "kind": event.kind,
        "about": str(about or said.get("folder") or said.get("problem") or ""),
        "said": TOLD.get(event.kind, "signed, MLflow run {run:.8}").format_map(said)
        + (f" (does not count: {event.void})" if event.void else ""),
    }
