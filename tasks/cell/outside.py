"""A model's process, seen from outside: what it is given, how long it may take, and what becomes of its answers.

The process is not trusted. It says lengths, short headers and plain numbers; whatever else it says, says too late or
does is a fault of the model, in words.
"""

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from tasks.cell import wire
from tasks.domain.errors import CountersignError, ModelFault
from tasks.home import CHECKOUT

START = "import sys; sys.path.insert(0, sys.argv[1]); from tasks.cell.inside import main; main(sys.argv[2])"
# To load, or to answer one question: ten years of 500 names take seconds. In all: some dozens of questions.
SECONDS, SECONDS_IN_ALL = 300.0, 1800.0
START_SECONDS = 120.0  # for the libraries, on a machine that is busy
# How many threads, and how memory is handed out, are no secrets and change how fast it is; nothing else is passed on.
PASSED_ON = (
    "LD_LIBRARY_PATH",
    "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TRIM_THRESHOLD_",
)
FIXED = {"LC_ALL": "C.UTF-8", "TZ": "UTC", "DO_NOT_TRACK": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
STRANGE = re.compile(r"[^\w .,:;()/+=-]+")
SHOWN = 300

waiting: list["Cell"] = []


def prepare() -> None:
    """Start a process that the next model will find ready: its libraries take seconds to import."""
    waiting.append(Cell())


def take() -> "Cell":
    return waiting.pop() if waiting else Cell()


class Cell:
    """One process for one model: put the artifact into `folder`, `load` it, then call with bars for scores.

    It ends with the thread that made it, if nothing ends it before.
    """

    def __init__(self) -> None:
        self.scratch = Path(tempfile.mkdtemp(prefix="countersign-cell-"))
        self.folder = self.scratch / "model"
        self.seconds, self.seconds_left = SECONDS, SECONDS_IN_ALL
        places = dict.fromkeys(("HOME", "TMPDIR", "MPLCONFIGDIR", "XDG_CACHE_HOME"), str(self.scratch))
        with (self.scratch / "said").open("wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-B", "-W", "ignore", "-c", START, str(CHECKOUT), str(self.scratch)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                cwd=self.scratch,
                env={name: os.environ[name] for name in PASSED_ON if name in os.environ} | FIXED | places,
                start_new_session=True,
            )
        self.close = weakref.finalize(self, end, self.process, self.scratch)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.questions, self.answers = self.process.stdin.fileno(), self.process.stdout.fileno()
        for descriptor in (self.questions, self.answers):
            os.set_blocking(descriptor, False)
        self.walls: list[str] = []
        self.columns: list[str] | None = None
        self.asked: Asked | None = None

    def load(self) -> None:
        """Have the artifact loaded; its files must have been checked. Does not wait for it."""
        with suppress(BrokenPipeError):  # it did not come up, which the first question tells
            os.write(self.questions, wire.packed({}, 0))

    def started(self) -> list[str]:
        """The walls that stand.

        Raises:
            CountersignError: the process did not come up; no model had a part in that.
        """
        try:
            return list(self.hear(time.monotonic() + START_SECONDS)["walls"])
        except ModelFault as fault:
            said = (self.scratch / "said").read_text(errors="replace").strip().splitlines()[-1:]
            self.close()
            raise CountersignError(f"the process for models did not start: {'; '.join([str(fault), *said])}") from None

    def __call__(self, bars: pd.DataFrame, since: pd.Timestamp | None = None) -> pd.DataFrame:
        """Scores of these bars, sessions × instruments that have any, sorted; from `since` on where it is given.

        The same table as the call before is not sent again.

        Raises:
            ModelFault: the model raised, took too long, did what it may not, or answered with what is no score.
            CountersignError: there is no process to ask.
        """
        if not self.close.alive:
            raise ModelFault("the model's process was ended at its first fault")
        if not self.walls:
            self.walls = self.started()
        return self.patiently(lambda until: self.scores(bars, since, until))

    def scores(self, bars: pd.DataFrame, since: pd.Timestamp | None, until: float) -> pd.DataFrame:
        if self.columns is None:
            self.columns = self.loaded(until)
        asked, content = self.asked, b""
        if asked is None or asked.bars is not bars:
            asked = self.asked = Asked(bars)
            content = asked.packed(self.columns)
        self.say({"since": None if since is None else since.isoformat()}, content, until)
        return asked.scores(since, lambda size: self.numbers(size, until))

    def loaded(self, until: float) -> list[str]:
        columns = self.hear(until).get("columns")
        if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
            raise ModelFault("the model does not say which columns of bars it needs")
        if not {"timestamp", "instrument"} <= set(columns):
            raise ModelFault("the model does not ask for timestamp and instrument, and can't say what it scores")
        return columns

    def patiently(self, act: Callable[[float], Any]) -> Any:
        """Do something that has to end in time; at any fault the process is ended at once."""
        begun = time.monotonic()
        try:
            return act(begun + min(self.seconds, self.seconds_left))
        except BaseException:
            self.close()
            raise
        finally:
            self.seconds_left -= time.monotonic() - begun

    # --- the pipes -------------------------------------------------------------------------------------------

    def say(self, header: wire.Header, payload: bytes, until: float) -> None:
        for content in map(memoryview, (wire.packed(header, len(payload)), payload)):
            while content:
                self.wait(self.questions, select.POLLOUT, until)
                with suppress(BlockingIOError):
                    try:
                        content = content[os.write(self.questions, content) :]
                    except BrokenPipeError:
                        raise ModelFault(self.last_words(until)) from None

    def hear(self, until: float) -> wire.Header:
        """A header without a payload."""
        header, size = self.header(until)
        if size:
            raise ModelFault("the model's process answered what was not asked")
        return header

    def numbers(self, count: int, until: float) -> "np.ndarray[Any, Any]":
        """So many numbers, no more and no fewer."""
        _, size = self.header(until)
        if size != 8 * count:
            raise ModelFault(f"the model's process answered with {size} bytes in place of {8 * count}")
        return np.frombuffer(self.read(size, until), dtype="<f8")

    def header(self, until: float) -> tuple[wire.Header, int]:
        length, size = wire.LENGTHS.unpack(self.read(wire.LENGTHS.size, until))
        if length > wire.HEADER_BYTES:
            raise ModelFault("the model's process said what is no answer")
        try:
            header = json.loads(self.read(length, until))
        except ValueError:
            header = None
        if not isinstance(header, dict):
            raise ModelFault("the model's process said what is no answer")
        if "fault" in header:
            raise ModelFault(f"the model {harmless(str(header['fault']))}")
        return header, size

    def read(self, size: int, until: float) -> bytearray:
        content = bytearray(size)
        rest = memoryview(content)
        while rest:
            self.wait(self.answers, select.POLLIN, until)
            with suppress(BlockingIOError):
                count = os.readv(self.answers, [rest])
                if not count:
                    raise ModelFault(self.ended(until))
                rest = rest[count:]
        return content

    def wait(self, descriptor: int, event: int, until: float) -> None:
        ready = select.poll()
        ready.register(descriptor, event)
        if not ready.poll(max(0.0, 1000 * (until - time.monotonic()))):
            raise ModelFault(f"the model did not answer within {min(self.seconds, self.seconds_left):.0f} seconds")

    def last_words(self, until: float) -> str:
        """Why nothing more can be asked: what it said before it ended, or how it ended."""
        try:
            self.header(until)
        except ModelFault as fault:
            return str(fault)
        return "the model's process stopped listening"

    def ended(self, until: float) -> str:
        try:
            status = self.process.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            return "the model's process stopped talking"
        if status < 0:
            return f"the model's process was ended by signal {-status} ({signal.strsignal(-status)})"
        return f"the model's process ended itself with status {status}"


def end(process: "subprocess.Popen[bytes]", scratch: Path) -> None:
    """End a model's process with all that it started, and clear away."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        with suppress(BrokenPipeError):
            pipe.close()
    process.wait()
    shutil.rmtree(scratch, ignore_errors=True)


def harmless(words: str) -> str:
    """A model's words for reports: letters, digits and plain marks in one line."""
    return " ".join(STRANGE.sub(" ", words).split())[:SHOWN]


class Asked:
    """Bars that a model is asked about. `there`: is there a bar, sessions × instruments, both sorted."""

    def __init__(self, bars: pd.DataFrame) -> None:
        self.bars = bars
        self.sessions = pd.DatetimeIndex(bars["timestamp"].unique(), name="timestamp").sort_values()
        found, names = pd.factorize(bars["instrument"])
        self.names = pd.Index(names, name="instrument").sort_values()
        self.codes = self.names.get_indexer(names)[found]
        self.there = np.zeros((len(self.sessions), len(self.names)), dtype=bool)
        self.there[self.sessions.get_indexer(bars["timestamp"]), self.codes] = True

    def packed(self, columns: list[str]) -> bytes:
        """The columns as an Arrow stream, names as a dictionary in sorted order."""
        if missing := [name for name in columns if name not in self.bars]:
            raise ModelFault(f"the model needs columns that the bars do not have: {harmless(', '.join(missing))}")
        table = pa.Table.from_pandas(self.bars[columns], preserve_index=False)
        names = pa.DictionaryArray.from_arrays(self.codes.astype("int32"), pa.array(self.names, type=pa.string()))
        table = table.set_column(columns.index("instrument"), "instrument", names)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        return bytes(sink.getvalue())

    def scores(self, since: pd.Timestamp | None, numbers: Callable[[int], "np.ndarray[Any, Any]"]) -> pd.DataFrame:
        """The answer as a table, from the sessions on that were asked for."""
        first = 0 if since is None else self.sessions.searchsorted(since)
        there, sessions = self.there[first:], self.sessions[first:]
        grid = numbers(there.size).reshape(there.shape)
        scored = ~np.isnan(grid)
        if (scored & ~there).any():
            raise ModelFault(f"the model scored {(scored & ~there).sum():,} bars that are not there")
        if np.isinf(grid).any():
            raise ModelFault(f"{np.isinf(grid).sum():,} of the model's scores are infinite")
        table = pd.DataFrame(grid, index=sessions, columns=self.names)
        return table.loc[scored.any(axis=1), scored.any(axis=0)]
