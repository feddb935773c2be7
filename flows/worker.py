"""The worker of some work pools: `python -m flows.worker POOL…`. It does their runs, each in a process of its own.

Prefect's own workers run what the server tells them to: a command, a file, steps to get it. Whoever owns the server
would own the worker's key as well. This one takes a flow's name and parameters, and nothing else; which code that is
stands in its own checkout.
"""

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
from typing import Any

import anyio
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Cancelled
from prefect.workers.base import BaseJobConfiguration, BaseWorker, BaseWorkerResult

from flows import pools
from flows.process import Job, Worker
from tasks import configuration
from tasks.domain import names
from tasks.domain.errors import CountersignError, StageKilled, UsageError
from tasks.home import RETRAIN_ID, prepare

OUTCOME = "outcome"  # type of the artifact that tells another machine how a run ended
LOOK_SECONDS = 3  # between looks whether somebody cancelled a run
RETRAIN_TAG = re.compile(r"retrain:([0-9a-f]{32})")


class Ended(BaseWorkerResult):
    """How a run's process ended; 0: the run's own state says the rest."""


class PoolWorker(BaseWorker[BaseJobConfiguration, Any, Ended]):
    """Does the runs of one pool."""

    type = pools.TYPE
    job_configuration = BaseJobConfiguration

    async def run(self, flow_run: FlowRun, configuration: BaseJobConfiguration, task_status: Any = None) -> Ended:
        """Do a run to its end. The configuration is the server's word, and not listened to."""
        name = str((await self.client.read_flow(flow_run.flow_id)).name)
        worker = Worker(name, problem_of(self.pool, name, flow_run.parameters), environment_of(flow_run))
        process = worker.process
        assert isinstance(process, subprocess.Popen)
        if task_status:
            task_status.started(process.pid)
        cancelled = anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(self.end_if_cancelled, flow_run, process, cancelled)
            job = Job(flow_run.parameters, flow_run=str(flow_run.id))
            said = await anyio.to_thread.run_sync(outcome, worker, job, abandon_on_cancel=True)
            group.cancel_scope.cancel()
        if flow_run.parent_task_run_id:
            made = ArtifactCreate(type=OUTCOME, flow_run_id=flow_run.id, data=json.dumps(said, default=str))
            await self.client.create_artifact(made)
        killed = said.get("error", {}).get("kind") == StageKilled.__name__
        return Ended(identifier=str(process.pid), status_code=int(killed and not cancelled.is_set()))

    @property
    def pool(self) -> str:
        return self._work_pool_name

    async def end_if_cancelled(
        self, flow_run: FlowRun, process: "subprocess.Popen[bytes]", cancelled: anyio.Event
    ) -> None:
        while not cancelled.is_set():
            await anyio.sleep(LOOK_SECONDS)
            state = (await self.client.read_flow_run(flow_run.id)).state
            if state and state.type == StateType.CANCELLING:
                ended = Cancelled(message="Cancelled by somebody; its process was ended.")
                await self.client.set_flow_run_state(flow_run.id, ended, force=True)
                cancelled.set()
                process.kill()


def outcome(worker: Worker, job: Job) -> dict[str, Any]:
    """How a run ended, to tell: its result, or the kind and the words of its error."""
    try:
        return {"result": worker.run(job, lambda said: None)}
    except CountersignError as fault:
        return {"error": {"kind": type(fault).__name__, "message": str(fault)}}


def problem_of(pool: str, flow: str, parameters: dict[str, Any]) -> str:
    """The problem that a run is about.

    Raises:
        UsageError: the pool's runs are of other flows, or it is no problem that is known here.
    """
    if flow not in pools.FLOWS[pool]:
        raise UsageError(f"{flow}: is not done in pool {pool}, only {', '.join(pools.FLOWS[pool])}")
    if flow in pools.OF_PROBLEM:
        named = str(parameters.get("problem"))
        if named not in configuration.problem_names():
            raise UsageError(f"problem {named!r}: not found; known are {configuration.problem_names()}")
        return named
    return names.split_reference(str(parameters.get("model")))[0]


def environment_of(flow_run: FlowRun) -> dict[str, str]:
    """What a run's process finds in its environment besides the worker's own: the retrain that it is part of."""
    found = next(filter(None, map(RETRAIN_TAG.fullmatch, flow_run.tags)), None)
    return {RETRAIN_ID: found[1]} if found else {}


async def work(wanted: list[str]) -> None:
    """Do the runs of some pools until the process is ended."""
    async with anyio.create_task_group() as group:
        for pool in wanted:
            name = f"{pool} on {socket.gethostname()} ({os.getpid()})"
            worker = PoolWorker(work_pool_name=pool, name=name, base_job_template=pools.TEMPLATE)
            group.start_soon(worker.start)


if __name__ == "__main__":
    prepare()
    asyncio.run(work(sys.argv[1:]))
