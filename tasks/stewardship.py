"""What the steward decided about quarantined rows, in the problem's journal.

A row is named by the part it came in (the first 16 letters of its SHA-256) and its place there, for ever the same
row. `release` lets it pass all rules from the next collection on; `discard` says that it was looked at and stays out.
"""

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl
from securesystemslib.signer import CryptoSigner

from tasks import journal, lake, snapshots
from tasks.domain.errors import UsageError
from tasks.home import as_json, sha256

RELEASE, DISCARD = "release", "discard"


class Decision(NamedTuple):
    """One signed word about one row."""

    action: str
    part: str
    row: int
    rule: str
    comment: str


def decisions(problem: str) -> dict[tuple[str, int], Decision]:
    """The last decision about each row (part, row).

    Raises:
        VerificationFailed: the journal is not whole.
    """
    said = (event.content for event in journal.read(problem, journal.QUARANTINE))
    made = (Decision(**{name: each[name] for name in Decision._fields}) for each in said)
    return {(decision.part, decision.row): decision for decision in made}


def sha256_of_log(problem: str) -> str:
    """Digest of all decisions so far: another snapshot follows from others."""
    made = decisions(problem)
    return sha256(as_json(sorted((*key, decision.action) for key, decision in made.items())))


def decide(problem: str, action: str, ids: Sequence[str], comment: str, by: CryptoSigner | None) -> list[str]:
    """Sign a decision about quarantined rows of the current snapshot, each named `PART:ROW` as `list` shows it.

    Raises:
        UsageError: no such row is in quarantine, or no reason is given.
        VerificationFailed: the key is not a steward's.
    """
    if not comment.strip():
        raise UsageError("--comment: say why; it is signed with the decision")
    listed = {(part, row): rule for part, row, rule in quarantine(problem).select("part", "row", "rule").rows()}
    rows = [find(name, listed, problem) for name in ids]
    for part, row in rows:
        decision = Decision(action, part, row, listed[part, row], comment.strip())
        journal.append(problem, journal.QUARANTINE, decision._asdict(), by)
    return [f"{part}:{row}" for part, row in rows]


def find(name: str, listed: dict[tuple[str, int], str], problem: str) -> tuple[str, int]:
    part, _, row = name.partition(":")
    found = [key for key in listed if key[0].startswith(part) and part and str(key[1]) == row]
    if len(found) != 1:
        raise UsageError(f"{name}: not in quarantine; see `countersign quarantine list {problem}`")
    return found[0]


def quarantine(problem: str) -> pl.DataFrame:
    """The quarantined rows of the current snapshot, compared with its signed digest."""
    return snapshots.current(problem).load(lake.QUARANTINE)


def with_decisions(problem: str) -> pl.DataFrame:
    """The quarantine with what was decided so far."""
    rows = quarantine(problem)
    made = decisions(problem)
    told = [made[key].action if key in made else None for key in rows.select("part", "row").rows()]
    return rows.with_columns(decision=pl.Series(told, dtype=pl.String))


def released(problem: str, shas: Sequence[str], parts: pl.Series) -> frozenset[int]:
    """Places of released rows in what was delivered, of which `parts` numbers the part of each row among `shas`."""
    made = [key for key, decision in decisions(problem).items() if decision.action == RELEASE]
    if not made:
        return frozenset()
    numbers = {sha[:16]: number for number, sha in enumerate(shas)}
    places: set[int] = set()
    for part, row in made:
        if part in numbers:
            own = (parts == numbers[part]).arg_true()
            places |= {int(own[row])} if row < len(own) else set()
    return frozenset(places)
