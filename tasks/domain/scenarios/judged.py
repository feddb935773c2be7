"""What a model does in each scenario: its scores, traded by the research engine, against the limits."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from tasks.domain import metrics, mishaps
from tasks.domain.analysis.book import book
from tasks.domain.scenarios import plan
from tasks.domain.scenarios.market import market_of
from tasks.domain.scenarios.worlds import Base, world
from tasks.domain.simulate.contract import Prices
from tasks.domain.simulate.portfolio import target_weights
from tasks.domain.simulate.research import simulate
from tasks.domain.states import market_states
from tasks.domain.strategy import Strategy

LEAST = 20  # sessions below which a stretch of history says nothing
FIGURES = ("max_drawdown", "turnover", "gross_exposure", "score_shift", "outside_share", "finite_share")


class Run(NamedTuple):
    """Scores, traded over their sessions. `gross`: sum of absolute positions over equity at each close."""

    scores: pd.DataFrame
    equity: pd.Series
    fills: pd.DataFrame
    gross: pd.Series


class History(NamedTuple):
    """The market's own history: `start` of the lockbox; what the model said and would have earned, and its states."""

    run: Run
    start: pd.Timestamp
    states: pd.DataFrame


class Outcome(NamedTuple):
    """`figures`: some of FIGURES, NaN where there is none; `breaches`: limits that were exceeded, in words; `words`:
    anything else to know; `sessions`: how many were traded."""

    scenario: plan.Asked
    kind: str
    sessions: int
    figures: dict[str, float]
    limits: dict[str, float]
    breaches: tuple[str, ...]
    words: str


class Judge(NamedTuple):
    """All that scenarios are judged with. `base`: None where there are too few bars to make others of; `usual`: lowest
    and highest score ever."""

    score: mishaps.Model
    library: plan.Library
    history: History
    base: Base | None
    usual: tuple[float, float]
    strategy: Strategy


def judge(
    score: mishaps.Model,
    library: plan.Library,
    bars: pd.DataFrame,
    full: pd.DataFrame,
    prices: Prices,
    start: pd.Timestamp,
    strategy: Strategy,
    seed: int,
) -> Judge:
    """Get ready: trade the history, and score the bars of which worlds are made.

    Args:
        full: scores of all bars. prices: of all bars. start: first session of the lockbox.
    """
    history = History(trade(full, prices, strategy), start, market_states(prices.close))
    base = base_of(score, library.sessions, bars, full, strategy, seed)
    return Judge(score, library, history, base, mishaps.usual_range(full), strategy)


def base_of(
    score: mishaps.Model, sessions: int, bars: pd.DataFrame, full: pd.DataFrame, strategy: Strategy, seed: int
) -> Base | None:
    warm_up = mishaps.warm_up(bars, full)
    market = market_of(mishaps.newest(bars, warm_up + mishaps.SPARE + sessions))
    since = max(len(market.calendar) - sessions, warm_up + mishaps.SPARE)
    if len(market.calendar) - since < LEAST:
        return None
    bars = market.bars()
    found = mishaps.asked(score, bars, "where holes of the newest bars are filled")
    scores = found if isinstance(found, pd.DataFrame) else pd.DataFrame()
    scores = scores.reindex(index=market.calendar, columns=market.names).astype(float)
    return Base(market, bars, market.prices(), scores, since, strategy, seed)


def trade(scores: pd.DataFrame, prices: Prices, strategy: Strategy) -> Run:
    """Trade scores over the sessions of the calendar from their first to their last."""
    calendar = prices.calendar
    part = prices.where((calendar >= scores.index[0]) & (calendar <= scores.index[-1]))
    inside = scores[scores.index.isin(part.calendar)]
    result = simulate(target_weights(inside, strategy, prices.close), part, strategy)
    gross = book(result, part, strategy.costs).exposure(result.equity)["gross"]
    return Run(inside, result.equity, result.fills, gross)


def outcome(told: Judge, scenario: plan.Scenario) -> Outcome:
    if isinstance(scenario, plan.Window | plan.Regime):
        return of_history(told, scenario)
    return made(told, scenario)


def of_history(told: Judge, scenario: plan.Window | plan.Regime) -> Outcome:
    """A part of the market's own history, as it would have been traded from the first score on."""
    run = told.history.run
    inside = sessions_of(scenario, told.history)
    if int(inside.sum()) < LEAST:
        return closed(told, scenario, int(inside.sum()), {}, "the data has no, or too few, scored sessions of it")
    calendar = pd.DatetimeIndex(run.equity.index)
    returns = run.equity.pct_change().fillna(0.0)[inside]
    equity = pd.concat([pd.Series([1.0]), (1 + returns).cumprod()])  # sessions of a regime one after the other
    traded = run.fills[run.fills["timestamp"].isin(calendar[inside])]
    # What was traded in a session, in units of the equity it had then.
    notional = traded["notional"] / run.equity.reindex(traded["timestamp"]).to_numpy()
    periods = metrics.periods_a_year(calendar)
    scores = run.scores[run.scores.index.isin(calendar[inside])]
    figures = {
        "max_drawdown": metrics.max_drawdown(equity),
        "turnover": float(notional.sum() / 2 * periods / int(inside.sum())),
        "gross_exposure": highest(run.gross[inside], told.strategy),
        "score_shift": distance(scores, run.scores),
        "outside_share": mishaps.outside(scores, told.usual),
    }
    return closed(told, scenario, int(inside.sum()), figures, sample(calendar[inside], told.history.start))


def sessions_of(scenario: plan.Window | plan.Regime, history: History) -> np.ndarray:
    calendar = pd.DatetimeIndex(history.run.equity.index)
    if isinstance(scenario, plan.Window):
        after = calendar >= pd.Timestamp(scenario.first)
        return np.asarray(after & (calendar < pd.Timestamp(scenario.last) + pd.Timedelta(days=1)))
    return np.asarray(history.states[scenario.of].reindex(calendar) == scenario.state)


def sample(sessions: pd.DatetimeIndex, start: pd.Timestamp) -> str:
    """Whether training had seen them."""
    seen = float((sessions < start).mean())
    if seen == 0:
        return "out of sample: training never had these sessions"
    part = "training had these sessions" if seen == 1 else f"training had {seen:.0%} of these sessions"
    return f"in sample: {part}, which flatters"


def made(told: Judge, scenario: plan.Scenario) -> Outcome:
    """A world that is made, scored anew."""
    if told.base is None:
        return closed(told, scenario, 0, {}, "there are too few bars to make it of")
    made = world(scenario, told.base)
    calendar = told.base.market.calendar[told.base.since :]
    when = f"in the scenario {scenario.name.replace('_', ' ')}"
    found = told.base.scores if made.seen is told.base.bars else mishaps.asked(told.score, made.seen, when)
    if isinstance(found, str):
        return closed(told, scenario, len(calendar), {"finite_share": 0.0}, f"the model fails: {found}")
    scores = found.reindex(columns=told.base.market.names)
    scores = scores[scores.index.isin(calendar)].astype(float)
    due = expected(told.base, made.seen, made.robbed)
    figures = {"finite_share": finite_share(scores, due), "outside_share": mishaps.outside(scores, told.usual)}
    words = ""
    if np.isfinite(scores.to_numpy()).any():
        run = trade(scores, made.prices.where(made.prices.calendar >= calendar[0]), made.strategy)
        figures |= {
            "max_drawdown": metrics.max_drawdown(run.equity),
            "turnover": metrics.turnover(run.fills, run.equity, metrics.periods_a_year(calendar)),
            "gross_exposure": highest(run.gross, made.strategy),
            "score_shift": distance(scores, told.base.scores.loc[calendar]),
        }
    if figures["finite_share"] < 1:
        words = first_missing(scores, due)
    return closed(told, scenario, len(calendar), figures, words)


def expected(base: Base, seen: pd.DataFrame, robbed: Sequence[str]) -> pd.DataFrame:
    """Which names must be scored at which of the traded sessions: those that ordinarily are, have a bar, and were not
    robbed of one."""
    calendar = base.market.calendar[base.since :]
    ordinary = mishaps.finite(base.scores.loc[calendar])
    present = pd.MultiIndex.from_frame(seen[["timestamp", "instrument"]])
    asked = pd.MultiIndex.from_product([calendar, base.market.names])
    there = asked.isin(present).reshape(ordinary.shape)
    due = ordinary & there
    due[list(robbed)] = False
    return due


def finite_share(scores: pd.DataFrame, due: pd.DataFrame) -> float:
    """Share of what must be scored that is, finitely; an infinite score counts against it wherever it stands."""
    mine = scores.reindex(index=due.index, columns=due.columns)
    sound = mishaps.finite(mine)
    must = due | (mine.notna() & ~sound)
    count = int(must.to_numpy().sum())
    return float((must & sound).to_numpy().sum() / count) if count else float("nan")


def first_missing(scores: pd.DataFrame, due: pd.DataFrame) -> str:
    missing = due & ~mishaps.finite(scores.reindex(index=due.index, columns=due.columns))
    if not missing.to_numpy().any():
        return ""
    session = missing.index[missing.any(axis=1)][0]
    return f"{missing.columns[missing.loc[session]][0]} has no finite score on {session.date()}, nor have others"


def highest(gross: pd.Series, strategy: Strategy) -> float:
    """Of the exposures, in multiples of the strategy's limit; infinite after ruin."""
    worst = float(gross.max()) / strategy.gross_limit
    return float("inf") if gross.isna().any() else worst


def distance(scores: pd.DataFrame, ordinary: pd.DataFrame) -> float:
    """Kolmogorov–Smirnov distance of two sets of scores; NaN where one is empty."""
    mine, usual = (values[np.isfinite(values)] for values in (scores.to_numpy(), ordinary.to_numpy()))
    if not (len(mine) and len(usual)):
        return float("nan")
    return float(stats.ks_2samp(mine, usual, method="asymp").statistic)


def closed(told: Judge, scenario: plan.Scenario, sessions: int, figures: dict[str, float], words: str) -> Outcome:
    limits = told.library.limits_of(scenario)
    broken = {name: limit for name, limit in limits.items() if figures.get(name, 0.0) > limit}
    breaches = tuple(f"{name} {figures[name]:.3g} above {limit:g}" for name, limit in broken.items())
    return Outcome(scenario, scenario.kind, sessions, figures, limits, breaches, words)


def figures(found: Sequence[Outcome]) -> dict[str, float]:
    """Each scenario's own, and what gates ask of all of them: `finite_share` is the lowest of any."""
    own = {
        f"scenario.{each.scenario.name}.{name}": each.figures[name]
        for each in found
        for name in FIGURES
        if name in each.figures
    }
    shares = [each.figures["finite_share"] for each in found if "finite_share" in each.figures]
    falls = [each.figures["max_drawdown"] for each in found if "max_drawdown" in each.figures]
    ran = sum(bool(each.figures) for each in found)
    told = {"scenario.breaches": float(sum(len(each.breaches) for each in found))} if ran else {}
    # No figure where none ran: its gate then fails for want of evidence.
    told |= {"scenario.ran": 1.0} if ran else {}
    told |= {"scenario.finite_share": float(np.min(shares))} if shares else {}
    return own | told | ({"scenario.worst_drawdown": float(np.nanmax(falls))} if falls else {})


def table(found: Sequence[Outcome]) -> dict[str, dict[str, Any]]:
    """The outcomes as a report has them, by scenario."""
    return {
        each.scenario.name: {
            "kind": each.kind,
            "why": each.scenario.why,
            "sessions": each.sessions,
            "figures": {name: value for name, value in each.figures.items() if np.isfinite(value)},
            "limits": each.limits,
            "breaches": list(each.breaches),
            "words": each.words,
        }
        for each in found
    }
