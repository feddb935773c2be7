"""Flows in processes that start at once: one process imports everything and forks a child for each run.

A child does what `python -m flows.process` does, without its ten seconds of imports, so that killing fifty of them
takes a minute. `python -m tests.support.forks` is the process that forks; `Forks` talks to it.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.command import CHECKOUT, Countersign

ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
IMPORTED = (
    "flows.collect",
    "flows.process",
    "flows.servers",
    "great_expectations.render.view",
    "matplotlib.backends.backend_agg",
    "mlflow.store.tracking.sqlalchemy_store",
    "prefect.flow_engine",
    "prefect.task_engine",
    "tasks.sources.files",
)


class Death(NamedTuple):
    """Where a child kills itself: before or after the given call (from 1) of a function, `module:name`."""

    function: str
    call: int
    when: str


class Child:
    """A run of a flow in a process group of its own."""

    def __init__(self, forks: "Forks", pid: int, said: Path, death: Death | None) -> None:
        self.forks, self.pid, self.said, self.death = forks, pid, said, death

    def kill(self) -> None:
        """SIGKILL to all that it started; nothing happens if it has ended, for its parent has not waited for it."""
        os.killpg(self.pid, signal.SIGKILL)

    def wait(self) -> dict[str, Any]:
        """Wait for its end; what it said last: `result`, `error`, or nothing."""
        self.forks.ask({"wait": self.pid})
        content = self.said.read_text() if self.said.exists() else ""
        self.said.unlink(missing_ok=True)
        return dict(json.loads(content)) if content.endswith("\n") else {}


class Forks:
    """The process that forks, and its state folder."""

    def __init__(self, process: "subprocess.Popen[str]", scratch: Path) -> None:
        self.process, self.scratch, self.count = process, scratch, 0

    def ask(self, question: dict[str, Any]) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def start(self, problem: Path, home: Path, death: Death | None = None) -> Child:
        """Start collecting a problem into a state folder, with the lake where this process's environment says."""
        self.count += 1
        said = self.scratch / f"said-{self.count}"
        environment = {name: os.environ[name] for name in ("COUNTERSIGN_LAKE",) if name in os.environ}
        environment["COUNTERSIGN_HOME"] = str(home)
        job = {"problem": str(problem), "environment": environment, "said": str(said), "death": death}
        return Child(self, self.ask({"start": job}), said, death)

    def collect(self, problem: Path, home: Path) -> dict[str, Any]:
        """Collect to the end; returns the flow's result."""
        said = self.start(problem, home).wait()
        assert "result" in said, said
        return dict(said["result"])


@contextmanager
def forks(countersign: Countersign, scratch: Path) -> Iterator[Forks]:
    """A process that has imported all that collecting needs."""
    with (scratch / "forks.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.forks"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=CHECKOUT,
            env=countersign.environment | ONE_THREAD | {"TMPDIR": str(scratch)},
        )
    with process:
        yield Forks(process, scratch)
        assert process.stdin is not None
        process.stdin.close()


# --- inside -------------------------------------------------------------------------------------------------


def main() -> None:
    from tasks.home import prepare

    prepare()
    for name in IMPORTED:
        importlib.import_module(name)
    # Memory allocators keep threads of their own, which get over a fork; a thread of Python's would not.
    assert threading.active_count() == 1, threading.enumerate()
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        question = json.loads(line)
        answer = start(question["start"]) if "start" in question else os.waitpid(question["wait"], 0)[1]
        print(answer, file=answers, flush=True)


def start(job: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        os.setpgid(pid, pid)
        return pid
    try:
        end = child(job)
    except BaseException:  # noqa: BLE001 - a child must never return into the loop that forks
        import traceback

        traceback.print_exc()
        os._exit(1)
    Path(job["said"]).write_text(json.dumps(end, default=str) + "\n")
    os._exit(0)


def child(job: dict[str, Any]) -> dict[str, Any]:
    """One run, as in a process of its own."""
    from flows.collect import collect
    from flows.process import Job, run
    from tasks.configuration import load_problem
    from tasks.domain.errors import CountersignError
    from tasks.home import prepare

    del os.environ["MLFLOW_TRACKING_URI"]
    os.environ.update(job["environment"])
    prepare()
    if job["death"]:
        die(Death(*job["death"]))
    try:
        return {"result": run(collect, Job({"problem": job["problem"]}), load_problem(job["problem"]).name)}
    except CountersignError as fault:
        return {"error": str(fault), "code": fault.exit_code}


def die(death: Death) -> None:
    module, _, name = death.function.partition(":")
    owner = importlib.import_module(module)
    setattr(owner, name, deadly(getattr(owner, name), death))


def deadly(function: Callable[..., Any], death: Death) -> Callable[..., Any]:
    calls = iter(range(1, 1_000_000))

    def wrapped(*arguments: Any, **named: Any) -> Any:
        now = next(calls) == death.call
        if now and death.when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*arguments, **named)
        if now:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return wrapped


if __name__ == "__main__":
    main()
