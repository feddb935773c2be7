"""Moving an alias: first the signed entry, then the pointer; doing it again changes nothing."""

from securesystemslib.signer import CryptoSigner

from tasks import evidence, ledger


def point(problem: str, model: str, alias: str, version: int, candidate: str, by: CryptoSigner | None = None) -> None:
    """Make `alias` of `model` point to `version`, authorised in the problem's alias log."""
    current, _ = evidence.authorised_aliases(problem)
    authorised = current.get((model, alias))
    if authorised is None or authorised.version != version:
        evidence.sign_alias(problem, model, alias, version, candidate, by)
    if ledger.aliases(model).get(alias) != version:
        ledger.move_alias(model, alias, version)


def unauthorised(problem: str, models: tuple[str, ...]) -> list[str]:
    """Every difference between where the aliases point and where the signed log says they should."""
    log, faults = evidence.authorised_aliases(problem)
    current = {key: move for key, move in log.items() if move.model in models}
    held = {(model, alias): version for model in models for alias, version in ledger.aliases(model).items()}
    for model, alias in sorted(held.keys() | current.keys()):
        now, move = held.get((model, alias)), current.get((model, alias))
        if move is None:
            faults.append(f"alias {model}@{alias}: points to version {now}, not authorised by any signed entry")
        elif now is None:
            faults.append(f"alias {model}@{alias}: removed; the signed log says version {move.version}")
        elif now != move.version:
            faults.append(
                f"alias {model}@{alias}: points to version {now}, not authorised; "
                f"the signed log says version {move.version}"
            )
    return faults


def line(problem: str, model: str, alias: str) -> list[str]:
    """Candidates that an alias has pointed to by the signed log, oldest first, each once.

    Where it went back to an earlier one, those in between are no part of the line. Only what is signed counts; whether
    the log is whole is `unauthorised`'s to say.
    """
    moves = (evidence.read_move(path.read_bytes()) for path in sorted(evidence.alias_log(problem).glob("*.json")))
    found: list[str] = []
    for move in moves:
        if move is not None and (move.model, move.alias) == (model, alias):
            kept = found.index(move.candidate) if move.candidate in found else len(found)
            found = [*found[:kept], move.candidate]
    return found
