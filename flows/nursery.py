"""A process that imports once what all stages need and forks a child for each: `python -m flows.nursery SOCKET`.

The imports cost a stage two to five seconds of a core, and a retrain has five stages. Only where nobody has to become
another user: a role's own process reads its own settings when it imports.

The nursery itself never runs a flow, so a child finds what a fresh process would have found.
"""

import gc
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import IO, NamedTuple

from flows import process
from tasks import access, accounts
from tasks.domain.errors import StageKilled
from tasks.home import CHECKOUT, prepare

IMPORTED = (
    *("flows.collect", "flows.train", "flows.validate", "flows.backtest", "flows.promote", "flows.servers"),
    *("great_expectations.render.view", "matplotlib.backends.backend_agg"),
    *("mlflow.store.tracking.sqlalchemy_store", "prefect.flow_engine", "prefect.task_engine"),
)
PASSED = 8  # descriptors of a request at most


class Request(NamedTuple):
    """What a child is to be: its command, and its environment; it comes as a file. `kept` names the variables that say
    the numbers of the descriptors that come along, after those of that file, of its input, its output and its end."""

    arguments: list[str]
    environment: dict[str, str]
    kept: list[str]


class Forked:
    """A child, seen from outside; as much of `subprocess.Popen` as is needed."""

    def __init__(self, stdin: IO[bytes], end: int) -> None:
        self.stdin: IO[bytes] | None = stdin
        self.end = end
        self.status: int | None = None

    def wait(self) -> int:
        """Its exit status, negative for a signal, once it has ended; 255 if nobody can tell any more."""
        if self.status is None:
            with os.fdopen(self.end) as told:
                self.status = int(told.read() or 255)
        return self.status

    def communicate(self) -> None:
        if self.stdin:
            with suppress(BrokenPipeError):
                self.stdin.close()
        self.wait()


class Nursery:
    """The process that forks, seen from outside; it ends with whoever started it."""

    def __init__(self) -> None:
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flows.nursery", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                cwd=CHECKOUT,
                pass_fds=[theirs.fileno()],
            )

    def fork(self, arguments: list[str], started: access.Start, sink: IO[bytes], kept: Mapping[str, int]) -> Forked:
        """A child that runs a flow; see `flows.process.spawn`.

        Raises:
            StageKilled: the nursery itself is gone.
        """
        (incoming, stdin), (end, told) = os.pipe(), os.pipe()
        written = os.memfd_create("request")
        os.write(written, json.dumps(Request(arguments, started.environment, list(kept))).encode())
        try:
            socket.send_fds(self.socket, [b"\n"], [written, incoming, sink.fileno(), told, *kept.values()])
        except (BrokenPipeError, ConnectionResetError):
            raise StageKilled(f"{arguments[0]}: the process that starts stages is gone; retrain again") from None
        finally:
            for descriptor in (written, incoming, told):
                os.close(descriptor)
        return Forked(os.fdopen(stdin, "wb"), end)


@cache
def begin() -> process.Begin:
    """How this process starts stages: by its nursery; one by one where each has to be a user of its own, or where the
    system cannot fork safely."""
    return Nursery().fork if can_wait() and accounts.load() is None else process.spawn


def can_wait() -> bool:
    """Whether the end of a process can be waited for beside other things (Linux 5.3)."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


# --- inside -------------------------------------------------------------------------------------------------


def serve(asked: socket.socket) -> list[str] | None:
    """Fork a child for each request until the asker is gone. Returns None then, and in each child its arguments."""
    children = selectors.DefaultSelector()
    children.register(asked, selectors.EVENT_READ)
    while True:
        for key, _ in children.select():
            if key.fileobj is asked:
                content, descriptors, _, _ = socket.recv_fds(asked, 1, PASSED)
                if not content:
                    return None
                pid = os.fork()
                if not pid:
                    leave(asked, children)
                    return become(*descriptors)
                children.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, descriptors.pop(3)))
                for descriptor in descriptors:
                    os.close(descriptor)
            else:
                bury(children, key)


def bury(children: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    """Tell how a child ended."""
    pid, told = key.data
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    children.unregister(key.fileobj)
    os.close(key.fd)
    with suppress(BrokenPipeError):
        os.write(told, str(status).encode())
    os.close(told)


def leave(asked: socket.socket, children: selectors.BaseSelector) -> None:
    """In a child: let go of what belongs to the nursery and to the other children."""
    for key in list(children.get_map().values()):
        if key.data:
            os.close(key.fd)
            os.close(key.data[1])
    children.close()
    asked.close()


def become(written: int, stdin: int, sink: int, told: int, *kept: int) -> list[str]:
    """In a child: have the input, output, environment and descriptors that the request is about."""
    request = Request(*json.loads(os.pread(written, os.fstat(written).st_size, 0)))
    for have, wanted in ((stdin, 0), (sink, 1), (sink, 2)):
        os.dup2(have, wanted)
    for descriptor in (written, stdin, sink, told):
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request.environment)
    os.environ.update({name: str(number) for name, number in zip(request.kept, kept, strict=True)})
    return request.arguments


def main(descriptor: int) -> None:
    gc.disable()
    prepare()
    for name in IMPORTED:
        importlib.import_module(name)
    # Memory allocators keep threads of their own, which get over a fork; a thread of Python's would not.
    if threading.active_count() != 1:
        raise RuntimeError(f"these would be lost by forking: {threading.enumerate()}")
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    child = serve(socket.socket(fileno=descriptor))
    if child:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        process.main(*child)


if __name__ == "__main__":
    main(int(sys.argv[1]))
