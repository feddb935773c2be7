"""Report: the page of a decision, compared with its signature, and the audit report, where a person can open them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks import audit_page, candidates, evidence, ledger, verdict_page, verification
from tasks.audit import Audit, audit
from tasks.domain import names
from tasks.domain.errors import UsageError, VerificationFailed
from tasks.home import home, write_whole


def report(reference: str, out: Path | None, folder: Path | None = None) -> dict[str, Any]:
    """The signed decision on a version, where its page lies, and an audit report (HTML and PDF) made now.

    Args:
        out: where a copy of the decision's page goes. One from before there were pages has one made of signed
            files; it is not signed itself.
        folder: where the audit report goes; by default into the state folder.

    Raises:
        UsageError: no such version, nothing decided yet, or a page cannot be written.
        VerificationFailed: the version does not verify; nothing is reported of what cannot be trusted.
    """
    model, version = names.split_reference(reference)
    found = candidates.candidate(model, version)
    if not found.is_done(names.DECIDE):
        raise UsageError(f"{reference}: not decided yet; run `countersign promote {reference}` first")
    checked = verification.verify(reference)
    if checked.faults:
        raise VerificationFailed(f"{reference}: {'; '.join(checked.faults)}; nothing is reported of it")
    decision, statement = found.decision(), evidence.read_statement(found.folder, names.DECIDE)
    signed, made = f"{names.DECIDE}/{names.VERDICT_PAGE}" in statement.products, home() / "reports" / found.id
    if signed:
        content, lies = found.file(names.DECIDE, names.VERDICT_PAGE), ledger.run_folder(statement.run_id)
    else:
        content, lies = verdict_page.page(found, decision, statement.run_id, is_signed=False).encode(), made
    place = out or lies / names.VERDICT_PAGE
    if out or not signed:
        write(place, content, "--out")
    audited = audit(found, checked, datetime.now(UTC))
    return decision | {
        "in_plain_words": verdict_page.words(found, decision)._asdict(),
        "page": str(place.resolve()),
        "signed": signed,
        "audit": written(audited, folder or made),
        "answers": {each.question: list(each.said) for each in audited.answers},
    }


def written(audited: Audit, folder: Path) -> Mapping[str, str]:
    """Write the audit report; returns its files by their kind."""
    places = {kind: folder / f"audit.{kind}" for kind in ("html", "pdf")}
    write(places["html"], audit_page.html(audited), "--audit")
    write(places["pdf"], audit_page.pdf(audited), "--audit")
    return {kind: str(place.resolve()) for kind, place in places.items()}


def write(place: Path, content: bytes, option: str) -> None:
    try:
        write_whole(place, content)
    except OSError as fault:
        raise UsageError(f"{place}: cannot be written ({fault.strerror}); give another place with {option}") from None
