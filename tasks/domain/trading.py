"""What trading the scores would have earned: both engines on the same targets, and their figures."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from tasks.domain import metrics
from tasks.domain.bars import wide
from tasks.domain.errors import UsageError
from tasks.domain.simulate import events, research
from tasks.domain.simulate.contract import Prices, Result
from tasks.domain.simulate.portfolio import target_weights
from tasks.domain.strategy import UNIVERSE, Strategy

BP = 1e4


class Traded(NamedTuple):
    """`result` of the research engine, `second` of the event engine, on the same `weights` and `prices`."""

    weights: pd.DataFrame
    prices: Prices
    result: Result
    second: Result

    @property
    def returns(self) -> pd.Series:
        return metrics.simple_returns(self.result.equity)


def prices_of(bars: pd.DataFrame) -> Prices:
    """What engines need of bars; a field in which nothing is known is left out."""
    held = {name: wide(bars, name) for name in ("close", "open", "high", "low", "volume") if name in bars}
    return Prices(**{name: frame for name, frame in held.items() if name == "close" or frame.notna().any(axis=None)})


def refuse_unfit(strategy: Strategy, prices: Prices) -> None:
    """See that the bars have what a strategy asks for.

    Raises:
        UsageError: volumes or the benchmark are missing.
    """
    if strategy.needs_volume and prices.volume is None:
        raise UsageError("strategy: impact_bp and volume_share need volumes, and the bars have none")
    if strategy.benchmark not in (UNIVERSE, *prices.close.columns):
        raise UsageError(
            f"strategy.benchmark: {strategy.benchmark} is no instrument of the bars; expected one, or universe"
        )


def trade(scores: pd.DataFrame, prices: Prices, strategy: Strategy) -> Traded:
    """Trade the scores over exactly their sessions with both engines."""
    weights = target_weights(scores, strategy, prices.close)
    part = prices.where(prices.close.index.isin(scores.index))
    results = (engine.simulate(weights, part, strategy) for engine in (research, events))
    return Traded(weights, part, *results)


def engine_gap_bp(traded: Traded) -> float:
    """Largest difference of equity on any session, in basis points; infinite if the fills are not the same ones."""
    first, second = traded.result.fills, traded.second.fills
    keys = ["timestamp", "instrument", "side", "reason"]
    if len(first) != len(second) or not first[keys].reset_index(drop=True).equals(second[keys].reset_index(drop=True)):
        return np.inf
    one, two = traded.result.equity, traded.second.equity
    gaps = (one - two).abs() / one.where(one > 0)
    return float(gaps.max() * BP)


def figures(traded: Traded) -> dict[str, float]:
    equity, fills = traded.result.equity, traded.result.fills
    returns = traded.returns
    return {
        "backtest.total_return": metrics.total_return(equity),
        "backtest.annual_return": metrics.annual_return(equity),
        "backtest.annual_volatility": metrics.annual_volatility(returns),
        "backtest.sharpe_ratio": metrics.sharpe_ratio(returns),
        "backtest.max_drawdown": metrics.max_drawdown(equity),
        "backtest.turnover": metrics.turnover(fills, equity),
        "backtest.trades": float(len(fills)),
        "backtest.cost": float(fills["cost"].sum()),
        "backtest.engine_gap_bp": engine_gap_bp(traded),
    }
