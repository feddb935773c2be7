"""Compare what MLflow shows with what was signed, and write every difference into the journal, once."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from tasks import aliases, journal, ledger, verification
from tasks.domain import names
from tasks.domain.errors import CountersignError

FOUND, GONE = "found", "gone"


class Difference(NamedTuple):
    """`model`: the version it was seen at; `what`: the broken item, in the words of `verify`."""

    problem: str
    model: str
    what: str


def compare(problem: str, every: bool = False) -> list[Difference]:
    """Verify the versions of a problem that an alias points to and the newest one; `every`: all there are, candidates
    and released ones."""
    ready = decided(problem)
    versions = [
        f"{problem}/{version.version}"
        for version in ledger.versions(problem)
        if version.tags.get(names.TAG_CANDIDATE) in ready
    ]
    live = names.live(problem)
    released = [f"{live}/{version.version}" for version in ledger.versions(live)]
    references = [*(versions if every else versions[-1:]), *pointed(problem, versions), *(released if every else [])]
    # A released one is nothing without its candidate, so that is named first.
    own = [each for each in dict.fromkeys(references) if each in versions]
    others = [each for each in dict.fromkeys(references) if each not in versions]
    return broken(problem, own) + missing(problem, ready) + broken(problem, others)


def broken(problem: str, references: Iterable[str]) -> list[Difference]:
    return [Difference(problem, reference, fault) for reference in references for fault in faults(reference)]


def missing(problem: str, ready: set[str]) -> list[Difference]:
    """Decided candidates without a registered version."""
    known = {version.tags.get(names.TAG_CANDIDATE) for version in ledger.versions(problem)}
    return [
        Difference(
            problem, problem, f"candidate {candidate}: no version in MLflow is it; the journal says it was decided"
        )
        for candidate in sorted(ready - known)
    ]


def decided(problem: str) -> set[str]:
    """Candidates that the journal says were decided on; of others, the stages may still be under way."""
    return {str(event.content["folder"]) for event in journal.read(problem, names.DECIDE)}


def pointed(problem: str, known: list[str]) -> list[str]:
    """Released versions and `known` candidates that an alias points to, or should."""
    models = (problem, names.live(problem))
    held = {f"{model}/{version}" for model in models for version in ledger.aliases(model).values()}
    signed = {f"{move.model}/{move.version}" for move in aliases.authorised(problem).values()}
    return sorted(each for each in held | signed if each in known or not each.startswith(f"{problem}/"))


def faults(reference: str) -> list[str]:
    try:
        return verification.verify(reference).faults
    except CountersignError as fault:  # such as a version that is gone
        return [str(fault)]


def standing(problem: str) -> set[Difference]:
    """Differences that the journal tells of and that were not gone since."""
    found: set[Difference] = set()
    for event in journal.read(problem, journal.DIFFERENCE):
        one = Difference(problem, str(event.content["model"]), str(event.content["what"]))
        found = found | {one} if event.content["state"] == FOUND else found - {one}
    return found


def record(problem: str, seen: Iterable[Difference]) -> list[dict[str, Any]]:
    """Write into the journal what came and what went since it was last written there; returns these entries.

    Raises:
        VerificationFailed: the journal is not whole; then nothing can be written, and the fault says so.
    """
    now, before = set(seen), standing(problem)
    changed = [(FOUND, each) for each in sorted(now - before)] + [(GONE, each) for each in sorted(before - now)]
    told = [{"state": state, "model": each.model, "what": each.what} for state, each in changed]
    for entry in told:
        journal.append(problem, journal.DIFFERENCE, entry)
    return told
