"""A feature that knows the future, or more of the past than it says, is refused before training."""

from collections.abc import Callable

import pandas as pd
import pytest

from tasks.domain.errors import UsageError
from tasks.domain.leaks import check_causal
from tests.support.market import bars as market_bars
from tests.support.market import canonical


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    return canonical(
        market_bars(0.003, names=5, sessions=120).rename(columns={"date": "timestamp", "symbol": "instrument"})
    )


def by_name(bars: pd.DataFrame, function: Callable[[pd.Series], pd.Series]) -> pd.Series:
    return bars["close"].groupby(bars["instrument"]).transform(function)


def honest(bars: pd.DataFrame, history: int = 10) -> pd.Series:
    return by_name(bars, lambda close: close / close.rolling(history).mean() - 1)


def ranked(bars: pd.DataFrame, history: int = 0) -> pd.Series:
    return bars["volume"].mul(bars["close"]).groupby(bars["timestamp"]).rank(pct=True)


def tomorrow(bars: pd.DataFrame, history: int = 1) -> pd.Series:
    return by_name(bars, lambda close: close.shift(-1) / close)


def tomorrow_filled(bars: pd.DataFrame, history: int = 1) -> pd.Series:
    """Hides what it lacks: the last session's value is there, and is another one once the next bar is known."""
    return by_name(bars, lambda close: close.shift(-1).fillna(close) / close)


def standardised(bars: pd.DataFrame, history: int = 0) -> pd.Series:
    return by_name(bars, lambda close: (close - close.mean()) / close.std())


def forgetful(bars: pd.DataFrame, history: int = 3) -> pd.Series:
    return by_name(bars, lambda close: close / close.rolling(20, min_periods=1).mean())


def test_honest_features_pass(bars: pd.DataFrame) -> None:
    check_causal(["honest", "ranked"], bars, {"honest": honest, "ranked": ranked})


@pytest.mark.parametrize("function", [tomorrow, tomorrow_filled, standardised])
def test_a_look_into_the_future_is_refused_by_name_and_date(
    bars: pd.DataFrame, function: Callable[..., object]
) -> None:
    with pytest.raises(UsageError, match=r"feature peek looks into the future: at 2015-\d\d-\d\d, N0\d, it is "):
        check_causal(["honest", "peek"], bars, {"honest": honest, "peek": function})


def test_a_history_declared_too_short_is_refused(bars: pd.DataFrame) -> None:
    with pytest.raises(UsageError, match="feature forgetful looks further back than its history says"):
        check_causal(["forgetful"], bars, {"forgetful": forgetful})


def test_a_fault_in_a_feature_is_said_as_it_is(bars: pd.DataFrame) -> None:
    with pytest.raises(UsageError, match="own feature bad: the bars have no column 'turnover'"):
        check_causal(["bad"], bars, {"bad": lambda bars, history=1: bars["turnover"]})


@pytest.mark.slow
def test_the_sets_that_ship_pass() -> None:
    table = market_bars(0.003, names=5, sessions=300).rename(columns={"date": "timestamp", "symbol": "instrument"})
    check_causal(["price_only", "alpha158"], canonical(table))
