"""Both engines against ledgers that a person can check, against each other, and against the future."""

import dataclasses
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.domain.errors import UsageError
from tasks.domain.schema import parse
from tasks.domain.simulate import events, research
from tasks.domain.simulate.contract import Prices, Result
from tasks.domain.strategy import Costs, Strategy
from tasks.domain.trading import trade
from tests.support.simulated import NO, markets, random_weights, table

FREE = Costs(commission_bp=0.0, half_spread_bp=0.0)
TEN_BP = Costs(commission_bp=4.0, half_spread_bp=6.0)
both = pytest.mark.parametrize("engine", [research, events], ids=["research", "events"])


def rules(costs: Costs = FREE, gross_limit: float = 1.0, capital: float = 1000.0) -> Strategy:
    return Strategy(costs=costs, gross_limit=gross_limit, name_limit=gross_limit, capital=capital)


def trades(result: Result) -> list[tuple[int, str, str, float, float, float, float]]:
    """Fills with the session's number in place of its date."""
    numbers = result.equity.index.get_indexer(result.fills["timestamp"])
    columns = (result.fills[name] for name in ("instrument", "side", "quantity", "price", "notional", "cost"))
    return list(zip(numbers.tolist(), *columns, strict=True))


def approximately(rows: list[tuple]) -> list:  # type: ignore[type-arg]
    return [(*row[:3], *(pytest.approx(x, rel=1e-12) for x in row[3:])) for row in rows]


# Ledgers by hand


@both
def test_one_long_name_pays_costs_and_is_marked(engine: ModuleType) -> None:
    prices = Prices(table({"A": [10, 11, 12]}))
    result = engine.simulate(table({"A": [0.5]}, [0]), prices, rules(TEN_BP))
    # session 0: target 0.5 × 1000 / 10 = 50 units
    # session 1: buy 50 at 11 = 550, cost 550 × 0.001 = 0.55; cash 1000 − 550 − 0.55 = 449.45
    #            equity 449.45 + 50 × 11 = 999.45
    # session 2: equity 449.45 + 50 × 12 = 1049.45
    assert trades(result) == approximately([(1, "A", "buy", 50, 11, 550, 0.55)])
    assert result.equity.tolist() == pytest.approx([1000, 999.45, 1049.45], rel=1e-12)


@both
def test_fills_at_the_open_and_marks_at_the_close(engine: ModuleType) -> None:
    prices = Prices(table({"A": [10, 11, 12]}), table({"A": [9, 10.5, 11.5]}))
    result = engine.simulate(table({"A": [0.5, 0.0]}, [0, 1]), prices, rules())
    # session 1: buy 50 at the open 10.5 = 525; cash 1000 − 525 = 475; equity 475 + 50 × 11 = 1025
    # session 2: sell 50 at the open 11.5 = 575; cash 475 + 575 = 1050 = equity
    assert trades(result) == approximately([(1, "A", "buy", 50, 10.5, 525, 0), (2, "A", "sell", 50, 11.5, 575, 0)])
    assert result.equity.tolist() == pytest.approx([1000, 1025, 1050], rel=1e-12)


@both
def test_fills_at_the_close_where_the_open_is_absent(engine: ModuleType) -> None:
    prices = Prices(table({"A": [10, 11, 12]}), table({"A": [9, NO, 11.5]}))
    result = engine.simulate(table({"A": [0.5]}, [0]), prices, rules())
    # session 1 has no open: buy 50 at the close 11 = 550; cash 450
    assert trades(result) == approximately([(1, "A", "buy", 50, 11, 550, 0)])
    # session 2: 450 + 50 × 12 = 1050
    assert result.equity.tolist() == pytest.approx([1000, 1000, 1050], rel=1e-12)


@both
def test_long_and_short_with_a_rebalance_and_an_exit(engine: ModuleType) -> None:
    prices = Prices(table({"A": [10, 10, 12, 12], "B": [20, 20, 16, 20]}))
    weights = table({"A": [0.5, 0.0], "B": [-0.5, -0.5]}, [0, 2])
    result = engine.simulate(weights, prices, rules(TEN_BP))
    # session 0: A 0.5 × 1000 / 10 = 50; B −0.5 × 1000 / 20 = −25
    # session 1: buy 50 A at 10 = 500 (cost 0.5), sell 25 B at 20 = 500 (cost 0.5)
    #            cash 1000 − 500 + 500 − 1 = 999; equity 999 + 50 × 10 − 25 × 20 = 999
    # session 2: equity 999 + 50 × 12 − 25 × 16 = 1199
    #            A: 0 − 50 = −50; B: −0.5 × 1199 / 16 = −37.46875, order −37.46875 + 25 = −12.46875
    # session 3: sell 50 A at 12 = 600 (cost 0.6), sell 12.46875 B at 20 = 249.375 (cost 0.249375)
    #            cash 999 + 600 + 249.375 − 0.849375 = 1847.525625; equity − 37.46875 × 20 = 1098.150625
    assert trades(result) == approximately(
        [
            (1, "A", "buy", 50, 10, 500, 0.5),
            (1, "B", "sell", 25, 20, 500, 0.5),
            (3, "A", "sell", 50, 12, 600, 0.6),
            (3, "B", "sell", 12.46875, 20, 249.375, 0.249375),
        ]
    )
    assert result.equity.tolist() == pytest.approx([1000, 999, 1199, 1098.150625], rel=1e-12)


@both
def test_orders_lapse_without_a_price_and_marks_stay_at_the_last_close(engine: ModuleType) -> None:
    prices = Prices(table({"A": [10, 10, NO, NO], "B": [10, NO, 20, 30]}))
    weights = table({"A": [0.5, 0.0], "B": [0.5, 0.5]}, [0, 2])
    result = engine.simulate(weights, prices, rules())
    # session 1: buy 50 A at 10 = 500, cash 500; B has no price, so its order for 50 lapses
    # session 2: A is marked at its last close 10: 500 + 50 × 10 = 1000
    #            A has no close, so it gets no order although its target is 0; B: 0.5 × 1000 / 20 = 25
    # session 3: buy 25 B at 30 = 750; cash 500 − 750 = −250; equity −250 + 50 × 10 + 25 × 30 = 1000
    assert trades(result) == approximately([(1, "A", "buy", 50, 10, 500, 0), (3, "B", "buy", 25, 30, 750, 0)])
    assert result.equity.tolist() == pytest.approx([1000, 1000, 1000, 1000], rel=1e-12)


@both
def test_ruin_is_final(engine: ModuleType) -> None:
    prices = Prices(table({"A": [10, 10, 21, 5, 5]}))
    result = engine.simulate(table({"A": [-1.0, 1.0]}, [0, 2]), prices, rules())
    # session 1: sell 100 at 10 = 1000; cash 2000; equity 2000 − 100 × 10 = 1000
    # session 2: equity 2000 − 100 × 21 = −100: ruin; the decision of that session places nothing
    # session 3: at 5 the position would have been worth 2000 − 500 = 1500, but it is gone
    assert trades(result) == approximately([(1, "A", "sell", 100, 10, 1000, 0)])
    assert result.equity.tolist() == [1000, 1000, 0, 0, 0]


@both
def test_a_decision_at_the_last_session_never_fills(engine: ModuleType) -> None:
    result = engine.simulate(table({"A": [0.5]}, [1]), Prices(table({"A": [10, 11]})), rules())
    assert result.fills.empty
    assert result.equity.tolist() == [1000, 1000]


@both
def test_a_negligible_order_is_skipped(engine: ModuleType) -> None:
    prices = Prices(table({"A": [10, 10, 10, 10]}))
    weights = table({"A": [0.5, 0.5 + 0.9e-9, 0.5 + 2e-9]}, [0, 1, 2])
    result = engine.simulate(weights, prices, rules())
    # session 1: order 0.9e-9 × 1000 / 10, notional 0.9e-9 × equity: skipped; session 2: 2e-9 × equity: kept
    assert [row[:3] for row in trades(result)] == [(1, "A", "buy"), (3, "A", "buy")]


# Shape of the answer


@both
def test_no_decision_leaves_the_capital_and_an_empty_typed_table(engine: ModuleType) -> None:
    prices = Prices(table({"A": [10, 11]}))
    idle = engine.simulate(table({"A": [0.5]}, [0]).iloc[:0], prices, rules())
    busy = engine.simulate(table({"A": [0.5]}, [0]), prices, rules())
    assert idle.equity.tolist() == [1000, 1000]
    assert idle.fills.empty
    assert idle.fills.dtypes.to_dict() == busy.fills.dtypes.to_dict()
    expected = ["timestamp", "instrument", "side", "quantity", "price", "notional", "cost", "reason"]
    assert list(idle.fills.columns) == expected


@both
def test_names_without_a_weight_column_are_never_held(engine: ModuleType) -> None:
    prices = Prices(table({"B": [10, 10], "A": [5, 5]}))
    result = engine.simulate(table({"A": [0.5]}, [0]), prices, rules())
    assert [row[1] for row in trades(result)] == ["A"]


@both
def test_inputs_stay_untouched(engine: ModuleType) -> None:
    close, weights = table({"A": [10, NO, 12]}), table({"A": [0.5]}, [0])
    before = close.copy(), weights.copy()
    engine.simulate(weights, Prices(close, close), rules())
    pd.testing.assert_frame_equal(close, before[0])
    pd.testing.assert_frame_equal(weights, before[1])


# Refusals


@both
@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (table({"A": [0.1]}, [5]), "no session of the calendar"),
        (table({"Z": [0.1]}, [0]), "Z has no prices"),
        (table({"A": [NO]}, [0]), "finite"),
        (table({"A": [0.1 + 1e-8]}, [0]), "name limit"),
        (table({"A": [-0.11]}, [0]), "name limit"),
        (table({"A": [0.1], "B": [-0.1], "C": [0.1]}, [0]), "gross limit"),
        (table({"A": [0.1, 0.1]}, [1, 0]), "sorted and unique"),
        (table({"A": [0.1, 0.1]}, [1, 1]), "sorted and unique"),
        (pd.concat([table({"A": [0.1]}, [0])] * 2, axis=1), "appears twice"),
    ],
)
def test_weights_that_do_not_fit_are_refused(engine: ModuleType, weights: pd.DataFrame, message: str) -> None:
    prices = Prices(table({"A": [10, 11], "B": [10, 11], "C": [10, 11]}))
    with pytest.raises(ValueError, match=message):
        engine.simulate(weights, prices, Strategy(gross_limit=0.25, name_limit=0.1))


@both
def test_weights_at_the_limit_pass(engine: ModuleType) -> None:
    weights = table({"A": [0.1 + 1e-10], "B": [-0.1]}, [0])
    strategy = Strategy(gross_limit=0.2, name_limit=0.1)
    assert len(engine.simulate(weights, Prices(table({"A": [1, 1], "B": [1, 1]})), strategy).fills) == 2


@pytest.mark.parametrize(
    ("close", "opening", "message"),
    [
        (table({"A": [10, 0.0]}), None, "A at .* is 0; a price must be positive"),
        (table({"A": [10, -1.0]}), None, "positive"),
        (table({"A": [10, float("inf")]}), None, "finite"),
        (table({"A": [10, 11]}), table({"A": [10, -1.0]}), r"prices\.open: A"),
        (table({"A": [10, 11]}), table({"B": [10, 11]}), "must be those of prices.close"),
        (table({"A": [10, 11]}), table({"A": [10]}), "must be those of prices.close"),
        (table({"A": [10]}).iloc[:0], None, "calendar is empty"),
        (table({"A": [10, 11]}, [1, 0]), None, "sorted and unique"),
        (table({"A": [10, 11]}, [0, 0]), None, "sorted and unique"),
        (table({"A": [10, 11]}).reset_index(drop=True), None, "session timestamps"),
        (pd.concat([table({"A": [10]})] * 2, axis=1), None, "appears twice"),
    ],
)
def test_prices_that_make_no_market_are_refused(
    close: pd.DataFrame, opening: pd.DataFrame | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Prices(close, opening)


# Bad input ends in a clear error, or in what a rule says


@both
def test_no_price_inside_a_holding_keeps_the_last_mark_and_the_position(engine: ModuleType) -> None:
    result = engine.simulate(table({"A": [0.5]}, [0]), Prices(table({"A": [10, 10, NO, NO, 12]})), rules())
    assert result.equity.tolist() == [1000, 1000, 1000, 1000, 1100]  # F16: 50 units, 10 until 12 is known


@both
def test_a_market_of_one_day_does_nothing(engine: ModuleType) -> None:
    result = engine.simulate(table({"A": [0.5]}, [0]), Prices(table({"A": [10]})), rules())
    assert result.equity.tolist() == [1000]
    assert result.fills.empty


def test_no_scores_and_scores_of_strangers_are_refused() -> None:
    prices = Prices(table({"A": [10, 11]}))
    with pytest.raises(ValueError, match="scores: there are none"):
        trade(table({"A": [1.0]}).iloc[:0], prices, rules())
    with pytest.raises(ValueError, match="Z has no prices"):
        trade(table({"A": [1.0, 1.0], "Z": [2.0, 2.0]}), prices, rules())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"capital": -1.0}, "capital: Input should be greater than 0, found -1"),
        ({"capital": float("inf")}, "capital: .* finite"),
        ({"costs": {"commission_bp": 12_000.0}}, "costs.commission_bp: .* less than 10000"),
        ({"costs": {"commission_bp": 6000.0, "half_spread_bp": 5000.0}}, "the whole of a trade or more"),
        ({"name_limit": 0.0}, "name_limit"),
    ],
)
def test_impossible_strategies_are_refused_by_field(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse(Strategy, fields, "strategy")


# Random markets


@settings(max_examples=40, deadline=None)
@given(prices=markets, seed=st.integers(0, 10**6), every=st.integers(1, 4))
def test_equity_is_what_the_fills_say(prices: Prices, seed: int, every: int) -> None:
    """Cash from the fills plus positions at their last marks, without either engine's own bookkeeping."""
    result = research.simulate(random_weights(seed, prices, every, 1.0), prices, rules(TEN_BP))
    signed = result.fills["quantity"].where(result.fills["side"] == "buy", -result.fills["quantity"])
    flow = signed * result.fills["price"] + result.fills["cost"]
    cash = 1000 - flow.groupby(result.fills["timestamp"]).sum().reindex(prices.calendar, fill_value=0).cumsum()
    traded = signed.groupby([result.fills["timestamp"], result.fills["instrument"]]).sum().unstack()
    held = traded.reindex(index=prices.calendar, columns=prices.close.columns).fillna(0).cumsum()
    equity = cash + (held * prices.close.ffill().fillna(0)).sum(axis=1)
    solvent = result.equity > 0
    assert np.allclose(equity[solvent], result.equity[solvent], rtol=1e-9, atol=1e-6)


@both
@settings(max_examples=25, deadline=None)
@given(prices=markets, seed=st.integers(0, 10**6), every=st.integers(1, 4), data=st.data())
def test_the_future_changes_nothing_before_it(
    engine: ModuleType, prices: Prices, seed: int, every: int, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(prices.calendar)))
    disturbed = Prices(
        _disturb(prices.close, cut, seed),
        None if prices.open is None else _disturb(prices.open, cut, seed + 1),
    )
    weights = random_weights(seed, prices, every, 1.0)
    told, disturbed_later = (engine.simulate(weights, p, rules(TEN_BP)) for p in (prices, disturbed))
    pd.testing.assert_series_equal(told.equity[:cut], disturbed_later.equity[:cut], check_exact=True)
    past = prices.calendar[:cut]
    earlier = [r.fills[r.fills["timestamp"].isin(past)] for r in (told, disturbed_later)]
    pd.testing.assert_frame_equal(*earlier, check_exact=True)


def _disturb(frame: pd.DataFrame, cut: int, seed: int) -> pd.DataFrame:
    """Other prices and other gaps from session number `cut` on."""
    rng = np.random.default_rng(seed)
    later = np.where(rng.random(frame.shape) < 0.3, NO, rng.uniform(1, 200, frame.shape))
    kept = np.arange(len(frame))[:, None] < cut
    return pd.DataFrame(np.where(kept, frame, later), frame.index, frame.columns)


@both
def test_a_fill_at_the_open_does_not_know_that_sessions_close(engine: ModuleType) -> None:
    opening = table({"A": [10, 10.5, 11]})
    one = engine.simulate(table({"A": [0.5]}, [0]), Prices(table({"A": [10, 11, 12]}), opening), rules())
    two = engine.simulate(table({"A": [0.5]}, [0]), Prices(table({"A": [10, 99, 12]}), opening), rules())
    pd.testing.assert_frame_equal(one.fills, two.fills)


def test_prices_and_results_are_frozen() -> None:
    prices = Prices(table({"A": [10]}))
    with pytest.raises(dataclasses.FrozenInstanceError):
        prices.close = table({"A": [11]})  # type: ignore[misc]
