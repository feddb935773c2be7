"""Run a command that must not outlive the process that started it: `python -m flows.guard COMMAND …`.

The starter keeps this process's standard input open. When that closes, however the starter ended, the command and
all it started are stopped.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

import psutil

PATIENCE_SECONDS = 10


def main() -> int:
    command = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda *_: stop(command.pid))
    # A terminal's Ctrl-C reaches the whole group; the starter decides when its servers go.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=wait_for_starter, args=(command.pid,), daemon=True).start()
    return command.wait()


def wait_for_starter(pid: int) -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    stop(pid)


def stop(pid: int) -> None:
    """End a process and its descendants: asked first, forced after a while."""
    try:
        parent = psutil.Process(pid)
        family = [*parent.children(recursive=True), parent]
    except psutil.NoSuchProcess:
        return
    for member in family:
        quietly(member.terminate)
    _, alive = psutil.wait_procs(family, timeout=PATIENCE_SECONDS)
    for member in alive:
        quietly(member.kill)


def quietly(action: Callable[[], None]) -> None:
    """Do something to a process that may have ended meanwhile, which is what was wanted."""
    with suppress(psutil.NoSuchProcess):
        action()


if __name__ == "__main__":
    raise SystemExit(main())
