"""What the steward decided about quarantined rows: signed, numbered and chained, one log a problem.

A row is named by the part it came in (the first 16 letters of its SHA-256) and its place there, for ever the same
row. `release` lets it pass all rules from the next collection on; `discard` says that it was looked at and stays out.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl
from securesystemslib.signer import CryptoSigner

from tasks import evidence, lake, snapshots
from tasks.domain import names
from tasks.domain.errors import UsageError
from tasks.home import as_json, sha256

RELEASE, DISCARD = "release", "discard"
PAYLOAD = "application/vnd.countersign.quarantine+json"


class Decision(NamedTuple):
    """One signed entry about one row."""

    sequence: int
    previous: str
    action: str
    part: str
    row: int
    rule: str
    comment: str


def log_folder(problem: str) -> Path:
    return evidence.problem_folder(problem) / "quarantine"


def decisions(problem: str) -> dict[tuple[str, int], Decision]:
    """The last decision about each row (part, row).

    Raises:
        VerificationFailed: the log is not whole.
    """
    return {
        (entry.part, entry.row): entry for entry in map(as_decision, evidence.chained(log_folder(problem), PAYLOAD))
    }


def as_decision(fields: dict[str, object]) -> Decision:
    return Decision(**fields)  # type: ignore[arg-type]


def sha256_of_log(problem: str) -> str:
    """Digest of all decisions so far: another snapshot follows from others."""
    made = decisions(problem)
    return sha256(as_json(sorted((*key, decision.action) for key, decision in made.items())))


def decide(problem: str, action: str, ids: Sequence[str], comment: str, by: CryptoSigner | None) -> list[str]:
    """Sign a decision about quarantined rows of the current snapshot, each named `PART:ROW` as `list` shows it.

    Raises:
        UsageError: no such row is in quarantine, no reason is given, or the key is not the steward's.
    """
    if not comment.strip():
        raise UsageError("--comment: say why; it is signed with the decision")
    by = by or evidence.signer(names.STEWARD)
    if by.public_key.keyid != evidence.public_key(names.STEWARD)["keyid"]:
        raise UsageError("--key: not the steward's key; only the steward decides about quarantined rows")
    listed = {(part, row): rule for part, row, rule in quarantine(problem).select("part", "row", "rule").rows()}
    keys = [find(name, listed, problem) for name in ids]
    for part, row in keys:
        content = {"action": action, "part": part, "row": row, "rule": listed[part, row], "comment": comment.strip()}
        evidence.append_chained(log_folder(problem), PAYLOAD, content, by)
    return [f"{part}:{row}" for part, row in keys]


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
