"""A model that is one known quantity is told as that quantity; frail ones are seen; complexity is recomputed."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tasks.domain import mishaps, robustness
from tasks.domain.bars import wide
from tasks.domain.scenarios import judged
from tasks.domain.strategy import Strategy
from tests.support.market import bars as market_bars
from tests.support.market import canonical


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    made = market_bars(0.0, names=8, sessions=420)
    table = canonical(made.rename(columns={"date": "timestamp", "symbol": "instrument"}))
    return table.assign(volume=np.exp(np.random.default_rng(3).normal(size=len(table))))


def reversal(bars: pd.DataFrame) -> pd.DataFrame:
    return -np.log(wide(bars, "close")).diff(5).iloc[5:]


def liquid(bars: pd.DataFrame) -> pd.DataFrame:
    return wide(bars, "volume").rolling(5).mean().iloc[5:]


def explained(scores: pd.DataFrame, bars: pd.DataFrame) -> robustness.Explained:
    told = robustness.explain(scores, wide(bars, "close"), wide(bars, "volume"))
    assert told is not None
    return told


@pytest.mark.slow
def test_a_reversal_is_told_as_one(bars: pd.DataFrame) -> None:
    told = explained(reversal(bars), bars)
    assert told.fidelity > 0.9
    assert told.concentration > 0.9
    assert told.direction["return_5"] == pytest.approx(-1.0)
    assert "prefers names that fell over the last week (rank correlation -1.00)" in robustness.in_words(told)


def test_noise_cannot_be_told_in_few_words(bars: pd.DataFrame) -> None:
    noise = reversal(bars) * 0 + np.random.default_rng(1).normal(size=reversal(bars).shape)
    told = explained(noise, bars)
    assert told.fidelity < 0.05
    assert robustness.in_words(told).startswith("No few words say what it does")


def test_a_quantity_that_matters_both_ways_is_not_called_high_or_low(bars: pd.DataFrame) -> None:
    week = np.log(wide(bars, "close")).diff(5).iloc[5:]
    told = explained((week.rank(axis=1, pct=True) - 0.5625).abs(), bars)
    assert "the last week's return sets apart" in robustness.in_words(told)


def test_too_few_names_are_said_to_be(bars: pd.DataFrame) -> None:
    two = bars[bars["instrument"] <= "N01"]
    assert robustness.explain(reversal(two), wide(two, "close"), None) is None
    assert "too few" in robustness.in_words(None)


def test_noise_turns_over_what_rests_on_the_last_digits(bars: pd.DataFrame) -> None:
    def last_digits(table: pd.DataFrame) -> pd.DataFrame:
        return wide(table, "close").iloc[5:] * 1e4 % 1

    found = [
        robustness.noise_agreement(model, mishaps.panel(model, bars, model(bars)), 7)
        for model in (reversal, last_digits)
    ]
    assert found[0] > 0.95
    assert abs(found[1]) < 0.2


def test_the_inputs_that_are_read_are_found(bars: pd.DataFrame) -> None:
    strategy = Strategy(name_limit=0.5)
    for model, read in ((reversal, "close"), (liquid, "volume")):
        base = judged.base_of(model, 60, bars, model(bars), strategy, 7)
        assert base is not None
        found = robustness.inputs(model, base)
        assert set(found) == {"open", "high", "low", "close", "volume"}
        assert found.pop(read) > 0.5
        assert max(map(abs, found.values())) < 1e-9


def test_scores_that_move_against_the_problems_sense_are_found(bars: pd.DataFrame) -> None:
    signs = {"return_5": 1, "volatility_21": -1, "alpha_17": 1}
    slopes = robustness.sense(reversal(bars), wide(bars, "close"), signs)
    assert set(slopes) == {"return_5", "volatility_21"}, "only what its name explains"
    assert robustness.against_sense(slopes, signs) == ["return_5"]
    assert robustness.against_sense(slopes, {"return_5": -1, "volatility_21": -1}) == []
    assert robustness.sense(reversal(bars), wide(bars, "close"), {}) == {}


def trial(family: str, rank_ic: float, error: float = 0.01, pruned: bool = False) -> dict[str, Any]:
    return {"family": family, "train.rank_ic": rank_ic, "train.rank_ic_standard_error": error, "pruned": pruned}


@pytest.mark.parametrize(
    ("trials", "chosen", "earned", "said"),
    [
        ([trial("ridge", 0.02), trial("lightgbm", 0.05)], 0, 1.0, "simplest kind"),
        ([trial("ridge", 0.02), trial("lightgbm", 0.05)], 1, 1.0, "gains +0.0300"),
        ([trial("ridge", 0.045), trial("lightgbm", 0.05)], 1, 0.0, "not more than its standard error 0.0100"),
        ([trial("ridge", 0.045, pruned=True), trial("tree", 0.01), trial("lightgbm", 0.05)], 2, 1.0, "over tree"),
        ([trial("lightgbm", 0.05)], 0, 0.0, "nothing simpler was tried"),
        ([trial("ridge", 0.02), trial("lightgbm", 0.05, np.nan)], 1, 0.0, "one test window"),
    ],
)
def test_complexity_is_justified_by_the_signed_trials_alone(
    trials: list[dict[str, Any]], chosen: int, earned: float, said: str
) -> None:
    figure, words = robustness.justified(trials, chosen)
    assert (figure, said in words) == (earned, True), words
