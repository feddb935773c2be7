"""What a version's evidence proves by itself: signatures, files, what follows from them. Trusts only the public keys.

Nothing here asks MLflow, but for where the files of a run lie; so a bundle that was carried elsewhere is checked by the
same lines as the version where it was made.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from tasks import approvals, evidence, journal, ledger, looks, stamps, waivers
from tasks.candidates import Candidate
from tasks.domain import names
from tasks.domain.errors import VerificationFailed
from tasks.domain.gates import Verdict, misfits
from tasks.home import digests_apart, folder_digests, sha256

ABOUT_VERSION = (names.VALIDATE, names.BACKTEST, names.DECIDE)  # stages whose link names the registered version


def guarded(check: Callable[..., Iterable[str]], *arguments: Any) -> list[str]:
    """A check's findings; evidence that it can't read is a finding too."""
    try:
        return list(check(*arguments))
    except VerificationFailed as fault:
        return [] if str(fault).startswith("link ") else [str(fault)]


def signatures(found: Candidate, released: bool) -> list[str]:
    """The journal against what is known of it elsewhere, the chain, the approvals where they are needed, and both
    against the journal."""
    faults = guarded(journal.anchor_faults, found.model) + guarded(stamps.faults, found.model)
    faults += evidence.chain_faults(found.folder, evidence.CANDIDATE_LAYOUT)
    if released:  # how many approvals are needed is asked of the layout only once it is whole
        faults += evidence.chain_faults(found.folder, evidence.RELEASE_LAYOUT) or guarded(approvals.lacking, found)
    return faults + guarded(approvals.link_faults, found)


def stage_files(found: Candidate, stage: str) -> list[str]:
    """A stage's files and subject against its signed link."""
    statement = evidence.read_statement(found.folder, stage)
    faults = run_files(statement.run_id, stage, statement.products)
    if stage in ABOUT_VERSION and statement.model != found.reference:
        faults.append(f"link {stage}: is about {statement.model}, not {found.reference}")
    return faults


def approval_files(found: Candidate, link: Path) -> list[str]:
    """One person's approval: its file and subject against what that person signed."""
    if fault := evidence.fault_of(link, names.APPROVE):
        return [fault]
    statement, stage = evidence.statement_of(link), names.APPROVE
    signed = statement.products | {f"{stage}/{names.RUN}": statement.said.get(names.RUN, "")}
    faults = run_files(statement.run_id, stage, signed)
    if statement.model != found.reference:
        faults.append(f"link {stage}: is about {statement.model}, not {found.reference}")
    return faults


def run_files(run_id: str, stage: str, products: Mapping[str, str]) -> list[str]:
    """What the folder of a stage's run differs in from what was signed of it."""
    prefix = f"{stage}/"
    signed = {name: value for name, value in products.items() if name.startswith(prefix)}
    return digests_apart(signed, folder_digests(ledger.run_folder(run_id), prefix))


def consequences(found: Candidate) -> list[str]:
    """What must follow from whole evidence: first who may have signed it, then the decision."""
    return guarded(version_faults, found) or guarded(decision_faults, found)


def version_faults(found: Candidate) -> list[str]:
    """The journal must hold the version of the problem that the candidate was trained under and its look at the
    lockbox, and no two roles that are to be kept apart may be one person's."""
    found.versions()
    looks.check(found)
    return approvals.role_faults(found)


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
    return faults + earlier_faults(found)


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


def earlier_faults(found: Candidate) -> list[str]:
    """Each decision that was made anew names the one before it, which must be there as it was signed."""
    try:
        for _ in found.decisions():
            pass  # each is compared when it is reached
    except VerificationFailed as fault:
        return [str(fault)]
    return []
