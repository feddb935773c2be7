"""Moving an alias: first the signed entry in the journal, then the pointer; doing it again changes nothing."""

from typing import NamedTuple

from securesystemslib.signer import CryptoSigner

from tasks import journal, ledger


class Move(NamedTuple):
    """From this entry on, `alias` of `model` points to `version`."""

    model: str
    alias: str
    version: int
    candidate: str


def moves(problem: str, void: bool = False) -> list[Move]:
    """All moves of a problem's aliases, oldest first; `void`: those too that a revocation made void.

    Raises:
        VerificationFailed: the journal is not whole.
    """
    found = journal.whole(problem) if void else journal.read(problem)
    said = (event.content for event in found if event.kind == journal.ALIAS)
    return [Move(str(each["model"]), str(each["alias"]), int(each["version"]), str(each["candidate"])) for each in said]


def authorised(problem: str, void: bool = False) -> dict[tuple[str, str], Move]:
    """Where each (model, alias) should point."""
    return {(move.model, move.alias): move for move in moves(problem, void)}


def point(problem: str, model: str, alias: str, version: int, candidate: str, by: CryptoSigner | None = None) -> None:
    """Make `alias` of `model` point to `version`, authorised in the problem's journal."""
    last = authorised(problem).get((model, alias))
    if last is None or last.version != version:
        journal.append(problem, journal.ALIAS, Move(model, alias, version, candidate)._asdict(), by)
    if ledger.aliases(model).get(alias) != version:
        ledger.move_alias(model, alias, version)


def unauthorised(problem: str, models: tuple[str, ...], void: bool = False) -> list[str]:
    """Every difference between where the aliases point and where the journal says they should."""
    faults = []
    current = {key: move for key, move in authorised(problem, void).items() if move.model in models}
    held = {(model, alias): version for model in models for alias, version in ledger.aliases(model).items()}
    for model, alias in sorted(held.keys() | current.keys()):
        now, move = held.get((model, alias)), current.get((model, alias))
        if move is None:
            faults.append(f"alias {model}@{alias}: points to version {now}, not authorised by any signed entry")
        elif now is None:
            faults.append(f"alias {model}@{alias}: removed; the journal says version {move.version}")
        elif now != move.version:
            faults.append(
                f"alias {model}@{alias}: points to version {now}, not authorised; "
                f"the journal says version {move.version}"
            )
    return faults


def line(problem: str, model: str, alias: str) -> list[str]:
    """Candidates that an alias has pointed to, oldest first, each once.

    Where it went back to an earlier one, those in between are no part of the line.
    """
    found: list[str] = []
    for move in moves(problem):
        if (move.model, move.alias) == (model, alias):
            kept = found.index(move.candidate) if move.candidate in found else len(found)
            found = [*found[:kept], move.candidate]
    return found
