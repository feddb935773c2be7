"""Each stage in a process of its own: started, followed and ended with its parent.

A `Worker` starts one; `python -m flows.process FLOW PROBLEM` is what runs inside, or the same in a child that a nursery
forks. The job goes in by standard input, which stays open as a sign of life: when it closes, the stage ends at once.
Progress and result come back by a pipe.
"""

import gc
import importlib
import json
import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol
from uuid import UUID

from tasks import access, logins
from tasks.domain import errors
from tasks.home import CHECKOUT, logs_folder, prepare
from tasks.progress import CHANNEL, send

Message = dict[str, Any]
RECORD_SECONDS = 60.0  # until the server holds what reaches it as events
STDIN = 0  # by number: Python's own name for it may be another file in a process that was forked
CHECKED = ("collect", "train", "validate")  # stages that run suites
JUDGING = ("validate", "backtest")  # flows that ask a model
TRADING = ("train", "validate", "backtest")  # flows that simulate


class Job(NamedTuple):
    """A flow run to do: its parameters, the task run of the parent flow that asked for it, and the run itself where
    Prefect has made it already."""

    parameters: dict[str, Any]
    parent_task: str | None = None
    flow_run: str | None = None


class Process(Protocol):
    """A process that was started: as much of `subprocess.Popen` as a worker needs."""

    stdin: IO[bytes] | None

    def wait(self) -> int: ...

    def communicate(self) -> object: ...


Begin = Callable[[list[str], access.Start, IO[bytes], Mapping[str, int]], Process]


def spawn(arguments: list[str], started: access.Start, sink: IO[bytes], kept: Mapping[str, int]) -> Process:
    """A fresh process that runs a flow. It writes what it says to the sink, and keeps descriptors whose numbers stand
    in its environment under the names given."""
    return subprocess.Popen(
        [sys.executable, "-m", "flows.process", *arguments],
        stdin=subprocess.PIPE,
        stdout=sink,
        stderr=sink,
        env=started.environment | {name: str(number) for name, number in kept.items()},
        cwd=CHECKOUT,
        pass_fds=list(kept.values()),
        **started.options,
    )


class Worker:
    """A process for one run of one flow. It imports what it needs at once and then waits for its job.

    Args:
        extra: what its environment holds besides the caller's.
        held: descriptors it shares with the caller, by the variable of its environment that says their number.
        begin: starts it.
    """

    def __init__(
        self,
        flow: str,
        problem: str,
        extra: Mapping[str, str] | None = None,
        held: Mapping[str, int] | None = None,
        begin: Begin = spawn,
    ) -> None:
        self.flow = flow
        self.problem = problem
        self.log = log_path(problem, flow)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        started = access.start(flow, problem, os.environ | dict(extra or {}))
        self.incoming, outgoing = os.pipe()
        shared = dict(held or {}) | {CHANNEL: outgoing}
        with self.log.open("wb") as sink:
            self.process = begin([flow, problem], started, sink, shared)
        os.close(outgoing)

    def run(self, job: Job, on_message: Callable[[Message], None]) -> dict[str, Any]:
        """Do the job and return the flow's result.

        Raises:
            CountersignError: the flow's own error, of its own class; StageKilled if the process ended without one.
        """
        with suppress(BrokenPipeError):  # a process that is gone already is named below
            self.write(json.dumps(job._asdict(), default=str).encode() + b"\n")
        outcome = self.follow(on_message)
        status = self.process.wait()
        access.settle(self.problem)
        return result_of(outcome, f"{self.flow}: its process ended without a result (status {status}); see {self.log}")

    def write(self, content: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(content)
        self.process.stdin.flush()

    def follow(self, on_message: Callable[[Message], None]) -> Message:
        """Pass progress on until the process has said its last word, and return that."""
        outcome: Message = {}
        with os.fdopen(self.incoming) as lines:
            for line in lines:
                message = json.loads(line)
                if "step" in message:
                    on_message(message)
                else:
                    outcome = message
        return outcome

    def close(self) -> None:
        """End the process if it still waits or works."""
        with suppress(BrokenPipeError):
            self.process.communicate()


class Runs(Protocol):
    """What does a flow's run, here or elsewhere."""

    def run(self, job: Job, on_message: Callable[[Message], None]) -> dict[str, Any]: ...

    def close(self) -> None: ...


def result_of(outcome: Message, killed: str) -> dict[str, Any]:
    """The result that an outcome tells of.

    Raises:
        CountersignError: the error it tells of; StageKilled with these words where it tells of nothing.
    """
    if "result" in outcome:
        return dict(outcome["result"])
    if "error" in outcome:
        raise errors.of_kind(outcome["error"]["kind"])(outcome["error"]["message"])
    raise errors.StageKilled(killed)


class Relay:
    """Workers for flows that follow each other: each is started while the one before it works, so that its imports
    take no time of their own."""

    def __init__(self, order: Sequence[str], start: Callable[[str], Runs]) -> None:
        self.order = list(order)
        self.start = start
        self.waiting = {self.order[0]: self.start(self.order[0])}

    def take(self, flow: str) -> Runs:
        """The worker for a flow; the one for the flow after it starts to get ready."""
        worker = self.waiting.pop(flow, None) or self.start(flow)
        for following in self.order[self.order.index(flow) + 1 :][:1]:
            self.waiting[following] = self.start(following)
        return worker

    def close(self) -> None:
        for worker in self.waiting.values():
            worker.close()


def log_path(problem: str, flow: str) -> Path:
    return logs_folder() / f"{problem}-{flow}.log"


def main(name: str, problem: str) -> None:
    """Inside the process."""
    gc.disable()  # while importing: it would take a third of the time, and find nothing
    try:
        prepare()
        if name == "retrain":  # its stages' imports take longer than its own
            importlib.import_module("flows.nursery").begin()
        flow = getattr(importlib.import_module(f"flows.{name}"), name)
        # These take seconds: while the stage before still works.
        if name in CHECKED:
            importlib.import_module("great_expectations")
        if name in JUDGING:
            importlib.import_module("tasks.cell.outside").prepare()
        if name in TRADING:
            importlib.import_module("tasks.domain.simulate.research").prepare()
        gc.freeze()  # what was imported stays: looking through it for garbage, again and again, takes seconds
        gc.enable()
        line = read_line(STDIN)
        if not line:
            return
        threading.Thread(target=end_with_parent, daemon=True).start()
        send({"result": run(flow, Job(**json.loads(line)), problem)})
    except errors.CountersignError as fault:
        send({"error": {"kind": type(fault).__name__, "message": str(fault)}})
    except Exception as fault:  # noqa: BLE001 - the last resort of a process: reported, and logged in full
        traceback.print_exc()
        if refused := logins.refusal(fault):
            send({"error": {"kind": "UsageError", "message": f"{name}: {refused}"}})
            return
        words = f"{name}: unexpected fault: {type(fault).__name__}: {' '.join(str(fault).split())[:300]}"
        send({"error": {"kind": "CountersignError", "message": f"{words}; see {log_path(problem, name)}"}})
    finally:
        gc.freeze()  # the process ends: the system takes its memory back in no time, the collector in 1.5 s


def read_line(descriptor: int) -> bytes:
    """One line, byte by byte: a buffered reader would hold a lock that the watching thread waits on at exit."""
    line = b""
    while (byte := os.read(descriptor, 1)) not in (b"", b"\n"):
        line += byte
    return line


def end_with_parent() -> None:
    while os.read(STDIN, 1):
        pass
    os._exit(1)


def run(flow: Any, job: Job, problem: str) -> dict[str, Any]:
    """Run the flow as a recorded run of the Prefect server, below the parent's task run if there is one."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import Abort, Pause
    from prefect.flow_engine import run_flow
    from prefect.states import Pending

    from flows.servers import wait_until_healthy

    wait_until_healthy("prefect", os.environ["PREFECT_API_URL"] + "/health")
    with get_client(sync_client=True) as api:
        if job.flow_run:
            flow_run = api.read_flow_run(UUID(job.flow_run))
        else:
            flow_run = api.create_flow_run(
                flow,
                parameters=job.parameters,
                parent_task_run_id=UUID(job.parent_task) if job.parent_task else None,
                tags=[f"problem:{problem}"],
                state=Pending(),
            )
    try:
        result = run_flow(flow, flow_run=flow_run, parameters=job.parameters)
    except Pause:
        return {"suspended": str(flow_run.id)}
    except Abort as said:
        raise errors.UsageError(f"{flow.name}: Prefect did not let it run: {said}") from None
    wait_for_records(str(flow_run.id))
    return dict(result)


def wait_for_records(flow_run_id: str, seconds: float = RECORD_SECONDS) -> None:
    """Wait until the server holds every task run of a flow run in its final state.

    Task runs reach the server as events, after the fact; a server stopped too early would lose some.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import TaskRunFilter, TaskRunFilterFlowRunId

    only = TaskRunFilter(flow_run_id=TaskRunFilterFlowRunId(any_=[UUID(flow_run_id)]))
    deadline = time.monotonic() + seconds
    with get_client(sync_client=True) as api:
        while time.monotonic() < deadline:
            runs = api.read_task_runs(task_run_filter=only)
            if all(task.state is not None and task.state.is_final() for task in runs):
                return
            time.sleep(0.1)


def wait_until_known(task_run_id: str, seconds: float = RECORD_SECONDS) -> str:
    """A task run's id, once the server holds it: it refuses runs below one that it has not heard of yet.

    Raises:
        CountersignError: it did not hear in time.
    """
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    deadline = time.monotonic() + seconds
    with get_client(sync_client=True) as api:
        while True:
            try:
                return str(api.read_task_run(UUID(task_run_id)).id)
            except ObjectNotFound:
                if time.monotonic() > deadline:
                    raise errors.CountersignError(
                        f"the Prefect server did not record task run {task_run_id} in {seconds:.0f} s; retrain again"
                    ) from None
            time.sleep(0.05)


if __name__ == "__main__":
    main(*sys.argv[1:])
