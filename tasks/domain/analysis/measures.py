"""The figures of a backtest."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from tasks.domain import metrics
from tasks.domain.analysis.book import Book
from tasks.domain.simulate.contract import Result
from tasks.domain.statistics import sharpe_ratio_error

BP = 1e4


class Measured(NamedTuple):
    """A result and what was made of it. `benchmark`: returns from bar to bar; `periods`: bars a year."""

    result: Result
    book: Book
    trips: pd.DataFrame
    benchmark: pd.Series
    periods: float

    @property
    def returns(self) -> pd.Series:
        return metrics.simple_returns(self.result.equity)


def figures(measured: Measured) -> dict[str, float]:
    """All figures by name; NaN where one is undefined. Returns, rates and exposures are fractions, costs currency."""
    return earned(measured) | traded(measured) | {f"cost_{kind}": paid for kind, paid in measured.book.costs.items()}


def earned(measured: Measured) -> dict[str, float]:
    """What was earned, at what risk, and how that compares."""
    equity, returns, periods = measured.result.equity, measured.returns, measured.periods
    benchmark = measured.benchmark.reindex(returns.index).fillna(0.0)
    return {
        "total_return": metrics.total_return(equity),
        "annual_return": metrics.annual_return(equity, periods),
        "annual_volatility": metrics.annual_volatility(returns, periods),
        "sharpe_ratio": metrics.sharpe_ratio(returns, periods),
        "sharpe_ratio_error": sharpe_ratio_error(returns, periods),
        "sortino_ratio": metrics.sortino_ratio(returns, periods),
        "calmar_ratio": metrics.calmar_ratio(equity, periods),
        "max_drawdown": metrics.max_drawdown(equity),
        "max_drawdown_sessions": float(metrics.longest_drawdown(equity)),
        "benchmark_return": float(np.prod(1 + benchmark.to_numpy()) - 1),
        "benchmark_beta": metrics.beta(returns, benchmark),
        "information_ratio": metrics.sharpe_ratio(returns - benchmark, periods),
    }


def traded(measured: Measured) -> dict[str, float]:
    """How it was traded. `trades` are fills; hit rate, profit and holding time are those of closed round trips."""
    (equity, fills), trips = (measured.result.equity, measured.result.fills), measured.trips
    exposure = measured.book.exposure(equity)
    return {
        "turnover": metrics.turnover(fills, equity, measured.periods),
        "trades": float(len(fills)),
        "cost": float(fills["cost"].sum()),
        "round_trips": float(len(trips)),
        "hit_rate": float((trips["profit"] > 0).mean()),
        "profit_per_trade": float(trips["profit"].mean()),
        "profit_per_trade_bp": float(trips["profit"].sum() / trips["entry"].sum() * BP) if len(trips) else float("nan"),
        "holding_sessions": float(trips["bars"].mean()),
        "gross_exposure": float(exposure["gross"].mean()),
        "net_exposure": float(exposure["net"].mean()),
        "time_in_market": float((exposure["gross"] > 0).mean()),
    }
