"""Each stage as its own user: the operating system, not our code, keeps what is closed closed."""

import json
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tasks.domain import names
from tests.support.accounts import FIRST_GROUP, NOBODY_ELSE, USERS, Identity, cannot_separate, identity, separated
from tests.support.command import CHECKOUT, Countersign
from tests.support.market import market

REASON = cannot_separate()
pytestmark = [pytest.mark.skipif(REASON is not None, reason=REASON or ""), pytest.mark.timeout(600)]


class Desk(NamedTuple):
    """A state folder in which one problem was retrained, each stage as its own user."""

    countersign: Countersign
    result: dict[str, Any]

    @property
    def home(self) -> Path:
        return self.countersign.home

    @property
    def lake(self) -> Path:
        return self.home / "lake" / "planted"


@pytest.fixture(scope="module")
def desk(prefect: str) -> Iterator[Desk]:
    """Not below pytest's own folder, which is closed to other users."""
    folder = Path(tempfile.mkdtemp(prefix="countersign-access-"))
    folder.chmod(0o755)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("COUNTERSIGN_ACCESS", str(separated(folder)))
            countersign = Countersign(folder / "state", prefect, fresh=True)
            yield Desk(countersign, countersign.json("retrain", market(folder, "planted", signal=0.003)))
    finally:
        shutil.rmtree(folder)


def run_as(identity: Identity, script: str, *arguments: object) -> str:
    """Run a script as a user; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        **identity,
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


TRY_ALL = """
import json, os, sys
said = {}
for path in json.load(open(sys.argv[1])):
    try:
        os.listdir(path) if path.endswith("/") else open(path, "rb").close()
        said[path] = "opened"
    except OSError as fault:
        said[path] = type(fault).__name__
print(json.dumps(said))
"""


def tried(folder: Path, identity: Identity) -> dict[str, str]:
    """What happens when a user tries to open every file and to list every folder (named with a `/`) below one."""
    found = [str(path) + "/" * path.is_dir() for path in (folder, *folder.rglob("*"))]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as names:
        json.dump(found, names)
        names.flush()
        Path(names.name).chmod(0o644)
        return dict(json.loads(run_as(identity, TRY_ALL, names.name)))


def opened_by(role: str, folder: Path) -> dict[str, str]:
    return tried(folder, identity(role))


def owners(folder: Path, kind: str = "*") -> set[int]:
    return {path.lstat().st_uid for path in folder.rglob(kind)}


def test_the_chain_works_with_each_stage_as_its_own_user(desk: Desk) -> None:
    assert desk.result["verdict"]["accepted"]
    signers = {"collect": "steward", "train": "trainer", "validate": "validator"}
    signers |= {"backtest": "validator", "decide": "validator"}
    for stage, role in signers.items():
        folder = desk.home / "artifacts" / "planted" / stage
        assert {path.stat().st_uid for path in (folder, *folder.rglob("*"))} == {USERS[role]}, stage
    for stage, role in (signers | {"collect": "trainer"}).items():
        candidate = desk.home / "evidence" / "planted" / desk.result["trained"]["candidate"]
        assert {path.stat().st_uid for path in candidate.glob(f"{stage}.*.link")} == {USERS[role]}, stage
    assert owners(desk.home / "evidence" / "planted" / "snapshots", "*.link") == {USERS["steward"]}
    assert owners(desk.lake / "lockbox") == {USERS["steward"]}
    assert owners(desk.lake / "development") == {USERS["steward"]}
    again = desk.countersign.json("retrain", desk.home.parent / "planted.yaml")
    assert not again["new"], "a second run, after the first one's processes have left their files, finds all done"


def test_the_trainer_is_refused_the_lockbox_by_the_operating_system(desk: Desk) -> None:
    for table in ("lockbox", "steward/raw", "steward/quarantine", "steward/corrections"):
        files = [path for path in (desk.lake / table).rglob("*") if path.is_file()]
        assert files, f"{table} holds something"
        said = opened_by("trainer", desk.lake / table)
        assert set(said.values()) == {"PermissionError"}, table
        assert len(said) > len(files)
    assert set(opened_by("trainer", desk.lake / "development").values()) == {"opened"}
    assert set(opened_by("validator", desk.lake / "lockbox").values()) == {"opened"}
    assert set(opened_by("validator", desk.lake / "steward" / "raw").values()) == {"PermissionError"}


READ = """
import sys
from tasks import snapshots
from tasks.domain.errors import CountersignError
snapshot = snapshots.current("planted")
print(len(snapshot.read("development")) > 0)
try:
    snapshot.read("lockbox")
except CountersignError as fault:
    print(fault)
"""


def test_the_lake_itself_refuses_the_trainer_in_one_line(desk: Desk) -> None:
    said = run_as(
        identity("trainer"), f"import os; os.environ['COUNTERSIGN_HOME'] = {str(desk.home)!r}\n{READ}"
    ).splitlines()
    assert said[0] == "True"
    assert "lockbox: version 0 cannot be read" in said[1]
    assert "ermission denied" in said[1]
    assert len(said) == 2


TAMPER = """
import os, sys
path = sys.argv[1]
for attempt in (
    lambda: os.unlink(path),
    lambda: open(path, "w").close(),
    lambda: os.rename(path, path + ".old"),
    lambda: os.replace(sys.argv[2], path),
    lambda: os.rename(os.path.dirname(path), os.path.dirname(path) + ".old"),
    lambda: os.chmod(path, 0o666),
):
    try:
        attempt()
        print("done")
    except OSError as fault:
        print(type(fault).__name__)
"""


def test_no_role_touches_another_s_evidence_or_key(desk: Desk) -> None:
    candidate = desk.home / "evidence" / "planted" / desk.result["trained"]["candidate"]
    (steward_s,) = (desk.home / "evidence" / "planted" / "snapshots").rglob("collect.*.link")
    (validator_s,) = candidate.glob("validate.*.link")
    for path in (steward_s, validator_s):
        before = path.read_bytes()
        own = candidate / "own"
        run_as(identity("trainer"), f"open({str(own)!r}, 'w').write('mine')")
        assert set(run_as(identity("trainer"), TAMPER, path, own).splitlines()) == {"PermissionError"}
        assert path.read_bytes() == before
        own.unlink()
    keys = {path.stem: path for path in (desk.home / "keys").glob("*.pem")}
    assert set(keys) == set(names.ROLES)
    for role in USERS:
        said = opened_by(role, desk.home / "keys")
        readable = {Path(path).stem for path, what in said.items() if path.endswith(".pem") and what == "opened"}
        assert readable == {role} & set(keys)


def test_nobody_else_gets_in_at_all(desk: Desk) -> None:
    stranger = {"user": NOBODY_ELSE, "group": NOBODY_ELSE, "extra_groups": []}
    said = tried(desk.home, stranger)
    assert said.pop(f"{desk.home}/") == "PermissionError"
    assert set(said.values()) == {"PermissionError"}


def test_show_compares_the_declaration_with_what_is_granted(desk: Desk) -> None:
    found = desk.countersign.json("access", "show")
    assert found["differences"] == []
    granted = {(each["role"], each["name"]): each["granted"] for each in found["problems"]["planted"]}
    assert granted["trainer", "lockbox"] == "none"
    assert granted["validator", "lockbox"] == "read"
    assert granted["steward", "lockbox"] == "write"
    lockbox = desk.lake / "lockbox"
    for path in (lockbox, *lockbox.rglob("*")):
        path.chmod(path.stat().st_mode | (0o005 if path.is_dir() else 0o004))
    said = desk.countersign("access", "show", code=5)
    assert "planted: trainer on lockbox: declared none, granted read" in " ".join(said.split())
    desk.countersign("access", "apply")
    assert desk.countersign.json("access", "show")["differences"] == []
    assert stat.S_IMODE(lockbox.stat().st_mode) == 0o2750
    assert lockbox.stat().st_gid > FIRST_GROUP


def test_only_root_can_start_stages_as_other_users(desk: Desk) -> None:
    command = [sys.executable, "-m", "flows.cli", "validate", "planted/1"]
    done = subprocess.run(
        command,
        **identity("trainer"),
        env=desk.countersign.environment,
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "access.yaml: names a user for each role, so this must be started by root" in " ".join(done.stderr.split())


def test_the_approver_approves_as_its_own_user(desk: Desk) -> None:
    key = desk.home / "keys" / "approver.pem"
    command = ["-m", "flows.cli", "approve", "planted/1", "--role", "approver", "--key", str(key), "--comment", "read"]
    done = subprocess.run(
        [sys.executable, *command],
        **identity("approver"),
        env=desk.countersign.environment | {"HOME": str(desk.home / "roles" / "approver"), "USER": "approver"},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert desk.countersign.json("verify", "planted/1")["faults"] == []
