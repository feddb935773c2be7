"""The validator on its own: a model that behaves until it is judged, and a machine that holds none of the trainer's."""

import json
import shutil
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.command import CHECKOUT, Countersign
from tests.support.market import market

# A feature of the user's own travels inside the artifact. This one knows where it is judged, and hides what it does.
SLY = """
def sly(bars, history=1):
    import os
    if "countersign-cell" in os.getcwd():
        try:
            open({target!r}, "w").write("x")
        except BaseException:
            pass
    return bars["close"].groupby(bars["instrument"]).pct_change()
"""
PARTS = ("flows", "tasks", "expectations", "problems", "requirements.lock", "pyproject.toml")


def test_a_model_that_misbehaves_where_it_is_judged_is_refused_with_the_reason(tmp_path: Path, prefect: str) -> None:
    scratch, target = tmp_path / "scratch", tmp_path / "target"
    scratch.mkdir()
    (tmp_path / "own.py").write_text(SLY.format(target=str(target)))
    fields = {
        "features": ["price_only", "sly"],
        "feature_file": str(tmp_path / "own.py"),
        "families": [{"family": "ridge", "alpha": 10.0}],
    }
    problem = market(tmp_path, "sly", signal=0.003, **fields)
    before = sorted(tmp_path.iterdir())
    countersign = Countersign(tmp_path / "state", prefect, {"TMPDIR": str(scratch)})
    verdict = countersign.json("retrain", problem)["verdict"]

    assert not verdict["accepted"]
    assert f"the model tried to write to the disk (open {target})" in verdict["summary"]
    found = {finding["figure"]: finding for finding in verdict["findings"]}
    assert (found["model.faults"]["value"], found["model.faults"]["outcome"]) == (1.0, "fail")
    assert found["lockbox.rank_ic_lower"]["reason"] == "no evidence: the figure is missing"
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "state"])
    assert not list(scratch.glob("countersign-*")), "what it was given is cleared away"

    checked = countersign.json("verify", "sly/1")
    assert (checked["faults"], checked["decision"]) == ([], "refused")
    [report] = (countersign.home / "artifacts").rglob("validation.json")
    assert json.loads(report.read_text())["figures"] == {"model.faults": 1.0}
    assert countersign.json("validate", "sly/1")["new"] is False
    assert countersign.json("backtest", "sly/1")["figures"] == {}


def test_validation_needs_nothing_of_the_trainers(
    worthless: tuple[Countersign, Path, dict[str, Any]], tmp_path: Path
) -> None:
    countersign, _, _ = worthless
    home = countersign.home
    before = countersign.json("validate", "worthless/1")
    checkout = without_training(tmp_path / "checkout")
    kept = {"validator.pem", *(path.name for path in (home / "keys").glob("*.pub"))}
    others = [path for path in (home / "keys").iterdir() if path.name not in kept]
    [link] = (home / "evidence" / "worthless").glob("*/validate.*.link")
    [mine] = (home / "keys").glob("validator.pem")
    assert mine not in others
    assert len(others) >= 4
    shutil.copytree(home / "evidence", tmp_path / "evidence")
    with aside([link, *others, home / "logs", home / "lake" / "worthless" / "raw"], tmp_path / "aside"):
        alone = Countersign(home, countersign.prefect, {"PYTHONPATH": ""}, checkout)
        again = alone.json("validate", "worthless/1")
        assert again["new"]
        assert again["figures"] == before["figures"]
        assert [path.name for path in (home / "keys").iterdir() if path.name not in kept] == []
        shutil.rmtree(home / "logs")
    shutil.rmtree(home / "evidence")
    (tmp_path / "evidence").rename(home / "evidence")
    assert not countersign.json("validate", "worthless/1")["new"], "and its page in MLflow tells of it again"
    assert countersign.json("verify", "worthless/1")["faults"] == []


def without_training(folder: Path) -> Path:
    """A checkout in which all is missing that the import contract keeps from validation."""
    contracts = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [contract] = [each for each in contracts if each["name"].startswith("Validation imports nothing of training")]
    folder.mkdir()
    for part in PARTS:
        copy = shutil.copytree if (CHECKOUT / part).is_dir() else shutil.copy
        copy(CHECKOUT / part, folder / part)
    for module in [*contract["forbidden_modules"], "flows.train"]:
        path = folder / module.replace(".", "/")
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.with_suffix(".py").unlink()
    return folder


@contextmanager
def aside(paths: list[Path], folder: Path) -> Iterator[None]:
    """These are elsewhere for a while."""
    folder.mkdir()
    moved = [(path, folder / f"{number}-{path.name}") for number, path in enumerate(paths) if path.exists()]
    for path, other in moved:
        path.rename(other)
    try:
        yield
    finally:
        for path, other in moved:
            other.rename(path)
