"""The line of champions comes from the journal, and what is known of each from its signed files."""

import json
import math
from typing import Any, NamedTuple, cast

import pandas as pd
import pytest

from tasks import aliases, champions, journal, models
from tasks.candidates import Candidate
from tasks.cases import Case, on_lockbox
from tasks.configuration import load_problem
from tasks.domain import names
from tasks.domain.bars import wide
from tasks.domain.errors import VerificationFailed
from tasks.domain.gates import Policy, parse_policy
from tasks.domain.lockbox import champion
from tests.support import market
from tests.support.market import canonical

LIVE = names.live("alpha")


def sign(*move: Any) -> None:
    journal.append("alpha", journal.ALIAS, aliases.Move(*move)._asdict())


@pytest.mark.usefixtures("state")
def test_a_line_is_what_was_signed_and_going_back_takes_it_back() -> None:
    def moved(*candidates: str) -> list[str]:
        for number, each in enumerate(candidates, start=1):
            sign(LIVE, names.CHAMPION, number, each)
        return aliases.line("alpha", LIVE, names.CHAMPION)

    assert moved() == []
    assert moved("first", "second", "third") == ["first", "second", "third"]
    sign(LIVE, names.SHADOW, 4, "in shadow")
    assert moved("second") == ["first", "second"], "the third is no part of what led here"
    assert moved("fourth") == ["first", "second", "fourth"]
    path = max(journal.folder("alpha").glob("*.json"))
    path.write_bytes(path.read_bytes().replace(b'"sig"', b'"gis"'))
    with pytest.raises(VerificationFailed, match=r"journal: entry 000006\.json is altered"):
        aliases.line("alpha", LIVE, names.CHAMPION)


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


class Held(NamedTuple):
    """As much of a released candidate as the comparison needs; `noise` tells its scores from another's."""

    id: str
    noise: float

    @property
    def reference(self) -> str:
        return f"alpha/{self.id}"

    def signed_model(self) -> dict[str, str]:
        return {"model/MLmodel": f"sha-{self.id}"}


def case_of(close: pd.DataFrame, bars: pd.DataFrame, scores: pd.DataFrame) -> Case:
    start, problem = close.index[-120], load_problem("sp500_alpha")
    box = on_lockbox(scores, bars, problem.horizon, start)
    return Case(cast("Candidate", None), problem, bars, start, cast("models.Score", None), [], scores, box, {})


def test_a_candidate_is_held_against_the_champion_and_the_last_whole_one(monkeypatch: pytest.MonkeyPatch) -> None:
    bars = canonical(market.bars(0.003, sessions=300).rename(columns={"date": "timestamp", "symbol": "instrument"}))
    close = wide(bars, "close")
    scores, other = close.pct_change(21), close.pct_change(3)
    members = [
        cast("Candidate", Held(name, noise)) for name, noise in (("whole", 3.0), ("step", 1.0), ("present", 0.5))
    ]
    steps = [champion.Step(True, math.nan), champion.Step(False, 0.2), champion.Step(False, 0.1)]
    monkeypatch.setattr(champions, "line_of", lambda problem: champions.Line(members, steps))
    monkeypatch.setattr(champions, "scores_of", lambda found, case: scores + found.noise * other)
    found = champions.compare.fn(case_of(close, bars, scores))
    own, direct = found.figures["champion.distance"], found.figures["champion.distance_from_reference"]
    assert 0 < own < direct < 1
    assert found.figures["champion.cumulative_distance"] == pytest.approx(0.2 + 0.1 + own)
    assert found.figures["champion.present"] == 1.0
    assert found.told["champion"] | {"answers": None} == {
        "model": "alpha/present",
        "candidate": "present",
        "answers": None,
        "not_worse_margin": -0.005,
        "reference": "alpha/whole",
        "reference_fully_validated": True,
        "champions_since_reference": ["alpha/step", "alpha/present"],
    }
    assert found.files == {
        "champion/model/MLmodel": "sha-present",
        "champion/reference/model/MLmodel": "sha-whole",
    }


def test_a_line_goes_back_no_further_than_the_last_whole_champion(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str | None]] = []

    def step_of(found: Candidate, before: str | None) -> champion.Step:
        asked.append((found.id, before))
        return champion.Step(found.id == "b", 0.1)

    monkeypatch.setattr(champions, "step_of", step_of)
    monkeypatch.setattr(champions, "source", lambda problem, name: cast("Candidate", Held(name, 0.0)))
    monkeypatch.setattr(aliases, "unauthorised", lambda problem, models: [])
    monkeypatch.setattr(aliases, "line", lambda problem, model, alias: ["a", "b", "c", "d"])
    line = champions.line_of("alpha")
    assert [member.id for member in line.members] == ["b", "c", "d"]
    assert [step.whole for step in line.steps] == [True, False, False]
    assert asked == [("d", "c"), ("c", "b"), ("b", "a")], "what lies before it is not asked for"
    monkeypatch.setattr(aliases, "line", lambda problem, model, alias: ["c", "d"])
    assert [member.id for member in champions.line_of("alpha").members] == ["c", "d"], "none is whole: from the first"


def test_no_champion_is_a_figure_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(champions, "line_of", lambda problem: champions.Line([], []))
    bars = canonical(market.bars(0.0, sessions=130).rename(columns={"date": "timestamp", "symbol": "instrument"}))
    close = wide(bars, "close")
    assert champions.compare.fn(case_of(close, bars, close)) == ({"champion.present": 0.0}, {}, {})


def policy(*gates: dict[str, Any]) -> Policy:
    return parse_policy({"name": "p", "objective": "alpha", "gates": list(gates)}, "gates.yaml")


def test_what_is_not_worse_is_what_the_gates_let_pass() -> None:
    other = {"figure": "lockbox.x", "at_least": 1.0, "why": "because"}
    gate = {"figure": "champion.rank_ic_difference_lower", "why": "because"}
    assert champions.not_worse(policy(other, gate | {"at_least": -0.01})) == -0.01
    assert champions.not_worse(policy(other, gate | {"at_least": 0.01})) == 0.0, "a stricter gate is no margin"
    assert champions.not_worse(policy(other, gate | {"at_most": 0.01})) == 0.0
    assert champions.not_worse(policy(other)) == 0.0
