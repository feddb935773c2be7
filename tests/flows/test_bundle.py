"""A bundle is checked where there is nothing but itself and the owner's public key, by us and by in-toto's program."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tasks import keys
from tests.flows.conftest import History
from tests.support.command import Countersign


class Carried(NamedTuple):
    """A bundle of an approved version, elsewhere, and the owner's public key."""

    folder: Path
    owner: Path
    elsewhere: Countersign

    @property
    def links(self) -> Path:
        [layout] = self.folder.rglob("release.layout")
        return layout.parent

    def faults(self, folder: Path, owner: Path | None = None) -> list[str]:
        said = self.elsewhere.json("verify", "--bundle", folder, "--owner-key", owner or self.owner, code=5)
        return list(said["faults"])

    def in_toto(self, folder: Path) -> int:
        links = folder / self.links.relative_to(self.folder)
        program = Path(sys.executable).with_name("in-toto-verify")
        arguments = ["--layout", links / "release.layout", "--verification-keys", self.owner, "--link-dir", links]
        return subprocess.run([program, *map(str, arguments)], capture_output=True, check=False).returncode


@pytest.fixture(scope="module")
def carried(history: History, tmp_path_factory: pytest.TempPathFactory) -> Carried:
    """Elsewhere there is no MLflow and no state; whoever asked one would fail."""
    folder = tmp_path_factory.mktemp("carried")
    made = history.countersign.json("bundle", "planted/1", "--out", folder / "bundle")
    assert set(made["commands"]) == {"countersign", "in-toto"}
    shutil.copy(history.countersign.home / "keys" / "owner.pub", folder)
    nothing = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    return Carried(folder / "bundle", folder / "owner.pub", Countersign(folder / "state", extra=nothing))


def test_a_bundle_verifies_elsewhere(carried: Carried) -> None:
    said = carried.elsewhere.json("verify", "--bundle", carried.folder, "--owner-key", carried.owner)
    assert (said["faults"], said["decision"]) == ([], "accepted")
    assert said["standing"] == "approved by development-approver"
    assert said["aliases"]["planted.live@champion"] == 1
    assert carried.in_toto(carried.folder) == 0
    assert not [path for path in carried.folder.rglob("*") if path.name.endswith((".pem", ".pub"))]


def altered(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def renamed(path: Path) -> None:
    about = json.loads(path.read_bytes())
    path.write_text(json.dumps(about | {"version": 2}))


@pytest.mark.parametrize(
    ("pattern", "change", "named", "in_toto_sees"),
    [
        ("release.layout", altered, "layout release.layout", True),
        ("approve.*.link", Path.unlink, "link approve: missing", True),
        ("validate.*.link", altered, "link validate", True),
        ("000003.json", Path.unlink, "journal: entry", False),
        ("register/000001.json", altered, "register: entry 000001.json", False),
        ("decision.json", altered, "file decide/decision.json: altered", False),
        ("MLmodel", altered, "file model/MLmodel: altered", False),
        ("validation.json", Path.unlink, "file validate/validation.json: missing", False),
        ("bundle.json", renamed, "is about planted/1, not planted/2", False),
    ],
)
def test_whatever_was_changed_on_the_way_is_named(
    carried: Carried, tmp_path: Path, pattern: str, change: Callable[[Path], None], named: str, in_toto_sees: bool
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(carried.folder, folder)
    change(sorted(folder.rglob(pattern))[0])
    assert named in carried.faults(folder)[0]
    assert (carried.in_toto(folder) != 0) == in_toto_sees


def test_another_owner_proves_nothing(carried: Carried, tmp_path: Path) -> None:
    keys.make(tmp_path / "other")
    assert carried.faults(carried.folder, tmp_path / "other.pub")[0].startswith(
        "register: entry 000001.json is altered"
    )
    refused = carried.elsewhere("verify", "--bundle", carried.folder, code=2)
    assert "--owner-key: give the owner's public key" in refused


def test_a_bundle_is_new_and_whole(carried: Carried, history: History) -> None:
    refused = history.countersign("bundle", "planted/1", "--out", carried.folder, code=2)
    assert "is there already; give a new folder" in refused
    assert "expected a folder that `countersign bundle` made" in carried.elsewhere(
        "verify", "--bundle", carried.owner.parent, "--owner-key", carried.owner, code=2
    )
