"""Approve: a person with the approver's key makes an accepted version champion."""

import getpass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from securesystemslib.signer import CryptoSigner

from tasks import aliases, candidates, evidence, ledger, verification
from tasks.candidates import Candidate
from tasks.domain import names
from tasks.domain.errors import UsageError, VerificationFailed
from tasks.home import as_json, write_whole
from tasks.recording import attest, recorded


def approve(reference: str, role: str, key: Path, comment: str) -> dict[str, Any]:
    """Sign an accepted candidate with an approver's key and make it champion; returns its released version, and the
    waivers that its acceptance rests on.

    Everything is verified first, and the alias moves only after the signature is stored.

    Raises:
        UsageError: no such version, key or role, or an empty comment.
        VerificationFailed: the key may not approve, the evidence is not whole, or the candidate was refused.
    """
    if not comment.strip():
        raise UsageError("--comment: say in words why this version may trade")
    if role != names.APPROVER:
        raise UsageError(f"--role {role}: expected {names.APPROVER}, the only role that may approve")
    signer = evidence.signer_from(key)
    evidence.require_role(names.APPROVER, signer.public_key.keyid, key, "approve")
    model, version = ledger.split_reference(reference)
    found = candidates.candidate(model, version)
    require_accepted(found)
    if not found.is_done(names.APPROVE):
        sign(found, role, signer, comment)
    released = names.live(model)
    live = ledger.release_copy(model, version, released, found.id)
    aliases.point(model, released, names.CHAMPION, live, found.id, by=signer)
    candidates.describe(found)
    return {"model": reference, "champion": live, "waivers": found.waivers()}


def require_accepted(found: Candidate) -> None:
    checked = verification.verify(found.reference)
    if checked.faults:
        raise VerificationFailed(f"{found.reference}: cannot be approved: {'; '.join(checked.faults)}")
    decision = found.decision()
    if not decision["accepted"]:
        raise VerificationFailed(f"{found.reference}: cannot be approved: {decision['summary']}")
    if (tier := decision.get("tier", "full")) != "full":
        raise VerificationFailed(f"{found.reference}: cannot be approved: its gates are those of tier {tier}, not full")
    if ended := [each for each in found.waivers() if date.fromisoformat(each["until"]) < datetime.now(UTC).date()]:
        said = ", ".join(f"{each['figure']} on {each['until']}" for each in ended)
        raise VerificationFailed(f"{found.reference}: cannot be approved: waivers have ended: {said}")


def sign(found: Candidate, role: str, signer: CryptoSigner, comment: str) -> None:
    snapshot = found.snapshot()
    content = {
        "model": found.reference,
        "candidate": found.id,
        "decision": "approved",
        "comment": comment,
        "waivers": found.waivers(),
        "role": role,
        "keyid": signer.public_key.keyid,
        "user": getpass.getuser(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    tags = {names.TAG_CANDIDATE: found.id}
    with recorded(found.model, names.APPROVE, snapshot.as_of, snapshot.key, tags) as record:
        write_whole(record.folder / names.APPROVAL, as_json(content))
    decided = evidence.read_statement(found.folder, names.DECIDE).products
    decision = f"{names.DECIDE}/{names.DECISION}"
    materials = found.signed_model() | {decision: decided[decision]}
    attest(record, found.folder, materials, model=found.reference, by=signer)
