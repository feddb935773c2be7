"""Approve: a person with the approver's key makes an accepted version champion."""

import getpass
from datetime import UTC, datetime
from pathlib import Path

from securesystemslib.signer import CryptoSigner

from tasks import aliases, candidates, evidence, ledger, verification
from tasks.candidates import Candidate
from tasks.domain import names
from tasks.domain.errors import UsageError, VerificationFailed
from tasks.home import as_json, write_whole
from tasks.recording import attest, recorded


def approve(reference: str, role: str, key: Path, comment: str) -> int:
    """Sign an accepted candidate with an approver's key and make it champion; returns its released version.

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
    require_approver(signer.public_key.keyid, key)
    model, version = ledger.split_reference(reference)
    found = candidates.candidate(model, version)
    require_accepted(found)
    if not found.is_done(names.APPROVE):
        sign(found, role, signer, comment)
    released = names.live(model)
    live = ledger.release_copy(model, version, released, found.id)
    aliases.point(model, released, names.CHAMPION, live, found.id, by=signer)
    candidates.describe(found)
    return live


def require_approver(keyid: str, path: Path) -> None:
    for role in names.ROLES:
        if evidence.public_key(role)["keyid"] == keyid:
            if role == names.APPROVER:
                return
            raise VerificationFailed(f"key {path}: is the {role}'s; only the {names.APPROVER} may approve")
    raise VerificationFailed(f"key {path}: belongs to no known role; only the {names.APPROVER} may approve")


def require_accepted(found: Candidate) -> None:
    checked = verification.verify(found.reference)
    if checked.faults:
        raise VerificationFailed(f"{found.reference}: cannot be approved: {'; '.join(checked.faults)}")
    if checked.decision != "accepted":
        raise VerificationFailed(f"{found.reference}: cannot be approved: {found.decision()['summary']}")


def sign(found: Candidate, role: str, signer: CryptoSigner, comment: str) -> None:
    snapshot = found.snapshot()
    content = {
        "model": found.reference,
        "candidate": found.id,
        "decision": "approved",
        "comment": comment,
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
