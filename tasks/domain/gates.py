"""Gates: the pure decision. Figures in, verdict out; whatever is missing, unknown or empty fails."""

import math
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, ValidationError

from tasks.domain import names
from tasks.domain.criteria import Bound, Criterion
from tasks.domain.errors import UsageError
from tasks.domain.figure_words import theme_of
from tasks.domain.schema import Frozen, describe

Outcome = Literal["pass", "fail", "not applicable"]
Severity = Literal["block", "warn"]
Source = Literal["policy", "problem"]
Objective = Literal["alpha"]
# How far an acceptance may go: nowhere (a study), into shadow, or up to champion.
Tier = Literal["research", "pilot", "full"]
CHAMPION = "champion.present"
LOWER, UPPER = "_lower", "_upper"
FAMILIES = (
    *("data.", "train.", "trials.", "lockbox.", "probe.", "scenario.", "robustness.", "model.", "backtest."),
    *("champion.", "drift."),
)


class Gate(Bound):
    """One threshold on one figure. `when` names a figure that must be 1 for the gate to apply; `waivable`: a person who
    may can let a failure of it pass for a time."""

    severity: Severity = "block"
    when: str | None = None
    waivable: bool = False


class Policy(Frozen):
    """The gates of one objective and one tier."""

    name: str
    objective: Objective
    tier: Tier = "full"
    gates: Annotated[list[Gate], Field(min_length=1)]


class Waiver(Frozen):
    """A person's signed word that a candidate's failure of one gate is borne until a date (ISO), that day included.
    `entry`: its number in the journal."""

    figure: str
    until: str
    by: str
    reason: str
    entry: int


class Waived(NamedTuple):
    """The waivers of a candidate, and the day of the decision that they are to count for."""

    given: Sequence[Waiver] = ()
    on: date = date.max

    def of(self, figure: str) -> Waiver | None:
        """The last one given for a figure, if it has not ended."""
        found = [each for each in self.given if each.figure == figure]
        return found[-1] if found and self.on <= date.fromisoformat(found[-1].until) else None


NONE = Waived()


class Evidence(Frozen):
    """Where a figure was signed: a stage, and its file."""

    stage: str
    file: str


class Finding(Frozen):
    """One gate, or one criterion of the problem, applied: `value` is None where there is no figure. `lower`, `upper`:
    the interval of the estimate, where one was signed with it. A waived failure stays a failure."""

    source: Source
    figure: str
    value: float | None
    threshold: str
    severity: Severity
    outcome: Outcome
    reason: str
    lower: float | None = None
    upper: float | None = None
    theme: str = ""
    evidence: Evidence | None = None
    waived: Waiver | None = None


class Verdict(Frozen):
    """`waived`: figures whose failure was let pass by a signed waiver; an acceptance that rests on any says so."""

    accepted: bool
    findings: list[Finding]
    summary: str
    waived: list[str] = Field(default_factory=list)

    @property
    def word(self) -> str:
        return word(self.accepted, self.waived)


def word(accepted: bool, waived: Sequence[str]) -> str:
    """The verdict as it is called everywhere: one that rests on waivers is never called accepted alone."""
    if not accepted or not waived:
        return "accepted" if accepted else "refused"
    return f"accepted with {count(waived)}"


def count(waived: Sequence[str]) -> str:
    return f"{len(waived)} waiver{'s' if len(waived) > 1 else ''}"


def parse_policy(fields: Any, origin: str) -> Policy:
    """Check a gates file.

    Raises:
        UsageError: unknown or missing key, no gates, a gate without a bound, two gates on one figure, a figure whose
            name belongs to no family.
    """
    try:
        policy = Policy.model_validate(fields)
    except ValidationError as fault:
        raise UsageError(f"{origin}: {describe(fault)}") from None
    for gate in policy.gates:
        if gate.at_least is None and gate.at_most is None:
            raise UsageError(f"{origin}: gate {gate.figure}: give at_least or at_most")
        for figure in filter(None, (gate.figure, gate.when)):
            if not figure.startswith(FAMILIES):
                known = ", ".join(FAMILIES)
                raise UsageError(
                    f"{origin}: gate {gate.figure}: {figure} is no figure; names begin with one of {known}"
                )
    figures = [gate.figure for gate in policy.gates]
    if doubled := sorted({figure for figure in figures if figures.count(figure) > 1}):
        raise UsageError(f"{origin}: {doubled}: more than one gate on a figure; join them into one")
    return policy


def misfits(policy: Policy, name: str, objective: str) -> str | None:
    """Why a policy is not the one that a problem asks for by name, for its objective; None where it is."""
    if policy.name != name:
        return f"policy {name}: its file is that of {policy.name}; a file must be called like its policy"
    if policy.objective != objective:
        return f"policy {name}: its gates are for objective {policy.objective}, the problem's is {objective}"
    return None


def decide(
    policy: Policy,
    figures: Mapping[str, float],
    criteria: Sequence[Criterion] = (),
    history: str = "",
    waivers: Waived = NONE,
) -> Verdict:
    """Apply every gate, and the problem's own criteria, to the evidence.

    Accepted only if every blocking gate that applies passes, and every criterion too: the criteria can refuse what the
    gates accept, never the other way round. A gate is "not applicable" only if the figure named in its `when` is
    present and says 0; where that figure is missing as well, the gate fails. A verdict in which no gate of the policy
    applied is a refusal. `history` says how the problem came to be what it is, and ends the summary.

    A waiver that is in force lets the failure of a waivable gate pass where there is a figure to judge it by: what was
    never measured cannot be borne. The problem's criteria cannot be waived.
    """
    gates = [apply(gate, figures, "policy", waivers) for gate in policy.gates]
    own = [apply(as_gate(criterion), figures, "problem") for criterion in criteria]
    accepted = bool(binding(gates)) and not failed(gates) and not failed(own)
    said = [summary(policy.name, gates, own, accepted), history]
    return Verdict(
        accepted=accepted,
        findings=[*gates, *own],
        summary="; ".join(filter(None, said)),
        waived=[finding.figure for finding in borne(gates)],
    )


def as_gate(criterion: Criterion) -> Gate:
    """A criterion always blocks. Where it is about the champion there has to be one."""
    when = CHAMPION if criterion.figure.startswith("champion.") else None
    return Gate.model_validate(criterion.model_dump() | {"when": when})


def binding(findings: Sequence[Finding]) -> list[Finding]:
    return [f for f in findings if f.severity == "block" and f.outcome != "not applicable"]


def failed(findings: Sequence[Finding]) -> list[str]:
    return [f.figure for f in binding(findings) if f.outcome == "fail" and f.waived is None]


def borne(findings: Sequence[Finding]) -> list[Finding]:
    return [f for f in findings if f.waived is not None]


def summary(policy: str, gates: Sequence[Finding], own: Sequence[Finding], accepted: bool) -> str:
    blocking, criteria = len(binding(gates)), len(binding(own))
    if accepted and (waived := borne(gates)):
        told = [f"{f.figure} until {f.waived.until}" for f in waived if f.waived]
        besides = f"; all {criteria} criteria of the problem passed" if criteria else ""
        return (
            f"{word(accepted, told)}: {blocking - len(waived)} of {blocking} blocking gates of {policy} "
            f"passed, the others failed and are waived: {', '.join(told)}{besides}"
        )
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


def apply(gate: Gate, figures: Mapping[str, float], source: Source, waivers: Waived = NONE) -> Finding:
    value = figures.get(gate.figure)
    outcome, reason = judge(gate, value, figures)
    value = finite(value)
    may_pass = gate.waivable and gate.severity == "block" and outcome == "fail" and value is not None
    lower, upper = interval(gate.figure, figures)
    return Finding(
        source=source,
        figure=gate.figure,
        value=value,
        threshold=gate.threshold,
        severity=gate.severity,
        outcome=outcome,
        reason=reason,
        lower=lower,
        upper=upper,
        theme=theme_of(gate.figure),
        evidence=evidence_of(gate.figure),
        waived=waivers.of(gate.figure) if may_pass else None,
    )


def interval(figure: str, figures: Mapping[str, float]) -> tuple[float | None, float | None]:
    """The ends that were computed with an estimate, whether the gate is on the estimate or on one of its ends."""
    estimate = figure.removesuffix(LOWER).removesuffix(UPPER)
    lower, upper = (figures.get(estimate + end) for end in (LOWER, UPPER))
    return finite(lower), finite(upper)


def finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def evidence_of(figure: str) -> Evidence:
    """The backtest signs its own figures; everything else that a gate may ask for is the validation's."""
    stage = names.BACKTEST if figure.startswith("backtest.") else names.VALIDATE
    return Evidence(stage=stage, file=names.REPORTS[stage])


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
