"""Report: the page of a decision, compared with its signature, where a person can open it."""

from pathlib import Path
from typing import Any

from tasks import candidates, evidence, ledger, verdict_page
from tasks.candidates import Candidate
from tasks.domain import names
from tasks.domain.errors import UsageError
from tasks.home import home, write_whole


def report(reference: str, out: Path | None) -> dict[str, Any]:
    """The signed decision on a version, and where its page lies; a copy goes to `out` where that is given.

    A decision from before there were pages has one made of its signed files; it is not signed itself.

    Raises:
        UsageError: no such version, nothing decided yet, or the page cannot be written.
        VerificationFailed: a file is not what was signed.
    """
    model, version = ledger.split_reference(reference)
    found = candidates.candidate(model, version)
    if not found.is_done(names.DECIDE):
        raise UsageError(f"{reference}: not decided yet; run `countersign promote {reference}` first")
    decision, statement = found.decision(), evidence.read_statement(found.folder, names.DECIDE)
    signed = f"{names.DECIDE}/{names.VERDICT_PAGE}" in statement.products
    if signed:
        content, lies = found.file(names.DECIDE, names.VERDICT_PAGE), ledger.run_folder(statement.run_id)
    else:
        content, lies = (
            verdict_page.page(found, decision, statement.run_id, is_signed=False).encode(),
            home() / "reports" / found.id,
        )
    place = out or lies / names.VERDICT_PAGE
    if out or not signed:
        write(place, content)
    return decision | {"in_plain_words": words(found, decision), "page": str(place.resolve()), "signed": signed}


def words(found: Candidate, decision: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] | None = decision.get("in_plain_words")
    return told or verdict_page.plain(found, decision)._asdict()


def write(place: Path, content: bytes) -> None:
    try:
        write_whole(place, content)
    except OSError as fault:
        raise UsageError(f"{place}: cannot be written ({fault.strerror}); give another file with --out") from None
