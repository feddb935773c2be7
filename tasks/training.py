"""Train stage: trials by purged walk-forward, the simplest good one fitted, saved, signed, registered."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks import aliases, configuration, evidence, freeze, lake, ledger, machine, models
from tasks.domain import names
from tasks.domain.bars import VALUES
from tasks.domain.errors import UsageError
from tasks.domain.evaluation import Panel, panel
from tasks.domain.families.trial import Trial
from tasks.domain.features import engine
from tasks.domain.leaks import check_causal
from tasks.domain.problem import Problem
from tasks.domain.selection import Choice
from tasks.domain.targets import MetaLabel
from tasks.domain.trading import refuse_unfit
from tasks.home import as_json, code_sha256, folder_digests, lock_sha256, sha256, write_whole
from tasks.recording import Record, attest, prefect_link, signed_file
from tasks.searching import Outcome, fit_whole, returns_file
from tasks.snapshots import Snapshot


class Commission(NamedTuple):
    """What is to be trained, from what; `candidate` names the result for ever, `own` is the problem's feature file."""

    problem: Problem
    snapshot: Snapshot
    candidate: str
    own: bytes | None = None

    @property
    def folder(self) -> Path:
        return evidence.candidate_folder(self.problem.name, self.candidate)

    @property
    def is_trained(self) -> bool:
        return evidence.is_signed(self.folder, names.TRAIN)


def commission(problem: Problem, snapshot: Snapshot, force: bool) -> Commission:
    """Name the candidate by all it depends on; `force` starts a further attempt once the last one was decided."""
    content = [snapshot.sha256, problem.sha256, code_sha256(), lock_sha256()]
    own = None if problem.feature_file is None else feature_file(problem.feature_file)
    content += [] if own is None else [sha256(own)]
    stem = f"{snapshot.key}-{sha256(as_json(content))[:16]}"
    attempt = 1
    while evidence.is_signed(evidence.candidate_folder(problem.name, f"{stem}-{attempt + 1}"), names.TRAIN):
        attempt += 1
    last = evidence.candidate_folder(problem.name, f"{stem}-{attempt}")
    if force and evidence.is_signed(last, names.DECIDE):
        attempt += 1
    return Commission(problem, snapshot, f"{stem}-{attempt}", own)


@task(cache_policy=NO_CACHE)
def freeze_problem(order: Commission, record: Record) -> None:
    """Freeze the problem and its gates before the first trial; the signed entry becomes a file of the run."""
    gates = configuration.policy_of(order.problem)
    frozen = freeze.freeze(order.problem, gates, len(ledger.recorded_trials(order.problem.name)))
    write_whole(record.folder / names.PROBLEM_VERSION, frozen.entry)
    record.run.tags({names.TAG_PROBLEM_VERSION: str(frozen.number)})


@task(cache_policy=NO_CACHE)
def load(order: Commission) -> Panel:
    return known_panel(order)


def known_panel(order: Commission) -> Panel:
    """Features and labels of the development part; no path to the lockbox is known here.

    Raises:
        UsageError: a feature looks into the future, or further back than it says, or cannot be computed; the bars do
            not have what the strategy asks for.
    """
    bars, own = order.snapshot.read(lake.DEVELOPMENT), own_features(order)
    check_causal(order.problem.features, bars, own)
    known = panel(bars, order.problem, own)
    refuse_unfit(order.problem.strategy, known.prices)
    return known


def feature_file(path: str) -> bytes:
    """The content of a problem's own file of features.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as fault:
        raise UsageError(f"feature_file {path}: cannot be read ({fault.strerror})") from None


def own_features(order: Commission) -> dict[str, engine.Own]:
    """The functions of the problem's own file of features, as its model will have them.

    Raises:
        UsageError: it is no Python file that can be run.
    """
    if order.own is None:
        return {}
    try:
        return engine.own_features(order.own.decode())
    except Exception as fault:  # noqa: BLE001 - a user's code may fail in any way
        raise UsageError(f"feature_file {order.problem.feature_file}: {type(fault).__name__}: {fault}") from None


def inputs(known: Panel) -> pl.DataFrame:
    """The model's inputs as a wide table, for a suite."""
    features = {name: known.x[:, at] for at, name in enumerate(known.columns)}
    return pl.from_pandas(known.keys).with_columns(**features).sort("instrument", "timestamp")


@task(cache_policy=NO_CACHE)
def fit_chosen(order: Commission, known: Panel, trial: Trial) -> dict[str, bytes]:
    """The chosen trial's parameters, fitted on all development rows."""
    return fit_whole(order.problem, known, trial)


@task(cache_policy=NO_CACHE)
def save(order: Commission, known: Panel, trial: Trial, files: dict[str, bytes], record: Record, folder: Path) -> str:
    """Save the model below `folder` and log it; returns its address."""
    write_model(order, known, trial, files, folder)
    return ledger.store_model(record.run, order.problem.name, folder)


def write_model(order: Commission, known: Panel, trial: Trial, files: dict[str, bytes], folder: Path) -> None:
    """The artifact of a fitted trial."""
    spec: dict[str, Any] = {
        "features": order.problem.features,
        "columns": known.columns,
        "inputs": bar_columns(order),
        "family": trial.family,
    }
    if isinstance(order.problem.label, MetaLabel):
        spec["momentum_sessions"] = order.problem.label.momentum_sessions
    models.save(folder, spec, files, order.own)


def bar_columns(order: Commission) -> list[str]:
    """The columns of bars that the features are made of: a user's own may use any that the snapshot has."""
    sets = [engine.SETS.get(name) for name in order.problem.features]
    held = order.snapshot.load(lake.DEVELOPMENT).columns
    return [name for name in held if name in VALUES and any(each is None or name in each.columns for each in sets)]


def document(order: Commission, outcomes: Sequence[Outcome], choice: Choice, record: Record) -> None:
    """The files that describe the training: the frozen problem, the trials, why this one, and on what it ran."""
    chosen = outcomes[choice.number]
    summary = {"trials": [each.row for each in outcomes], "chosen": choice.number, "reason": choice.reason}
    write_whole(record.folder / names.PROBLEM_FILE, order.problem.canonical())
    write_whole(record.folder / names.TRIALS, as_json(summary))
    runs = ledger.trial_runs(order.problem.name, order.candidate)
    write_whole(record.folder / names.TRIAL_RUNS, as_json({key: ledger.state_of(run) for key, run in runs.items()}))
    write_whole(record.folder / names.ENVIRONMENT, as_json(machine.described()))
    write_whole(record.folder / names.TRIAL_RETURNS, returns_file([each for each in outcomes if not each.ended.pruned]))
    record.run.figures(chosen.summary)
    record.run.params({"family": chosen.trial.family} | chosen.trial.parameters)
    record.run.tags(
        {names.TAG_PROBLEM_SHA256: order.problem.sha256, ledger.NOTE: f"{choice.reason}\n\n{prefect_link()}"}
    )
    table = order.snapshot.manifest["tables"][lake.DEVELOPMENT]
    record.run.input(lake.DEVELOPMENT, table["version"], table["sha256"], context="training")


@task(cache_policy=NO_CACHE)
def complete(order: Commission, record: Record, source: str, model: Path, suites: dict[str, str]) -> None:
    """Sign the training link: from here on the candidate exists, whatever happens."""
    evidence.open_candidate(order.problem.name, order.candidate, order.snapshot.key)
    attest(
        record,
        order.folder,
        materials={names.DEVELOPMENT: order.snapshot.digest(lake.DEVELOPMENT)} | suites,
        products=folder_digests(model, f"{names.MODEL}/"),
        model=source,
    )


def trained_under(order: Commission) -> int:
    """The version of the problem that the candidate's training link names."""
    problem, entry = (
        signed_file(order.folder, names.TRAIN, name) for name in (names.PROBLEM_FILE, names.PROBLEM_VERSION)
    )
    return freeze.versions_until(order.problem.name, entry, problem)[-1].number


@task(cache_policy=NO_CACHE)
def register(order: Commission) -> int:
    """The candidate's registered version, made if it is not there yet, and the challenger alias on it."""
    name = order.problem.name
    version = ledger.version_of_candidate(name, order.candidate)
    if version is None:
        statement = evidence.read_statement(order.folder, names.TRAIN)
        lineage = {
            names.TAG_CANDIDATE: order.candidate,
            names.TAG_SNAPSHOT: order.snapshot.key,
            names.TAG_PROBLEM_SHA256: order.problem.sha256,
            names.TAG_PROBLEM_VERSION: str(trained_under(order)),
            names.TAG_CODE_SHA256: code_sha256(),
            names.TAG_LOCK_SHA256: lock_sha256(),
        }
        version = ledger.register(name, str(statement.model), statement.run_id, lineage | ledger.git_tag())
    aliases.point(name, name, names.CHALLENGER, version, order.candidate)
    return version
