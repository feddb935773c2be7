"""A candidate against the champion, and against the last champion that nothing was held against."""

import json
from typing import Any, NamedTuple

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks import aliases, configuration, ledger, models
from tasks.candidates import Candidate, candidate
from tasks.cases import Case
from tasks.domain import names
from tasks.domain.accuracy import Figures, finite
from tasks.domain.errors import ModelFault, VerificationFailed
from tasks.domain.gates import CHAMPION, Policy
from tasks.domain.lockbox import champion
from tasks.domain.trading import prices_of


class Compared(NamedTuple):
    """`figures`: `champion.*`; `told`: what a reader wants to know behind them; `files`: digests of the models used."""

    figures: Figures
    told: dict[str, Any]
    files: dict[str, str]


class Line(NamedTuple):
    """The champions from the last fully validated one, or else from the first, to the present one; oldest first."""

    members: list[Candidate]
    steps: list[champion.Step]


@task(cache_policy=NO_CACHE)
def compare(case: Case) -> Compared:
    """Paired comparison on the same lockbox at the same costs. That there is no champion is a figure too."""
    line = line_of(case.problem.name)
    if not line.members:
        return Compared({CHAMPION: 0.0}, {}, {})
    try:
        return against(line, case)
    except ModelFault as fault:  # a champion's, so that nothing can be said of who is better
        print(f"champion {line.members[-1].reference}: {fault}")
        return Compared({CHAMPION: 1.0, "champion.faults": 1.0}, {}, digests(line.members[-1]))


def against(line: Line, case: Case) -> Compared:
    """The comparison where there is a champion.

    Raises:
        ModelFault: the champion, or the one that distances are counted from, did not answer as a model should.
    """
    present = line.members[-1]
    theirs = case.inside(scores_of(present, case))
    prices, problem = prices_of(case.bars), case.problem
    rivals = [champion.rival(box, prices, problem.strategy) for box in (case.lockbox, theirs)]
    figures = champion.compare(rivals[0], rivals[1], problem.horizon, problem.seed)
    own = figures["champion.distance"]
    begins = champion.reference(line.steps)
    reference, *since = line.members[begins:]
    files = digests(present)
    direct = own
    if reference != present:
        direct = champion.distance(case.lockbox, case.inside(scores_of(reference, case)))
        files |= {f"champion/reference/{name}": value for name, value in reference.signed_model().items()}
    figures |= {
        "champion.distance_from_reference": direct,
        "champion.cumulative_distance": champion.cumulative(line.steps, own),
    }
    margin = not_worse(configuration.load_policy(problem.policy))
    told = {
        "model": present.reference,
        "candidate": present.id,
        "answers": champion.answers(finite(figures), margin),
        "not_worse_margin": margin,
        "reference": reference.reference,
        "reference_fully_validated": line.steps[begins].whole,
        "champions_since_reference": [member.reference for member in since],
    }
    return Compared(figures, {"champion": told}, files)


def digests(found: Candidate) -> dict[str, str]:
    return {f"champion/{name}": value for name, value in found.signed_model().items()}


def not_worse(policy: Policy) -> float:
    """The least lower end of the difference in rank IC that the gates let pass; 0 where they say nothing of it."""
    bounds = [gate.at_least for gate in policy.gates if gate.figure == champion.MARGIN and gate.at_least is not None]
    return min(bounds[0], 0.0) if bounds else 0.0


def scores_of(found: Candidate, case: Case) -> Any:
    """A released model's scores of the case's bars."""
    return models.load(found.model, found.version, found.signed_model())(case.bars)


def line_of(problem: str) -> Line:
    """The line of champions by the journal; nothing where there is none.

    Raises:
        VerificationFailed: the live aliases are not where the log says, or a champion's evidence is not whole.
    """
    live = names.live(problem)
    if faults := aliases.unauthorised(problem, (live,)):
        raise VerificationFailed("; ".join(faults))
    members: list[Candidate] = []
    steps: list[champion.Step] = []
    ids = aliases.line(problem, live, names.CHAMPION)
    while len(members) < len(ids) and not any(step.whole for step in steps):
        place = len(ids) - len(members) - 1
        found = source(problem, ids[place])
        members.insert(0, found)
        steps.insert(0, step_of(found, ids[place - 1] if place else None))
    return Line(members, steps)


def source(problem: str, found: str) -> Candidate:
    """The candidate that a champion was copied from."""
    version = ledger.version_of_candidate(problem, found)
    if version is None:
        raise VerificationFailed(f"{names.live(problem)}: candidate {found}, a champion's, is gone")
    return candidate(problem, version)


def step_of(found: Candidate, before: str | None) -> champion.Step:
    """What the signed decision and validation of a champion say; the distance counts only if it was measured against
    the champion `before` it in the line."""
    whole = all(finding["outcome"] != "fail" for finding in found.decision()["findings"])
    report = json.loads(found.file(names.VALIDATE, names.VALIDATION))
    against = report.get("champion", {}).get("candidate")
    known = before is not None and against == before
    return champion.Step(whole, report["figures"].get("champion.distance", float("nan")) if known else float("nan"))
