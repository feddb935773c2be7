"""Model artifacts: what is written, that a stranger's process scores the same, and that models keep apart."""

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from tasks import models
from tasks.configuration import load_problem
from tasks.domain.errors import UsageError
from tasks.domain.families.catalogue import FAMILIES, fit
from tasks.domain.families.sample import Sample
from tasks.domain.families.trial import Trial, grid
from tasks.domain.features.engine import compute
from tasks.domain.inference.catalogue import load
from tasks.domain.problem import parse_problem
from tasks.home import folder_digests
from tests.support.market import bars as market_bars
from tests.support.market import canonical

DEEP = ("mlp", "sequence")
SMALL: dict[str, dict[str, Any]] = {
    "forest": {"n_estimators": 5},
    "svm": {"n_components": 20},
    "lightgbm": {"num_rounds": 10},
    "mlp": {"epochs": 1},
    "sequence": {"epochs": 1, "steps": 4},
}
INPUTS = ["open", "high", "low", "close", "volume"]
LAST = pd.Timestamp("2016-03-01")

# Scores the bars twice, whole and from a day on, and says what of this project was imported.
STRANGER = """
import json, sys, mlflow, pandas as pd
bars = pd.read_parquet(sys.argv[1])
for folder in sys.argv[3:]:
    model = mlflow.pyfunc.load_model(folder)
    columns = model.metadata.get_input_schema().input_names()
    model.predict(bars[columns]).to_parquet(folder + ".whole")
    model.predict(bars[columns], params={"since": sys.argv[2]}).to_parquet(folder + ".since")
    assert model.input_example.columns.tolist() == columns
print("tasks" in sys.modules)
"""


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    table = market_bars(0.003, names=8, sessions=330).rename(columns={"date": "timestamp", "symbol": "instrument"})
    # Some names start late or pause, so that their histories differ in length.
    holes = (table["instrument"] == "N01") & (table.index % 7 == 0)
    late = (table["instrument"] == "N02") & (table["timestamp"] < "2015-02-01")
    return canonical(table[~holes & ~late])


@pytest.fixture(scope="module")
def fitted(bars: pd.DataFrame) -> dict[str, tuple[dict[str, Any], dict[str, bytes]]]:
    """Of every family: what a model of it is saved from."""
    rows = compute(["price_only"], bars)
    sample = Sample(rows.x, rows.x[:, 0] + np.random.default_rng(1).normal(size=len(rows.x)), None, rows.previous)
    found = {}
    for family in FAMILIES:
        if family in DEEP:
            pytest.importorskip("torch")
        spec = {"features": ["price_only"], "columns": rows.names, "inputs": INPUTS, "family": family}
        found[family] = (spec, fit(trial_of(family), sample, 7))
    return found


def trial_of(family: str) -> Trial:
    shipped = load_problem("sp500_alpha").model_dump(mode="json")
    given = parse_problem(
        shipped | {"families": [{"family": family} | SMALL.get(family, {})], "constraints": {}}, "x.yaml"
    )
    return grid(given.families[0])[0]


@pytest.mark.slow
def test_every_family_scores_the_same_in_a_process_without_this_project(
    fitted: dict[str, tuple[dict[str, Any], dict[str, bytes]]], bars: pd.DataFrame, tmp_path: Path
) -> None:
    for family, (spec, files) in fitted.items():
        models.save(tmp_path / family, spec, files)
    bars.to_parquet(tmp_path / "bars.parquet")
    before = {family: folder_digests(tmp_path / family) for family in fitted}
    folders = [str(tmp_path / family) for family in fitted]
    command = [
        sys.executable,
        "-P",
        "-W",
        "ignore",
        "-c",
        STRANGER,
        str(tmp_path / "bars.parquet"),
        str(LAST),
        *folders,
    ]
    said = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert said.stdout.split()[-1] == "False"
    rows = compute(["price_only"], bars)
    keys = pd.MultiIndex.from_arrays([rows.timestamp, rows.instrument])
    for family, (_, files) in fitted.items():
        expected = pd.Series(load(family, files)(rows.x, rows.previous), keys).dropna()
        whole, since = (
            pd.read_parquet(tmp_path / f"{family}.{part}").set_index(["timestamp", "instrument"])["score"]
            for part in ("whole", "since")
        )
        assert list(whole.index) == list(expected.index)
        np.testing.assert_allclose(whole, expected, rtol=0, atol=1e-9)
        newest = whole[whole.index.get_level_values(0) >= LAST]
        assert list(since.index) == list(newest.index)
        np.testing.assert_allclose(since, newest, rtol=0, atol=1e-12)
        assert folder_digests(tmp_path / family) == before[family], "loading wrote into the artifact"


@pytest.mark.slow
def test_equal_content_gives_equal_bytes_and_nothing_in_it_is_a_pickle(
    fitted: dict[str, tuple[dict[str, Any], dict[str, bytes]]], tmp_path: Path
) -> None:
    for family, (spec, files) in fitted.items():
        for attempt in ("one", "two"):
            models.save(tmp_path / attempt / family, spec, files)
        held = tmp_path / "one" / family
        assert folder_digests(held) == folder_digests(tmp_path / "two" / family)
        for path in held.rglob("*"):
            if path.is_file() and path.suffix not in (".skops", ".safetensors"):
                path.read_text()  # raises where it is not text
        for path in held.rglob("*.skops"):
            with zipfile.ZipFile(path) as parts:
                json.loads(parts.read("schema.json"))
                arrays = set(parts.namelist()) - {"schema.json"}
                assert all(np.load(io.BytesIO(parts.read(name)), allow_pickle=False).size for name in arrays)
        assert not [path for path in held.rglob("*") if path.suffix in (".pkl", ".pickle", ".joblib", ".pt", ".npy")]
        assert str(tmp_path) not in (held / "MLmodel").read_text()


def test_a_model_names_the_columns_and_the_packages_it_needs(tmp_path: Path) -> None:
    parameters = {"mean": [0.0], "spread": [1.0], "coefficients": [1.0], "intercept": 0.0, "form": "regression"}
    files = {"parameters.json": json.dumps(parameters).encode()}
    spec = {"features": ["price_only"], "columns": ["return_1"], "inputs": ["close"], "family": "ridge"}
    models.save(tmp_path / "model", spec, files)
    described = yaml.safe_load((tmp_path / "model" / "MLmodel").read_text())
    inputs = [column["name"] for column in json.loads(described["signature"]["inputs"])]
    assert inputs == ["timestamp", "instrument", "close"]
    assert described["saved_input_example_info"]["artifact_path"] == "input_example.json"
    pinned = (tmp_path / "model" / "requirements.txt").read_text().split()
    assert [line.split("==")[0] for line in pinned] == ["mlflow", "numba", "numpy", "pandas"]
    assert [line.split("==")[0] for line in map(str, models.requirements("forest"))][-2:] == ["scikit-learn", "skops"]


def test_what_no_lock_fixes_is_not_in_a_model(tmp_path: Path) -> None:
    spec = {"features": ["price_only"], "columns": ["return_1"], "inputs": ["close"], "family": "ridge"}
    models.save(tmp_path / "model", spec, {"parameters.json": b"{}"})
    made = yaml.safe_load((tmp_path / "model" / "python_env.yaml").read_text())
    assert made["build_dependencies"] == ["pip", "setuptools", "wheel"]
    python, pip, packages = yaml.safe_load((tmp_path / "model" / "conda.yaml").read_text())["dependencies"]
    assert (python, pip) == (f"python={made['python']}", "pip")
    assert packages["pip"] == (tmp_path / "model" / "requirements.txt").read_text().splitlines()
    assert "model_size_bytes" not in (tmp_path / "model" / "MLmodel").read_text()


def test_a_model_whose_packages_are_missing_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "spec.json").write_text('{"family": "mlp"}')
    monkeypatch.setattr(models, "distributions", list)
    with pytest.raises(UsageError, match=r"m/1: a model of family mlp needs .*safetensors; install with `make deep`"):
        models.require_packages(tmp_path, "m/1")


def test_two_models_in_one_process_share_no_code(tmp_path: Path) -> None:
    from tasks.scorer import package

    for name, value in (("a", 1), ("b", 2)):
        folder = tmp_path / name / "inference"
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("")
        (folder / "other.py").write_text(f"VALUE = {value}\n")
        (folder / "catalogue.py").write_text("from .other import VALUE\n")
    found = [sys.modules[package(tmp_path / name / "inference") + ".catalogue"] for name in ("a", "b")]
    assert [module.VALUE for module in found] == [1, 2]
    assert not list(tmp_path.rglob("__pycache__"))
