"""The command line for verbs that only look or sign: one process imports what they need and forks a child a call.

A child runs `flows.cli` as a process of its own would, with its own environment and output, without four seconds of
imports. `python -m tests.support.quick` is the process that forks; `Quick` talks to it.
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

CHECKOUT = Path(__file__).parents[2]
VERBS = {
    *("verify", "approve", "reject", "concern", "answer", "history", "report", "controls", "reconcile", "bundle"),
    *("status", "lineage", "waive", "quarantine"),
}
IMPORTED = (
    *(
        "flows.cli",
        "tasks.approval",
        "tasks.bundles",
        "tasks.controls",
        "tasks.inventory",
        "tasks.lineage",
        "tasks.past",
    ),
    *("tasks.reconciling", "tasks.report", "tasks.stewardship", "tasks.waiving", "reportlab.platypus"),
    "mlflow.store.tracking.sqlalchemy_store",
)


class Said(NamedTuple):
    """How a call ended."""

    code: int
    out: str
    err: str


class Quick:
    """The process that forks, started when it is first asked and ended with whoever started it."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None

    def run(self, arguments: Sequence[str], environment: Mapping[str, str]) -> Said:
        process = self.process = self.process or self.started()
        assert process.stdin is not None
        assert process.stdout is not None
        with tempfile.TemporaryDirectory() as scratch:
            question = {"arguments": list(arguments), "environment": dict(environment), "scratch": scratch}
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
            code = int(process.stdout.readline())
            return Said(code, *((Path(scratch) / name).read_text() for name in ("out", "err")))

    def started(self) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "tests.support.quick"]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT)


# --- inside -------------------------------------------------------------------------------------------------


def main() -> None:
    for name in IMPORTED:
        importlib.import_module(name)
    assert threading.active_count() == 1, threading.enumerate()
    assert "prefect" not in sys.modules, "it reads its settings when it is imported, and they are the child's own"
    for line in sys.stdin:
        print(asked(json.loads(line)), flush=True)


def asked(question: dict[str, Any]) -> int:
    """Run one call in a child; returns its exit code."""
    pid = os.fork()
    if not pid:
        child(question)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def child(question: dict[str, Any]) -> None:
    code = 1
    try:
        for descriptor, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(Path(question["scratch"]) / name, os.O_WRONLY | os.O_CREAT), descriptor)
        os.environ.clear()
        os.environ.update(question["environment"])
        sys.argv = ["countersign", *question["arguments"]]
        from flows import cli

        cli.main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1 if end.code else 0
    except BaseException:  # noqa: BLE001 - a child must never return into the loop that forks
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
