"""Inside a model's process: walls first, then libraries, then the model; bars come in and scores go out by pipes.

Started as a program of its own by `outside`. Nothing of this project is imported here but this package.
"""

import gc
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.cell import walls, watch, wire

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

LIBRARIES = ("LD_LIBRARY_PATH",)
SHOWN = 400  # characters of a reason


class Fault(Exception):
    """The model's answer is not what a model answers."""


class Line:
    """The pipe to the asker. Standard input and output are taken away: what a model prints goes nowhere."""

    def __init__(self) -> None:
        self.questions, self.answers = os.dup(0), os.dup(1)
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(nothing, 1)
        self.nothing = nothing

    def hear(self) -> tuple[wire.Header, bytes]:
        header, payload = wire.LENGTHS.unpack(self.read(wire.LENGTHS.size))
        return json.loads(self.read(header)), self.read(payload)

    def read(self, size: int) -> bytes:
        """So many bytes. The end of the questions is the end of this process."""
        parts = []
        while size:
            part = os.read(self.questions, min(size, 1 << 20))
            if not part:
                os._exit(0)
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def say(self, header: wire.Header, payload: bytes = b"") -> None:
        content = memoryview(wire.packed(header, len(payload)) + payload)
        while content:
            content = content[os.write(self.answers, content) :]

    def end(self, words: str) -> None:
        """The last words."""
        self.say({"fault": words[:SHOWN]})
        os._exit(1)


def main(scratch: str) -> None:
    readable = [*libraries(), Path(scratch)]
    line = Line()
    walled = walls.put_up(readable)
    sys.path[:] = [each for each in sys.path if watch.below(each, [os.path.realpath(path) for path in readable])]
    # Seconds, while the asker gets on with its own work; a third more if each module were looked through for garbage.
    gc.disable()
    import mlflow.pyfunc  # noqa: F401
    import numpy
    import pandas  # noqa: F401
    import pyarrow  # noqa: F401

    gc.freeze()
    gc.enable()
    line.say({"walls": walled})
    os.dup2(line.nothing, 2)
    try:
        line.hear()
        watch.watch([*map(Path, walls.SYSTEM), *readable], line.end)
        model = Model(Path(scratch) / "model")
        line.say({"columns": model.columns})
        numpy.seterr(all="ignore")
        while True:
            question, payload = line.hear()
            line.say({}, model.answer(question, payload))
    except BaseException as fault:  # noqa: BLE001 - a model may raise anything, and each is told to the asker
        line.end(in_words(fault))


def libraries() -> list[Path]:
    """Where this interpreter's code lies, and nothing beside it: an environment may lie in somebody's own folder."""
    named = [Path(each) for name in LIBRARIES for each in os.environ.get(name, "").split(":") if each]
    homes = {Path(prefix) for prefix in (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix)}
    return [*named, *(home / part for home in sorted(homes) for part in ("lib", "lib64"))]


def in_words(fault: BaseException) -> str:
    if isinstance(fault, Fault):
        return str(fault)
    try:
        return f"raised {type(fault).__name__}: {fault}"
    except Exception:  # noqa: BLE001 - the fault's own words are the model's code too
        return f"raised {type(fault).__name__}"


class Model:
    """The loaded artifact, and the bars that it was asked about last."""

    def __init__(self, folder: Path) -> None:
        import mlflow.pyfunc

        self.loaded = mlflow.pyfunc.load_model(str(folder))
        self.columns = list(self.loaded.metadata.get_input_schema().input_names())
        self.asked: Asked | None = None

    def answer(self, question: wire.Header, payload: bytes) -> bytes:
        """Scores as sessions × instruments of the bars in their order, from `since` on; NaN where there is none."""
        import pandas as pd

        if payload:
            self.asked = Asked(payload)
        assert self.asked is not None
        params = {} if question["since"] is None else {"since": question["since"]}
        given = self.loaded.predict(self.asked.bars.copy(deep=False), params=params)
        since = None if question["since"] is None else pd.Timestamp(question["since"])
        return self.asked.grid(given, since).tobytes()


class Asked:
    """Bars as they were sent. `sessions`, `instruments`: sorted, each once."""

    def __init__(self, content: bytes) -> None:
        import pandas as pd
        import pyarrow as pa

        table = pa.ipc.open_stream(content).read_all()
        place = table.schema.get_field_index("instrument")
        coded = table.column(place).combine_chunks()
        self.instruments = pd.Index(coded.dictionary.to_pandas().astype("str"))
        names = self.instruments.take(coded.indices.to_numpy())
        bars = table.drop_columns("instrument").to_pandas()
        bars.insert(place, "instrument", names.array)
        self.bars = bars
        self.sessions = pd.DatetimeIndex(bars["timestamp"].unique()).sort_values()

    def grid(self, given: Any, since: "pd.Timestamp | None") -> "np.ndarray[Any, Any]":
        """What the model said, laid out.

        Raises:
            Fault: it is not a table of timestamp, instrument and score, with a number for each key, each key once, and
                all keys among those of the bars that were asked for.
        """
        import numpy as np
        import pandas as pd

        require_table(given)
        sessions = self.sessions if since is None else self.sessions[self.sessions >= since]
        rows = sessions.get_indexer(given["timestamp"])
        found, names = pd.factorize(given["instrument"])
        columns = np.append(self.instruments.get_indexer(names), -1)[found]  # a missing name is found at -1
        scores = given["score"].to_numpy(dtype="float64")
        if (strange := (rows < 0) | (columns < 0)).any():
            first = given.loc[strange].iloc[0]
            raise Fault(
                f"{strange.sum():,} of {len(given):,} rows are about bars that it was not asked about, such as "
                f"{first['instrument']} at {first['timestamp']}"
            )
        if (bad := ~np.isfinite(scores)).any():
            raise Fault(f"{bad.sum():,} of {len(scores):,} scores are {scores[bad][0]}")
        grid = np.full((len(sessions), len(self.instruments)), np.nan)
        grid[rows, columns] = scores
        if (once := np.isfinite(grid).sum()) < len(scores):
            raise Fault(f"{len(scores) - once:,} of {len(scores):,} rows are about a bar that has a score already")
        return grid


def require_table(given: Any) -> None:
    import pandas as pd

    if not isinstance(given, pd.DataFrame):
        raise Fault(f"answers with {type(given).__name__}, not with a table of timestamp, instrument, score")
    if sorted(map(str, given.columns)) != ["instrument", "score", "timestamp"]:
        raise Fault(f"answers with columns {sorted(map(str, given.columns))}, not timestamp, instrument, score")
    kinds = {
        "timestamp": pd.api.types.is_datetime64_dtype,
        "instrument": lambda each: pd.api.types.is_string_dtype(each),
        "score": pd.api.types.is_float_dtype,
    }
    for name, right in kinds.items():
        if not right(given[name]):
            raise Fault(f"column {name} is of type {given[name].dtype}")
