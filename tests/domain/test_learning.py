"""Bars, features, labels, splits, families, selection: small oracles, and no look into the future."""

from itertools import pairwise

import numpy as np
import pandas as pd
import polars as pl
import pytest

from tasks.domain import bars as bar_tables
from tasks.domain.errors import UsageError
from tasks.domain.evaluation import evaluate, folds, panel
from tasks.domain.families.trial import Trial
from tasks.domain.features.price_only import LONGEST_WINDOW, price_only
from tasks.domain.labels import forward_return, reach, session_rank
from tasks.domain.problem import Problem
from tasks.domain.selection import Scored, one_standard_error
from tasks.domain.splits import walk_forward
from tests.support.market import bars as market_bars
from tests.support.market import canonical


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    table = market_bars(0.003, names=6, sessions=420).rename(columns={"date": "timestamp", "symbol": "instrument"})
    return canonical(table)


def test_digest_depends_on_content_only(bars: pd.DataFrame) -> None:
    shuffled = canonical(bars.sample(frac=1, random_state=1))
    assert bar_tables.digest(shuffled) == bar_tables.digest(bars)
    for column, value in (("close", 1.0), ("instrument", "Z"), ("timestamp", pd.Timestamp("2001-01-01"))):
        changed = bars.copy()
        changed.loc[200, column] = value
        assert bar_tables.digest(changed) != bar_tables.digest(bars)


def test_lockbox_is_the_newest_fifth_of_sessions(bars: pd.DataFrame) -> None:
    times = pl.Series(bars["timestamp"])
    start = bar_tables.lockbox_start(times, 0.2)
    assert times.filter(times >= start).n_unique() == 84
    with pytest.raises(UsageError, match="2 sessions are too few for a lockbox of 20%"):
        bar_tables.lockbox_start(times.unique().sort()[:2], 0.2)


def test_features_need_no_future_and_no_row_order(bars: pd.DataFrame) -> None:
    full = price_only(bars)
    for cut in (LONGEST_WINDOW + 5, 380):
        day = np.sort(bars["timestamp"].unique())[cut]
        past = price_only(bars[bars["timestamp"] <= day].iloc[::-1])
        pd.testing.assert_frame_equal(past, full[full["timestamp"] <= day].reset_index(drop=True), check_exact=True)


def test_features_are_centred_ranks(bars: pd.DataFrame) -> None:
    last = price_only(bars).groupby("timestamp").tail(6).iloc[-6:]
    for column in [name for name in last if name not in ("timestamp", "instrument")]:
        assert sorted(last[column]) == pytest.approx([-0.5, -0.3, -0.1, 0.1, 0.3, 0.5])


def test_label_is_the_return_that_can_be_earned() -> None:
    """Decide at 10, buy at the next close (11), hold two sessions, sell at 13.2: earned 20 %."""
    close = pd.DataFrame({"A": [10.0, 11.0, 12.0, 13.2, 14.0]})
    expected = [13.2 / 11 - 1, 14 / 12 - 1, np.nan, np.nan, np.nan]
    assert forward_return(close, 2)["A"].tolist() == pytest.approx(expected, nan_ok=True)
    assert reach(2) == 3


def test_session_rank_is_scale_free() -> None:
    labels = pd.DataFrame([[0.1, 0.3, 0.2], [1.0, np.nan, 2.0]])
    expected = [-0.5, 0.5, 0.0, -0.5, np.nan, 0.5]
    assert session_rank(labels).to_numpy().ravel().tolist() == pytest.approx(expected, nan_ok=True)


def test_walk_forward_by_hand_on_twelve_sessions() -> None:
    """Twelve sessions, two folds of four test sessions, a purge of two: train 1-2 | test 5-8, train 1-6 | test 9-12."""
    sessions = pd.date_range("2020-01-01", periods=12)
    found = [(len(f.train), f.test[0].day, f.test[-1].day) for f in walk_forward(sessions, folds=2, purge=2)]
    assert found == [(2, 5, 8), (6, 9, 12)]


def test_no_training_label_reaches_into_the_test_window() -> None:
    sessions = pd.date_range("2000-01-01", periods=300)
    for horizon in (1, 5, 21):
        for fold in walk_forward(sessions, folds=4, purge=reach(horizon)):
            last_seen = sessions.get_loc(fold.train[-1]) + reach(horizon)
            assert last_seen < sessions.get_loc(fold.test[0])


def test_too_few_sessions_are_refused_in_words() -> None:
    with pytest.raises(UsageError, match="too few for 5 folds"):
        list(walk_forward(pd.date_range("2020-01-01", periods=8), folds=5, purge=6))


def test_evaluation_judges_only_unseen_sessions(bars: pd.DataFrame, shipped: Problem) -> None:
    known = panel(bars, shipped.model_copy(update={"horizon": 1}))
    seen = [fold.test for fold in folds(known, shipped)]
    assert len(seen) == shipped.splits.folds
    assert all(a[-1] < b[0] for a, b in pairwise(seen))
    estimate = evaluate(Trial("ridge", {"alpha": 10.0}), known, shipped)
    assert len(estimate.fold_rank_ic) == shipped.splits.folds


@pytest.mark.parametrize(
    ("complex_ic", "winner"), [(0.020, "ridge"), (0.029, "ridge"), (0.031, "lightgbm"), (0.001, "ridge")]
)
def test_complexity_must_gain_more_than_one_standard_error(complex_ic: float, winner: str) -> None:
    scored = [Scored(0, "ridge", 0.02, 0.01), Scored(1, "ridge", 0.01, 0.01), Scored(2, "lightgbm", complex_ic, 0.01)]
    choice = one_standard_error(scored)
    assert scored[choice.number].family == winner
    assert choice.reason.startswith(f"{winner} chosen")


def test_a_missing_session_costs_no_other_row(bars: pd.DataFrame) -> None:
    whole = price_only(bars).dropna()
    hole = (bars["instrument"] == "N01") & (bars["timestamp"] == bars["timestamp"].unique()[330])
    holed = price_only(bars[~hole]).dropna()
    assert len(holed) == len(whole) - 1
