"""The command line as a user runs it: another process, its own state folder."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import prepared, quick

CHECKOUT = Path(__file__).parents[2]
QUICK = quick.Quick()


@dataclass(frozen=True)
class Countersign:
    """`countersign` on one state folder; `prefect` is a running server's API, or None to let it start its own.

    `extra` is what the user's environment holds besides; `checkout` is where the program lies; `fresh`: a state folder
    that does not exist yet is left to make all of its own."""

    home: Path
    prefect: str | None = None
    extra: Mapping[str, str] = field(default_factory=dict)
    checkout: Path = CHECKOUT
    fresh: bool = False

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
        named = {"PREFECT_API_URL": self.prefect} if self.prefect else {}
        return kept | {"COUNTERSIGN_HOME": str(self.home)} | named | dict(self.extra)

    def start(self, *arguments: object) -> "subprocess.Popen[str]":
        """Start it as the leader of its own process group."""
        if not self.fresh:
            prepared.prepare(self.home)
        return subprocess.Popen(
            [sys.executable, "-m", "flows.cli", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.checkout,
            env=self.environment,
            start_new_session=True,
        )

    def __call__(self, *arguments: object, code: int = 0) -> str:
        """Run it to the end, require the exit code, return what it printed (both streams where it failed)."""
        if arguments[0] in quick.VERBS and self.checkout == CHECKOUT:
            ended, out, err = QUICK.run([str(each) for each in arguments], self.environment)
        else:
            process = self.start(*arguments)
            out, err = process.communicate(timeout=800)
            ended = process.returncode
        assert ended == code, f"exit {ended}, expected {code}\n{out}\n{err}"
        return out if code == 0 else out + err

    def json(self, *arguments: object, code: int = 0) -> dict[str, Any]:
        return dict(json.loads(self(*arguments, "--json", code=code).splitlines()[0]))


def kill_group(process: "subprocess.Popen[str]") -> None:
    """SIGKILL to everything the process started in its group, itself included."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
