"""What the same scores would have earned at other costs, or acted on later: skill that is there bears both."""

import numpy as np
import pandas as pd

from tasks.domain import metrics
from tasks.domain.simulate.contract import Prices
from tasks.domain.simulate.portfolio import target_weights
from tasks.domain.simulate.resampling import Histories, stationary_order
from tasks.domain.simulate.research import simulate, sweep
from tasks.domain.strategy import Costs, Strategy

COSTS = (0.0, 1.0, 2.0, 5.0)
LAGS = (1, 2)
INTERVALS = (1, 2, 5, 10, 20)  # sessions between decisions
FACTORS = (0.5, 0.75, 1.0, 1.5, 2.0)  # of what picks the names
DRAWS, MOST_CELLS = (20, 200), 20_000_000  # histories drawn; fewer of a large market
CAPITALS = tuple(10.0**power for power in range(-2, 5))  # times the strategy's own


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


def parameters(scores: pd.DataFrame, prices: Prices, strategy: Strategy) -> pd.DataFrame:
    """Net Sharpe ratios a year of the same scores under other parameters, of which none is chosen.

    Args:
        scores: sessions × instruments. prices: of a calendar that holds them, and perhaps bars before.

    Returns:
        how many names are held (or, where scores have a threshold, that threshold) × sessions between decisions; NaN
        where a strategy cannot be like that.
    """
    part = prices.where(prices.close.index.isin(scores.index))
    ways = {
        (title, every): asked.model_copy(update={"rebalance_sessions": every})
        for title, asked in pickier(strategy).items()
        for every in INTERVALS
    }
    paths = [(target_weights(scores, asked, prices.close), asked) for asked in ways.values()]
    equity, periods = sweep(paths, part), metrics.periods_a_year(part.calendar)
    ratios = {
        way: metrics.sharpe_ratio(metrics.simple_returns(pd.Series(line, part.calendar)), periods)
        for way, line in zip(ways, equity, strict=True)
    }
    return pd.Series(ratios).unstack()[list(INTERVALS)].loc[list(pickier(strategy))]


def pickier(strategy: Strategy) -> dict[str, Strategy]:
    """The strategy with fewer and with more names, or with other thresholds, by title."""
    found = {}
    for factor in FACTORS:
        if strategy.entry_score is not None:
            enter, leave = (factor * threshold for threshold in strategy.thresholds)
            found[f"score {enter:.3g}"] = strategy.model_copy(update={"entry_score": enter, "exit_score": leave})
            continue
        long, short = (min(factor * part, 0.5) for part in (strategy.long_fraction, strategy.short_fraction))
        leave = min(max(factor * strategy.exit_fraction, long, short), 0.5)
        fractions = {"long_fraction": long, "short_fraction": short, "exit_fraction": leave}
        found[f"{long:.3%} long, {short:.3%} short".replace(".000%", "%")] = strategy.model_copy(update=fractions)
    return found


def capacity(weights: pd.DataFrame, prices: Prices, strategy: Strategy) -> pd.Series | None:
    """Net return a year of the same targets, by capital (currency); None where no size of trade costs or fails more.

    What a large book loses is what `impact_bp` and `volume_share` say.
    """
    if not strategy.needs_volume:
        return None
    capitals = [factor * strategy.capital for factor in CAPITALS]
    equity = sweep([(weights, strategy.model_copy(update={"capital": capital})) for capital in capitals], prices)
    periods = metrics.periods_a_year(prices.calendar)
    return pd.Series([metrics.annual_return(pd.Series(line), periods) for line in equity], capitals)


def luck(weights: pd.DataFrame, prices: Prices, strategy: Strategy, block: float, seed: int) -> pd.DataFrame:
    """Equity of the same rules on other histories of the same market, bars × draws (`simulate.resampling`).

    Args:
        block: mean length of what stays together, in bars. seed: of the draws.
    """
    rng, histories = np.random.default_rng(seed), Histories(prices)
    draws = int(np.clip(MOST_CELLS // prices.close.size, *DRAWS))
    found = {}
    for draw in range(draws if len(prices.calendar) > 1 else 0):
        order = stationary_order(len(prices.calendar), block, rng)
        found[draw] = simulate(*histories.draw(weights, order), strategy).equity
    return pd.DataFrame(found, prices.calendar)


def table(equity: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Figures of each alternative, by its title: fractions, the Sharpe ratio a year."""
    periods = metrics.periods_a_year(pd.DatetimeIndex(equity.index))
    return {
        str(title): {
            "total_return": metrics.total_return(series),
            "annual_return": metrics.annual_return(series, periods),
            "sharpe_ratio": metrics.sharpe_ratio(metrics.simple_returns(series), periods),
            "max_drawdown": metrics.max_drawdown(series),
        }
        for title, series in equity.items()
    }
