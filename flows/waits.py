"""Runs of Prefect that wait for people: started, found, woken."""

from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound

FLOW, DEPLOYMENT = "approval", "approval/any"
ALIVE = [StateType.PAUSED, StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING]


def alive(api: SyncPrefectClient) -> list[FlowRun]:
    """Runs that wait for people, or are about to."""
    state = FlowRunFilterState(type=FlowRunFilterStateType(any_=ALIVE))
    return api.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=[FLOW])), flow_run_filter=FlowRunFilter(state=state), limit=200
    )


def is_asleep(run: FlowRun) -> bool:
    return run.state is not None and run.state.type == StateType.PAUSED


def asleep() -> list[str]:
    """Versions that a suspended run waits for."""
    with get_client(sync_client=True) as api:
        return sorted({str(run.parameters.get("model")) for run in alive(api) if is_asleep(run)})


def ensure(reference: str) -> bool:
    """See that a run waits for a version; returns whether one had to be started. Does nothing where none is served."""
    with get_client(sync_client=True) as api:
        if any(run.parameters.get("model") == reference for run in alive(api)):
            return False
        try:
            deployment = api.read_deployment_by_name(DEPLOYMENT)
        except ObjectNotFound:
            return False
        name = f"wait-{reference.replace('/', '-')}"
        tags = [f"problem:{reference.rpartition('/')[0]}"]
        api.create_flow_run_from_deployment(deployment.id, parameters={"model": reference}, name=name, tags=tags)
        return True


def wake(reference: str, person: str, comment: str) -> int:
    """Let the runs that wait for a version look again at what was signed; returns how many were woken."""
    answer: dict[str, Any] = {"decision": "I have signed", "person": person, "comment": comment}
    with get_client(sync_client=True) as api:
        found = [run for run in alive(api) if is_asleep(run) and run.parameters.get("model") == reference]
        for run in found:
            api.resume_flow_run(run.id, run_input=answer)
        return len(found)
