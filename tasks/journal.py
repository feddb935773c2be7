"""The journal of a problem: every event in one log of signed entries, chained by hash (`tasks/chain.py`).

Whatever is signed is written here first and then takes effect: a crash between the two leaves an entry without its
effect, which the next run or `verify` tells of; never an effect without its entry. An entry says when, under which
version of the register, and what; who, says its signature.
"""

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from securesystemslib.signer import CryptoSigner

from tasks import chain, keys, register
from tasks.chain import Broken, Entry
from tasks.domain import names
from tasks.domain.errors import UsageError, VerificationFailed
from tasks.home import exclusive, home
from tasks.register import Register

KIND = "event"
ANCHORS_VARIABLE = "COUNTERSIGN_ANCHORS"
SLOW_CLOCK = timedelta(minutes=5)  # clocks of machines that share a journal may differ by this much
PROBLEM, LOOK, WAIVER, QUARANTINE, ALIAS = "problem", "look", "waiver", "quarantine", "alias"
REJECTION, CONCERN, ANSWER, REFUSAL, DIFFERENCE = "rejection", "concern", "answer", "refusal", "difference"
# Who may sign which kind of event; a stage's own are signed by the role of the stage, an alias by that of the alias.
SIGNERS: Mapping[str, tuple[str, ...]] = {
    **{step: (role,) for step, role in names.SIGNERS.items()},
    PROBLEM: (names.TRAINER,),
    LOOK: (names.VALIDATOR,),
    WAIVER: (names.APPROVER,),
    QUARANTINE: (names.STEWARD,),
    REJECTION: (names.APPROVER,),
    CONCERN: (names.TRADER, names.APPROVER, names.VALIDATOR, names.AUDITOR),
    ANSWER: (names.APPROVER, names.VALIDATOR, names.TRAINER),
    REFUSAL: (names.STEWARD,),
    DIFFERENCE: (names.VALIDATOR,),
}
ALL = tuple(role for role in names.ROLES if role != names.OWNER)


class Event(NamedTuple):
    """An entry that holds. `at`: when, in UTC; `by`: who signed it; `register`: its version then; `void`: why it does
    not count, where the key was revoked back to that day."""

    entry: Entry
    kind: str
    at: datetime
    by: str
    register: int
    void: str | None

    @property
    def number(self) -> int:
        return self.entry.sequence

    @property
    def content(self) -> dict[str, Any]:
        return self.entry.content

    @property
    def sha256(self) -> str:
        return self.entry.sha256


def folder(problem: str) -> Path:
    return home() / "evidence" / problem / "journal"


def roles_for(kind: str, content: Mapping[str, Any]) -> tuple[str, ...]:
    """Roles that may sign an event; none for what nobody knows."""
    if kind == ALIAS:
        role = names.ALIAS_SIGNERS.get(str(content.get("alias")))
        return (role,) if role else ()
    return SIGNERS.get(kind, ())


def append(problem: str, kind: str, content: Mapping[str, Any], by: CryptoSigner | None = None) -> Event:
    """Sign an event into the journal; `by`: by default the service of the first role that may.

    Raises:
        VerificationFailed: the journal is not whole, or the key may not sign this; nothing is added.
        UsageError: the journal cannot be written, or the clock is behind its last entry.
    """
    with held(problem):
        return add(problem, kind, content, by)


def held(problem: str) -> AbstractContextManager[int]:
    """Hold the journal, to look and add in one go."""
    return exclusive(f"{problem}-journal", wait=True)


def add(problem: str, kind: str, content: Mapping[str, Any], by: CryptoSigner | None = None) -> Event:
    """`append` for who holds the journal."""
    roles = roles_for(kind, content)
    by = by or keys.signer(roles[0])
    known, after = register.load(), whole(problem)
    now = moment(after[-1].at if after else None)
    if why := known.refuses(keys.public_of(by.public_key), roles, now.date(), known.number):
        raise VerificationFailed(f"journal: an event of kind {kind} is for the {' or '.join(roles)} to sign: key {why}")
    said = {"kind": kind, "at": now.isoformat(), "register": known.number}
    try:
        made = chain.append(folder(problem), KIND, dict(content) | said, by, [each.entry for each in after])
    except OSError as fault:
        raise UsageError(
            f"{folder(problem)}: cannot be written ({fault.strerror}); events are recorded there"
        ) from None
    anchor(problem, made)
    return event(made, known)


def moment(last: datetime | None) -> datetime:
    """Now, never before the last entry.

    Raises:
        UsageError: the clock is behind the last entry by more than clocks differ.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    if last is None or now >= last:
        return now
    if now < last - SLOW_CLOCK:
        raise UsageError(f"clock: says {now}, the journal's last entry is from {last}; set the clock")
    return last


def read(problem: str, *kinds: str) -> list[Event]:
    """The events of a problem that count, oldest first; those of some kinds where these are given.

    Raises:
        VerificationFailed: naming the first entry that does not hold.
    """
    return [each for each in whole(problem) if each.void is None and (not kinds or each.kind in kinds)]


def whole(problem: str) -> list[Event]:
    """All events of a problem, oldest first, those that were made void by a revocation too.

    Raises:
        VerificationFailed: naming the first entry that does not hold.
    """
    known = register.load()
    try:
        found = [event(entry, known) for entry in chain.read(folder(problem), KIND, known.publics(*ALL))]
    except Broken as broken:
        raise VerificationFailed(f"journal: {broken}") from None
    except OSError as fault:
        raise UsageError(f"{folder(problem)}: cannot be read ({fault.strerror}); events are recorded there") from None
    last: Event | None = None
    for each in found:
        if why := refused(each, last, known):
            raise VerificationFailed(f"journal: entry {each.number:06d}.json ({each.kind}) {why}")
        last = each
    return found


def event(entry: Entry, known: Register) -> Event:
    said = entry.content
    try:
        at, number = datetime.fromisoformat(said["at"]), int(said["register"])
        by = known.person(entry.public, number)
    except (KeyError, ValueError, TypeError, IndexError):
        raise VerificationFailed(f"journal: entry {entry.sequence:06d}.json is not an event") from None
    return Event(entry, str(said.get("kind")), at, by, number, known.voids(entry.public, at.date()))


def refused(found: Event, last: Event | None, known: Register) -> str | None:
    """Why an event does not count, in words."""
    if last and (found.at < last.at or found.register < last.register):
        return "is older than the one before it"
    roles = roles_for(found.kind, found.content)
    if not roles:
        return "is of a kind that nobody may sign"
    why = known.refuses(found.entry.public, roles, found.at.date(), found.register)
    return f"is for the {' or '.join(roles)} to sign: key {why}" if why else None


def head(problem: str) -> str:
    """`number:sha256` of the last entry, or "0" of an empty journal; a signature carries the one of its time."""
    found = whole(problem)
    return f"{found[-1].number}:{found[-1].sha256}" if found else "0"


# --- heads kept outside -------------------------------------------------------------------------------------


def anchors() -> Path | None:
    """A file outside the state folder (another disk, another machine's share) that keeps every head."""
    named = os.environ.get(ANCHORS_VARIABLE)
    return Path(named) if named else None


def anchor(problem: str, made: Entry) -> None:
    path = anchors()
    if path is None:
        return
    try:
        with path.open("a") as kept:
            kept.write(f"{problem} {made.sequence} {made.sha256}\n")
    except OSError as fault:
        raise UsageError(
            f"{path}: cannot be written ({fault.strerror}); {ANCHORS_VARIABLE} says that heads are kept there"
        ) from None


def anchor_faults(problem: str) -> list[str]:
    """What a journal lacks of the heads that were kept outside."""
    path = anchors()
    if path is None:
        return []
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except OSError as fault:
        return [f"anchors {path}: cannot be read ({fault.strerror})"]
    found = {str(each.number): each.sha256 for each in whole(problem)}
    return [
        f"journal: entry {int(number):06d}.json is not the one whose hash was kept outside ({path})"
        for name, number, digest in (line for line in lines if len(line) == 3)
        if name == problem and found.get(number) != digest
    ][:1]
