"""Who is to have a login to MLflow, and what is said where no server of ours answers."""

from datetime import date
from pathlib import Path

import pytest
import yaml

from tasks import configuration, logins
from tasks.domain.errors import UsageError
from tasks.domain.people import People, parse_people
from tasks.home import HOME_VARIABLE
from tasks.mlflow_users import provision, users

DAY = date(2026, 6, 1)


def listed(*names: str) -> People:
    """A declaration of a robot that signs every stage, an approver, and auditors of these names."""
    robot = {"name": "robot", "roles": [{"role": role} for role in ("steward", "trainer", "validator")]}
    signers = [robot, {"name": "eve", "roles": [{"role": "approver", "until": DAY.isoformat()}]}]
    keyed = [one | {"keys": [{"public": letter * 64}]} for one, letter in zip(signers, "ab", strict=True)]
    return parse_people({"people": [*keyed, *({"name": n, "roles": [{"role": "auditor"}]} for n in names)]}, "f")


def test_where_nobody_is_named_every_role_has_a_login() -> None:
    found = users(People(), DAY)
    assert [user.name for user in found] == ["steward", "trainer", "validator", "approver", "trader", "auditor"]
    assert all(user.is_service and user.roles == [user.name] for user in found)


def test_where_people_are_named_services_only_run_stages() -> None:
    found = {user.name: user for user in users(listed("ada"), DAY)}
    assert [user.name for user in found.values() if user.is_service] == ["steward", "trainer", "validator"]
    assert found["ada"].path == logins.person_path("ada")
    assert found["robot"].roles == ["steward", "trainer", "validator"]
    assert found["eve"].roles == ["approver"]
    assert {user.name: user.roles for user in users(listed(), date(2026, 6, 2))}["eve"] == []


@pytest.mark.parametrize("name", ["trainer", "mlflow-admin"])
def test_no_person_is_called_like_a_service(name: str) -> None:
    with pytest.raises(UsageError, match=f"people: {name}: the name of a login that is no person's"):
        users(listed(name), DAY)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:1", "does not answer"),
        ("sqlite:///mlflow.db", "does not answer"),
        ("http://a:b", "is no address"),
    ],
)
def test_an_address_without_a_server_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, said: str
) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    with pytest.raises(UsageError, match=said):
        provision(url, People(), ["p"])


def test_people_are_read_from_the_file_that_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(configuration.ROLES_VARIABLE, raising=False)
    assert configuration.load_people() == People(), "as it is shipped, nobody is named"
    path = tmp_path / "roles.yaml"
    fields = listed("ada").model_dump(mode="json", by_alias=True)
    path.write_text(yaml.safe_dump(fields))
    monkeypatch.setenv(configuration.ROLES_VARIABLE, str(path))
    assert configuration.load_people() == listed("ada")
    path.write_text("people: 3")
    with pytest.raises(UsageError, match=r"roles\.yaml"):
        configuration.load_people()
