"""Who may sign what: spans of roles and keys, revocation, and what a list that contradicts itself is told."""

from datetime import date
from typing import Any

import pytest

from tasks.domain.errors import UsageError
from tasks.domain.people import People, conflicts, parse_people

ADA, BOB, ROBOT = "a" * 64, "b" * 64, "c" * 64
DAY = date(2026, 6, 1)


def listed(**ada: Any) -> People:
    services = [{"role": role} for role in ("steward", "trainer", "validator")]
    fields = {"name": "ada", "roles": [{"role": "approver"}], "keys": [{"public": ADA}]} | ada
    return parse_people({"people": [fields, {"name": "robot", "roles": services, "keys": [{"public": ROBOT}]}]}, "f")


def test_a_key_signs_as_the_roles_of_its_person() -> None:
    people = listed()
    assert people.refuses(ADA, "approver", DAY) is None
    assert people.refuses(ADA, "trainer", DAY) == "ada is approver, not trainer"
    assert people.refuses(BOB, "approver", DAY) == "belongs to nobody who is listed"
    assert people.keys_of("trainer") == [ROBOT]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"keys": [{"public": ADA, "until": "2026-05-31"}]}, "ada's key expired on 2026-05-31"),
        ({"keys": [{"public": ADA, "from": "2026-06-02"}]}, "ada's key does not count before 2026-06-02"),
        ({"roles": [{"role": "approver", "until": "2026-05-31"}]}, "ada's role of approver expired on 2026-05-31"),
        (
            {"keys": [{"public": ADA, "revoked": {"since": "2026-06-01", "why": "lost"}}]},
            "ada's key was revoked from 2026-06-01 on: lost",
        ),
    ],
)
def test_a_span_that_is_over_is_told(changed: dict[str, Any], why: str) -> None:
    assert listed(**changed).refuses(ADA, "approver", DAY) == why


def test_the_last_day_counts() -> None:
    people = listed(keys=[{"public": ADA, "until": "2026-06-01", "revoked": {"since": "2026-06-02", "why": "lost"}}])
    assert people.refuses(ADA, "approver", DAY) is None


def test_nobody_fills_two_of_three_roles_for_a_version() -> None:
    signed = {"trainer": {"ada"}, "validator": {"robot"}}
    assert conflicts(signed, "ada", "approver") == (
        "ada was its trainer; nobody fills two of trainer, validator, approver for one version"
    )
    assert conflicts(signed, "bob", "approver") is None
    assert conflicts(signed, "ada", "trader") is None


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"people": [{"name": "ada", "roles": [], "keys": []}]}, "people.0.roles"),
        ({"people": [{"name": "ada", "roles": [{"role": "king"}]}]}, "people.0.roles.0.role"),
        ({"people": [{"name": "ada", "roles": [{"role": "approver"}], "keys": [{"public": "zz"}]}]}, "keys.0.public"),
        (
            {"people": [{"name": "ada", "roles": [{"role": "approver"}], "keys": [{"public": ADA}]}]},
            "nobody with a key is",
        ),
        ({"approvals": {"full": 0}}, "approvals.full"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_people(fields, "roles.yaml")


def test_a_list_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(UsageError, match=r"the key aaaaaaaa… is listed 2 times"):
        listed(keys=[{"public": ADA}, {"public": ADA, "until": "2026-01-01"}])
    services = [{"role": role} for role in ("steward", "trainer", "validator", "approver")]
    one = [{"name": "robot", "roles": services, "keys": [{"public": ROBOT}]}]
    with pytest.raises(UsageError, match="2 approvers are needed, 1 with a key are listed"):
        parse_people({"people": one, "approvals": {"full": 2}}, "f")
    with pytest.raises(UsageError, match="tier research: its versions are never approved"):
        listed().approvals.needed("research")
