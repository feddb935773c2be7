"""All that is told of one backtest: its figures, when and whence its profit came, and what else it might have been."""

from typing import NamedTuple

import pandas as pd

from tasks.domain import sensitivity, trading
from tasks.domain.analysis import stretches
from tasks.domain.analysis.benchmark import due_to_styles, style_returns
from tasks.domain.analysis.measures import Measured
from tasks.domain.simulate.agreement import first_difference
from tasks.domain.simulate.contract import Prices
from tasks.domain.states import market_states
from tasks.domain.strategy import Strategy


class Study(NamedTuple):
    """`figures`: `backtest.*`; `years`, `months`, `states`: see `analysis.stretches`; `styles`: see `due_to_styles`;
    `sectors`: profit by sector, None where the strategy has none; `others`: equity at other costs and later;
    `parameters`, `capacity`: see `sensitivity`; `difference`: where the two engines first part, None where they do
    not."""

    strategy: Strategy
    measured: Measured
    figures: dict[str, float]
    years: pd.DataFrame
    months: pd.DataFrame
    states: pd.DataFrame
    styles: pd.DataFrame | None
    sectors: pd.Series | None
    others: pd.DataFrame
    parameters: pd.DataFrame
    capacity: pd.Series | None
    difference: str | None


def study(
    traded: trading.Traded, scores: pd.DataFrame, prices: Prices, strategy: Strategy, others: pd.DataFrame
) -> Study:
    """Look at what was traded from every side.

    Args:
        scores: sessions × instruments, what was traded. prices: the market, with the bars before the scores, from
            which states and styles are told. others: what `sensitivity.equities` gave.
    """
    measured = trading.measure(traded, prices, strategy)
    equity, returns, periods = traded.result.equity, traded.returns, measured.periods
    # Positions are held from one decision to the next, so returns may depend on one another as long.
    held = strategy.rebalance_sessions if isinstance(strategy.rebalance_sessions, int) else round(periods / 12)
    states = market_states(prices.close)[["market", "volatility"]]
    return Study(
        strategy,
        measured,
        trading.figures(traded, measured),
        stretches.by_year(equity, measured.benchmark, periods),
        stretches.by_month(equity),
        stretches.by_state(returns, states, periods, held),
        due_to_styles(returns, style_returns(prices.close), periods, held),
        by_sector(measured.book.by_name, strategy.sectors),
        others,
        sensitivity.parameters(scores, prices, strategy),
        sensitivity.capacity(traded.weights, traded.prices, strategy),
        first_difference(traded.result, traded.second),
    )


def by_sector(by_name: pd.Series, sectors: dict[str, list[str]]) -> pd.Series | None:
    """Profit of each sector; of names that are in none, as "none"."""
    if not sectors:
        return None
    sector = {name: sector for sector, members in sectors.items() for name in members}
    return by_name.groupby([sector.get(str(name), "none") for name in by_name.index]).sum()
