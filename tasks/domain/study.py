"""All that is told of one backtest: its figures, when and whence its profit came, and what else it might have been."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from tasks.domain import metrics, sensitivity, trading
from tasks.domain.analysis import stretches
from tasks.domain.analysis.benchmark import due_to_styles, style_returns
from tasks.domain.analysis.measures import Measured
from tasks.domain.simulate.agreement import first_difference
from tasks.domain.simulate.contract import Prices
from tasks.domain.states import market_states
from tasks.domain.strategy import Strategy

WALKED = (
    *("total_return", "annual_return", "sharpe_ratio", "sharpe_ratio_error", "max_drawdown", "turnover"),
    *("hit_rate", "cost", "engine_gap_bp"),
)


SHORTEST_BLOCK = 10.0  # bars


class Step(NamedTuple):
    """A stretch of a walk-forward. `family`: of its model; `trained`, `scored`: first and last session of each."""

    family: str
    reason: str
    trained: tuple[pd.Timestamp, pd.Timestamp]
    scored: tuple[pd.Timestamp, pd.Timestamp]


class WalkedForward(NamedTuple):
    """What the retraining itself would have earned before the lockbox. `rank_ic`: of each session, against forward
    returns; `figures`: `backtest.walk_forward_*`."""

    steps: list[Step]
    measured: Measured
    rank_ic: pd.Series
    figures: dict[str, float]


class Study(NamedTuple):
    """`figures`: `backtest.*`; `years`, `months`, `states`: see `analysis.stretches`; `styles`: see `due_to_styles`;
    `sectors`: profit by sector, None where the strategy has none; `others`: equity at other costs and later;
    `parameters`, `capacity`, `luck`: see `sensitivity`; `difference`: where the two engines first part, None where they
    do not."""

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
    luck: pd.DataFrame
    difference: str | None


def study(
    traded: trading.Traded, scores: pd.DataFrame, prices: Prices, strategy: Strategy, others: pd.DataFrame, seed: int
) -> Study:
    """Look at what was traded from every side.

    Args:
        scores: sessions × instruments, what was traded. prices: the market, with the bars before the scores, from
            which states and styles are told. others: what `sensitivity.equities` gave. seed: of other histories.
    """
    measured = trading.measure(traded, prices, strategy)
    equity, returns, periods = traded.result.equity, traded.returns, measured.periods
    # Positions are held from one decision to the next, so returns may depend on one another as long.
    held = strategy.rebalance_sessions if isinstance(strategy.rebalance_sessions, int) else round(periods / 12)
    luck = sensitivity.luck(traded.weights, traded.prices, strategy, block_of(measured, held), seed)
    states = market_states(prices.close)[["market", "volatility"]]
    return Study(
        strategy,
        measured,
        trading.figures(traded, measured) | by_luck(luck, periods),
        stretches.by_year(equity, measured.benchmark, periods),
        stretches.by_month(equity),
        stretches.by_state(returns, states, periods, held),
        due_to_styles(returns, style_returns(prices.close), periods, held),
        by_sector(measured.book.by_name, strategy.sectors),
        others,
        sensitivity.parameters(scores, prices, strategy),
        sensitivity.capacity(traded.weights, traded.prices, strategy),
        luck,
        first_difference(traded.result, traded.second),
    )


def block_of(measured: Measured, held: int) -> float:
    """Bars of a history that stay together on average: twice as long as positions are held, so that most decisions keep
    their consequences; but a fifth of all at most, or histories would hardly differ."""
    longest = max(float(held), float(measured.trips["bars"].mean()) if len(measured.trips) else 0.0)
    return max(SHORTEST_BLOCK, min(2 * longest, len(measured.result.equity) / 5))


def by_luck(luck: pd.DataFrame, periods: float) -> dict[str, float]:
    """How far apart other histories put a result: the middle 95 % of Sharpe ratios, and of drawdowns the 95 % point."""
    drawn = [equity for _, equity in luck.items()]
    ratios = [metrics.sharpe_ratio(metrics.simple_returns(equity), periods) for equity in drawn]
    lower, upper = np.quantile(ratios, [0.025, 0.975]) if drawn else (np.nan, np.nan)
    deepest = np.quantile([metrics.max_drawdown(equity) for equity in drawn], 0.95) if drawn else np.nan
    return {
        "backtest.sharpe_ratio_lower": float(lower),
        "backtest.sharpe_ratio_upper": float(upper),
        "backtest.max_drawdown_upper": float(deepest),
    }


def walk_forward(
    steps: list[Step], scores: pd.DataFrame, prices: Prices, labels: pd.DataFrame, ahead: int, strategy: Strategy
) -> WalkedForward:
    """Trade what each step's model scored.

    Args:
        scores: sessions × instruments, all steps. prices: the market up to their end, or further. labels: forward
            returns on the market's calendar × instruments. ahead: sessions that a label reaches.

    Raises:
        ValueError: a step that scores sessions which its labels reach, or which another step scores; a score that
            belongs to none.
    """
    refuse_overlap(steps, pd.DatetimeIndex(labels.index), ahead, pd.DatetimeIndex(scores.index))
    traded = trading.trade(scores, prices, strategy)
    measured = trading.measure(traded, prices, strategy)
    rank_ic = metrics.rank_ic_series(scores, labels.reindex(index=scores.index, columns=scores.columns))
    all_figures = trading.figures(traded, measured)
    named = {f"backtest.walk_forward_{name}": all_figures[f"backtest.{name}"] for name in WALKED}
    named["backtest.walk_forward_rank_ic"] = float(rank_ic.mean())
    return WalkedForward(steps, measured, rank_ic, named)


def refuse_overlap(steps: list[Step], calendar: pd.DatetimeIndex, ahead: int, sessions: pd.DatetimeIndex) -> None:
    inside = np.zeros(len(sessions), dtype=bool)
    before = -1
    for step in steps:
        first, trained, begin, end = (int(at) for at in calendar.get_indexer(pd.Index((*step.trained, *step.scored))))
        if not (0 <= first <= trained and trained + ahead < begin <= end):
            raise ValueError(f"the model that scores from {step.scored[0]} on was trained on labels that reach there")
        if begin <= before:
            raise ValueError(f"sessions from {step.scored[0]} on are scored by two steps")
        before = end
        inside |= np.asarray((sessions >= step.scored[0]) & (sessions <= step.scored[1]))
    if not inside.all():
        raise ValueError(f"{sessions[~inside][0]} was scored by no step")


def by_sector(by_name: pd.Series, sectors: dict[str, list[str]]) -> pd.Series | None:
    """Profit of each sector; of names that are in none, as "none"."""
    if not sectors:
        return None
    sector = {name: sector for sector, members in sectors.items() for name in members}
    return by_name.groupby([sector.get(str(name), "none") for name in by_name.index]).sum()
