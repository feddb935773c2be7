"""Measures against arithmetic written out, and against scipy where the arithmetic is long."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tasks.domain import metrics

NO = float("nan")


def series(*values: float) -> pd.Series:
    return pd.Series(values, index=pd.bdate_range("2024-01-01", periods=len(values)), dtype=float)


def table(*rows: list[float], names: str = "ABCDEFGHIJ") -> pd.DataFrame:
    index = pd.bdate_range("2024-01-01", periods=len(rows))
    return pd.DataFrame(list(rows), index=index, columns=list(names[: len(rows[0])]), dtype=float)


# Portfolios


def test_total_return() -> None:
    assert metrics.total_return(series(100, 90, 121)) == pytest.approx(0.21)
    assert math.isnan(metrics.total_return(series()))


def test_annual_return_compounds_over_the_sessions_between() -> None:
    # 21 % in 2 sessions of a year with 4: 1.21² − 1 = 0.4641
    assert metrics.annual_return(series(100, 90, 121), periods=4) == pytest.approx(0.4641)
    assert metrics.annual_return(series(100, 50, 0)) == -1
    assert math.isnan(metrics.annual_return(series(100)))


def test_simple_returns() -> None:
    assert metrics.simple_returns(series(100, 110, 55)).tolist() == pytest.approx([0.1, -0.5])
    assert metrics.simple_returns(series(100, 0, 0)).tolist() == [-1, 0]
    assert metrics.simple_returns(series(100)).empty


def test_annual_volatility_and_sharpe_ratio() -> None:
    returns = series(0.01, 0.03)
    # mean 0.02; sample variance (0.01² + 0.01²) / 1 = 0.0002; × √4 = 2
    assert metrics.annual_volatility(returns, periods=4) == pytest.approx(2 * math.sqrt(0.0002))
    assert metrics.sharpe_ratio(returns, periods=4) == pytest.approx(2 * 0.02 / math.sqrt(0.0002))
    assert metrics.sharpe_ratio(-returns, periods=4) == pytest.approx(-2 * 0.02 / math.sqrt(0.0002))
    assert metrics.sharpe_ratio(series(NO, 0.01, 0.03), 4) == pytest.approx(metrics.sharpe_ratio(returns, 4))


@pytest.mark.parametrize("returns", [series(), series(0.01), series(0, 0, 0), series(0.1, 0.1, 0.1)])
def test_no_variance_is_no_sharpe_ratio(returns: pd.Series) -> None:
    assert math.isnan(metrics.sharpe_ratio(returns))


def test_a_constant_growth_rate_has_no_sharpe_ratio_in_spite_of_rounding() -> None:
    equity = pd.Series(1000 * 1.001 ** np.arange(500))
    assert metrics.simple_returns(equity).std() > 0
    assert math.isnan(metrics.sharpe_ratio(metrics.simple_returns(equity)))


def test_drawdown() -> None:
    equity = series(100, 120, 90, 150, 75)
    assert metrics.drawdown(equity).tolist() == pytest.approx([0, 0, -0.25, 0, -0.5])
    assert metrics.max_drawdown(equity) == pytest.approx(0.5)
    assert metrics.max_drawdown(series(1, 2, 3)) == 0
    assert metrics.max_drawdown(series(1, 0, 0)) == 1
    assert math.isnan(metrics.max_drawdown(series()))


def test_turnover_is_one_way_and_yearly() -> None:
    fills = pd.DataFrame({"notional": [50.0, 150.0]})
    # 200 / 2 = 100 one way; mean equity (90 + 100 + 110) / 3 = 100; 2 sessions of a year with 4
    assert metrics.turnover(fills, series(90, 100, 110), periods=4) == pytest.approx(2)
    assert metrics.turnover(fills.iloc[:0], series(90, 100)) == 0
    assert math.isnan(metrics.turnover(fills, series(100)))


# Forecasts


def test_rank_ic_by_hand() -> None:
    scores = table([1, 2, 3, 4], [1, 2, 3, NO], [4, 3, 2, 1])
    labels = table([10, 30, 20, 40], [1, 2, 3, 4], [1, 2, 3, 4])
    # session 0: rank differences 0, 1, 1, 0: 1 − 6 × 2 / (4 × 15) = 0.8
    assert metrics.rank_ic_series(scores, labels).tolist() == pytest.approx([0.8, 1, -1])


def test_rank_ic_leaves_out_sessions_where_it_is_undefined() -> None:
    scores = table([1, 2, NO], [1, 1, 1], [1, 2, 3], [NO, NO, NO], [1, 2, 3])
    labels = table([1, NO, 2], [1, 2, 3], [5, 5, 5], [1, 2, 3], [3, 2, 1])
    result = metrics.rank_ic_series(scores, labels)
    assert result.index.tolist() == [scores.index[4]]
    assert result.tolist() == pytest.approx([-1])


def test_equal_scores_are_no_correlation_for_any_number_of_names() -> None:
    for names in range(2, 60):
        labels = pd.DataFrame([np.arange(names)])
        assert metrics.rank_ic_series(labels * 0 + 0.1, labels).empty


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), rounding=st.integers(0, 3))
def test_rank_ic_agrees_with_scipy(seed: int, rounding: int) -> None:
    rng = np.random.default_rng(seed)
    scores, labels = (table(*rng.normal(size=(5, 8)).round(rounding).tolist()) for _ in range(2))
    scores = scores.mask(rng.random(scores.shape) < 0.2)
    labels = labels.mask(rng.random(labels.shape) < 0.2)
    result = metrics.rank_ic_series(scores, labels)
    for session in scores.index:
        both = scores.loc[session].notna() & labels.loc[session].notna()
        x, y = scores.loc[session, both], labels.loc[session, both]
        if x.nunique() < 2 or y.nunique() < 2:
            assert session not in result.index
        else:
            assert result[session] == pytest.approx(stats.spearmanr(x, y).statistic)


def test_hit_rate_by_hand() -> None:
    scores = table([1, 2, 3, 4], [1, 2, 3, NO])
    labels = table([1, 4, 2, 3], [3, 2, 1, 9])
    # session 0, medians 2.5 and 2.5: A low low hit, B low high miss, C high low miss, D high high hit
    # session 1 without D, medians 2 and 2: B is at the median; A low high miss, C high low miss
    assert metrics.hit_rate(scores, labels) == pytest.approx(2 / 6)


def test_hit_rate_without_a_pair_is_undefined() -> None:
    assert math.isnan(metrics.hit_rate(table([NO, 1]), table([1, NO])))
    assert math.isnan(metrics.hit_rate(table([1, 1]), table([1, 2])))


def test_precision_and_recall_by_hand() -> None:
    scores = table([6, 5, 4, 3, 2, 1, NO], [1, 2, 3, NO, NO, NO, NO])
    labels = table([9, 1, 8, 2, 3, 4, 99], [3, 2, 1, 9, 9, 9, 9])
    # session 0: 6 names. Predicted floor(6 × 0.5) = 3: A B C. Actual floor(6 / 3) = 2: A C. Found: A C
    # session 1: 3 names. Predicted floor(3 × 0.5) = 1: C.     Actual 1: A.                   Found: none
    precision, recall, base_rate = metrics.top_precision_recall(scores, labels, 0.5)
    assert (precision, recall, base_rate) == (
        pytest.approx(2 / 4),
        pytest.approx(2 / 3),
        pytest.approx(3 / 9),
    )


@pytest.mark.parametrize("names", ["ABCDEF", "FEDCBA"])
def test_ties_in_the_top_go_to_the_alphabetically_first(names: str) -> None:
    scores = table([1] * 6, names=names)
    labels = pd.DataFrame([[6, 5, 4, 3, 2, 1]], index=scores.index, columns=list("ABCDEF"))[list(names)]
    assert metrics.top_precision_recall(scores, labels, 1 / 3)[:2] == (1, 1)


def test_precision_without_a_pair_is_undefined() -> None:
    assert all(math.isnan(x) for x in metrics.top_precision_recall(table([NO, 1]), table([1, NO]), 0.2))


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.1, NO])
def test_a_fraction_outside_its_range_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="fraction"):
        metrics.top_precision_recall(table([1, 2]), table([1, 2]), fraction)


def test_frames_that_do_not_match_are_refused() -> None:
    for measure in (metrics.rank_ic_series, metrics.hit_rate):
        with pytest.raises(ValueError, match="same sessions and instruments"):
            measure(table([1, 2]), table([1, 2, 3]))
        with pytest.raises(ValueError, match="same sessions and instruments"):
            measure(table([1, 2]), table([1, 2], [1, 2]))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_perfect_and_inverted_forecasts(seed: int) -> None:
    labels = table(*np.random.default_rng(seed).normal(size=(4, 9)).tolist())
    assert metrics.rank_ic_series(labels, labels).tolist() == pytest.approx([1] * 4)
    assert metrics.hit_rate(labels, labels) == 1
    assert metrics.hit_rate(-labels, labels) == 0
    assert metrics.top_precision_recall(labels, labels, 1 / 3) == (1, 1, pytest.approx(1 / 3))
    assert metrics.top_precision_recall(-labels, labels, 1 / 3)[:2] == (0, 0)


@pytest.mark.parametrize(("names", "fraction", "count"), [(100, 0.29, 29), (10, 0.3, 3), (3, 0.2, 1), (9, 1 / 3, 3)])
def test_top_count(names: int, fraction: float, count: int) -> None:
    assert metrics.top_count(names, fraction) == count


# Periods a year


@pytest.mark.parametrize(
    ("calendar", "expected"),
    [
        (pd.bdate_range("2020-01-01", periods=1), 252),
        (pd.bdate_range("2020-01-01", periods=2), 252),
        (pd.bdate_range("2020-01-01", "2023-12-29"), 252),
        (pd.date_range("2020-01-01", "2023-12-31"), 365.25),
        (pd.date_range("2000-01-31", periods=241, freq="ME"), 12),
        (pd.date_range("2024-01-01", periods=1000, freq="h"), 365.25 * 24),
        (pd.date_range("2024-01-01", periods=1000, freq="min"), 365.25 * 24 * 60),
    ],
)
def test_periods_a_year_are_those_of_the_calendar(calendar: pd.DatetimeIndex, expected: float) -> None:
    assert metrics.periods_a_year(calendar) == pytest.approx(expected, rel=1e-3)
