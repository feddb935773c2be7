"""Train stage: trials by purged walk-forward, the simplest good one fitted, saved, signed, registered."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks import aliases, configuration, evidence, freeze, lake, ledger, models, plots
from tasks.domain import names
from tasks.domain.complexity import LINEAR
from tasks.domain.errors import UsageError
from tasks.domain.evaluation import Estimate, Panel, evaluate, fitted, panel
from tasks.domain.families import Trial, fit, importance, trials
from tasks.domain.monotone import broken, constrained
from tasks.domain.problem import Problem
from tasks.domain.selection import Choice, Scored, one_standard_error
from tasks.home import as_json, code_sha256, folder_digests, lock_sha256, sha256, write_whole
from tasks.progress import step
from tasks.recording import Record, attest, signed_file
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
def freeze_problem(order: Commission, record: Record) -> None:
    """Freeze the problem and its gates before the first trial; the signed entry becomes a file of the run."""
    gates = configuration.load_policy(order.problem.policy)
    frozen = freeze.freeze(order.problem, gates, len(ledger.recorded_trials(order.problem.name)))
    write_whole(record.folder / names.PROBLEM_VERSION, frozen.entry)
    record.run.tags({names.TAG_PROBLEM_VERSION: str(frozen.number)})


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
    tried = configurations(order, known)
    estimates = []
    for number, trial in enumerate(tried):
        step(f"trial {trial.family} {short(trial)}", number, len(tried))
        with trial_run(order, trial, record) as run:
            estimate = evaluate(trial, known, order.problem)
            log_trial(run, order, trial, estimate)
        estimates.append(estimate)
    return estimates


def configurations(order: Commission, known: Panel) -> list[Trial]:
    """The problem's trials, with its monotone constraints in those that take them into account.

    Raises:
        UsageError: a constraint is on something that is no feature.
    """
    signs = order.problem.constraints.monotone
    return [
        trial._replace(parameters=constrained(trial.family, trial.parameters, signs, known.columns))
        for trial in trials(order.problem)
    ]


def disobedient(order: Commission, known: Panel) -> dict[int, list[str]]:
    """Linear trials, by number, whose fit on all development rows has a slope of the wrong sign, and on what."""
    if not order.problem.constraints.monotone:
        return {}
    linear = {number: trial for number, trial in enumerate(configurations(order, known)) if trial.family in LINEAR}
    found = {number: wrong_slopes(order, known, trial) for number, trial in linear.items()}
    return {number: features for number, features in found.items() if features}


def wrong_slopes(order: Commission, known: Panel, trial: Trial) -> list[str]:
    predict, _ = fitted(trial, known.sample(np.ones(len(known.y), dtype=bool)), order.problem.seed)
    signs = order.problem.constraints.monotone
    return broken(lambda x: predict(x, np.full(len(x), -1)), known.x, signs, known.columns)


def trial_run(order: Commission, trial: Trial, record: Record) -> Any:
    title = f"trial-{trial.family}-{short(trial)}"
    return ledger.run(order.problem.name, names.TRAIN, title, {names.TAG_KIND: "trial"}, parent=record.run.id)


def log_trial(run: ledger.Run, order: Commission, trial: Trial, estimate: Estimate) -> None:
    key = trial.key(order.problem.sha256, order.snapshot.digest(lake.DEVELOPMENT))
    run.params({"trial_key": key, "family": trial.family} | trial.parameters)
    paths = {f"train.rank_ic_path_{n}": value for n, value in enumerate(estimate.path_rank_ic, start=1)}
    run.figures(paths | estimate_figures(estimate))


def estimate_figures(estimate: Estimate) -> dict[str, float]:
    return {
        "train.rank_ic": estimate.rank_ic,
        "train.rank_ic_standard_error": estimate.standard_error,
        "train.session_sharpe_ratio": estimate.session_sharpe_ratio,
    }


def short(trial: Trial) -> str:
    first = next(iter(trial.parameters.items()))
    return f"{first[0]}={first[1]:g}"


def choose(order: Commission, known: Panel, estimates: list[Estimate]) -> Choice:
    """The simplest good trial among those that keep the problem's monotone constraints.

    Raises:
        UsageError: none of them does.
    """
    wrong = disobedient(order, known)
    scored = [
        Scored(number, trial.family, estimate.rank_ic, estimate.standard_error)
        for number, (trial, estimate) in enumerate(zip(configurations(order, known), estimates, strict=True))
        if number not in wrong
    ]
    features = sorted(set().union(*wrong.values()))
    if not scored:
        raise UsageError(f"{order.problem.name}: no trial keeps constraints.monotone on {features}; add lightgbm")
    choice = one_standard_error(scored)
    said = f"; {len(wrong)} linear trials left out: constraints.monotone is not kept on {', '.join(features)}"
    return choice._replace(reason=choice.reason + said) if wrong else choice


@task(cache_policy=NO_CACHE)
def build(order: Commission, known: Panel, choice: Choice, record: Record, folder: Path) -> str:
    """Fit the chosen trial on all development rows, save it below `folder`, log it; returns its address."""
    trial = configurations(order, known)[choice.number]
    usable = known.y == known.y
    parameters = fit(trial, known.x[usable], known.y[usable], order.problem.seed)
    spec = {"features": order.problem.features, "columns": known.columns, "family": trial.family}
    models.save(folder, spec, parameters)
    shares = importance(trial.family, parameters, known.columns)
    write_whole(record.folder / "importance.png", plots.importance(shares))
    return ledger.store_model(record.run, order.problem.name, folder)


def document(order: Commission, known: Panel, estimates: list[Estimate], choice: Choice, record: Record) -> None:
    """The files that describe the training: the frozen problem, the trials, why this one."""
    tried = configurations(order, known)
    rows = [
        {
            "key": trial.key(order.problem.sha256, order.snapshot.digest(lake.DEVELOPMENT)),
            "family": trial.family,
            "parameters": trial.parameters,
        }
        | estimate_figures(estimate)
        for trial, estimate in zip(tried, estimates, strict=True)
    ]
    summary = {"trials": rows, "chosen": choice.number, "reason": choice.reason}
    write_whole(record.folder / names.PROBLEM_FILE, order.problem.canonical())
    write_whole(record.folder / names.TRIALS, as_json(summary))
    write_whole(record.folder / "trials.png", plots.trials(rows))
    record.run.figures(estimate_figures(estimates[choice.number]))
    record.run.params({"family": tried[choice.number].family} | tried[choice.number].parameters)
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
