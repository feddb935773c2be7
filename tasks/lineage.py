"""The way back from a model version to the delivered files, step by step, by digests that were signed."""

from typing import Any

from tasks import candidates, evidence
from tasks.candidates import Candidate
from tasks.domain import names


def lineage(reference: str) -> dict[str, Any]:
    """Model, training, snapshot, tables and delivered parts of a version, each with its digest.

    Raises:
        UsageError: there is no such version.
        VerificationFailed: a link on the way is missing or altered.
    """
    found = candidates.candidate(*names.split_reference(reference))
    snapshot = found.snapshot()
    manifest = snapshot.manifest
    return {
        "model": found.reference,
        "candidate": found.id,
        "model_files": found.signed_model(),
        "steps": [step(found, stage) for stage in names.STAGES if found.is_done(stage)],
        "snapshot": snapshot.key,
        "tables": manifest["tables"],
        "rules": manifest["rules"],
        "delivery": manifest["delivery"],
        "parts": manifest["parts"],
    }


def step(found: Candidate, stage: str) -> dict[str, Any]:
    statement = evidence.read_statement(found.folder, stage)
    taken = {name: sha for name, sha in statement.materials.items() if not name.startswith(f"{names.MODEL}/")}
    return {"stage": stage, "by": names.SIGNERS[stage], "run": statement.run_id, "from": taken}
