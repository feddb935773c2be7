"""What happened to a problem: its journal, one line an event, in words."""

from typing import Any

from tasks import journal
from tasks.domain import names
from tasks.domain.errors import UsageError
from tasks.journal import Event

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
    names.APPROVE: "{comment}",
}


def history(problem: str) -> dict[str, Any]:
    """The events of a problem, oldest first: number, at, by, kind, about, said; and the journal's head.

    Raises:
        UsageError: nothing happened to a problem of that name.
        VerificationFailed: the journal is not whole.
    """
    found = journal.whole(problem)
    if not found:
        raise UsageError(f"problem {problem!r}: nothing happened to it yet; see `countersign status`")
    return {"problem": problem, "events": [line(event) for event in found], "head": journal.head(problem)}


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
