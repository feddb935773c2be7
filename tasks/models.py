"""Model artifacts: written as text and code, byte for byte the same for the same content; loaded only if signed."""

import json
import logging
import re
import shutil
import tempfile
import warnings
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import yaml

from tasks import ledger
from tasks.cell import outside
from tasks.domain.errors import ModelFault, UsageError, VerificationFailed
from tasks.home import CHECKOUT, as_json, digests_apart, write_whole

CODE = {name: CHECKOUT / "tasks" / "domain" / name for name in ("features", "inference")}
SCORER = CHECKOUT / "tasks" / "scorer.py"
REQUIREMENTS = ("mlflow", "numba", "numpy", "pandas")
# What a family's predictor imports besides.
OF_FAMILY = {
    "tree": ("scikit-learn", "skops"),
    "forest": ("scikit-learn", "skops"),
    "lightgbm": ("lightgbm",),
    "mlp": ("safetensors",),
    "sequence": ("safetensors",),
}
EXAMPLE, SERVING_EXAMPLE = "input_example.json", "serving_input_example.json"
# These change from one saving of the same model to the next, or with where it was saved; the size counts BUILD's lines.
VOLATILE = ("utc_time_created", "model_uuid", "model_id", "run_id", "model_size_bytes")
# The installers' own versions, which no lock fixes: two environments of one lock differ in them.
ENVIRONMENTS = ("conda.yaml", "python_env.yaml")
BUILD = re.compile(r"^(\s*- (?:pip|setuptools|wheel))[=<].*$", re.MULTILINE)


def save(folder: Path, spec: dict[str, Any], files: dict[str, bytes], own: bytes | None = None) -> None:
    """Write a pyfunc model; equal spec, files, code and packages give equal bytes.

    Args:
        spec: `features`: names of the sets; `columns`: the features in the model's order; `inputs`: columns of bars
            that they are made of; `family`; for a meta-labelled model `momentum_sessions` of the side it backs.
        files: the family's parameters, name → content.
        own: the problem's file of features, if it has one.
    """
    import mlflow.pyfunc

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as scratch:
        parts = {name: Path(scratch) / name for name in ("parameters", *CODE)} | {"spec": Path(scratch) / "spec.json"}
        write_whole(parts["spec"], as_json(spec))
        for name, content in files.items():
            write_whole(parts["parameters"] / name, content)
        if own is not None:
            parts["own"] = Path(scratch) / "own.py"
            write_whole(parts["own"], own)
        for name, code in CODE.items():
            shutil.copytree(code, parts[name], ignore=shutil.ignore_patterns("__pycache__"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that there is no example, which is written below
            mlflow.pyfunc.save_model(
                str(folder),
                python_model=str(SCORER),
                artifacts={name: str(path) for name, path in parts.items()},
                signature=signature(spec["inputs"]),
                pip_requirements=[f"{name}=={version(name)}" for name in requirements(spec["family"])],
            )
    write_example(folder, spec["inputs"])
    normalise(folder / "MLmodel")
    for name in ENVIRONMENTS:
        write_whole(folder / name, BUILD.sub(r"\1", (folder / name).read_text()).encode())
    for cache in folder.rglob("__pycache__"):
        shutil.rmtree(cache)


def requirements(family: str) -> list[str]:
    return sorted((*REQUIREMENTS, *OF_FAMILY.get(family, ())))


def signature(inputs: list[str]) -> Any:
    """Keys and `inputs` of the bars to keys and score; `since` (ISO date) asks for the sessions from that one on."""
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    keys = [ColSpec(DataType.datetime, "timestamp"), ColSpec(DataType.string, "instrument")]
    return ModelSignature(
        Schema([*keys, *(ColSpec(DataType.double, name) for name in inputs)]),
        Schema([*keys, ColSpec(DataType.double, "score")]),
        ParamSchema([ParamSpec("since", DataType.string, None)]),
    )


def write_example(folder: Path, inputs: list[str]) -> None:
    """Two bars as MLflow's pages and its server show them. Too few for a score, so nothing is gained by asking for one,
    as MLflow would if it were left to write them."""
    data = [[f"2020-01-0{day}T00:00:00", "AAA", *(100.0 + day for _ in inputs)] for day in (2, 3)]
    table = {"columns": ["timestamp", "instrument", *inputs], "data": data}
    write_whole(folder / EXAMPLE, as_json(table))
    write_whole(folder / SERVING_EXAMPLE, as_json({"dataframe_split": table}))


def normalise(path: Path) -> None:
    """Leave out of MLmodel what is not content, and name the example."""
    described = yaml.safe_load(path.read_text())
    for name in VOLATILE:
        described.pop(name, None)
    described["saved_input_example_info"] = {
        "artifact_path": EXAMPLE,
        "pandas_orient": "split",
        "serving_input_path": SERVING_EXAMPLE,
        "type": "dataframe",
    }
    flavor = described["flavors"]["python_function"]
    flavor["model_code_path"] = SCORER.name
    for artifact in flavor["artifacts"].values():
        artifact["uri"] = artifact["path"]
    write_whole(path, yaml.safe_dump(described, sort_keys=True).encode())


class Score(Protocol):
    """A model as a black box: bars → scores, sessions × instruments; from `since` on where it is given."""

    def __call__(self, bars: pd.DataFrame, since: pd.Timestamp | None = None) -> pd.DataFrame: ...


def load(model: str, number: int, signed: dict[str, str]) -> outside.Cell:
    """The scoring function of a registered version; see `load_folder`."""
    return load_folder(ledger.model_folder(model, number), signed, f"{model}/{number}")


def load_folder(folder: Path, signed: dict[str, str], reference: str) -> outside.Cell:
    """The scoring function of an artifact, whose code runs in a process of its own (ADR 0013).

    The files are copied, hashed and compared before any of their code runs, and it is the copy that runs.

    Raises:
        VerificationFailed: a file is not what was signed.
        UsageError: the model needs a package that is not installed.
        ModelFault: what it needs can't be told.
    """
    cell = outside.take()
    try:
        shutil.copytree(folder, cell.folder)
        (cell.folder / ledger.WRITTEN_ON_LOAD).unlink(missing_ok=True)
        if faults := digests_apart(signed, ledger.digests_below(cell.folder)):
            raise VerificationFailed(f"{reference}: {'; '.join(faults)}; it was not loaded")
        require_packages(cell.folder, reference)
        cell.load()
    except BaseException:
        cell.close()
        raise
    return cell


def require_packages(model: Path, reference: str) -> None:
    """Refuse in words a model whose family needs a package that is not there (PyTorch's file format is optional)."""
    try:
        family = json.loads((model / "artifacts" / "spec.json").read_text())["family"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ModelFault("the model does not say of what family it is (artifacts/spec.json)") from None
    installed = {distribution.name for distribution in distributions()}
    if missing := [name for name in requirements(family) if name not in installed]:
        raise UsageError(
            f"{reference}: a model of family {family} needs {', '.join(missing)}; install with `make deep`"
        )
