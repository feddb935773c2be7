"""The code inside every model artifact: bars in, scores out.

MLflow stores this file beside the parameters ("models from code"), so that loading a model unpickles nothing and
runs exactly the bytes that were signed. It loads its two neighbours by path, never from an installed package:
the same name there could be other code.
"""

import importlib.util
import json
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


class Scorer(PythonModel):  # type: ignore[misc]
    """Scores every bar whose features are known: columns timestamp, instrument, score; higher is better."""

    def load_context(self, context: Any) -> None:
        spec = json.loads(Path(context.artifacts["spec"]).read_text())
        self.compute = neighbour(context.artifacts["features"]).SETS[spec["features"]]
        self.columns = spec["columns"]
        parameters = Path(context.artifacts["parameters"]).read_text()
        self.score = neighbour(context.artifacts["inference"]).FAMILIES[spec["family"]](parameters)

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        rows = self.compute(model_input)
        # A name is scored once its whole history is there, so that a score never rests on a filled gap.
        rows = rows.dropna(subset=self.columns).reset_index(drop=True)
        scores = self.score(rows[self.columns].to_numpy("float64"))
        return rows[["timestamp", "instrument"]].assign(score=scores)


mlflow.models.set_model(Scorer())
