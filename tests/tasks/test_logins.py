"""Logins: random, for their owner's eyes alone, handed to a process and taken back."""

import json
import os
import stat
from pathlib import Path

import pytest

from tasks import logins
from tasks.domain.errors import UsageError
from tasks.home import HOME_VARIABLE
from tasks.places import ROLE_VARIABLE


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder with logins of a trainer and a validator, and the address of a server."""
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    monkeypatch.setenv(logins.SERVER, "http://127.0.0.1:1")
    for name in (logins.USERNAME, logins.PASSWORD, ROLE_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    for role in ("trainer", "validator"):
        logins.ensure(logins.role_path(role), role)
    return tmp_path


def test_a_login_is_random_kept_and_open_to_its_owner_alone(state: Path) -> None:
    path = logins.person_path("ada")
    made = logins.ensure(path, "ada")
    assert logins.ensure(path, "ada") == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(made.password) >= 20
    assert made.password != logins.read(logins.role_path("trainer")).password
    assert made.password not in repr(made)


def test_a_login_that_others_can_read_or_that_is_none_is_refused(state: Path) -> None:
    path = logins.role_path("trainer")
    path.chmod(0o640)
    with pytest.raises(UsageError, match="others than its owner can read it"):
        logins.read(path)
    path.chmod(0o600)
    for content, words in (("[]", "one JSON object of a login"), (json.dumps({"username": "x"}), "expected a login")):
        path.write_text(content)
        with pytest.raises(UsageError, match=words):
            logins.read(path)
    path.unlink()
    with pytest.raises(UsageError, match="is not there"):
        logins.read(path)


def test_the_starter_of_stages_acts_as_each_role_and_a_stage_as_its_own_only(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert logins.at_hand() == ["trainer", "validator"]
    with logins.acting_as("trainer"):
        assert os.environ[logins.USERNAME] == "trainer"
        assert os.environ[logins.PASSWORD] == logins.read(logins.role_path("trainer")).password
    assert logins.USERNAME not in os.environ
    assert logins.PASSWORD not in os.environ
    monkeypatch.setenv(logins.USERNAME, "validator")
    assert logins.own_role() is None, "somebody who logs in under that name is no stage"
    monkeypatch.setenv(ROLE_VARIABLE, "validator")
    assert logins.at_hand() == ["validator"]
    monkeypatch.setenv(logins.SERVER, "sqlite:///mlflow.db")
    assert logins.at_hand() == []


def test_only_a_refusal_is_told_as_one(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import PERMISSION_DENIED

    monkeypatch.setenv(logins.USERNAME, "ada")
    said = logins.refusal(MlflowException("no\nway", error_code=PERMISSION_DENIED))
    assert said == "MLflow refused ada: no way; `countersign roles permissions` says who may do what"
    assert logins.refusal(MlflowException("broken")) is None
    assert logins.refusal(ValueError("x")) is None
