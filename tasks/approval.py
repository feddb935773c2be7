"""Approve, reject, doubt, answer: what people sign about an accepted version. Enough approvals make it champion."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from securesystemslib.signer import CryptoSigner

from tasks import aliases, approvals, candidates, evidence, journal, keys, ledger, register, verification
from tasks.candidates import Candidate
from tasks.domain import names
from tasks.domain.approvals import Standing
from tasks.domain.errors import UsageError, VerificationFailed
from tasks.domain.people import conflicts
from tasks.home import as_json, exclusive, write_whole
from tasks.recording import Record, recorded, sealed


def approve(reference: str, role: str, key: Path, comment: str) -> dict[str, Any]:
    """Sign an accepted candidate with an approver's key; the last approval that its tier needs makes it champion.

    Everything is verified first, and the alias moves only after the signature is stored. Doing it again signs nothing
    twice, and finishes what was broken off.

    Returns:
        model, person, said (where it stands), champion (its released version; None while others are awaited), waivers.

    Raises:
        UsageError: no such version, key or role, or an empty comment.
        VerificationFailed: the key may not approve, the evidence is not whole, the candidate was refused or rejected, a
            concern is open, or the person had another part in this version.
    """
    require_words(comment, "why this version may trade")
    if role != names.APPROVER:
        raise UsageError(f"--role {role}: expected {names.APPROVER}, the only role that may approve")
    signer = keys.signer_from(key)
    person = register.require(keys.public_of(signer.public_key), names.APPROVER, key, "approve")
    found = candidates.candidate(*names.split_reference(reference))
    with exclusive(f"{found.model}-approval", wait=True):
        require_approvable(found, person)
        stands = approvals.standing(found)
        if person not in {each.person for each in stands.counted}:
            sign(found, signer, person, comment)
            stands = approvals.standing(found)
        champion = release(found, signer) if stands.enough else None
        candidates.describe(found)
        return {
            "model": reference,
            "person": person,
            "said": approvals.standing(found).said,
            "champion": champion,
            "waivers": found.waivers(),
        }


def reject(reference: str, key: Path, comment: str) -> dict[str, Any]:
    """Sign that a version is not to trade; only whoever rejected it can take that back, by approving it.

    Raises:
        UsageError: no such version or key, nothing decided yet, or an empty comment.
        VerificationFailed: the key may not reject.
    """
    require_words(comment, "why this version may not trade")
    return told(reference, names.APPROVER, key, "reject", journal.REJECTION, {"comment": comment.strip()})


def doubt(reference: str, role: str, key: Path, comment: str) -> dict[str, Any]:
    """Sign a concern about a version; while it is open, nobody can approve it.

    Raises:
        UsageError: no such version or key, nothing decided yet, or an empty comment.
        VerificationFailed: the key is not of that role.
    """
    require_words(comment, "what the concern is")
    content = {"comment": comment.strip(), "role": role}
    return told(reference, role, key, "raise a concern as such", journal.CONCERN, content)


def answer(reference: str, concern: int, role: str, key: Path, comment: str) -> dict[str, Any]:
    """Sign the answer to a concern, which closes it.

    Raises:
        UsageError: no such version, key or concern, or an empty comment.
        VerificationFailed: the key is not of that role, or is that of whoever raised the concern.
    """
    require_words(comment, "what the answer is")
    found = decided(reference)
    raised = {each.number: each for each in approvals.concerns(found)}
    if concern not in raised:
        said = ", ".join(map(str, raised)) or "none"
        raise UsageError(f"concern {concern}: not raised about {reference}; those that were: {said}")
    public = keys.public_of(keys.signer_from(key).public_key)
    if register.require(public, role, key, "answer as such") == raised[concern].person:
        raise VerificationFailed(f"concern {concern}: {raised[concern].person} raised it; somebody else must answer it")
    content = {"concern": concern, "comment": comment.strip(), "role": role}
    return told(reference, role, key, "answer as such", journal.ANSWER, content)


def told(reference: str, role: str, key: Path, deed: str, kind: str, content: dict[str, Any]) -> dict[str, Any]:
    """Sign an event about a decided version; returns where it stands then."""
    found = decided(reference)
    signer = keys.signer_from(key)
    register.require(keys.public_of(signer.public_key), role, key, deed)
    event = journal.append(found.model, kind, content | {"candidate": found.id, "model": reference}, signer)
    return {"model": reference, "person": event.by, "entry": event.number, "said": approvals.standing(found).said}


def decided(reference: str) -> Candidate:
    found = candidates.candidate(*names.split_reference(reference))
    if not found.is_done(names.DECIDE):
        raise UsageError(f"{reference}: not decided yet; run `countersign promote {reference}` first")
    return found


def require_words(comment: str, about: str) -> None:
    if not comment.strip():
        raise UsageError(f"--comment: say in words {about}")


def require_approvable(found: Candidate, person: str) -> None:
    checked = verification.verify(found.reference, approving=True)
    if checked.faults:
        raise VerificationFailed(f"{found.reference}: cannot be approved: {'; '.join(checked.faults)}")
    if why := refusal(found, person):
        raise VerificationFailed(f"{found.reference}: cannot be approved: {why}")


def refusal(found: Candidate, person: str) -> str | None:
    """Why a version whose evidence is whole cannot be approved by a person, or None."""
    decision = found.decision()
    if not decision["accepted"]:
        return str(decision["summary"])
    if (tier := decision.get("tier", "full")) not in evidence.TIERS:
        return f"its gates are those of tier {tier}; only those of {' and '.join(evidence.TIERS)} are approved"
    if ended := [each for each in found.waivers() if date.fromisoformat(each["until"]) < datetime.now(UTC).date()]:
        return "waivers have ended: " + ", ".join(f"{each['figure']} on {each['until']}" for each in ended)
    if said := conflicts(approvals.signed_by(found), person, names.APPROVER):
        return said
    obstacles = others(approvals.standing(found), person)
    return "; ".join(obstacles) or None


def others(stands: Standing, person: str) -> list[str]:
    """What keeps it from being approved, but for the person's own rejection, which an approval takes back."""
    mine = [each for each in stands.rejections if each.person != person]
    return stands._replace(rejections=mine).obstacles


def sign(found: Candidate, signer: CryptoSigner, person: str, comment: str) -> None:
    """Store the approval and sign it. What all approvers say is a file; what one says besides is in the signature."""
    snapshot = found.snapshot()
    decided_on = evidence.read_statement(found.folder, names.DECIDE).products[approvals.DECIDED]
    content = {
        "model": found.reference,
        "candidate": found.id,
        "decision": "approved",
        "decision_sha256": decided_on,
        "waivers": found.waivers(),
    }
    tags = {names.TAG_CANDIDATE: found.id, names.TAG_PERSON: person}
    with recorded(found.model, names.APPROVE, snapshot.as_of, snapshot.key, tags) as record:
        write_whole(record.folder / names.APPROVAL, as_json(content))
    retire_void(found)
    evidence.open_release(found.folder, found.decision().get("tier", "full"))
    statement = evidence.Statement(
        found.signed_model() | {approvals.DECIDED: decided_on},
        record.digests,
        record.run.id,
        found.reference,
        {"person": person, "role": names.APPROVER, "comment": comment.strip(), **seal(record)},
    )
    evidence.sign_link(found.folder, names.APPROVE, statement, signer)


def seal(record: Record) -> dict[str, str]:
    """What MLflow shows of an approver's own run, as the signature names it."""
    return {names.RUN: sealed(record)[f"{names.APPROVE}/{names.RUN}"]}


def retire_void(found: Candidate) -> None:
    """Approvals that no longer count must not be found among those that do."""
    counted = {each.number for each in approvals.standing(found).counted}
    kept = {event.content["link"] for event in approvals.about(found, names.APPROVE) if event.number in counted}
    for path in evidence.links(found.folder, names.APPROVE):
        if path.name not in kept:
            evidence.retire(found.folder, names.APPROVE, path)


def release(found: Candidate, signer: CryptoSigner) -> int:
    """Make a version with all its approvals champion, once in-toto says that they are there."""
    if faults := evidence.chain_faults(found.folder, evidence.RELEASE_LAYOUT):
        raise VerificationFailed(f"{found.reference}: cannot be released: {'; '.join(faults)}")
    released = names.live(found.model)
    live = ledger.release_copy(found.model, found.version, released, found.id)
    aliases.point(found.model, released, names.CHAMPION, live, found.id, by=signer)
    return live
