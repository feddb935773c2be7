"""Train stage: trials by purged walk-forward, the simplest good one fitted, saved, signed, registered."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks import aliases, evidence, lake, ledger, models, plots
from tasks.domain import names
from tasks.domain.evaluation import Estimate, Panel, evaluate, panel
from tasks.domain.families.catalogue import fit, trials
from tasks.domain.families.importance import importance
from tasks.domain.families.trial import Trial
from tasks.domain.problem import Problem
from tasks.domain.selection import Choice, Scored, one_standard_error
from tasks.home import as_json, code_sha256, folder_digests, lock_sha256, sha256, write_whole
from tasks.progress import step
from tasks.recording import Record, attest
from tasks.snapshots import Snapshot


class Commission(NamedTuple):
    """What is to be trained, from what; `candidate` names the result for ever."""

    problem: Problem
    snapshot: Snapshot
    candidate: str

    @property
    def folder(self) -> Path:
        return evidence.candidate_folder(self.problem.name, self.candidate)

    @property
    def is_trained(self) -> bool:
        return evidence.is_signed(self.folder, names.TRAIN)


def commission(problem: Problem, snapshot: Snapshot, force: bool) -> Commission:
    """Name the candidate by all it depends on; `force` starts a further attempt once the last one was decided."""
    content = [snapshot.sha256, problem.sha256, code_sha256(), lock_sha256()]
    stem = f"{snapshot.key}-{sha256(as_json(content))[:16]}"
    attempt = 1
    while evidence.is_signed(evidence.candidate_folder(problem.name, f"{stem}-{attempt + 1}"), names.TRAIN):
        attempt += 1
    last = evidence.candidate_folder(problem.name, f"{stem}-{attempt}")
    if force and evidence.is_signed(last, names.DECIDE):
        attempt += 1
    return Commission(problem, snapshot, f"{stem}-{attempt}")


@task(cache_policy=NO_CACHE)
def load(order: Commission) -> Panel:
    """Features and labels of the development part; no path to the lockbox is known here."""
    return panel(order.snapshot.read(lake.DEVELOPMENT), order.problem)


def inputs(known: Panel) -> pl.DataFrame:
    """The model's inputs as a wide table, for a suite."""
    features = {name: known.x[:, at] for at, name in enumerate(known.columns)}
    return pl.from_pandas(known.keys).with_columns(**features).sort("instrument", "timestamp")


@task(cache_policy=NO_CACHE)
def search(order: Commission, known: Panel, record: Record) -> list[Estimate]:
    """Evaluate every trial; each is an MLflow run of its own below the training run."""
    configurations = trials(order.problem)
    estimates = []
    for number, trial in enumerate(configurations):
        step(f"trial {trial.family} {short(trial)}", number, len(configurations))
        with trial_run(order, trial, record) as run:
            estimate = evaluate(trial, known, order.problem)
            log_trial(run, order, trial, estimate)
        estimates.append(estimate)
    return estimates


def trial_run(order: Commission, trial: Trial, record: Record) -> Any:
    title = f"trial-{trial.family}-{short(trial)}"
    return ledger.run(order.problem.name, names.TRAIN, title, {names.TAG_KIND: "trial"}, parent=record.run.id)


def log_trial(run: ledger.Run, order: Commission, trial: Trial, estimate: Estimate) -> None:
    key = trial.key(order.problem.sha256, order.snapshot.digest(lake.DEVELOPMENT))
    run.params({"trial_key": key, "family": trial.family} | trial.parameters)
    folds = {f"train.rank_ic_fold_{n}": value for n, value in enumerate(estimate.fold_rank_ic, start=1)}
    run.figures(folds | estimate_figures(estimate))


def estimate_figures(estimate: Estimate) -> dict[str, float]:
    return {
        "train.rank_ic": estimate.rank_ic,
        "train.rank_ic_standard_error": estimate.standard_error,
        "train.session_sharpe_ratio": estimate.session_sharpe_ratio,
    }


def short(trial: Trial) -> str:
    name, value = next(pair for pair in trial.parameters.items() if pair[0] != "form")
    return f"{name}={value:g}"


def choose(order: Commission, estimates: list[Estimate]) -> Choice:
    configurations = trials(order.problem)
    return one_standard_error(
        [
            Scored(number, trial.family, estimate.rank_ic, estimate.standard_error)
            for number, (trial, estimate) in enumerate(zip(configurations, estimates, strict=True))
        ]
    )


@task(cache_policy=NO_CACHE)
def build(order: Commission, known: Panel, choice: Choice, record: Record, folder: Path) -> str:
    """Fit the chosen trial on all development rows, save it below `folder`, log it; returns its address."""
    trial = trials(order.problem)[choice.number]
    files = fit(trial, known.sample(np.ones(len(known.y), dtype=bool)), order.problem.seed)
    spec = {
        "features": [order.problem.features],
        "columns": known.columns,
        "inputs": ["close"],
        "family": trial.family,
    }
    models.save(folder, spec, files)
    if shares := importance(trial.family, files, known.columns):
        write_whole(record.folder / "importance.png", plots.importance(shares))
    return ledger.store_model(record.run, order.problem.name, folder)


def document(order: Commission, estimates: list[Estimate], choice: Choice, record: Record) -> None:
    """The files that describe the training: the frozen problem, the trials, why this one."""
    configurations = trials(order.problem)
    rows = [
        {
            "key": trial.key(order.problem.sha256, order.snapshot.digest(lake.DEVELOPMENT)),
            "family": trial.family,
            "parameters": trial.parameters,
        }
        | estimate_figures(estimate)
        for trial, estimate in zip(configurations, estimates, strict=True)
    ]
    summary = {"trials": rows, "chosen": choice.number, "reason": choice.reason}
    write_whole(record.folder / names.PROBLEM_FILE, order.problem.canonical())
    write_whole(record.folder / names.TRIALS, as_json(summary))
    labels = [f"{trial.family}\n{short(trial)}" for trial in configurations]
    write_whole(record.folder / "trials.png", plots.trials(rows, labels))
    record.run.figures(estimate_figures(estimates[choice.number]))
    record.run.params({"family": configurations[choice.number].family} | configurations[choice.number].parameters)
    record.run.tags({names.TAG_PROBLEM_SHA256: order.problem.sha256, "mlflow.note.content": choice.reason})
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
            names.TAG_CODE_SHA256: code_sha256(),
            names.TAG_LOCK_SHA256: lock_sha256(),
        }
        version = ledger.register(name, str(statement.model), statement.run_id, lineage | ledger.git_tag())
    aliases.point(name, name, names.CHALLENGER, version, order.candidate)
    return version
