"""Model artifacts: written as text and code, byte for byte the same for the same content; loaded only if signed."""

import logging
import shutil
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from tasks import ledger
from tasks.domain.errors import VerificationFailed
from tasks.home import CHECKOUT, as_json, write_whole

DOMAIN = CHECKOUT / "tasks" / "domain"
CODE = {"features": DOMAIN / "features", "inference": DOMAIN / "inference.py"}
SCORER = CHECKOUT / "tasks" / "scorer.py"
REQUIREMENTS = ("mlflow", "numpy", "pandas", "numba", "lightgbm")
# These change from one saving of the same model to the next, or name the machine it was saved on.
VOLATILE = ("utc_time_created", "model_uuid", "model_id", "run_id")


def save(folder: Path, spec: dict[str, Any], parameters: str) -> None:
    """Write a pyfunc model; equal spec, parameters, code and packages give equal bytes."""
    import mlflow.pyfunc

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as scratch:
        parts = {"spec": Path(scratch) / "spec.json", "parameters": Path(scratch) / "parameters.txt"}
        write_whole(parts["spec"], as_json(spec))
        write_whole(parts["parameters"], parameters.encode())
        artifacts = {name: str(path) for name, path in (parts | CODE).items()}
        mlflow.pyfunc.save_model(
            str(folder),
            python_model=str(SCORER),
            artifacts=artifacts,
            signature=signature(),
            pip_requirements=[f"{name}=={version(name)}" for name in REQUIREMENTS],
        )
    normalise(folder / "MLmodel")
    for cache in folder.rglob("__pycache__"):
        shutil.rmtree(cache)


def signature() -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, DataType, Schema

    keys = [ColSpec(DataType.datetime, "timestamp"), ColSpec(DataType.string, "instrument")]
    return ModelSignature(
        Schema([*keys, ColSpec(DataType.double, "close")]), Schema([*keys, ColSpec(DataType.double, "score")])
    )


def normalise(path: Path) -> None:
    """Leave out of MLmodel what is not content."""
    described = yaml.safe_load(path.read_text())
    for name in VOLATILE:
        described.pop(name, None)
    flavor = described["flavors"]["python_function"]
    flavor["model_code_path"] = SCORER.name
    for artifact in flavor["artifacts"].values():
        artifact["uri"] = artifact["path"]
    write_whole(path, yaml.safe_dump(described, sort_keys=True).encode())


def load(model: str, number: int, signed: dict[str, str]) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """The scoring function of a registered version: bars → scores, sessions × instruments.

    The files are copied, hashed and compared before any of their code runs, and it is the copy that runs.

    Raises:
        VerificationFailed: a file is not what was signed.
    """
    scratch = Path(tempfile.mkdtemp(prefix="countersign-model-"))
    copy = shutil.copytree(ledger.model_folder(model, number), scratch / "model")
    (copy / ledger.WRITTEN_ON_LOAD).unlink(missing_ok=True)
    if faults := differences(signed, ledger.digests_below(copy)):
        shutil.rmtree(scratch)
        raise VerificationFailed(f"{model}/{number}: {'; '.join(faults)}; it was not loaded")
    import mlflow.pyfunc

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    loaded = mlflow.pyfunc.load_model(str(copy))
    shutil.rmtree(scratch)

    def score(bars: pd.DataFrame) -> pd.DataFrame:
        scored = loaded.predict(bars[["timestamp", "instrument", "close"]])
        return scored.pivot(index="timestamp", columns="instrument", values="score").sort_index()

    return score


def differences(signed: dict[str, str], held: dict[str, str]) -> list[str]:
    """What a set of files differs in from what was signed, in words."""
    return [
        f"file {name}: {'missing' if name not in held else 'not signed' if name not in signed else 'altered'}"
        for name in sorted(signed.keys() | held.keys())
        if signed.get(name) != held.get(name)
    ]
