"""The code inside every model artifact: bars in, scores out.

MLflow stores this file beside the parameters ("models from code"), so that loading a model unpickles nothing and
runs exactly the bytes that were signed. It loads its two neighbours, packages, from the artifact's own folder and under
names that no other model in this process has: an installed package of the same name could be other code.
"""

import importlib
import importlib.util
import json
import pkgutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc.model import PythonModel

COMPILED = "kernels"  # a module of features that compiles itself when it is loaded


def package(path: Path, without: str | None = None) -> str:
    """Load a package with all its modules, so that its folder is not needed again; returns the name it got.

    `without`: a module that is loaded later or not at all.
    """
    name = f"{path.name}_{uuid4().hex}"
    with no_bytecode():
        loaded(name, path / "__init__.py")
        for module in pkgutil.iter_modules([str(path)]):
            if module.name != without:
                importlib.import_module(f"{name}.{module.name}")
    return name


def loaded(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=[str(path.parent)])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@contextmanager
def no_bytecode() -> Iterator[None]:
    """Python's caches would be files in the artifact that nobody signed."""
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


class Scorer(PythonModel):  # type: ignore[misc]
    """Scores every bar whose features are known: columns timestamp, instrument, score; higher is better.

    `params={"since": …}` scores the sessions from that one on only, to the same values.
    """

    def load_context(self, context: Any) -> None:
        spec = json.loads(Path(context.artifacts["spec"]).read_text())
        folder = Path(context.artifacts["parameters"])
        files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
        self.spec = spec
        features = package(Path(context.artifacts["features"]), without=COMPILED)
        self.engine, self.sides = sys.modules[f"{features}.engine"], sys.modules[f"{features}.side"].sides
        own = context.artifacts.get("own")
        self.own = self.engine.own_features(Path(own).read_text()) if own else {}
        # Now, not at the first score, and only where it is needed: compiling takes seconds.
        with no_bytecode():
            self.engine.prepare(spec["features"])
        inference = sys.modules[package(Path(context.artifacts["inference"])) + ".catalogue"]
        self.predictor = inference.load(spec["family"], files)

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        since = pd.Timestamp(params["since"]) if params and params.get("since") is not None else None
        scored = self.scored(model_input, since)
        if since is not None:
            scored = scored[scored["timestamp"] >= since]
        # A name is scored once its whole history is there, so that a score never rests on a filled gap.
        return scored.dropna(subset="score").reset_index(drop=True)

    def scored(self, bars: pd.DataFrame, since: pd.Timestamp | None) -> pd.DataFrame:
        """Scores from `since` on, NaN where history is short, and perhaps some rows before it.

        A model that looks back over several rows of an instrument needs them from before `since`. How many sessions
        they take depends on its gaps, so the window doubles until no name in it could have had more history.
        """
        back = self.predictor.steps - 1
        if since is None or back == 0:
            return self.table(bars, since)
        sessions = pd.DatetimeIndex(np.sort(bars["timestamp"].unique()))
        first = bars.groupby("instrument")["timestamp"].min()
        while True:
            start = sessions[max(sessions.searchsorted(since) - back, 0)]
            scored = self.table(bars, start)
            short = scored[(scored["timestamp"] >= since) & scored["score"].isna()]
            if start == sessions[0] or (first[short["instrument"].unique()] >= start).all():
                return scored
            back *= 2

    def table(self, bars: pd.DataFrame, since: pd.Timestamp | None) -> pd.DataFrame:
        rows = self.engine.compute(self.spec["features"], bars, since, self.own)
        if list(rows.names) != self.spec["columns"]:
            raise ValueError(f"the features are {list(rows.names)}; the model was fitted on {self.spec['columns']}")
        scores = self.predictor(rows.x, rows.previous)
        if (sessions := self.spec.get("momentum_sessions")) is not None:  # what a meta-labelled score backs
            scores = self.sides(bars, sessions, rows.timestamp, rows.instrument) * scores
        return pd.DataFrame({"timestamp": rows.timestamp, "instrument": rows.instrument, "score": scores})


mlflow.models.set_model(Scorer())
