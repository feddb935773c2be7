"""The model card: it opens offline, runs nothing that came with the data, flatters nobody, and says what is missing."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tasks.card import PAGE, Card, Data, Purpose, Skill, page, pairs_in_order, pictures, purpose, verdict, write_card
from tasks.configuration import load_problem
from tasks.domain.explain.contributions import Contributions
from tasks.domain.explain.dependence import Dependence
from tasks.domain.explain.diagnosis import Calibration, Reliability
from tasks.domain.explain.explanation import Explanation
from tasks.domain.explain.importance import Stability
from tasks.domain.explain.reasons import Reason, Standing
from tasks.plots_model import Tried, place, simpler, swarm

HOSTILE = '<script>alert(1)</script><img src="https://x.example/a.png" onerror=alert(2)> $\\frac$'
ASKED = Purpose("A test", "It ranks. It trades.", "three names", 5, 1e6, "a positive rank IC", "desk one")
TRIALS = (
    Tried("ridge", 1, "low", "alpha=10", 0.02, 0.01, 0.4, True),
    Tried("ridge", 1, "low", "alpha=1", 0.01, 0.01, 0.4, False),
    Tried("lightgbm", 3, "high", "num_leaves=7", 0.025, 0.01, None, False),
)


def explanation(name: str = "return_21", **changes: Any) -> Explanation:
    rng = np.random.default_rng(1)
    values, moved = rng.normal(size=(50, 3)), rng.normal(size=(50, 3))
    values[0, 0] = np.nan
    grid = np.linspace(-1, 1, 5)
    reason = Reason(name, f"{name} in the middle third", 0.01)
    given: dict[str, Any] = {
        "names": [name, "STD5", "own"],
        "explained": Contributions(moved, 0.1),
        "values": values,
        "importance": np.array([0.5, 0.3, 0.2]),
        "stability": Stability(np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.1, 0.1]), 0.9),
        "dependence": [Dependence(name, grid, grid, grid - 1, grid + 1)],
        "session": np.datetime64("2020-01-02"),
        "standings": [Standing(name, 0.5, 1, 2, [reason]), Standing("BBB", -0.5, 2, 2, [])],
        "exact": True,
        "log_odds": False,
    }
    return Explanation(**(given | changes))


def states(name: str = "high") -> pd.DataFrame:
    lines = [
        ("year", "2019", 250, 0.03, 0.01),
        ("volatility", name, 80, -0.05, 0.02),
        ("market", "rising", 90, 0.01, 0.02),
    ]
    return pd.DataFrame(lines, columns=["kind", "state", "sessions", "rank_ic", "standard_error"])


def whole(name: str = "return_21") -> Card:
    groups = pd.DataFrame({"score": 0.0, "label": 0.001, "standard_error": 0.001, "rows": 10}, index=[1, 2, 3, 4, 5])
    bins = pd.DataFrame({"forecast": [0.4, 0.6], "frequency": [0.45, 0.55], "standard_error": 0.01, "rows": 10})
    return Card(
        ASKED._replace(owner=name, universe=name, limits=[name]),
        Data(3, 100, 300, "2019-01-01", "2020-01-02", name, 0.2),
        TRIALS,
        name,
        Skill(0.02, 0.01, 0.5),
        states(name),
        explanation(name),
        Calibration(groups, 0.002, 0.001),
        Reliability(bins, 0.24, 0.25),
        {name: name},
    )


def test_page_and_pictures_are_written_and_nothing_is_loaded_from_elsewhere(tmp_path: Path) -> None:
    files = write_card(whole(), tmp_path)
    assert {file.name for file in files} == {
        PAGE,
        *(f"{name}.png" for name in ("complexity", "states", "importance", "contributions", "dependence")),
        *(f"{name}.png" for name in ("calibration", "reliability")),
    }
    text = (tmp_path / PAGE).read_text()
    assert text.count("data:image/png;base64,") == 7
    assert re.findall(r'(?:src|href)="(?!data:)', text) == []
    assert "http" not in text
    assert "<script" not in text
    assert "Not known" not in text


def test_what_came_with_the_data_is_shown_and_not_run() -> None:
    card = whole(HOSTILE)
    text = page(card, pictures(card))
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert re.findall(r"<img (?!alt=\"\w+\.png\" src=\"data:)", text) == []


def test_each_missing_section_says_so() -> None:
    card = Card(ASKED)
    text = page(card, pictures(card))
    assert text.count("Not known: ") == 9
    assert "How good it is has not been measured." in text
    assert "nobody named" in text


def test_a_card_without_folds_names_or_years() -> None:
    told = explanation(stability=None, standings=[], exact=False, log_odds=True)
    card = whole()._replace(explanation=told, by_state=states().iloc[:0], reliability=None, calibration=None)
    drawn = pictures(card)
    assert set(drawn) == {"complexity.png", "importance.png", "contributions.png", "dependence.png"}
    text = page(card, drawn)
    assert "no fold&#x27;s fit was handed in" in text
    assert "no session&#x27;s scores were handed in" in text
    assert "log odds" in text


@pytest.mark.parametrize(
    ("skill", "words"),
    [
        (Skill(0.02, 0.009, 0.0), "better than guessing"),
        (Skill(0.02, 0.011, 0.0), "not different from zero"),
        (Skill(-0.03, 0.01, 0.0), "worse than guessing"),
        (Skill(0.02, float("nan"), 0.0), "cannot be told"),
    ],
)
def test_the_verdict_does_not_flatter(skill: Skill, words: str) -> None:
    assert words in verdict(skill)


def test_the_worst_state_is_named() -> None:
    text = page(whole("high"), {})
    assert "It was at its worst with high volatility over the last quarter: rank IC -0.0500 ± 0.0200." in text
    assert "Clearly below zero with high volatility over the last quarter." in text


def test_pairs_in_order_by_hand() -> None:
    assert pairs_in_order(0.0) == pytest.approx(50)
    assert pairs_in_order(1.0) == pytest.approx(100)
    assert pairs_in_order(-1.0) == pytest.approx(0, abs=1e-6)


def test_the_shipped_problem_says_what_its_models_are_for() -> None:
    asked = purpose(load_problem("problems/sp500_alpha.yaml"))
    assert "5 sessions" in asked.tasks
    assert "top 20%" in asked.tasks
    assert asked.constraints[0] == "gross exposure at most 1 times equity"


def test_trials_of_a_tier_stand_side_by_side_and_the_winner_is_held_against_simpler_ones() -> None:
    assert [round(place(TRIALS, trial), 3) for trial in TRIALS] == [0.825, 1.175, 3.0]
    assert simpler(TRIALS, TRIALS[2]) == TRIALS[0]
    assert simpler(TRIALS, TRIALS[0]) == TRIALS[0]


def test_dots_of_one_value_are_kept_apart() -> None:
    heights = swarm(np.zeros(21))
    assert len(set(heights)) == 21
    assert np.abs(heights).max() <= 0.38
