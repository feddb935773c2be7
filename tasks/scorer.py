"""The code inside every model artifact: bars in, scores out.

MLflow stores this file beside the parameters ("models from code"), so that loading a model unpickles nothing and
runs exactly the bytes that were signed. It loads its two neighbours by path, never from an installed package:
the same name there could be other code.
"""

import hashlib
import importlib
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc.model import PythonModel


def neighbour(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def package(folder: str, module: str) -> ModuleType:
    """A module of the package in `folder`, under a name of this folder's own: two loaded models share no code."""
    name = f"artifact_{hashlib.sha256(str(Path(folder).resolve()).encode()).hexdigest()[:16]}"
    # What an earlier load of the same folder left may be older than the files are now.
    for old in [each for each in sys.modules if each.split(".")[0] == name]:
        del sys.modules[old]
    start = Path(folder) / "__init__.py"
    spec = importlib.util.spec_from_file_location(name, start, submodule_search_locations=[folder])
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
    return importlib.import_module(f"{name}.{module}")


class Scorer(PythonModel):  # type: ignore[misc]
    """Scores every bar whose features are known: columns timestamp, instrument, score; higher is better."""

    def load_context(self, context: Any) -> None:
        spec = json.loads(Path(context.artifacts["spec"]).read_text())
        engine = package(context.artifacts["features"], "engine")
        self.features, self.columns = [spec["features"]], spec["columns"]
        # Now, not at the first score: the folder may be gone by then.
        engine.prepare(self.features)
        self.compute = engine.compute
        parameters = Path(context.artifacts["parameters"]).read_text()
        self.score = neighbour(context.artifacts["inference"]).FAMILIES[spec["family"]](parameters)

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        rows = self.compute(self.features, model_input)
        assert rows.names == self.columns
        keys = {"timestamp": rows.timestamp, "instrument": rows.instrument}
        return pd.DataFrame(keys | {"score": self.score(rows.x)})


mlflow.models.set_model(Scorer())
