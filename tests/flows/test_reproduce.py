"""A version made anew: the same bytes in place and from another checkout, nothing written, each difference named."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks import evidence, keys, reproduction
from tasks.domain import names
from tasks.home import HOME_VARIABLE, git_commit, sha256
from tests.flows.conftest import History
from tests.flows.test_tamper import edited, evidence_of_first, model_byte, one, put_back
from tests.support.command import CHECKOUT

PROGRAM = ("flows", "tasks", "expectations", "problems")
OF_LIBRARIES = ("cache", "prefect")  # what compilers and Prefect keep for themselves
PARAMETERS = "model/artifacts/parameters/parameters.json"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A copy of this checkout in another folder."""
    for name in PROGRAM:
        shutil.copytree(CHECKOUT / name, tmp_path / name)
    shutil.copy(CHECKOUT / "requirements.lock", tmp_path)
    return tmp_path


def contents(home: Path) -> dict[str, tuple[int, str]]:
    """Every file of the state folder: when it was written, and what it holds."""
    files = [path for path in home.rglob("*") if path.is_file() and path.relative_to(home).parts[0] not in OF_LIBRARIES]
    return {str(path): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files}


def forged(home: Path) -> Callable[[], None]:
    """Version 1 as a trainer could have signed it: a coefficient changed by hand, and a trial better than it was."""

    def changed(change: Callable[[dict[str, Any]], None]) -> Callable[[bytes], bytes]:
        def applied(content: bytes) -> bytes:
            told = json.loads(content)
            change(told)
            return json.dumps(told).encode()

        return applied

    def doubled(told: dict[str, Any]) -> None:
        told["coefficients"][0] *= 2

    def praised(told: dict[str, Any]) -> None:
        told["trials"][1]["train.rank_ic"] += 1.0

    link = evidence_of_first(home, "train.*.link")
    before, statement = link.read_bytes(), evidence.statement_of(link)
    places = {
        PARAMETERS: one(home / "artifacts", "parameters/parameters.json"),
        f"{names.TRAIN}/{names.TRIALS}": one(home / "artifacts", names.TRIALS),
    }
    undo = [edited(place, changed(by)) for place, by in zip(places.values(), (doubled, praised), strict=True)]
    products = statement.products | {name: sha256(place.read_bytes()) for name, place in places.items()}
    by = keys.signer_from(home / "keys" / "trainer.pem")
    made = evidence.signed(names.TRAIN, statement._replace(products=products), "0", by)
    link.write_text(json.dumps(made.to_dict()))
    return lambda: put_all_back([*undo, lambda: put_back(link, before)])


def put_all_back(undo: list[Callable[[], None]]) -> None:
    for each in undo:
        each()


def test_in_place_every_byte_is_the_same_and_nothing_is_written(history: History, tmp_path: Path) -> None:
    home, kept = history.countersign.home, tmp_path / "kept"
    before = contents(home)
    result = history.countersign.json("reproduce", "planted.live/1", "--keep", kept)
    assert contents(home) == before
    assert result["verdict"] == "identical"
    assert (result["faults"], result["differing"], result["surroundings"]) == ([], [], [])
    assert {gap["largest"] for gap in result["scores"].values()} == {0.0}
    assert [gap["sessions"] for gap in result["scores"].values()] == [250, 300]
    assert hashlib.sha256((kept / PARAMETERS).read_bytes()).hexdigest() == result["files"][PARAMETERS]["signed"]


def test_from_another_checkout_it_is_the_same_code(history: History, elsewhere: Path) -> None:
    result = replace(history.countersign, checkout=elsewhere).json("reproduce", "planted/2")
    assert (result["verdict"], result["surroundings"]) == ("identical", [])


def test_an_altered_artifact_is_named_and_other_code_told_with_its_commit(history: History, elsewhere: Path) -> None:
    with (elsewhere / "flows" / "collect.py").open("a") as file:
        file.write("# another line\n")
    undo = model_byte(history.countersign.home)
    try:
        result = replace(history.countersign, checkout=elsewhere).json("reproduce", "planted/1", code=5)
    finally:
        undo()
    assert result["verdict"] == "different"
    assert result["faults"] == [f"file {PARAMETERS}: altered"]
    assert result["scores"] is None, "it was not loaded"
    assert result["differing"] == [], "the other code made what the trainer signed"
    code, commit = result["surroundings"]
    assert code.startswith("code: ")
    assert commit == reproduction.where_to_find(git_commit())


def test_what_the_trainer_made_up_is_found_though_its_signature_holds(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(history.countersign.home))
    undo = forged(history.countersign.home)
    try:
        result = history.countersign.json("reproduce", "planted/1", "--search", code=5)
    finally:
        undo()
    assert result["verdict"] == "different"
    trial, choice = result["faults"]
    assert trial.startswith("trial 1 (lightgbm): train.rank_ic 1.")
    assert choice == "choice: trial 0 was signed; by the signed figures it is trial 1"
    [difference] = result["differing"]
    assert difference["file"] == PARAMETERS.removeprefix("model/")
    assert difference["words"] == "what was fitted differs"
    assert min(gap["largest"] for gap in result["scores"].values()) > 0


def test_an_unknown_version_is_one_line(history: History) -> None:
    said = history.countersign("reproduce", "planted/99", code=2)
    assert said.splitlines()[-1] == "countersign: planted/99: no such model version; see `countersign status`"
