"""What trading the scores would have earned: both engines on the same targets, and their figures."""

from typing import NamedTuple

import pandas as pd

from tasks.domain import metrics
from tasks.domain.analysis import measures
from tasks.domain.analysis.benchmark import benchmark_returns
from tasks.domain.analysis.book import book
from tasks.domain.analysis.measures import Measured
from tasks.domain.analysis.trips import round_trips
from tasks.domain.bars import wide
from tasks.domain.errors import UsageError
from tasks.domain.metrics import periods_a_year
from tasks.domain.simulate import events, research
from tasks.domain.simulate.agreement import gap_bp
from tasks.domain.simulate.contract import Prices, Result
from tasks.domain.simulate.portfolio import target_weights
from tasks.domain.strategy import UNIVERSE, Strategy


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


def measure(traded: Traded, prices: Prices, strategy: Strategy) -> Measured:
    """What the research engine's result comes to; `prices` may begin before the first decision."""
    result = traded.result
    return Measured(
        result,
        book(result, traded.prices, strategy.costs),
        round_trips(result.fills, traded.prices.calendar),
        benchmark_returns(prices.close, strategy.benchmark).reindex(result.equity.index),
        periods_a_year(traded.prices.calendar),
    )


def figures(traded: Traded, measured: Measured) -> dict[str, float]:
    """All figures of a backtest, as gates ask for them."""
    found = measures.figures(measured) | {"engine_gap_bp": gap_bp(traded.result, traded.second)}
    return {f"backtest.{name}": value for name, value in found.items()}
