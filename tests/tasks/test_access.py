"""Owners, groups and modes: given by root, also to what was there before users were separated."""

import os
import stat
from pathlib import Path

import polars as pl
import pytest

from tasks import access, accounts, lake, logins
from tasks.accounts import Accounts
from tasks.domain.errors import UsageError
from tests.support.accounts import USERS, separated
from tests.tasks.test_lake import bars

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def who(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Accounts:
    monkeypatch.setenv(accounts.ACCESS_VARIABLE, str(separated(tmp_path)))
    found = accounts.load()
    assert found is not None
    return found


def facts(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)


def test_without_users_a_stage_starts_as_the_caller_but_knows_its_role(state: Path) -> None:
    started = access.start("promote", "p", {"AWS_REGION": "x"})
    assert (started.environment, started.options) == ({"AWS_REGION": "x", "COUNTERSIGN_ROLE": "validator"}, {})
    assert access.start("retrain", "p", {}) == ({}, {})


def test_a_role_with_credentials_of_its_own_finds_no_others_in_its_environment(state: Path) -> None:
    (state / "keys" / "trainer.lake.json").write_text("{}")
    assert access.start("train", "p", {"AWS_SECRET_ACCESS_KEY": "x"}).environment == {"COUNTERSIGN_ROLE": "trainer"}
    assert "AWS_SECRET_ACCESS_KEY" in access.start("validate", "p", {"AWS_SECRET_ACCESS_KEY": "x"}).environment


def test_a_stage_is_handed_its_own_role_s_login_to_mlflow_and_nobody_else_s(state: Path) -> None:
    for role in ("trainer", "validator"):
        logins.ensure(logins.role_path(role), role)
    caller = {logins.SERVER: "http://h", logins.USERNAME: "ada", logins.PASSWORD: "ada's", "MLFLOW_TRACKING_TOKEN": "t"}
    given = access.start("train", "p", caller).environment
    own = logins.read(logins.role_path("trainer"))
    role = {"COUNTERSIGN_ROLE": "trainer"}
    assert given == {logins.SERVER: "http://h", logins.USERNAME: "trainer", logins.PASSWORD: own.password} | role
    assert access.start("retrain", "p", caller).environment == caller
    assert (
        access.start("train", "p", {logins.SERVER: "sqlite:///x"}).environment == {logins.SERVER: "sqlite:///x"} | role
    )


@as_root
def test_logins_belong_to_the_role_or_to_root(state: Path, who: Accounts) -> None:
    for path, name in ((logins.role_path("trainer"), "trainer"), (logins.person_path("ada"), "ada")):
        logins.ensure(path, name)
    os.chown(logins.person_path("ada"), who.users["auditor"], who.own["auditor"])
    access.apply(who, "p")
    assert facts(logins.role_path("trainer")) == (who.users["trainer"], who.own["trainer"], 0o600)
    assert facts(logins.person_path("ada")) == (0, 0, 0o600)


def test_the_groups_of_a_role_are_those_of_what_it_reads(who: Accounts) -> None:
    trainer = set(who.memberships("trainer"))
    assert trainer == {who.shared, *(who.groups[name] for name in ("development", "evidence", "mlflow"))}
    assert set(who.memberships("trader")) == {who.shared, who.groups["orders"]}


def test_unknown_accounts_and_root_are_refused(tmp_path: Path, who: Accounts) -> None:
    path = accounts.declaration()
    for user, words in ((0, "cannot stand for a role"), ("no_such_user", "is unknown here")):
        path.write_text(separated(tmp_path).read_text().replace(str(USERS["trader"]), str(user)))
        with pytest.raises(UsageError, match=words):
            accounts.load()


def test_a_folder_that_a_role_cannot_enter_is_named(tmp_path: Path, who: Accounts) -> None:
    closed = tmp_path.stat()
    assert not access.may_enter(closed, USERS["trainer"], {who.shared})
    assert access.may_enter(closed, closed.st_uid, set())
    tmp_path.chmod(0o710)
    assert access.may_enter(tmp_path.stat(), USERS["trainer"], {tmp_path.stat().st_gid})


@as_root
def test_state_from_before_is_taken_over_only_when_asked(state: Path, who: Accounts) -> None:
    (state / "mlflow.db").write_bytes(b"")
    content = bars(1.0, 2.0)
    for table in (lake.DEVELOPMENT, lake.LOCKBOX):
        written = lake.write("p", table, content, "d")
    lake.append_parts("p", "feed", {"a" * 64: content}, "d")
    with pytest.raises(UsageError, match="run `countersign access apply` once"):
        access.start("train", "p", {})
    access.apply(who, "p", whole=True)
    steward, groups = who.users["steward"], who.groups
    for table, group in ((lake.DEVELOPMENT, "development"), (lake.LOCKBOX, "lockbox"), (lake.RAW, "raw")):
        for path in (folder := Path(lake.table_path("p", table)), *folder.rglob("*")):
            expected = (steward, groups[group], access.OPEN_TO_GROUP if path.is_dir() else access.FILE)
            assert facts(path) == expected, path
    assert facts(state / "keys" / "trainer.pem") == (who.users["trainer"], who.own["trainer"], 0o600)
    assert facts(state / "keys" / "owner.pem") == (0, 0, 0o600)
    assert facts(state / "mlflow" / "mlflow.db") == (0, groups["mlflow"], 0o660)
    assert (state / "mlflow.db").is_symlink()
    assert access.problems() == ["p"]
    access.apply(who, "p")
    assert isinstance(lake.load("p", lake.LOCKBOX, 0, written.sha256), pl.DataFrame)


@as_root
def test_root_is_not_led_elsewhere_by_a_link(state: Path, who: Accounts, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("root's")
    before = facts(precious)
    access.apply(who, "p")
    folder = state / "lake" / "p" / "lockbox"
    (folder / "soft").symlink_to(precious)
    (folder / "hard").hardlink_to(precious)
    (state / "evidence" / "p" / "away").symlink_to(tmp_path)
    outside = facts(tmp_path)
    access.apply(who, "p", whole=True)
    assert facts(precious) == before
    assert facts(tmp_path) == outside


@as_root
def test_folders_that_a_role_made_among_the_evidence_become_root_s(state: Path, who: Accounts) -> None:
    access.apply(who, "p")
    made = state / "evidence" / "p" / "candidate"
    made.mkdir()
    os.chown(made, who.users["trainer"], who.own["trainer"])
    access.settle("p")
    assert facts(made) == (0, who.groups["evidence"], access.ADD_ONLY)
