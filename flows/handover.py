"""A stage whose role's key is not on this machine: its run is left in the role's pool for whoever has the key.

Prefect carries the news between the machines, and is not believed: what was decided is read from what was signed.
"""

import json
import os
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterType,
)
from prefect.context import TaskRunContext
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled

from flows import pools
from flows.process import Job, Message, result_of
from flows.worker import OUTCOME
from tasks import candidates, keys, logins, recovery
from tasks.domain import names
from tasks.domain.errors import UsageError
from tasks.home import RETRAIN_ID

LOOK_SECONDS = 1
PATIENCE_SECONDS = 1800  # for a worker to begin; a whole night's retrains must not pile up behind one that is off
NEWS_SECONDS = 60  # for its outcome, once the run has ended


class Elsewhere:
    """Does a flow's run like `flows.process.Worker`, but on the machine that has the role's key."""

    def __init__(self, flow: str, problem: str, lock: int) -> None:
        self.flow, self.problem, self.lock = flow, problem, lock
        self.pool = pools.of(flow)

    def run(self, job: Job, on_message: Callable[[Message], None]) -> dict[str, Any]:
        """Leave the run in the pool, wait for its end and return the flow's result.

        Raises:
            CountersignError: the flow's own error; StageKilled if it ended without a result.
            UsageError: nobody serves the pool, or nobody began in time.
        """
        on_message({"step": f"waiting for the {self.pool}'s worker"})
        with recovery.lent(self.lock), get_client(sync_client=True) as api:
            run = self.leave(api, job)
            self.follow(api, run, on_message)
            outcome = self.news(api, run)
        ended = f"{self.flow}: its run ended without a result on the {self.pool}'s machine; see run {run} in Prefect"
        result = result_of(outcome, ended)
        return result | decision(str(job.parameters["model"])) if self.flow == "promote" else result

    def leave(self, api: SyncPrefectClient, job: Job) -> UUID:
        name = pools.deployment(self.flow, self.problem)
        try:
            deployment = api.read_deployment_by_name(name)
        except ObjectNotFound:
            raise UsageError(
                f"key {keys.path_of(self.pool)}: is not here, and no server has {name} for the machine that has it; "
                "start `countersign up` here and `countersign worker` there"
            ) from None
        tags = [f"problem:{self.problem}", f"retrain:{os.environ.get(RETRAIN_ID, '')}"]
        tags += [f"{recovery.LEFT_BY}{context.task_run.flow_run_id}"] if (context := TaskRunContext.get()) else []
        parent = UUID(job.parent_task) if job.parent_task else None
        parameters = json.loads(json.dumps(job.parameters, default=str))
        return api.create_flow_run_from_deployment(
            deployment.id, parameters=parameters, parent_task_run_id=parent, tags=tags
        ).id

    def follow(self, api: SyncPrefectClient, run: UUID, on_message: Callable[[Message], None]) -> None:
        deadline, before = time.monotonic() + PATIENCE_SECONDS, None
        while (state := api.read_flow_run(run).state) is None or not state.is_final():
            if state and state.name != before:
                before = state.name
                on_message({"step": f"{before.lower()} at the {self.pool}'s worker"})
            if state and not state.is_running() and time.monotonic() > deadline:
                api.set_flow_run_state(run, Cancelled(message="Nobody took it in time."), force=True)
                raise UsageError(
                    f"{self.flow}: no worker of the {self.pool} took it within {PATIENCE_SECONDS // 60} minutes; start "
                    f"`countersign worker {self.pool}` on its machine, then retrain again"
                )
            time.sleep(LOOK_SECONDS)

    def news(self, api: SyncPrefectClient, run: UUID) -> dict[str, Any]:
        """What the worker told of the run's outcome; it does so just after the run's end."""
        of_run = ArtifactFilter(
            flow_run_id=ArtifactFilterFlowRunId(any_=[run]), type=ArtifactFilterType(any_=[OUTCOME])
        )
        deadline = time.monotonic() + NEWS_SECONDS
        while not (found := api.read_artifacts(artifact_filter=of_run)) and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
        return dict(json.loads(str(found[0].data))) if found else {}

    def close(self) -> None:
        """Nothing runs here."""


def decision(model: str) -> dict[str, Any]:
    """What was decided on a version, as the validator signed it."""
    with logins.reading():
        return candidates.candidate(*names.split_reference(model)).decision()
