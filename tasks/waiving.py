"""Waive: a person with the approver's key bears one failure of a refused candidate, until a date."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from tasks import candidates, keys, register, verification, waivers
from tasks.candidates import Candidate
from tasks.domain import names
from tasks.domain.errors import UsageError, VerificationFailed
from tasks.domain.gates import Waiver

LONGEST = timedelta(days=366)  # what must be borne for longer is no exception; then the gate is wrong


def waive(reference: str, figure: str, until: str, reason: str, key: Path) -> dict[str, Any]:
    """Sign that the failure of one gate is borne until a date (ISO), that day included.

    Everything is verified first. The decision is left as it is; `promote` makes a new one.

    Raises:
        UsageError: no such version or key, no reason, a date that is past or too far, or a gate that did not fail.
        VerificationFailed: the key may not waive, the gate may not be waived, or the evidence is not whole.
    """
    if not reason.strip():
        raise UsageError("--reason: say in words why this failure can be borne")
    today = datetime.now(UTC).date()
    if not today <= date.fromisoformat(until) <= today + LONGEST:
        raise UsageError(f"--until {until}: expected a date from {today} to {today + LONGEST}")
    signer = keys.signer_from(key)
    who = register.require(keys.public_of(signer.public_key), names.APPROVER, key, "waive a gate")
    model, version = names.split_reference(reference)
    found = candidates.candidate(model, version)
    if not found.is_done(names.DECIDE):
        raise UsageError(f"{reference}: not decided yet; run `countersign promote {reference}` first")
    if faults := verification.verify(reference).faults:
        raise VerificationFailed(f"{reference}: cannot be waived: {'; '.join(faults)}")
    require_waivable(found, figure)
    given = Waiver(figure=figure, until=until, by=who, reason=reason.strip(), entry=0)
    signed = waivers.append(found, given, signer)
    return {"model": reference, **signed.model_dump(mode="json"), "next": f"countersign promote {reference}"}


def require_waivable(found: Candidate, figure: str) -> None:
    decision, policy = found.decision(), found.gates()
    if decision["accepted"]:
        raise UsageError(f"{found.reference}: is {found.outcome()} already; there is nothing to waive")
    failed = {each["figure"]: each for each in decision["findings"] if blocks(each)}
    if figure not in failed:
        said = ", ".join(failed) or "none"
        raise UsageError(f"{figure}: no blocking gate of {decision['policy']} on it failed; those that did: {said}")
    gates = {gate.figure: gate for gate in policy.gates} if policy else {}
    if failed[figure]["value"] is None:
        raise VerificationFailed(f"{figure}: was never measured; what is missing cannot be waived")
    if not gates[figure].waivable:
        may = ", ".join(name for name, gate in gates.items() if gate.waivable) or "none"
        raise VerificationFailed(f"{figure}: cannot be waived; gates of {decision['policy']} that can: {may}")


def blocks(finding: dict[str, Any]) -> bool:
    return bool(finding["source"] == "policy" and finding["severity"] == "block" and finding["outcome"] == "fail")
