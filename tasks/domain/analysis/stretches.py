"""Returns by year, by month and by the state of the market."""

import numpy as np
import pandas as pd

from tasks.domain import metrics
from tasks.domain.statistics import mean_error

ORDER = {"low": "1", "middle": "2", "high": "3"}
FEWEST = 20  # bars on which a state of the market is judged


def by_year(equity: pd.Series, benchmark: pd.Series, periods: float) -> pd.DataFrame:
    """Calendar years × `bars`, `total_return`, `sharpe_ratio`, `max_drawdown`, `benchmark` (its total return).

    `benchmark`: returns from bar to bar. A year begins with the last close of the one before.
    """
    returns = metrics.simple_returns(equity)
    years = pd.DatetimeIndex(returns.index).year
    found = {}
    for year in years.unique():
        part = returns[years == year]
        grown = pd.concat([pd.Series([1.0]), (1 + part).cumprod()])
        found[int(year)] = {
            "bars": len(part),
            "total_return": metrics.total_return(grown),
            "sharpe_ratio": metrics.sharpe_ratio(part, periods),
            "max_drawdown": metrics.max_drawdown(grown),
            "benchmark": float(np.prod(1 + benchmark.reindex(part.index).fillna(0.0).to_numpy()) - 1),
        }
    return pd.DataFrame.from_dict(found, orient="index")


def by_month(equity: pd.Series) -> pd.DataFrame:
    """Total returns, years × months 1 to 12; NaN where there is no bar."""
    returns = metrics.simple_returns(equity)
    days = pd.DatetimeIndex(returns.index)
    grown = (1 + returns).groupby([days.year, days.month]).prod() - 1
    return grown.unstack().reindex(columns=range(1, 13))


def by_state(returns: pd.Series, states: pd.DataFrame, periods: float, lags: int) -> pd.DataFrame:
    """Mean returns of the bars that followed each state of the market.

    Args:
        returns: from bar to bar. states: bars × kinds of state as known at the close (`states.market_states`).
        periods: bars a year. lags: over which returns may depend on one another.

    Returns:
        `kind`, `state`, `bars`, `annual_return` (mean × periods, fraction), its `standard_error`; states of fewer than
        20 bars are left out.
    """
    # A state is known at a close; the return that can still be earned in it is the next one.
    found = means_by_state(returns, states.shift().reindex(returns.index), lags)
    found[["mean", "standard_error"]] *= periods
    found = found.rename(columns={"count": "bars", "mean": "annual_return"})
    return found.sort_values(["kind", "state"], ignore_index=True, key=lambda part: part.replace(ORDER))


def means_by_state(values: pd.Series, states: pd.DataFrame, lags: int) -> pd.DataFrame:
    """Means of values in order of time in each state, with the standard error that dependence over `lags` leaves.

    `states`: the same times × kinds of state. Returns `kind`, `state`, `count`, `mean`, `standard_error`; states of
    fewer than 20 values are left out.
    """
    lines = []
    for kind in states.columns:
        for state, part in values.groupby(states[kind], sort=False):
            if len(part) >= FEWEST:
                error = mean_error(part.to_numpy(), values.index.get_indexer(part.index), lags)
                lines.append((str(kind), str(state), len(part), float(part.mean()), error))
    return pd.DataFrame(lines, columns=["kind", "state", "count", "mean", "standard_error"])


def rolling_sharpe(returns: pd.Series, periods: float) -> pd.Series:
    """Sharpe ratio a year of the bars of the half year up to each bar; NaN before, and where nothing moved."""
    window = max(2, round(periods / 2))
    spread = returns.rolling(window).std()
    return pd.Series(returns.rolling(window).mean() / spread.where(spread > 0) * np.sqrt(periods))
