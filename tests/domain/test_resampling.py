"""Other histories: what stays together stays as it was, decisions come with their bars, and nothing is random twice."""

import numpy as np
import pandas as pd
import pytest

from tasks.domain import sensitivity
from tasks.domain.simulate.contract import Prices
from tasks.domain.simulate.resampling import Histories, stationary_order
from tasks.domain.strategy import Risk, Strategy
from tests.support.simulated import NO, random_market, random_weights, table

STRATEGY = Strategy(gross_limit=1.0, name_limit=1.0, risk=Risk(stop_loss=0.05, volume_share=0.5))


def order(*bars: int) -> np.ndarray:
    return np.array(bars, dtype=np.intp)


def test_each_bar_stands_to_the_close_before_as_it_did() -> None:
    prices = Prices(
        close=table({"A": [10, 12, 9, 18]}),
        open=table({"A": [10, 11, 12, 9]}),
        high=table({"A": [10, 12, 15, 18]}),
        low=table({"A": [10, 11, 6, 9]}),
        volume=table({"A": [1, 2, 3, 4]}),
    )
    _, other = Histories(prices).draw(table({"A": [0.5]}, [0]), order(3, 1, 2, 3))
    # bar 3 doubles from an even open, bar 1 gains 20 % from a gap of 10 %, bar 2 loses a quarter from an even open
    assert other.close["A"].tolist() == pytest.approx([20, 24, 18, 36])
    assert other.open is not None
    assert other.open["A"].tolist() == pytest.approx([10, 22, 24, 18])
    assert other.high is not None
    assert other.high["A"].tolist() == pytest.approx([20, 24, 30, 36])
    assert other.low is not None
    assert other.low["A"].tolist() == pytest.approx([10, 22, 12, 18])
    assert other.volume is not None
    assert other.volume["A"].tolist() == [4, 2, 3, 4]


def test_decisions_come_with_the_bar_they_were_made_at() -> None:
    weights = table({"A": [0.1, 0.3]}, [1, 3])
    decided, other = Histories(Prices(table({"A": [10, 12, 9, 18]}))).draw(weights, order(3, 2, 1, 1))
    assert decided["A"].tolist() == [0.3, 0.1, 0.1]
    assert decided.index.tolist() == other.calendar[[0, 2, 3]].tolist()


def test_a_missing_bar_is_missing_and_the_price_goes_on_where_it_was() -> None:
    close = table({"A": [10, NO, 20, 30], "B": [NO, NO, NO, 5]})
    _, other = Histories(Prices(close)).draw(close.iloc[:1] * 0, order(2, 1, 3, 1))
    assert other.close["A"].tolist() == pytest.approx([20, NO, 30, NO], nan_ok=True)  # × 2, missing, × 1.5, missing
    assert other.close["B"].isna().all(), "it has but one bar, which comes from nowhere"


def test_blocks_run_on_and_are_as_long_as_asked_on_average() -> None:
    found = stationary_order(50_000, 20, np.random.default_rng(1))
    assert (found.min(), found.max()) == (1, 49_999)
    runs = (np.diff(found) != 1).sum() + 1
    assert 50_000 / runs == pytest.approx(20, rel=0.05)
    assert stationary_order(6, 1e9, np.random.default_rng(2)).tolist() in [
        [*np.roll([1, 2, 3, 4, 5], -shift).tolist(), 1 + shift] for shift in range(5)
    ]


@pytest.mark.parametrize(("bars", "block"), [(1, 5), (10, 0.5)])
def test_too_few_bars_and_no_blocks_are_refused(bars: int, block: float) -> None:
    with pytest.raises(ValueError, match="at least"):
        stationary_order(bars, block, np.random.default_rng(0))


def test_a_market_with_holes_can_be_drawn_and_the_same_seed_draws_the_same() -> None:
    prices = random_market(5, 40, 6, 0.3, 2, 0.0)
    weights = random_weights(5, prices, 2, 1.0)
    found = sensitivity.luck(weights, prices, STRATEGY, 5, seed=3)
    assert found.shape == (40, 200)
    pd.testing.assert_frame_equal(found, sensitivity.luck(weights, prices, STRATEGY, 5, seed=3))
    assert found.iloc[-1].nunique() > 100


def test_one_bar_has_no_other_history() -> None:
    prices = Prices(table({"A": [10]}))
    assert sensitivity.luck(table({"A": [0.5]}), prices, STRATEGY.model_copy(update={"risk": Risk()}), 5, 1).empty
