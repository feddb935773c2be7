"""What the same scores would have earned at other costs, or acted on later: skill that is there bears both."""

import pandas as pd

from tasks.domain import metrics
from tasks.domain.simulate.contract import Prices
from tasks.domain.simulate.research import sweep
from tasks.domain.strategy import Costs, Strategy

COSTS = (0.0, 1.0, 2.0, 5.0)
LAGS = (1, 2)


def equities(weights: pd.DataFrame, prices: Prices, strategy: Strategy) -> pd.DataFrame:
    """Equity at each session's close, sessions × alternatives, of the target weights that were made of the scores.

    Alternatives: every cost times 0, 1, 2 and 5, orders at their own session; the strategy's own costs, orders one and
    two sessions later than the fill rule has them.
    """
    paths = {f"costs × {factor:g}": (weights, at_costs(strategy, factor)) for factor in COSTS}
    paths |= {f"{lag} session{'s' * (lag > 1)} later": (later(weights, prices, lag), strategy) for lag in LAGS}
    equity = sweep(list(paths.values()), prices)
    return pd.DataFrame(equity.T, prices.calendar, list(paths))


def at_costs(strategy: Strategy, factor: float) -> Strategy:
    """The strategy with all that trading and borrowing cost times a factor; interest stays."""
    costs = strategy.costs.model_dump()
    scaled = {name: value * (1.0 if name == "interest_rate" else factor) for name, value in costs.items()}
    # Not validated: five times a high cost may be more than a problem could ask for, and is worth knowing all the same.
    return strategy.model_copy(update={"costs": Costs.model_construct(**scaled)})


def later(weights: pd.DataFrame, prices: Prices, sessions: int) -> pd.DataFrame:
    """The same decisions so many sessions of the calendar later; those that would lie after its end are left out."""
    places = prices.calendar.get_indexer(weights.index) + sessions
    kept = places < len(prices.calendar)
    return weights[kept].set_axis(prices.calendar[places[kept]])


def table(equity: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Figures of each alternative, by its title: fractions, the Sharpe ratio a year."""
    return {
        str(title): {
            "total_return": metrics.total_return(series),
            "annual_return": metrics.annual_return(series),
            "sharpe_ratio": metrics.sharpe_ratio(metrics.simple_returns(series)),
            "max_drawdown": metrics.max_drawdown(series),
        }
        for title, series in equity.items()
    }
