"""Other costs, later orders: against the single engine, and against figures known beforehand."""

import numpy as np
import pandas as pd
import pytest

from tasks.domain import sensitivity
from tasks.domain.simulate.contract import Prices
from tasks.domain.simulate.portfolio import target_weights
from tasks.domain.simulate.research import simulate
from tasks.domain.strategy import Costs, Strategy


@pytest.fixture
def market() -> tuple[pd.DataFrame, Prices]:
    """Targets made of scores that know the next session's return, and prices."""
    rng = np.random.default_rng(5)
    returns = rng.normal(0, 0.02, (120, 10))
    calendar, names = pd.bdate_range("2020-01-01", periods=120), [f"N{n}" for n in range(10)]
    close = pd.DataFrame(50 * np.exp(np.cumsum(returns, axis=0)), calendar, names)
    known = pd.DataFrame(returns, calendar, names).shift(-2)
    return target_weights(known.iloc[:-2], STRATEGY), Prices(close)


STRATEGY = Strategy(rebalance_sessions=1, costs=Costs(commission_bp=1.0, half_spread_bp=4.0, borrow_rate=0.01))


def test_the_strategy_itself_is_among_them(market: tuple[pd.DataFrame, Prices]) -> None:
    weights, prices = market
    equity = sensitivity.equities(weights, prices, STRATEGY)
    own = simulate(weights, prices, STRATEGY).equity
    assert equity["costs × 1"].tolist() == own.tolist()


def test_costs_cost_and_old_news_earns_nothing(market: tuple[pd.DataFrame, Prices]) -> None:
    table = sensitivity.table(sensitivity.equities(*market, STRATEGY))
    returns = {title: told["total_return"] for title, told in table.items()}
    assert returns["costs × 0"] > returns["costs × 1"] > returns["costs × 2"] > returns["costs × 5"]
    # The scores know one session ahead, so an order one session later comes too late.
    assert returns["costs × 0"] > 1.0
    assert abs(returns["1 session later"]) < 0.5
    assert list(table) == ["costs × 0", "costs × 1", "costs × 2", "costs × 5", "1 session later", "2 sessions later"]


def test_decisions_after_the_end_are_left_out(market: tuple[pd.DataFrame, Prices]) -> None:
    weights, prices = market
    shifted = sensitivity.later(weights, prices, 3)
    assert shifted.index[0] == prices.calendar[3]
    assert len(shifted) == len(weights) - 1
    assert shifted.iloc[0].tolist() == weights.iloc[0].tolist()


def test_interest_is_no_cost() -> None:
    strategy = STRATEGY.model_copy(update={"costs": Costs(interest_rate=0.03, impact_bp=2.0)})
    costs = sensitivity.at_costs(strategy, 5.0).costs
    assert (costs.interest_rate, costs.commission_bp, costs.impact_bp) == (0.03, 5.0, 10.0)
