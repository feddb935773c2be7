"""Entry and exit bands, ties, sizing and limits, each on a row that a person can rank."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.domain.simulate.contract import Prices, check_weights
from tasks.domain.simulate.portfolio import target_weights
from tasks.domain.strategy import Strategy

NO = float("nan")


def table(rows: list[list[float]], names: str = "ABCDEFGHIJ") -> pd.DataFrame:
    index = pd.bdate_range("2024-01-01", periods=len(rows))
    return pd.DataFrame(rows, index=index, columns=list(names[: len(rows[0])]), dtype=float)


def every_session(**fields: float) -> Strategy:
    defaults = {"long_fraction": 0.2, "short_fraction": 0.2, "exit_fraction": 0.3, "name_limit": 1.0}
    return Strategy(**(defaults | fields), rebalance_sessions=1)  # type: ignore[arg-type]


def sides(weights: pd.DataFrame, session: int) -> tuple[str, str]:
    row = weights.iloc[session]
    return "".join(row.index[row > 0]), "".join(row.index[row < 0])


TEN = [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]


def test_longs_from_the_top_shorts_from_the_bottom_half_the_gross_each() -> None:
    weights = target_weights(table([TEN]), every_session())
    assert weights.iloc[0].tolist() == [0.25, 0.25, 0, 0, 0, 0, 0, 0, -0.25, -0.25]


def test_only_longs_use_the_whole_gross() -> None:
    weights = target_weights(table([TEN]), every_session(short_fraction=0.0))
    assert weights.iloc[0].tolist() == [0.5, 0.5, 0, 0, 0, 0, 0, 0, 0, 0]


def test_what_the_name_limit_cuts_off_stays_in_cash() -> None:
    weights = target_weights(table([TEN]), every_session(name_limit=0.1))
    assert weights.iloc[0].tolist() == [0.1, 0.1, 0, 0, 0, 0, 0, 0, -0.1, -0.1]


def test_a_held_name_stays_within_the_exit_band_and_leaves_beyond_it() -> None:
    #        A   B  C  D  E  F  G  H  I  J
    second = [8, 10, 9, 7, 6, 5, 4, 2, 3, 1]
    third = [7, 10, 9, 8, 6, 5, 2, 4, 1, 3]
    # second: A is third, in the band of 3, and stays, so C does not enter; I is third from the bottom and stays
    # third: A is fourth and leaves, C enters; J is third from the bottom and stays, so G does not enter
    weights = target_weights(table([TEN, second, third]), every_session())
    assert [sides(weights, s) for s in range(3)] == [("AB", "IJ"), ("AB", "IJ"), ("BC", "IJ")]


def test_a_short_leaves_beyond_its_band() -> None:
    #        A   B  C  D  E  F  G  H  I  J
    second = [10, 9, 8, 7, 6, 5, 1, 2, 3, 4]  # J is fourth from the bottom and leaves; I is third and stays
    weights = target_weights(table([TEN, second]), every_session())
    assert sides(weights, 1) == ("AB", "GI")


def test_a_held_name_without_a_score_leaves() -> None:
    #        A   B  C  D  E  F  G  H  I  J
    second = [NO, 9, 8, 7, 6, 5, 4, 3, 2, NO]  # 8 scored: floor(8 × 0.2) = 1 name a side
    weights = target_weights(table([TEN, second]), every_session())
    assert sides(weights, 1) == ("B", "I")


def test_when_fewer_names_are_wanted_the_worst_held_are_dropped() -> None:
    #        A  B  C   D   E  F  G  H  I  J
    second = [8, 9, 10, NO, 6, 5, 4, NO, 2, 1]  # 8 scored: 1 name a side, band floor(8 × 0.3) = 2
    weights = target_weights(table([TEN, second]), every_session())
    assert sides(weights, 1) == ("B", "J")  # C leads, but B is held and second; A is held and third


def test_a_name_can_change_sides() -> None:
    weights = target_weights(table([TEN, TEN[::-1]]), every_session())
    assert sides(weights, 1) == ("IJ", "AB")


@pytest.mark.parametrize("names", ["ABCDEFGHIJ", "JIHGFEDCBA"])
def test_ties_rank_by_name_whatever_the_column_order(names: str) -> None:
    weights = target_weights(table([[1] * 10], names), every_session())
    longs, shorts = sides(weights[list("ABCDEFGHIJ")], 0)
    assert (longs, shorts) == ("AB", "IJ")


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([NO, NO, NO], [0, 0, 0]),
        ([NO, 5, NO], [0, 1, 0]),  # nobody to short against: all of the gross is long
        ([1, 5, NO], [-0.5, 0.5, 0]),
        ([3, 2, 1], [0.5, 0, -0.5]),
        ([3, math.inf, 1], [0.5, 0, -0.5]),  # not finite is not scored
    ],
)
def test_few_scored_names(scores: list[float], expected: list[float]) -> None:
    assert target_weights(table([scores]), every_session()).iloc[0].tolist() == expected


def test_fractions_of_a_name_count_as_a_person_would() -> None:
    """0.29 × 100 is just below 29 in floating point."""
    scores = pd.DataFrame([range(100)], index=pd.bdate_range("2024-01-01", periods=1), dtype=float)
    scores.columns = pd.Index([f"N{i:02}" for i in range(100)])
    weights = target_weights(scores, every_session(long_fraction=0.29))
    assert (weights.iloc[0] > 0).sum() == 29


def test_only_decision_sessions_are_returned_and_others_are_not_read() -> None:
    scores = table([TEN, TEN[::-1], TEN[::-1], TEN, TEN])
    weights = target_weights(scores, Strategy(rebalance_sessions=3))
    assert weights.index.tolist() == scores.index[[0, 3]].tolist()
    assert sides(weights, 1) == ("AB", "IJ")


def test_unsorted_sessions_and_repeated_names_are_refused() -> None:
    with pytest.raises(ValueError, match="sorted and unique"):
        target_weights(table([TEN, TEN]).iloc[::-1], every_session())
    with pytest.raises(ValueError, match="appears twice"):
        target_weights(table([TEN], "AABCDEFGHI"), every_session())


@st.composite
def strategies(draw: st.DrawFn) -> Strategy:
    fractions = st.floats(0.01, 0.5)
    long_fraction, short_fraction = draw(fractions), draw(st.one_of(st.just(0.0), fractions))
    exit_fraction = draw(st.floats(max(long_fraction, short_fraction), 0.5))
    return every_session(
        long_fraction=long_fraction,
        short_fraction=short_fraction,
        exit_fraction=exit_fraction,
        gross_limit=draw(st.floats(0.1, 3)),
        name_limit=draw(st.floats(0.01, 1)),
    )


@settings(max_examples=60, deadline=None)
@given(strategy=strategies(), seed=st.integers(0, 10**6), names=st.integers(1, 10), rounding=st.integers(0, 2))
def test_limits_counts_sides_and_the_past_hold_for_any_scores(
    strategy: Strategy, seed: int, names: int, rounding: int
) -> None:
    rng = np.random.default_rng(seed)
    raw = rng.normal(size=(12, names)).round(rounding)  # coarse rounding makes ties
    scores = table(np.where(rng.random(raw.shape) < 0.2, NO, raw).tolist())
    weights = target_weights(scores, strategy)
    check_weights(weights, Prices(pd.DataFrame(1.0, scores.index, scores.columns)), strategy)
    count = scores.notna().sum(axis=1)
    wanted = [max(1, math.floor(n * strategy.long_fraction + 1e-9)) if n else 0 for n in count]
    assert (weights > 0).sum(axis=1).tolist() == wanted
    assert not weights.where(scores.isna(), 0.0).any(axis=None)
    later = scores.copy()
    later.iloc[6:] = rng.normal(size=(6, names))
    pd.testing.assert_frame_equal(target_weights(later, strategy).iloc[:6], weights.iloc[:6])
