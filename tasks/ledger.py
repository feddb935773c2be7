"""The only door to MLflow: runs, figures, artifacts, registered versions, aliases."""

import json
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import mlflow
from mlflow.entities import Dataset, DatasetInput, LoggedModelOutput, LoggedModelStatus, Metric, Param, RunTag, ViewType
from mlflow.entities import Run as MlflowRun
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from tasks import logins
from tasks.domain import names
from tasks.domain.errors import UsageError, VerificationFailed
from tasks.home import (
    RUNS,
    code_sha256,
    exclusive,
    folder_digests,
    git_commit,
    home,
    is_bundle,
    lock_sha256,
    write_whole,
)

# MLflow writes this file into the model's own folder whenever somebody loads `models:/name/version`
# from a local artifact store. It holds the name and version and takes no part in scoring.
WRITTEN_ON_LOAD = "registered_model_meta"
PARENT = "mlflow.parentRunId"
NOTE = "mlflow.note.content"
SQLITE = "sqlite:///"


def client() -> MlflowClient:
    """Raises UsageError where a server does not know this process's login."""
    make_database(mlflow.get_tracking_uri())
    require_login(mlflow.get_tracking_uri())
    return MlflowClient()


@cache
def require_login(uri: str) -> None:
    if not logins.at_server({logins.SERVER: uri}):
        return
    try:
        MlflowClient().search_experiments(max_results=1)
    except MlflowException as fault:
        if fault.error_code == "UNAUTHENTICATED":
            raise UsageError(
                f"MLflow {uri}: does not know this login; put yours into {logins.USERNAME} and {logins.PASSWORD}"
            ) from None
        raise


def not_made(what: str) -> UsageError:
    """Where roles have logins they make no experiments and models: MLflow lets whoever made one manage it."""
    return UsageError(f"MLflow has no {what} yet; its administrator makes it: `countersign roles mlflow`")


@cache
def make_database(uri: str) -> None:
    """Make a new SQLite database whole or not at all: its tables are made beside it and moved into its place.

    SQLite has no transaction around the hundred changes that lead to MLflow's present tables. Made in place and killed
    half way, they are such as MLflow refuses for ever.
    """
    if not uri.startswith(SQLITE):
        return
    path = Path(uri.removeprefix(SQLITE)).resolve()
    if is_filled(path):
        return
    with exclusive("mlflow", wait=True):
        if is_filled(path):  # another process made it meanwhile
            return
        draft = path.with_name(f".{path.name}.draft")
        for left in (draft, draft.with_name(f"{draft.name}-journal")):
            left.unlink(missing_ok=True)
        MlflowClient(tracking_uri=f"{SQLITE}{draft}").search_experiments(max_results=1)
        if path.exists():  # empty, made by root, so that all stages may write into it
            draft.chmod(stat.S_IMODE(path.stat().st_mode))
        draft.replace(path)


def make_tables(uri: str) -> None:
    """Make the tables of a database, SQLite's or another one, where there are none."""
    make_database(uri)
    MlflowClient(tracking_uri=uri).search_experiments(max_results=1)


def is_filled(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def experiment_id(problem: str, stage: str) -> str:
    """The stage's experiment; its artifacts are plain files, so that clients with and without a server agree."""
    name = names.experiment(problem, stage)
    found = client().get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    if logins.own_role():
        raise not_made(f"experiment {name}")
    return str(client().create_experiment(name, artifact_location=artifact_location(problem, stage)))


def artifact_location(problem: str, stage: str) -> str:
    return (home() / "artifacts" / problem / stage).as_uri()


class Run:
    """An MLflow run being written."""

    def __init__(self, run_id: str, experiment: str) -> None:
        self.id = run_id
        self.experiment = experiment

    def figures(self, values: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        client().log_batch(self.id, metrics=[Metric(name, value, now, 0) for name, value in values.items()])

    def params(self, values: Mapping[str, Any]) -> None:
        client().log_batch(self.id, params=[Param(name, str(value)) for name, value in values.items()])

    def tags(self, values: Mapping[str, str]) -> None:
        client().log_batch(self.id, tags=[RunTag(name, value) for name, value in values.items()])

    def artifacts(self, folder: Path) -> None:
        client().log_artifacts(self.id, str(folder))

    def input(self, table: str, version: int, sha: str, context: str) -> None:
        """Log a dataset read; MLflow shows 36 characters of its digest, the tag holds all."""
        dataset = Dataset(name=table, digest=sha[:36], source_type="delta", source=f"{table}@{version}")
        client().log_inputs(self.id, [DatasetInput(dataset, [])])
        self.tags({f"{names.TAG}input.{context}": f"{table}@{version} sha256:{sha}"})


@contextmanager
def run(problem: str, stage: str, name: str, tags: Mapping[str, str], parent: str | None = None) -> Iterator[Run]:
    """A run that ends FINISHED, or FAILED if the block raises; a killed process leaves it to `close_orphans`."""
    experiment = experiment_id(problem, stage)
    lineage = {
        names.TAG_PROBLEM: problem,
        names.TAG_GIT: git_commit(),
        names.TAG_CODE_SHA256: code_sha256(),
        names.TAG_LOCK_SHA256: lock_sha256(),
    }
    if parent:
        lineage[PARENT] = parent
    created = client().create_run(experiment, run_name=name, tags=lineage | dict(tags))
    try:
        yield Run(created.info.run_id, experiment)
    except BaseException:
        client().set_terminated(created.info.run_id, "FAILED")
        raise
    client().set_terminated(created.info.run_id, "FINISHED")


def ended_run(
    problem: str,
    stage: str,
    name: str,
    tags: Mapping[str, str],
    params: Mapping[str, Any],
    figures: Mapping[str, float],
    files: Mapping[str, bytes],
    parent: str,
) -> None:
    """Log something that has ended as a run of its own: its files, then all its figures at once."""
    with run(problem, stage, name, tags, parent) as made, tempfile.TemporaryDirectory() as scratch:
        for title, content in files.items():
            write_whole(Path(scratch) / title, content)
        made.artifacts(Path(scratch))
        now = int(time.time() * 1000)
        client().log_batch(
            made.id,
            metrics=[Metric(key, value, now, 0) for key, value in figures.items()],
            params=[Param(key, str(value)) for key, value in params.items()],
        )


def trial_runs(problem: str, candidate: str) -> dict[str, MlflowRun]:
    """The runs of a candidate's trials that ended, by the trial's key."""
    told = {names.TAG_KIND: "trial", names.TAG_CANDIDATE: candidate}
    conditions = [f"tags.`{name}` = '{value}'" for name, value in told.items()] + ["attributes.status = 'FINISHED'"]
    found = searched(problem, names.TRAIN, " and ".join(conditions), ViewType.ACTIVE_ONLY)
    return {run.data.params.get("trial_key", ""): run for run in found}


def runs_below(problem: str, stage: str, parent: str) -> list[MlflowRun]:
    """The runs of a stage that MLflow shows as parts of another one."""
    return list(searched(problem, stage, f"tags.`{PARENT}` = '{parent}'", ViewType.ACTIVE_ONLY))


def searched(problem: str, stage: str, condition: str, view: str) -> Iterator[MlflowRun]:
    """All runs of a stage that fulfil a condition."""
    experiment = client().get_experiment_by_name(names.experiment(problem, stage))
    token: str | None = ""
    while experiment is not None and token is not None:
        page = client().search_runs(
            [experiment.experiment_id], condition, view, max_results=1000, page_token=token or None
        )
        yield from page
        token = page.token or None


def move_below(run_id: str, parent: str) -> None:
    client().set_tag(run_id, PARENT, parent)


def stage_experiments(problem: str, stages: Iterable[str]) -> list[str]:
    wanted = {names.experiment(problem, stage) for stage in stages}
    found = client().search_experiments(filter_string=f"name LIKE '{problem}/%'")
    return [experiment.experiment_id for experiment in found if experiment.name in wanted]


def close_orphans(problem: str, stages: Iterable[str]) -> int:
    """Mark runs of some stages that a killed process left RUNNING; call only while holding the problem's lock."""
    experiments = stage_experiments(problem, stages)
    if not experiments:
        return 0
    left = client().search_runs(experiments, "attributes.status = 'RUNNING'", max_results=1000)
    for orphan in left:
        client().set_tag(orphan.info.run_id, f"{names.TAG}killed", "its process ended without closing it")
        client().set_terminated(orphan.info.run_id, "KILLED")
    return len(left)


def recorded_trials(problem: str) -> dict[str, float]:
    """Every distinct trial ever run for a problem, deleted runs and all versions of the problem included: its key →
    Sharpe ratio per session."""
    found = searched(problem, names.TRAIN, f"tags.`{names.TAG_KIND}` = 'trial'", ViewType.ALL)
    return {
        trial.data.params["trial_key"]: trial.data.metrics.get("train.session_sharpe_ratio", 0.0)
        for trial in found
        if "trial_key" in trial.data.params  # a process killed between making a run and filling it leaves an empty one
    }


def get_run(run_id: str) -> MlflowRun:
    """Raises VerificationFailed where MLflow has no such run."""
    try:
        return client().get_run(run_id)
    except MlflowException as fault:
        if fault.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise VerificationFailed(f"MLflow: run {run_id} is gone") from None


def run_state(run_id: str) -> dict[str, dict[str, Any]]:
    """What MLflow shows of a run, and where; see `state_of`."""
    found = get_run(run_id)
    state = state_of(found)
    state["run"]["experiment"] = client().get_experiment(found.info.experiment_id).name
    return state


def state_of(found: MlflowRun) -> dict[str, dict[str, Any]]:
    """What a person may rely on that MLflow shows of a run: its metrics, params, our tags, what it read, when it ran,
    how it ended, and of which run it is a part."""
    own = {name: value for name, value in found.data.tags.items() if name.startswith(names.TAG) or name == NOTE}
    read = [each.dataset for each in found.inputs.dataset_inputs] if found.inputs else []
    info = {
        "id": found.info.run_id,
        "name": found.info.run_name,
        "status": found.info.status,
        "lifecycle": found.info.lifecycle_stage,
        "started": found.info.start_time,
        "ended": found.info.end_time,
        "parent": found.data.tags.get(PARENT, ""),
    }
    return {
        "metric": dict(found.data.metrics),
        "param": dict(found.data.params),
        "tag": own,
        "dataset": {each.name: f"{each.digest} {each.source}" for each in read},
        "run": info,
    }


def add_artifact(run_id: str, name: str, content: bytes) -> None:
    """Put a file beside a run's artifacts."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / name
        path.write_bytes(content)
        client().log_artifact(run_id, str(path))


def run_folder(run_id: str) -> Path:
    """Where MLflow holds a run's artifacts, or a bundle its copy of them."""
    if is_bundle():
        return home() / RUNS / run_id
    return as_path(get_run(run_id).info.artifact_uri)


def run_tag(run_id: str, name: str) -> str:
    """A run's tag, empty where it has none."""
    return str(get_run(run_id).data.tags.get(name, ""))


def git_tag() -> dict[str, str]:
    return {names.TAG_GIT: git_commit()}


def run_link(run_id: str) -> str:
    """The run's page, as a link that works in a description inside MLflow's own pages."""
    found = client().get_run(run_id)
    return f"#/experiments/{found.info.experiment_id}/runs/{run_id}?workflowType=machine_learning"


def as_path(uri: str) -> Path:
    """A local folder for an artifact address, downloaded if it lies elsewhere."""
    parsed = urlparse(uri)
    if parsed.scheme in ("", "file"):
        return Path(unquote(parsed.path))
    return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri))


# --- registry -----------------------------------------------------------------------------------------------


def get_version(model: str, version: int) -> ModelVersion:
    try:
        return client().get_model_version(model, str(version))
    except MlflowException:
        raise UsageError(f"{model}/{version}: no such model version; see `countersign status`") from None


def logged_figures(source: str) -> list[str]:
    """Names of the metrics and params on the page of the model that a version was registered from."""
    try:
        logged = client().get_logged_model(source.removeprefix("models:/"))
    except MlflowException:
        raise VerificationFailed(f"MLflow: model {source} is gone") from None
    return [each.key for each in logged.metrics or []] + list(logged.params or {})


def versions(model: str) -> list[ModelVersion]:
    """All versions of a registered model, oldest first."""
    found = client().search_model_versions(f"name = '{model}'", max_results=10_000)
    return sorted(found, key=lambda version: int(version.version))


def version_of_candidate(model: str, candidate: str) -> int | None:
    for version in versions(model):
        if version.tags.get(names.TAG_CANDIDATE) == candidate:
            return int(version.version)
    return None


def store_model(run: Run, name: str, folder: Path) -> str:
    """Log a saved model with its run, byte for byte; returns its address for `register`."""
    logged = client().create_logged_model(run.experiment, name=name, source_run_id=run.id, model_type="pyfunc")
    client().log_model_artifacts(logged.model_id, str(folder))
    client().finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
    client().log_outputs(run.id, [LoggedModelOutput(logged.model_id, 0)])
    return f"models:/{logged.model_id}"


def register(model: str, source: str, run_id: str, tags: Mapping[str, str]) -> int:
    ensure_model(model)
    model_id = source.removeprefix("models:/")
    made = client().create_model_version(model, source=source, run_id=run_id, tags=dict(tags), model_id=model_id)
    # What MLflow's own register_model notes, so that the model's page leads to its version.
    registered = json.dumps([{"name": model, "version": int(made.version)}])
    client().set_logged_model_tags(model_id, {"mlflow.modelVersions": registered})
    return int(made.version)


def ensure_model(model: str) -> None:
    if logins.own_role():
        if not client().search_registered_models(f"name = '{model}'"):
            raise not_made(f"registered model {model}")
        return
    try:
        client().create_registered_model(model)
    except MlflowException as fault:
        if fault.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def release_copy(model: str, version: int, live: str, candidate: str) -> int:
    """The candidate's version in the registered model of released ones, copied there if it is not yet."""
    with exclusive(f"{live}-copy", wait=True):  # two who release at once must not make two of it
        ensure_model(live)
        existing = version_of_candidate(live, candidate)
        if existing is not None:
            return existing
        return int(client().copy_model_version(f"models:/{model}/{version}", live).version)


def model_folder(model: str, version: int) -> Path:
    get_version(model, version)
    return as_path(client().get_model_version_download_uri(model, str(version)))


def model_digests(model: str, version: int) -> dict[str, str]:
    """SHA-256 of every file of a registered version that takes part in scoring, by `model/<file>`."""
    return digests_below(model_folder(model, version))


def digests_below(folder: Path) -> dict[str, str]:
    found = folder_digests(folder, f"{names.MODEL}/")
    found.pop(f"{names.MODEL}/{WRITTEN_ON_LOAD}", None)
    return found


def aliases(model: str) -> dict[str, int]:
    try:
        found = client().get_registered_model(model).aliases
    except MlflowException:
        return {}
    return {alias: int(version) for alias, version in found.items()}


def move_alias(model: str, alias: str, version: int) -> None:
    client().set_registered_model_alias(model, alias, str(version))


def describe_version(model: str, version: int, text: str, tags: Mapping[str, str]) -> None:
    client().update_model_version(model, str(version), text)
    for name, value in tags.items():
        client().set_model_version_tag(model, str(version), name, value)
