"""A model's process: what comes out of it, and that nothing else does, whatever the model tries."""

import os
import shutil
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasks import models
from tasks.cell import inside, outside
from tasks.domain.errors import ModelFault

CODE = """
import ctypes, os, pickle, socket, subprocess, sys, threading, time
import mlflow, numpy as np, pandas as pd
from mlflow.pyfunc.model import PythonModel

class Model(PythonModel):  # type: ignore[misc]
    def load_context(self, context):
        pass

    def predict(self, context, model_input, params=None):
        given = model_input[["timestamp", "instrument"]].assign(score=model_input["close"])
        if params and params.get("since"):
            given = given[given["timestamp"] >= pd.Timestamp(params["since"])].reset_index(drop=True)
{act}
        return given

mlflow.models.set_model(Model())
"""
DAYS = pd.date_range("2020-01-01", periods=4, unit="us")


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    index = pd.MultiIndex.from_product([list("BAC"), DAYS], names=["instrument", "timestamp"])
    table = pd.DataFrame({"close": np.arange(1.0, 13.0)}, index=index).reset_index()
    return table[["timestamp", "instrument", "close"]].drop(index=5).astype({"instrument": "str"})


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model; each test puts its own code in."""
    import mlflow.pyfunc

    folder = tmp_path_factory.mktemp("artifact")
    (folder / "model.py").write_text(CODE.format(act=""))
    mlflow.pyfunc.save_model(
        str(folder / "saved"),
        python_model=str(folder / "model.py"),
        signature=models.signature(["close"]),
        pip_requirements=[],
    )
    return folder / "saved"


@pytest.fixture
def cell(artifact: Path) -> "Callable[[str], outside.Cell]":
    """A process for a model that does something before it answers."""

    def start(act: str = "") -> outside.Cell:
        made = outside.Cell()
        shutil.copytree(artifact, made.folder)
        (made.folder / "model.py").write_text(CODE.format(act=textwrap.indent(textwrap.dedent(act), " " * 8)))
        made.load()
        return made

    return start


Start = Callable[[str], outside.Cell]


def test_scores_come_as_a_table_whatever_order_the_rows_have(
    cell: Start, bars: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTERSIGN_SECRET", "x")
    prints = "for n in range(300): print('x' * 65536); sys.stderr.write('x' * 65536)"
    told = "assert not [name for name in os.environ if name.startswith(('COUNTERSIGN', 'PREFECT', 'AWS'))], os.environ"
    started = cell(f"{prints}\n{told}\ngiven = given.iloc[::-1]")
    expected = bars.pivot(index="timestamp", columns="instrument", values="close")
    pd.testing.assert_frame_equal(started(bars), expected, check_freq=False)
    pd.testing.assert_frame_equal(started(bars.iloc[::-1]), expected, check_freq=False)
    pd.testing.assert_frame_equal(started(bars, DAYS[2]), expected.loc[DAYS[2] :], check_freq=False)
    assert started.walls[0] == "resource limits"
    started.close()
    assert not started.scratch.exists()
    assert started.process.returncode is not None


WRITE = "try:\n    open({target!r}, 'w').write('x')\nexcept BaseException:\n    pass"
FAULTS = {
    "hangs": ("while True: pass", r"did not answer within \d+ seconds"),
    "stops itself": ("ctypes.CDLL(None).kill(os.getpid(), 19)", "did not answer within"),
    "raises": ("raise KeyError('<b>close</b>')", "raised KeyError: b close /b"),
    "raises what can't be told": (
        "class Silent(Exception):\n    def __str__(self): raise ValueError\nraise Silent",
        "raised Silent",
    ),
    "eats memory": ("held = [np.empty(1 << 28) for _ in range(100)]", "raised _?(Array)?MemoryError"),
    "writes, and hides it": (WRITE, "tried to write to the disk .open"),
    "reads what it may not": ("open({secret!r}).read()", "raised PermissionError: it may not read"),
    "network": ("socket.create_connection(('127.0.0.1', 9), timeout=1)", "tried to use the network .socket"),
    "program": ("subprocess.run(['true'])", "tried to start another process .subprocess.Popen"),
    "fork": ("os.fork()", "tried to start another process .os.fork"),
    "unpickles": (
        "pickle.loads(b'cos\\nsystem\\n(S\"true\"\\ntR.')",
        r"tried to unpickle code .pickle.find_class os system",
    ),
    "kills the validator": ("os.kill(os.getppid(), 9)", "tried to send a signal .os.kill"),
    "exits": ("os._exit(3)", "ended itself with status 3"),
    "crashes": ("ctypes.string_at(0)", "ended by signal 11"),
    "answers for itself": (
        "for n in range(3, 9):\n    try:\n        os.write(n, b'\\xff' * 99)\n    except OSError:\n        pass",
        "said what is no answer",
    ),
    "scores NaN": ("given.loc[0, 'score'] = np.nan", "1 of 11 scores are nan"),
}


@pytest.mark.parametrize(("act", "said"), FAULTS.values(), ids=FAULTS.keys())
def test_what_a_model_may_not_do_is_a_fault_with_a_reason(
    cell: Start, bars: pd.DataFrame, tmp_path: Path, act: str, said: str
) -> None:
    secret, target = tmp_path / "secret", tmp_path / "target"
    secret.write_text("key")
    started = cell(act.replace("{target!r}", repr(str(target))).replace("{secret!r}", repr(str(secret))))
    if "within" in said:
        started.seconds = 3.0
    with pytest.raises(ModelFault, match=said):
        started(bars)
    assert started.process.returncode is not None
    assert sorted(tmp_path.iterdir()) == [secret]
    with pytest.raises(ModelFault, match="was ended at its first fault"):
        started(bars)


# Round Python, by the C library: each gives what it returned, and all of it as scores.
AROUND = """
c = ctypes.CDLL(None, use_errno=True)
word = lambda text: text.encode()
tried = [
    c.open(word({target!r}), os.O_WRONLY | os.O_CREAT, 0o600),
    c.open(word({secret!r}), os.O_RDONLY),
    c.chmod(word({secret!r}), 0o777),
    c.unlink(word({secret!r})),
    c.mkdir(word({target!r}), 0o700),
    c.socket(2, 1, 0),
    c.fork(),
    c.execl(word("/bin/true"), word("true"), None),
    c.kill(os.getppid(), 0),
    c.prlimit(os.getppid(), 7, ctypes.create_string_buffer(16), None),
    c.open(word("/proc/%d/environ" % os.getppid()), os.O_RDONLY),
]
given["score"] = np.array(tried, dtype=float)
"""


def test_the_kernel_holds_what_goes_round_python(cell: Start, bars: pd.DataFrame, tmp_path: Path) -> None:
    secret, target = tmp_path / "secret", tmp_path / "target"
    secret.write_text("key")
    secret.chmod(0o644)
    started = cell(AROUND.replace("{target!r}", repr(str(target))).replace("{secret!r}", repr(str(secret))))
    started.walls = started.started()
    if len(started.walls) < 3:
        pytest.skip(f"this kernel has only {started.walls}")
    scores = started(bars)
    started.close()
    assert np.nanmin(scores) == np.nanmax(scores) == -1.0, "each was refused"
    assert secret.read_text() == "key"
    assert secret.stat().st_mode & 0o777 == 0o644
    assert not target.exists()


def test_a_process_that_does_not_come_up_is_no_fault_of_a_model(
    bars: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outside, "START", "raise SystemExit('no library')")
    with pytest.raises(outside.CountersignError, match=r"did not start: .* status 1; no library") as raised:
        outside.Cell()(bars)
    assert not isinstance(raised.value, ModelFault)


def test_it_ends_with_whoever_started_it(artifact: Path, tmp_path: Path) -> None:
    import subprocess
    import sys

    code = "import os; from tasks.cell.outside import Cell; c = Cell(); c.started(); print(c.process.pid); os._exit(9)"
    said = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    for _ in range(500):
        if not Path(f"/proc/{int(said.stdout)}/exe").exists():
            break
        outside.time.sleep(0.01)
    else:
        raise AssertionError("it is still there")


# --- what an answer is ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def asked(bars: pd.DataFrame) -> inside.Asked:
    return inside.Asked(outside.Asked(bars).packed(["timestamp", "instrument", "close"]))


def test_bars_arrive_as_they_were_sent(asked: inside.Asked, bars: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(asked.bars, bars.reset_index(drop=True))


def answer(**columns: object) -> pd.DataFrame:
    return pd.DataFrame({"timestamp": DAYS[:2], "instrument": ["A", "B"], "score": [1.0, 2.0]} | columns)


ANSWERS: dict[str, tuple[object, str]] = {
    "no table": (np.zeros(11), "answers with ndarray"),
    "wide": (pd.DataFrame(np.zeros((4, 3)), columns=list("ABC")), r"answers with columns \['A', 'B', 'C'\]"),
    "one column more": (answer(why="because"), "answers with columns"),
    "texts": (answer(score=["1", "2"]), "column score is of type"),
    "truths": (answer(score=[True, False]), "column score is of type bool"),
    "dates as texts": (answer(timestamp=["2020-01-01", "2020-01-02"]), "column timestamp is of type"),
    "numbered names": (answer(instrument=[1, 2]), "column instrument is of type int64"),
    "another session": (
        answer(timestamp=DAYS[:2] - pd.Timedelta(days=1)),
        "1 of 2 rows are about bars .* A at 2019-12-31",
    ),
    "another name": (answer(instrument=["A", "Z"]), "1 of 2 rows are about bars .* Z at 2020-01-02"),
    "no name": (answer(instrument=["A", None]), "1 of 2 rows are about bars"),
    "twice": (answer(timestamp=DAYS[[0, 0]], instrument=["A", "A"]), "1 of 2 rows are about a bar that has a score"),
    "NaN": (answer(score=[1.0, np.nan]), "1 of 2 scores are nan"),
    "infinite": (answer(score=[-np.inf, 1.0]), "1 of 2 scores are -inf"),
}


@pytest.mark.parametrize(("given", "said"), ANSWERS.values(), ids=ANSWERS.keys())
def test_an_answer_that_is_none_is_refused_in_words(asked: inside.Asked, given: object, said: str) -> None:
    with pytest.raises(inside.Fault, match=said):
        asked.grid(given, None)


def test_sessions_before_those_asked_for_are_not_an_answer(asked: inside.Asked) -> None:
    assert asked.grid(answer(), DAYS[0]).shape == (4, 3)
    with pytest.raises(inside.Fault, match="1 of 2 rows are about bars that it was not asked about"):
        asked.grid(answer(), DAYS[1])


def test_what_a_process_says_of_bars_that_are_not_there_is_not_believed(bars: pd.DataFrame) -> None:
    question = outside.Asked(bars)
    with pytest.raises(ModelFault, match="scored 1 bars that are not there"):
        question.scores(None, np.zeros)
    with pytest.raises(ModelFault, match="11 of the model's scores are infinite"):
        question.scores(None, lambda size: np.where(question.there.ravel(), np.inf, np.nan))
