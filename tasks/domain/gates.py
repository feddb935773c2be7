"""Gates: the pure decision. Figures in, verdict out; whatever is missing, unknown or empty fails."""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from tasks.domain.criteria import Bound, Criterion
from tasks.domain.errors import UsageError
from tasks.domain.schema import Frozen, describe

Outcome = Literal["pass", "fail", "not applicable"]
Source = Literal["policy", "problem"]
CHAMPION = "champion.present"


class Gate(Bound):
    """One threshold on one figure. `when` names a figure that must be 1 for the gate to apply."""

    severity: Literal["block", "warn"] = "block"
    when: str | None = None


class Policy(Frozen):
    name: str
    objective: Literal["alpha"]
    gates: Annotated[list[Gate], Field(min_length=1)]


class Finding(Frozen):
    """One gate, or one criterion of the problem, applied: `value` is None where there is no figure."""

    source: Source
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


def decide(
    policy: Policy, figures: Mapping[str, float], criteria: Sequence[Criterion] = (), history: str = ""
) -> Verdict:
    """Apply every gate, and the problem's own criteria, to the evidence.

    Accepted only if every blocking gate that applies passes, and every criterion too: the criteria can refuse what the
    gates accept, never the other way round. A gate is "not applicable" only if the figure named in its `when` is
    present and says 0; where that figure is missing as well, the gate fails. A verdict in which no gate of the policy
    applied is a refusal. `history` says how the problem came to be what it is, and ends the summary.
    """
    gates = [apply(gate, figures, "policy") for gate in policy.gates]
    own = [apply(as_gate(criterion), figures, "problem") for criterion in criteria]
    accepted = bool(binding(gates)) and not failed(gates) and not failed(own)
    said = [summary(policy.name, gates, own, accepted), history]
    return Verdict(accepted=accepted, findings=[*gates, *own], summary="; ".join(filter(None, said)))


def as_gate(criterion: Criterion) -> Gate:
    """A criterion always blocks. Where it is about the champion there has to be one."""
    when = CHAMPION if criterion.figure.startswith("champion.") else None
    return Gate.model_validate(criterion.model_dump() | {"when": when})


def binding(findings: Sequence[Finding]) -> list[Finding]:
    return [f for f in findings if f.severity == "block" and f.outcome != "not applicable"]


def failed(findings: Sequence[Finding]) -> list[str]:
    return [f.figure for f in binding(findings) if f.outcome == "fail"]


def summary(policy: str, gates: Sequence[Finding], own: Sequence[Finding], accepted: bool) -> str:
    blocking, criteria = len(binding(gates)), len(binding(own))
    if accepted:
        besides = f" and all {criteria} criteria of the problem" if criteria else ""
        return f"accepted: all {blocking} blocking gates of {policy}{besides} passed"
    if not blocking:
        return f"refused: no blocking gate of {policy} applied"
    said = []
    if names := failed(gates):
        said.append(f"{len(names)} of {blocking} blocking gates failed: {', '.join(names)}")
    if names := failed(own):
        said.append(f"{len(names)} of {criteria} criteria of the problem failed: {', '.join(names)}")
    return f"refused: {'; '.join(said)}"


def apply(gate: Gate, figures: Mapping[str, float], source: Source) -> Finding:
    value = figures.get(gate.figure)
    outcome, reason = judge(gate, value, figures)
    return Finding(
        source=source,
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
