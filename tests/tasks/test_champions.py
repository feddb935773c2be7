"""The line of champions comes from the signed log, and what is known of each from its signed files."""

import json
from typing import Any, NamedTuple, cast

import pytest

from tasks import aliases, champions, evidence
from tasks.candidates import Candidate
from tasks.domain import names
from tasks.domain.gates import Policy, parse_policy

LIVE = names.live("alpha")


@pytest.mark.usefixtures("state")
def test_a_line_is_what_was_signed_and_going_back_takes_it_back() -> None:
    def moved(*candidates: str) -> list[str]:
        for number, each in enumerate(candidates, start=1):
            evidence.sign_alias("alpha", LIVE, names.CHAMPION, number, each, None)
        return aliases.line("alpha", LIVE, names.CHAMPION)

    assert moved() == []
    assert moved("first", "second", "third") == ["first", "second", "third"]
    evidence.sign_alias("alpha", LIVE, names.SHADOW, 4, "in shadow", None)
    assert moved("second") == ["first", "second"], "the third is no part of what led here"
    assert moved("fourth") == ["first", "second", "fourth"]
    path = max(evidence.alias_log("alpha").glob("*.json"))
    path.write_bytes(path.read_bytes().replace(b'"sig"', b'"gis"'))
    assert aliases.line("alpha", LIVE, names.CHAMPION) == ["first", "second"], "an altered entry does not count"


class Past(NamedTuple):
    """As much of a candidate as its step in the line is read from."""

    outcomes: tuple[str, ...]
    report: dict[str, Any]

    def decision(self) -> dict[str, Any]:
        return {"findings": [{"outcome": outcome} for outcome in self.outcomes]}

    def file(self, stage: str, name: str) -> bytes:
        assert (stage, name) == (names.VALIDATE, names.VALIDATION)
        return json.dumps(self.report).encode()


def step(outcomes: tuple[str, ...], report: dict[str, Any], before: str | None) -> tuple[bool, str]:
    found = champions.step_of(cast("Candidate", Past(outcomes, report)), before)
    return found.whole, f"{found.distance:g}"


def test_a_step_counts_where_it_was_measured_against_the_one_before() -> None:
    measured = {"champion": {"candidate": "a"}, "figures": {"champion.distance": 0.25}}
    assert step(("pass", "not applicable"), measured, "a") == (True, "0.25")
    assert step(("pass", "fail"), measured, "a") == (False, "0.25")
    assert step(("pass",), measured, "b") == (True, "nan"), "it was measured against another"
    assert step(("pass",), {"figures": {}}, None) == (True, "nan"), "the first has none before it"
    assert step(("pass",), {"champion": {"candidate": "a"}, "figures": {}}, "a") == (True, "nan")


def policy(*gates: dict[str, Any]) -> Policy:
    return parse_policy({"name": "p", "objective": "alpha", "gates": list(gates)}, "gates.yaml")


def test_what_is_not_worse_is_what_the_gates_let_pass() -> None:
    other = {"figure": "x", "at_least": 1.0, "why": "because"}
    gate = {"figure": "champion.rank_ic_difference_lower", "why": "because"}
    assert champions.not_worse(policy(other, gate | {"at_least": -0.01})) == -0.01
    assert champions.not_worse(policy(other, gate | {"at_least": 0.01})) == 0.0, "a stricter gate is no margin"
    assert champions.not_worse(policy(other, gate | {"at_most": 0.01})) == 0.0
    assert champions.not_worse(policy(other)) == 0.0
