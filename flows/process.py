"""Each stage in a process of its own: started, followed and ended with its parent.

`launch` starts one; `python -m flows.process FLOW` is what runs inside. Parameters go in by standard input, which
stays open as a sign of life: when it closes, the stage ends at once. Progress and the result come back by a pipe.
"""

import importlib
import json
import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from tasks.domain import errors
from tasks.home import CHECKOUT, home, prepare
from tasks.progress import CHANNEL, send

PARENT_TASK = "COUNTERSIGN_PARENT_TASK"
Message = dict[str, Any]


class Job(NamedTuple):
    """A flow to run: its name (module and function in `flows`), parameters, and the problem it works on."""

    flow: str
    parameters: dict[str, Any]
    problem: str


def launch(
    job: Job, on_message: Callable[[Message], None], extra: dict[str, str], pass_fds: Sequence[int] = ()
) -> dict[str, Any]:
    """Run a flow in a new process and return its result.

    Raises:
        CountersignError: the flow's own error, of its own class; StageKilled if the process ended without one.
    """
    log = home() / "logs" / f"{job.problem}-{job.flow}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    incoming, outgoing = os.pipe()
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.process", job.flow],
            stdin=subprocess.PIPE,
            stdout=sink,
            stderr=sink,
            env=os.environ | extra | {CHANNEL: str(outgoing)},
            cwd=CHECKOUT,
            pass_fds=(outgoing, *pass_fds),
        )
    os.close(outgoing)
    outcome = follow(process, job, incoming, on_message)
    status = process.wait()
    if "result" in outcome:
        return dict(outcome["result"])
    if "error" in outcome:
        raise getattr(errors, outcome["error"]["kind"])(outcome["error"]["message"])
    raise errors.StageKilled(f"{job.flow}: its process ended without a result (status {status}); see {log}")


def follow(
    process: "subprocess.Popen[bytes]", job: Job, incoming: int, on_message: Callable[[Message], None]
) -> Message:
    """Hand the job over, pass progress on, and keep the last word."""
    assert process.stdin is not None
    outcome: Message = {}
    process.stdin.write(json.dumps(job._asdict(), default=str).encode() + b"\n")
    process.stdin.flush()
    with os.fdopen(incoming) as lines:
        for line in lines:
            message = json.loads(line)
            if "step" in message:
                on_message(message)
            else:
                outcome = message
    return outcome


def main() -> None:
    """Inside the stage's process."""
    job = Job(**json.loads(read_line(sys.stdin.fileno())))
    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        prepare()
        send({"result": run(job)})
    except errors.CountersignError as fault:
        send({"error": {"kind": type(fault).__name__, "message": str(fault)}})
    except Exception as fault:  # noqa: BLE001 - the last resort of a process: reported, and logged in full
        traceback.print_exc()
        words = f"{job.flow}: unexpected fault: {type(fault).__name__}: {' '.join(str(fault).split())[:300]}"
        send({"error": {"kind": "CountersignError", "message": f"{words}; see {log_name(job)}"}})


def log_name(job: Job) -> Path:
    return home() / "logs" / f"{job.problem}-{job.flow}.log"


def read_line(descriptor: int) -> bytes:
    """One line, byte by byte: a buffered reader would hold a lock that the watching thread waits on at exit."""
    line = b""
    while (byte := os.read(descriptor, 1)) not in (b"", b"\n"):
        line += byte
    return line


def end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


def run(job: Job) -> dict[str, Any]:
    """Run the flow as a recorded run of the Prefect server, below the parent's task run if there is one."""
    from flows.servers import wait_until_healthy

    flow = getattr(importlib.import_module(f"flows.{job.flow}"), job.flow)
    wait_until_healthy("prefect", os.environ["PREFECT_API_URL"] + "/health")
    from prefect.client.orchestration import get_client
    from prefect.flow_engine import run_flow
    from prefect.states import Pending

    parent = os.environ.get(PARENT_TASK)
    with get_client(sync_client=True) as api:
        flow_run = api.create_flow_run(
            flow,
            parameters=job.parameters,
            parent_task_run_id=UUID(parent) if parent else None,
            tags=[f"problem:{job.problem}"],
            state=Pending(),
        )
    result = run_flow(flow, flow_run=flow_run, parameters=job.parameters)
    wait_for_records(str(flow_run.id))
    return dict(result)


def wait_for_records(flow_run_id: str, seconds: float = 30) -> None:
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


if __name__ == "__main__":
    main()
