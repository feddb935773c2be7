"""Verify one registered version: what its evidence proves (`tasks/proof.py`), and that MLflow shows just that."""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException

from tasks import aliases, approvals, candidates, evidence, lake, ledger, logins, proof, register
from tasks.candidates import Candidate
from tasks.domain import names
from tasks.domain.errors import VerificationFailed
from tasks.home import as_json, digests_apart, folder_digests
from tasks.proof import guarded


class Verification(NamedTuple):
    """`faults`: every broken item in words; empty means verified. `warnings`: what is whole, but should be known.
    `standing`: with the people who may let it trade, in a line."""

    reference: str
    decision: str
    standing: str
    aliases: dict[str, int]
    faults: list[str]
    warnings: list[str]
    development: bool


def verify(reference: str, approving: bool = False) -> Verification:
    """Check a version of the candidates' model, or of the released one, against all its evidence.

    `approving`: approvals are about to be given, so those that a champion lacks since a key was revoked are no fault.

    Raises:
        UsageError: there is no such version.
    """
    try:
        return verified(reference, approving)
    except VerificationFailed as fault:
        words = str(fault)
    except MlflowException as fault:
        if logins.refusal(fault):  # by a server that may well have it all whole
            raise
        words = f"MLflow: what it holds of {reference} cannot be read: {' '.join(str(fault).split())[:200]}"
    return Verification(reference, "unknown", "unknown", {}, [words], [], False)


def verified(reference: str, approving: bool) -> Verification:
    name, number = names.split_reference(reference)
    problem = name.removesuffix(".live")
    found = source_candidate(name, number)
    faults = inspect(found, approving)
    if name != problem:
        faults += copy_faults(found, name, number)
    faults += guarded(aliases.unauthorised, problem, (problem, names.live(problem)), approving)
    pointing = {f"{model}@{alias}": version for model, alias, version in pointing_at(found)}
    return concluded(reference, found, faults, pointing)


def concluded(reference: str, found: Candidate, faults: list[str], pointing: dict[str, int]) -> Verification:
    """What was found of a version; of its decision and standing nothing is said while anything is broken."""
    if faults:
        return Verification(reference, "unknown", "unknown", pointing, list(dict.fromkeys(faults)), [], False)
    development = is_development(found)
    return Verification(reference, found.outcome(), stands_of(found), pointing, [], known(found), development)


def known(found: Candidate) -> list[str]:
    """What is whole, but should be known: criteria that were changed, waivers that were given."""
    today = datetime.now(UTC).date()
    said = [f"criteria changed: {words}" for words in found.changed_criteria(found.gates())]
    for each in found.waivers():
        ended = " (ended)" if date.fromisoformat(each["until"]) < today else ""
        said.append(f"waived until {each['until']}{ended} by {each['by']}: {each['figure']}: {each['reason']}")
    doubts = (each for each in approvals.concerns(found) if each.answer is None)
    return said + [f"concern {each.number} of {each.person} is open: {each.text}" for each in doubts]


def is_development(found: Candidate) -> bool:
    """Whether any of a version's evidence was signed with keys made beside the data."""
    known = register.load()
    numbers = {event.register for event in approvals.about(found, *names.SIGNERS)}
    return any(known.versions[number - 1].development for number in numbers)


def stands_of(found: Candidate) -> str:
    """Where an accepted version stands with its approvers."""
    if not found.is_done(names.DECIDE):
        return "not decided yet"
    decision = found.decision()
    if not decision["accepted"] or decision.get("tier", "full") not in evidence.TIERS:
        return "nothing to approve"
    return approvals.standing(found).said


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


def inspect(found: Candidate, approving: bool) -> list[str]:
    """All that can be wrong with a candidate, the chain first: without it, nothing else means much."""
    faults = proof.signatures(found, released=not approving and needs_approval(found))
    faults += registry_faults(found)
    for stage in names.STAGES:
        if evidence.is_signed(found.folder, stage):
            faults += guarded(stage_faults, found, stage)
    for link in evidence.links(found.folder, names.APPROVE):
        faults += guarded(approval_faults, found, link)
    faults = faults or guarded(trial_faults, found) + guarded(page_faults, found)
    return faults or proof.consequences(found)


def needs_approval(found: Candidate) -> bool:
    """A version that was made champion, by the journal or by where the alias points, needs all its approvals."""
    try:
        released = approvals.released(found) is not None
    except VerificationFailed:  # the journal is not whole, which is named beside
        released = (found.folder / evidence.RELEASE_LAYOUT).exists()
    return released or any(alias == names.CHAMPION for _, alias, _ in pointing_at(found))


def registry_faults(found: Candidate) -> list[str]:
    """The registered files against those the trainer signed."""
    try:
        signed = found.signed_model()
    except VerificationFailed:
        return []  # named already by the chain
    faults = digests_apart(signed, ledger.model_digests(found.model, found.version))
    registered = ledger.get_version(found.model, found.version)
    trained = evidence.read_statement(found.folder, names.TRAIN)
    if registered.source != trained.model:
        faults.append(f"version {found.reference}: registered from {registered.source}, signed was {trained.model}")
    else:
        faults += guarded(model_page_faults, found, registered.source)
    return faults + entry_faults(found, found.model, found.version)


def model_page_faults(found: Candidate, source: str) -> list[str]:
    """Figures on the page of the model that a version was registered from; no stage writes any there."""
    return [
        f"version {found.reference}: {name} on its model's page in MLflow" for name in ledger.logged_figures(source)
    ]


def entry_faults(found: Candidate, model: str, number: int) -> list[str]:
    """What else MLflow shows of a version: the run it is of, and a stage (older than aliases), which it never gets."""
    registered = ledger.get_version(model, number)
    wanted = {
        "run": (registered.run_id, evidence.read_statement(found.folder, names.TRAIN).run_id),
        "stage": (registered.current_stage or "None", "None"),
        "status": (registered.status, "READY"),
    }
    return [
        f"version {model}/{number}: its {name} in MLflow is {shown}, signed was {signed}"
        for name, (shown, signed) in wanted.items()
        if shown != signed
    ]


def copy_faults(found: Candidate, live: str, number: int) -> list[str]:
    return digests_apart(found.signed_model(), ledger.model_digests(live, number)) + entry_faults(found, live, number)


def stage_faults(found: Candidate, stage: str) -> list[str]:
    """A stage's files, figures and subject in MLflow against its signed link."""
    faults = proof.stage_files(found, stage)
    if not faults:
        faults += run_faults(found.file(stage, names.RUN), stage, evidence.read_statement(found.folder, stage).run_id)
    if stage == names.COLLECT and not faults:
        found.snapshot().read(lake.DEVELOPMENT)
        found.snapshot().read(lake.LOCKBOX)
    return faults


def approval_faults(found: Candidate, link: Path) -> list[str]:
    """One person's approval: its file and run in MLflow against what that person signed."""
    if faults := proof.approval_files(found, link):
        return faults
    run_id = evidence.statement_of(link).run_id
    return run_faults((ledger.run_folder(run_id) / names.RUN).read_bytes(), names.APPROVE, run_id)


def run_faults(content: bytes, stage: str, run_id: str) -> list[str]:
    """What MLflow shows of a stage's run against what it showed when the stage was signed."""
    apart = states_apart(json.loads(content), ledger.run_state(run_id))
    return [f"{words} ({stage} run {run_id})" for words in apart]


def states_apart(signed: Mapping[str, Any], shown: Mapping[str, Any]) -> list[str]:
    """Where MLflow shows something else of a run than it did, or more, or less. What was not looked at when a run was
    signed, by an earlier version of this program, is not compared."""
    return [
        f"{kind} {name}: MLflow shows {shown[kind].get(name)}, signed was {signed[kind].get(name)}"
        for kind in shown
        if kind in signed
        for name in sorted(signed[kind].keys() | (shown[kind].keys() if kind != "run" else set()))
        if as_json(signed[kind].get(name)) != as_json(shown[kind].get(name))
    ]


def trial_faults(found: Candidate) -> list[str]:
    """The trials that MLflow shows below a training run against those that were signed with it."""
    parent, runs = evidence.read_statement(found.folder, names.TRAIN).run_id, signed_runs(found)
    below = ledger.runs_below(found.model, names.TRAIN, parent)
    held = {run.data.params.get("trial_key"): run for run in below}
    faults = []
    for at, trial in enumerate(json.loads(found.file(names.TRAIN, names.TRIALS))["trials"]):
        key = str(trial["key"])
        shown = next((run for run in below if key in runs and run.info.run_id == runs[key]["run"]["id"]), held.get(key))
        if shown is None:
            faults.append(f"trial {key[:12]}: gone from MLflow; it was signed with {found.reference}")
            continue
        apart = trial_apart(at, trial, shown)
        if not apart and key in runs:
            apart = states_apart(runs[key], ledger.state_of(shown))
        faults += [f"trial {key[:12]}: {words}" for words in apart]
        below.remove(shown)
    return faults + [
        f"trial run {run.info.run_id}: MLflow shows it below run {parent}; it was not signed with {found.reference}"
        for run in below
    ]


def signed_runs(found: Candidate) -> dict[str, Any]:
    """What MLflow showed of the trials' runs, by their keys; empty where the training was signed before that was."""
    if f"{names.TRAIN}/{names.TRIAL_RUNS}" not in evidence.read_statement(found.folder, names.TRAIN).products:
        return {}
    return dict(json.loads(found.file(names.TRAIN, names.TRIAL_RUNS)))


def trial_apart(at: int, trial: Mapping[str, Any], held: MlflowRun) -> list[str]:
    """Where MLflow shows something else of a trial than what the choice among the trials was made by."""
    parameters = trial["parameters"]
    signed = {"number": str(at), "family": trial["family"], "parameters": parameters}
    signed |= {name: str(value) for name, value in parameters.items()}
    signed |= {name: value for name, value in trial.items() if name.startswith(f"{names.TRAIN}.")}
    now = dict(held.data.params) | dict(held.data.metrics)
    now["parameters"] = as_dict(now.get("parameters", ""))
    files = folder_digests(ledger.as_path(held.info.artifact_uri))
    altered = files != {names.TRIAL_RETURNS: trial["returns_sha256"]}
    return [f"{names.TRIAL_RETURNS}: altered, missing or joined by another file"] * altered + [
        f"{name}: MLflow shows {now.get(name)}, signed was {value}"
        for name, value in signed.items()
        if as_json(now.get(name)) != as_json(value)
    ]


def as_dict(text: str) -> Any:
    """What JSON says; the text itself where it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def page_faults(found: Candidate) -> list[str]:
    """The version's own page in MLflow, its description and tags, against what is written there from evidence."""
    held, wanted = ledger.get_version(found.model, found.version), candidates.described(found)
    shown = {"description": held.description or ""} | {name: held.tags.get(name) for name in wanted.tags}
    return [
        f"version {found.reference}: its {name} in MLflow is not what follows from the evidence"
        for name, value in ({"description": wanted.text} | wanted.tags).items()
        if shown[name] != value
    ]


def pointing_at(found: Candidate) -> list[tuple[str, str, int]]:
    live = names.live(found.model)
    copy = ledger.version_of_candidate(live, found.id)
    own = [(found.model, alias, v) for alias, v in ledger.aliases(found.model).items() if v == found.version]
    return own + [(live, alias, v) for alias, v in ledger.aliases(live).items() if v == copy]
