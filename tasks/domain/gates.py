"""Gates: the pure decision. Figures in, verdict out; whatever is missing, unknown or empty fails."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from tasks.domain.errors import UsageError
from tasks.domain.schema import Frozen, describe

Outcome = Literal["pass", "fail", "not applicable"]


class Gate(Frozen):
    """One threshold on one figure. `when` names a figure that must be 1 for the gate to apply."""

    figure: str
    at_least: float | None = None
    at_most: float | None = None
    severity: Literal["block", "warn"] = "block"
    when: str | None = None
    why: str

    @property
    def threshold(self) -> str:
        bounds = [("≥", self.at_least), ("≤", self.at_most)]
        return " and ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)


class Policy(Frozen):
    name: str
    objective: Literal["alpha"]
    gates: Annotated[list[Gate], Field(min_length=1)]


class Finding(Frozen):
    """One gate applied: `value` is None where there is no figure."""

    figure: str
    value: float | None
    threshold: str
    severity: Literal["block", "warn"]
    outcome: Outcome
    reason: str


class Verdict(Frozen):
    accepted: bool
    findings: list[Finding]
    summary: str


def parse_policy(fields: Any, origin: str) -> Policy:
    """Check a gates file.

    Raises:
        UsageError: unknown or missing key, no gates, a gate without a bound, two gates on one figure.
    """
    try:
        policy = Policy.model_validate(fields)
    except ValidationError as fault:
        raise UsageError(f"{origin}: {describe(fault)}") from None
    for gate in policy.gates:
        if gate.at_least is None and gate.at_most is None:
            raise UsageError(f"{origin}: gate {gate.figure}: give at_least or at_most")
    figures = [gate.figure for gate in policy.gates]
    if doubled := sorted({figure for figure in figures if figures.count(figure) > 1}):
        raise UsageError(f"{origin}: {doubled}: more than one gate on a figure; join them into one")
    return policy


def decide(policy: Policy, figures: Mapping[str, float]) -> Verdict:
    """Apply every gate to the evidence. Accepted only if every blocking gate that applies passes.

    A gate is "not applicable" only if the figure named in its `when` is present and says 0; where that figure
    is missing as well, the gate fails. A verdict in which nothing applied is a refusal.
    """
    findings = [apply(gate, figures) for gate in policy.gates]
    blocking = [f for f in findings if f.severity == "block" and f.outcome != "not applicable"]
    failed = [f.figure for f in blocking if f.outcome == "fail"]
    accepted = bool(blocking) and not failed
    if accepted:
        summary = f"accepted: all {len(blocking)} blocking gates of {policy.name} passed"
    elif not blocking:
        summary = f"refused: no blocking gate of {policy.name} applied"
    else:
        summary = f"refused: {len(failed)} of {len(blocking)} blocking gates failed: {', '.join(failed)}"
    return Verdict(accepted=accepted, findings=findings, summary=summary)


def apply(gate: Gate, figures: Mapping[str, float]) -> Finding:
    value = figures.get(gate.figure)
    outcome, reason = judge(gate, value, figures)
    return Finding(
        figure=gate.figure,
        value=value if value is not None and math.isfinite(value) else None,
        threshold=gate.threshold,
        severity=gate.severity,
        outcome=outcome,
        reason=reason,
    )


def judge(gate: Gate, value: float | None, figures: Mapping[str, float]) -> tuple[Outcome, str]:
    if gate.when is not None and figures.get(gate.when) == 0:
        return "not applicable", f"{gate.when} is 0"
    if value is None:
        return "fail", "no evidence: the figure is missing"
    if not math.isfinite(value):
        return "fail", f"no evidence: the figure is {value}"
    if gate.at_least is not None and value < gate.at_least:
        return "fail", f"below: {gate.why}"
    if gate.at_most is not None and value > gate.at_most:
        return "fail", f"above: {gate.why}"
    return "pass", gate.why
