"""Skill beyond chance: each return counts once, the p-value has the size it says, and looks pay for one another."""

import numpy as np
import pandas as pd
import pytest

from tasks.domain import spending
from tasks.domain.spending import ERROR, Look, session_rank_ic, share, skill, skill_p_value

NAMES = list("ABCDEFGH")


def market(sessions: int, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    moves = 0.01 * rng.standard_t(5, (sessions, len(NAMES)))
    return pd.DataFrame(100 * np.exp(moves.cumsum(axis=0)), pd.bdate_range("2020-01-01", periods=sessions), NAMES)


def calendar(sessions: int, skipped: int = 0) -> pd.DatetimeIndex:
    return pd.bdate_range("2020-01-01", periods=sessions + skipped)[skipped:]


def look(sessions: pd.DatetimeIndex) -> Look:
    return Look(sessions[0], sessions[-1])


def test_a_return_is_held_against_the_score_that_was_acted_on_a_session_before_it_began() -> None:
    close = market(8)
    moved = close.pct_change(fill_method=None)
    known = session_rank_ic(moved.shift(-2), close, horizon=1)
    assert known.to_list() == [1.0] * 6
    assert list(known.index) == list(close.index[2:])
    early = session_rank_ic(moved.shift(-1), close, horizon=1)
    assert early.mean() < 1.0, "a score of the next return comes too late to be traded on"


def test_with_a_longer_horizon_the_mean_of_the_decisions_held_counts() -> None:
    close = pd.DataFrame(
        [[10.0, 10.0, 10.0], [10.0, 10.0, 10.0], [10.0, 10.0, 10.0], [11.0, 10.0, 9.0]], calendar(4), list("ABC")
    )
    scores = pd.DataFrame(
        [[3.0, 1.0, 2.0], [2.0, 3.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], close.index, list("ABC")
    )
    # Ranks on [-½, ½]: A ½ then 0, B -½ then ½, C 0 then -½; their means order the names A, B, C as the returns do.
    assert session_rank_ic(scores, close, horizon=2).to_list() == [1.0]


def test_the_p_value_has_the_size_it_says() -> None:
    rng = np.random.default_rng(3)
    found = np.array([skill_p_value(pd.Series(rng.normal(size=250)), 5) for _ in range(1000)])
    assert 0.02 < (found < 0.05).mean() < 0.06
    assert 0.001 < (found < 0.01).mean() < 0.02


def test_sessions_that_hang_together_do_not_pass_for_many() -> None:
    rng = np.random.default_rng(4)
    slow = [pd.Series(np.repeat(rng.normal(size=50), 5)) for _ in range(300)]
    plain = np.mean([each.mean() / each.std() * np.sqrt(250) > 1.645 for each in slow])
    assert plain > 0.2
    assert np.mean([skill_p_value(each, 5) < 0.05 for each in slow]) < 0.12


@pytest.mark.parametrize(("values", "expected"), [([0.1], np.nan), ([0.1, 0.1], 0.0), ([0.0, 0.0], 1.0)])
def test_series_that_tell_little(values: list[float], expected: float) -> None:
    np.testing.assert_equal(skill_p_value(pd.Series(values), 5), expected)


def test_a_first_look_spends_all_and_each_further_one_a_quarter_of_the_one_before() -> None:
    box = calendar(300)
    assert [share([look(box)] * number, box) for number in range(4)] == [1.0, 0.25, 0.0625, 0.015625]


def test_new_sessions_bring_new_error_and_a_lockbox_of_new_ones_all_of_it() -> None:
    box = calendar(300)
    assert share([look(box)], calendar(300, 21)) == pytest.approx(0.25 + spending.YEARLY * 21 / 252)
    assert share([look(box)], calendar(300, 84)) == 1.0
    assert share([look(box)] * 9, calendar(300, 300)) == 1.0


@pytest.mark.slow
def test_a_year_of_nights_keeps_to_its_bound() -> None:
    looks = list[Look]()
    spent = []
    for night in range(253):
        box = calendar(300, night)
        spent.append(share(looks, box))
        looks.append(look(box))
    assert spent[0] == 1.0
    assert sum(spent) <= 1 + 1 / 3 + spending.YEARLY + 1e-9
    assert sum(spent) * ERROR <= 0.05


def test_sessions_within_a_day_belong_to_its_look() -> None:
    minutes = pd.date_range("2020-01-02 09:30", periods=300, freq="min")
    assert share([Look(pd.Timestamp("2020-01-02"), pd.Timestamp("2020-01-02"))], minutes) == 0.25


def test_what_is_left_after_earlier_looks_scales_the_p_value() -> None:
    close = market(260)
    scores = close.pct_change(fill_method=None).shift(-2) + 0.2 * market(260, 2).pct_change(fill_method=None)
    first = skill(scores, close, 1, [])
    third = skill(scores, close, 1, [look(calendar(260))] * 2)
    assert (first["lockbox.looks"], third["lockbox.looks"]) == (1.0, 3.0)
    assert third["lockbox.p_value"] == first["lockbox.p_value"] == first["lockbox.adjusted_p_value"] < ERROR
    assert third["lockbox.adjusted_p_value"] == pytest.approx(16 * first["lockbox.p_value"])


@pytest.mark.slow
def test_who_builds_candidates_out_of_earlier_verdicts_does_not_get_through() -> None:
    """Each candidate is noise; the next one is all before it, each by the rank IC that its verdict told."""
    close, box = market(300, 5), calendar(300)
    rng = np.random.default_rng(6)
    total, passed, plain = np.zeros(close.shape), list[bool](), list[bool]()
    for night in range(40):
        drawn = rng.normal(size=close.shape)
        told = session_rank_ic(pd.DataFrame(drawn, close.index, NAMES), close, 5).mean()
        total += told * drawn
        found = skill(pd.DataFrame(total, close.index, NAMES), close, 5, [look(box)] * night)
        passed.append(found["lockbox.adjusted_p_value"] <= ERROR)
        plain.append(found["lockbox.p_value"] <= ERROR)
    assert any(plain), "without paying for looks it would get through"
    assert not any(passed)
