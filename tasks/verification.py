"""Verify one registered version: signatures, files, figures, decision, aliases. Trusts only the public keys."""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

from tasks import aliases, candidates, evidence, lake, ledger, looks, models, waivers
from tasks.candidates import Candidate
from tasks.domain import names
from tasks.domain.errors import VerificationFailed
from tasks.domain.gates import Verdict, misfits
from tasks.home import folder_digests, sha256

FIGURES_OF = {names.VALIDATE: names.VALIDATION, names.BACKTEST: names.BACKTEST_REPORT}


class Verification(NamedTuple):
    """`faults`: every broken item in words; empty means verified. `warnings`: what is whole, but should be known."""

    reference: str
    decision: str
    approved: bool
    aliases: dict[str, int]
    faults: list[str]
    warnings: list[str]


def verify(reference: str) -> Verification:
    """Check a version of the candidates' model, or of the released one, against all its evidence.

    Raises:
        UsageError: there is no such version.
    """
    name, number = ledger.split_reference(reference)
    problem = name.removesuffix(".live")
    try:
        found = source_candidate(name, number)
    except VerificationFailed as fault:
        return Verification(reference, "unknown", False, {}, [str(fault)], [])
    faults = inspect(found)
    if name != problem:
        faults += copy_faults(found, name, number)
    faults += aliases.unauthorised(problem, (problem, names.live(problem)))
    decision = "unknown" if faults else found.outcome()
    pointing = {f"{model}@{alias}": version for model, alias, version in pointing_at(found)}
    warnings = [] if faults else known(found)
    return Verification(reference, decision, found.is_done(names.APPROVE), pointing, faults, warnings)


def known(found: Candidate) -> list[str]:
    """What is whole, but should be known: criteria that were changed, waivers that were given."""
    today = datetime.now(UTC).date()
    said = [f"criteria changed: {words}" for words in found.changed_criteria(found.gates())]
    for each in found.waivers():
        ended = " (ended)" if date.fromisoformat(each["until"]) < today else ""
        said.append(f"waived until {each['until']}{ended} by {each['by']}: {each['figure']}: {each['reason']}")
    return said


def source_candidate(name: str, number: int) -> Candidate:
    """The candidate behind a version of either registered model."""
    problem = name.removesuffix(".live")
    if name == problem:
        return candidates.candidate(name, number)
    tag = ledger.get_version(name, number).tags.get(names.TAG_CANDIDATE, "")
    source = ledger.version_of_candidate(problem, tag)
    if source is None:
        raise VerificationFailed(f"{name}/{number}: no evidence; it was not copied from a candidate")
    return candidates.candidate(problem, source)


def inspect(found: Candidate) -> list[str]:
    """All that can be wrong with a candidate, the chain first: without it, nothing else means much."""
    approved = needs_approval(found)
    stages = (*names.STAGES, names.APPROVE) if approved else names.STAGES
    layout = evidence.RELEASE_LAYOUT if approved else evidence.CANDIDATE_LAYOUT
    faults = evidence.chain_faults(found.folder, layout)
    faults += registry_faults(found)
    for stage in stages:
        if evidence.is_signed(found.folder, stage):
            faults += guarded(stage_faults, found, stage)
    return faults or guarded(version_faults, found) or guarded(decision_faults, found)


def needs_approval(found: Candidate) -> bool:
    """A version that says it was approved, or that the champion alias points to, needs a whole approval."""
    claims = any(found.folder.glob(f"{names.APPROVE}.*.link"))
    return claims or any(alias == names.CHAMPION for _, alias, _ in pointing_at(found))


def guarded(check: Any, *arguments: Any) -> list[str]:
    """A check's findings; evidence that it can't read is a finding too."""
    try:
        return list(check(*arguments))
    except VerificationFailed as fault:
        return [] if str(fault).startswith("link ") else [str(fault)]


def registry_faults(found: Candidate) -> list[str]:
    """The registered files against those the trainer signed."""
    try:
        signed = found.signed_model()
    except VerificationFailed:
        return []  # named already by the chain
    faults = models.differences(signed, ledger.model_digests(found.model, found.version))
    registered = ledger.get_version(found.model, found.version)
    trained = evidence.read_statement(found.folder, names.TRAIN)
    if registered.source != trained.model:
        faults.append(f"version {found.reference}: registered from {registered.source}, signed was {trained.model}")
    return faults


def version_faults(found: Candidate) -> list[str]:
    """The problem's logs must be whole, and hold the version that the candidate was trained under and its look at the
    lockbox."""
    found.versions()
    looks.check(found)
    return []


def copy_faults(found: Candidate, live: str, number: int) -> list[str]:
    return models.differences(found.signed_model(), ledger.model_digests(live, number))


def stage_faults(found: Candidate, stage: str) -> list[str]:
    """A stage's files, figures and subject in MLflow against its signed link."""
    statement = evidence.read_statement(found.folder, stage)
    prefix = f"{stage}/"
    signed = {name: value for name, value in statement.products.items() if name.startswith(prefix)}
    held = folder_digests(ledger.run_folder(statement.run_id), prefix)
    faults = models.differences(signed, held)
    if stage in (names.VALIDATE, names.BACKTEST, names.DECIDE) and statement.model != found.reference:
        faults.append(f"link {stage}: is about {statement.model}, not {found.reference}")
    if stage in FIGURES_OF and not faults:
        faults += figure_faults(found, stage, statement.run_id)
    if stage == names.COLLECT and not faults:
        found.snapshot().read(lake.DEVELOPMENT)
        found.snapshot().read(lake.LOCKBOX)
    return faults


def figure_faults(found: Candidate, stage: str, run_id: str) -> list[str]:
    """Figures that MLflow shows against those in the signed report."""
    signed, shown = found.figures(stage), ledger.run_figures(run_id)
    return [
        f"metric {name}: MLflow shows {shown.get(name)}, signed was {signed.get(name)} ({stage} run {run_id})"
        for name in sorted(signed.keys() | shown.keys())
        if signed.get(name) != shown.get(name)
    ]


def decision_faults(found: Candidate) -> list[str]:
    """The decision must follow from the signed figures, the signed gates and the waivers signed before it."""
    recorded = found.decision()
    policy = found.gates()
    if policy is None:
        return []  # named already by the chain
    verdict = found.verdict(policy, waivers.standing_then(found, recorded).waived)
    same = follows(recorded, verdict) and recorded["changed_criteria"] == found.changed_criteria(policy)
    faults = [] if same else [f"decision {found.reference}: does not follow from the figures and gates"]
    gates, problem = sha256(found.file(names.DECIDE, names.POLICY)), found.problem()
    if recorded["policy_sha256"] != gates or recorded["model"] != found.reference:
        faults.append(f"decision {found.reference}: names other gates or another model")
    if fault := misfits(policy, problem.policy, problem.objective):
        faults.append(f"decision {found.reference}: {fault}")
    return faults + earlier_faults(found, recorded)


def follows(recorded: Mapping[str, Any], verdict: Verdict) -> bool:
    """Whether a recorded decision is a verdict, in all that was told at the time: what a later version of this program
    tells besides has a default, and may be absent."""
    told = {name: recorded[name] for name in Verdict.model_fields if name in recorded}
    try:
        given = Verdict.model_validate(told).model_dump(mode="json", exclude_unset=True)
    except ValueError:
        return False
    derived = verdict.model_dump(mode="json")
    if len(given["findings"]) != len(derived["findings"]):
        return False
    pairs = zip(given["findings"], derived["findings"], strict=True)
    derived["findings"] = [{name: whole[name] for name in part} for part, whole in pairs]
    return bool(given == {name: derived[name] for name in given})


def earlier_faults(found: Candidate, decision: Mapping[str, Any]) -> list[str]:
    """Each decision that was made anew names the one before it, which must be there as it was signed."""
    while digest := decision.get("supersedes"):
        statement = evidence.superseded(found.folder, names.DECIDE, digest)
        held = folder_digests(ledger.run_folder(statement.run_id), f"{names.DECIDE}/")
        signed = {name: value for name, value in statement.products.items() if name.startswith(f"{names.DECIDE}/")}
        if faults := models.differences(signed, held):
            return [f"earlier decision {found.reference}: {fault}" for fault in faults]
        decision = json.loads((ledger.run_folder(statement.run_id) / names.DECISION).read_bytes())
    return []


def pointing_at(found: Candidate) -> list[tuple[str, str, int]]:
    live = names.live(found.model)
    copy = ledger.version_of_candidate(live, found.id)
    own = [(found.model, alias, v) for alias, v in ledger.aliases(found.model).items() if v == found.version]
    return own + [(live, alias, v) for alias, v in ledger.aliases(live).items() if v == copy]
