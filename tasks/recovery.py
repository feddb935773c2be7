"""One worker a problem, and the traces of those that died before it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    TaskRunFilter,
    TaskRunFilterFlowRunId,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.context import FlowRunContext
from prefect.states import Crashed

from tasks import ledger, logins
from tasks.domain import names
from tasks.domain.errors import UsageError
from tasks.home import exclusive

HELD_BY_PARENT = "COUNTERSIGN_LOCK"
LEFT_BY = "left-by:"  # of a tag: the flow run that left this one to another machine
UNFINISHED = [StateType.RUNNING, StateType.CANCELLING]


@contextmanager
def working_on(problem: str) -> Iterator[int]:
    """Hold the problem while the block runs and close what dead processes left open; yields the lock.

    A stage that the retrain flow started shares the lock its parent holds.
    """
    if inherited := os.environ.get(HELD_BY_PARENT):
        yield int(inherited)
        return
    with exclusive(problem) as lock:
        close_orphans(problem)
        yield lock


@contextmanager
def lent(lock: int) -> Iterator[None]:
    """Leave a problem to a stage on another machine while the block runs; the file system of the state folder must know
    locks that hold between machines (NFS 4 does).

    Raises:
        UsageError: somebody else came in between and holds it now.
    """
    fcntl.flock(lock, fcntl.LOCK_UN)
    try:
        yield
    except BaseException:
        regained(lock)  # lost or not, what went wrong in the block is what is told
        raise
    if not regained(lock):
        raise UsageError(
            "another run took this problem while a stage was done elsewhere; retrain again when it has ended"
        )


def regained(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def close_orphans(problem: str) -> None:
    """End every MLflow and Prefect run of a problem that says RUNNING; the caller holds the lock, so none is."""
    close_runs(problem)
    with get_client(sync_client=True) as api:
        own = alive()
        for left in unfinished(api):
            if is_about(left, problem) and left.id not in own:
                crash(api, left)


def close_runs(problem: str) -> None:
    """End MLflow's runs. A server that asks who is there lets each role end its own only: a stage ends those of its
    role, and the process that starts all stages ends every role's as that role."""
    roles = logins.at_hand()
    if not roles:
        ledger.close_orphans(problem, names.SIGNERS)
    for role in roles:
        with logins.acting_as(role):
            ledger.close_orphans(problem, [stage for stage, signer in names.SIGNERS.items() if signer == role])


def is_about(run: FlowRun, problem: str) -> bool:
    """Runs started from the command line carry the tag, those started from a page say it in their parameters."""
    model = str(run.parameters.get("model", ""))
    return (
        f"problem:{problem}" in run.tags or run.parameters.get("problem") == problem or model.startswith(f"{problem}/")
    )


def alive() -> set[UUID]:
    """The flow runs this process works for: its own, and the retrain that left its stage to it."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return set()
    left_by = (tag.removeprefix(LEFT_BY) for tag in context.flow_run.tags if tag.startswith(LEFT_BY))
    return {context.flow_run.id, *map(UUID, left_by)}


def unfinished(api: SyncPrefectClient) -> list[FlowRun]:
    state = FlowRunFilterState(type=FlowRunFilterStateType(any_=UNFINISHED))
    return list(api.read_flow_runs(flow_run_filter=FlowRunFilter(state=state), limit=200))


def crash(api: SyncPrefectClient, left: FlowRun) -> None:
    message = "Its process ended without reporting; closed by the next run."
    api.set_flow_run_state(left.id, Crashed(message=message), force=True)
    only = TaskRunFilter(flow_run_id=TaskRunFilterFlowRunId(any_=[left.id]))
    for child in api.read_task_runs(task_run_filter=only):
        if child.state is None or not child.state.is_final():
            api.set_task_run_state(child.id, Crashed(message=message), force=True)
