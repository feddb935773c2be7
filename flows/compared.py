"""What Prefect shows of a problem, compared with what was signed and declared: the tables that flows left on their
pages, and the deployments. Prefect's records decide nothing, but people read them and desks rely on the schedule."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound

from flows import pools, shown
from tasks import candidates, configuration, logins, recovery, snapshots
from tasks.domain import names
from tasks.domain.errors import CountersignError
from tasks.reconciling import Difference

TABLES = (shown.VERDICT, shown.TRAINING, shown.COLLECTED, *names.REPORTS)
PAGE = 200  # artifacts asked for at once
Said = tuple[str, str]  # a table's title and its rows, as canonical text


def differences(problem: str) -> list[Difference]:
    """All in which Prefect's records of a problem are not what they should be."""
    with get_client(sync_client=True) as api, logins.reading():
        return [*deployments(api, problem), *tables(api, problem)]


# --- deployments --------------------------------------------------------------------------------------------


def deployments(api: SyncPrefectClient, problem: str) -> Iterator[Difference]:
    if problem not in configuration.problem_names():
        return  # retrained from a file of somebody's own: nothing is declared
    for flow in pools.OF_PROBLEM:
        name = pools.deployment(flow, problem)
        try:
            found = api.read_deployment_by_name(name)
        except ObjectNotFound:
            yield Difference(problem, problem, f"deployment {name}: is gone from Prefect; start `up` anew")
            continue
        for what, there, declared in compared(found, flow, problem):
            if there != declared:
                said = f"deployment {name}: {what}: Prefect has {there}, declared is {declared}"
                yield Difference(problem, problem, said)


def compared(found: DeploymentResponse, flow: str, problem: str) -> Iterator[tuple[str, Any, Any]]:
    """What of a deployment matters: as Prefect has it, and as it is declared."""
    wanted = [configuration.load_problem(problem).schedule] if flow == "retrain" else []
    crons = [getattr(each.schedule, "cron", str(each.schedule)) for each in found.schedules if each.active]
    yield "schedule", crons, [cron for cron in wanted if cron]
    yield "parameters", found.parameters, {"problem": problem}
    yield "paused", found.paused, False
    yield "pool", found.work_pool_name, pools.of(flow)


# --- tables -------------------------------------------------------------------------------------------------


def tables(api: SyncPrefectClient, problem: str) -> Iterator[Difference]:
    """Tables whose title or rows follow from nothing that was signed."""
    left = list(artifacts(api))
    runs = runs_of(api, {each.flow_run_id for each in left if each.flow_run_id})
    known: dict[tuple[str, str], set[Said]] = {}
    for each in left:
        run = runs.get(each.flow_run_id)
        if run is None or not (recovery.is_about(run, problem) or str(each.description).startswith(f"{problem}/")):
            continue
        about = (str(each.key), str(each.description).partition(":")[0])
        if about not in known:
            known[about] = set(signed(problem, *about))
        if (str(each.description), canonical(each.data)) not in known[about]:
            said = f"table {each.key} of run {run.name}: Prefect shows what nobody signed ({about[1]})"
            yield Difference(problem, about[1] if about[1].startswith(f"{problem}/") else problem, said)


def artifacts(api: SyncPrefectClient) -> Iterator[Any]:
    """Every table of ours, both as its run's page shows it and as the page of artifacts does."""
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=list(TABLES)))
    for read in (api.read_artifacts, api.read_latest_artifacts):
        offset = 0
        while page := read(artifact_filter=wanted, limit=PAGE, offset=offset):
            yield from page
            offset += len(page)


def runs_of(api: SyncPrefectClient, ids: set[UUID]) -> dict[UUID | None, FlowRun]:
    ordered = sorted(ids)
    found: dict[UUID | None, FlowRun] = {}
    for start in range(0, len(ordered), PAGE):
        only = FlowRunFilter(id=FlowRunFilterId(any_=ordered[start : start + PAGE]))
        found |= {run.id: run for run in api.read_flow_runs(flow_run_filter=only, limit=PAGE)}
    return found


def signed(problem: str, key: str, about: str) -> Iterator[Said]:
    """The tables of a kind that follow from what was signed about a version or a snapshot; none where nothing was."""
    try:
        if key == shown.COLLECTED:
            yield about, canonical(shown.count_rows(snapshots.current(problem, about).manifest["accounting"]))
            return
        found = candidates.candidate(*names.split_reference(about))
        if key == shown.TRAINING:
            yield about, canonical(shown.count_rows(found.told()))
        elif key == shown.VERDICT:
            for told in found.decisions():
                yield shown.verdict_title(told), canonical(shown.verdict_rows(told))
        else:
            yield about, canonical(shown.figure_rows(found.figures(key)))
    except (CountersignError, OSError, KeyError):  # what it speaks of is not there, or does not hold
        return


def canonical(rows: Any) -> str:
    """Rows as one text, whichever way Prefect keeps them."""
    return json.dumps(json.loads(rows) if isinstance(rows, str) else rows, sort_keys=True)
