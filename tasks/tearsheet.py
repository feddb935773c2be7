"""The page a trader reads of a backtest: one HTML file that opens offline, with its pictures in it."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from tasks import plots_backtest
from tasks.domain import metrics, sensitivity
from tasks.domain.analysis.stretches import rolling_sharpe
from tasks.domain.analysis.words import EARNED, TRADED, written
from tasks.domain.strategy import UNIVERSE, Strategy
from tasks.domain.study import Study, WalkedForward
from tasks.pages import assembled, bullets, cell, picture, section, table, text

PAGE = "tearsheet.html"
SURE = 1.96  # standard errors, 95 % of a normal distribution
SIZED = {
    "equal": "in equal parts",
    "score": "in proportion to the score",
    "inverse_volatility": "in proportion to the inverse of volatility",
    "minimum_variance": "so that the book varies least",
}


def tearsheet(
    title: str, told: Study, forward: WalkedForward | None = None, third: str = "No third engine was asked"
) -> tuple[str, dict[str, bytes]]:
    """The page, and its pictures as PNG bytes by file name. `third`: what another engine said of the fills."""
    drawn = pictures(told, forward)
    shown = {name: picture(name, content) for name, content in drawn.items()}
    return page(title, told, forward, third, shown), drawn


def pictures(told: Study, forward: WalkedForward | None) -> dict[str, bytes]:
    """One for each thing that is known."""
    measured, capital = told.measured, told.strategy.capital
    equity, trips, by_name = measured.result.equity, measured.trips, measured.book.by_name
    found = {
        "equity.png": plots_backtest.equity(equity, measured.benchmark),
        "drawdown.png": plots_backtest.drawdown(metrics.drawdown(equity)),
        "sensitivity.png": plots_backtest.sensitivity(told.others),
        "parameters.png": plots_backtest.parameters(told.parameters),
        "exposure.png": plots_backtest.exposure(measured.book.exposure(equity)),
        "costs.png": plots_backtest.costs(measured.book.costs, capital),
    }
    if len(told.months):
        found["months.png"] = plots_backtest.months(told.months)
    if told.luck.shape[1]:
        found["luck.png"] = plots_backtest.luck(equity, told.luck)
    if len(rolling := rolling_sharpe(measured.returns, measured.periods).dropna()):
        found["rolling_sharpe.png"] = plots_backtest.rolling_sharpe(rolling)
    if len(told.states):
        found["states.png"] = plots_backtest.states(told.states)
    if len(by_name) > 1:
        found["names.png"] = plots_backtest.profits(by_name, capital, "Profit by instrument")
    if told.sectors is not None:
        found["sectors.png"] = plots_backtest.profits(told.sectors, capital, "Profit by sector")
    if len(trips):
        found["trips.png"] = plots_backtest.trips((trips["profit"] / trips["entry"]).to_list())
    if told.capacity is not None:
        found["capacity.png"] = plots_backtest.capacity(told.capacity)
    if forward is not None:
        starts = [step.scored[0] for step in forward.steps]
        found["walk_forward.png"] = plots_backtest.walk_forward(forward.measured.result.equity, starts)
    return found


def page(title: str, told: Study, forward: WalkedForward | None, third: str, shown: Mapping[str, str]) -> str:
    def these(*names: str) -> str:
        return "".join(shown.get(f"{name}.png", "") for name in names)

    figures = {name.removeprefix("backtest."): value for name, value in told.figures.items()}
    return assembled(
        title,
        [
            f"<h1>{escape(title)}</h1>",
            in_short(told, figures),
            section("What was traded", text(words(told.strategy)) + calendar(told)),
            f'<div class="columns">{column("Earned", EARNED, figures)}{column("Traded", TRADED, figures)}</div>',
            section("What it earned", these("equity", "drawdown", "rolling_sharpe")),
            section("When it earned it", years(told) + these("months", "states")),
            section("Where it came from", these("names", "sectors") + styles(told.styles)),
            section("How it traded", these("exposure", "trips", "costs") + reasons(told.measured.trips)),
            section("Had it cost more, or come later", these("sensitivity") + others(told)),
            section("Had it had other luck", lucky(told, figures) + these("luck")),
            section("Had it been set up otherwise", parameters() + these("parameters")),
            section("Retrained again and again, before the lockbox", walked(forward) + these("walk_forward")),
            section("With more money", these("capacity") or text(NO_CAPACITY, "quiet")),
            section("Can this be believed", bullets(doubts(told, third))),
        ],
    )


NO_CAPACITY = "Not known: the strategy names neither impact_bp nor volume_share, so trades of any size cost alike."


def in_short(told: Study, figures: Mapping[str, float]) -> str:
    """The page in three lines that do not flatter."""
    ratio, error = figures["sharpe_ratio"], figures["sharpe_ratio_error"]
    if not np.isfinite(ratio) or not np.isfinite(error):
        first = "It did not trade, or nothing moved: there is nothing to judge."
    else:
        sure = "above zero" if ratio > SURE * error else "below zero" if ratio < -SURE * error else "no proof of skill"
        first = (
            f"Net of costs it earned {figures['annual_return']:+.2%} a year; its Sharpe ratio of {ratio:+.2f} ± "
            f"{error:.2f} is {sure}."
        )
    lines = [
        first,
        f"The benchmark earned {figures['benchmark_return']:+.2%} over the same time, the strategy "
        f"{figures['total_return']:+.2%}.",
        f"It fell by {figures['max_drawdown']:.1%} from its highest, and stayed below it for "
        f"{figures['max_drawdown_sessions']:,.0f} bars at the longest.",
    ]
    return f'<div class="account">{bullets(lines)}</div>'


def words(strategy: Strategy) -> str:
    """The strategy in a few sentences."""
    every = strategy.rebalance_sessions
    rhythm = every if isinstance(every, str) else "every session" if every == 1 else f"every {every} sessions"
    sides = f"long the top {strategy.long_fraction:.0%} of names by score" + (
        f", short the bottom {strategy.short_fraction:.0%}" if strategy.short_fraction else ""
    )
    enter, leave = strategy.thresholds
    score = f", from a score of {enter:g} on and until {leave:g}" if strategy.entry_score is not None else ""
    costs = strategy.costs
    held = "all instruments, equally weighted" if strategy.benchmark == UNIVERSE else strategy.benchmark
    return (
        f"Decided {rhythm}: {sides}{score}; {SIZED[strategy.sizing]}, at most "
        f"{strategy.gross_limit:g} times equity in all and {strategy.name_limit:.0%} in one name. A decision at a "
        "close is filled at the next open (close, where there are no opens). Costs: "
        f"{costs.commission_bp:g} bp commission, {costs.half_spread_bp:g} bp half spread, {costs.impact_bp:g} bp "
        f"impact. Held against {held}."
    )


def calendar(told: Study) -> str:
    equity = told.measured.result.equity
    return text(
        f"{len(equity):,} bars from {cell(equity.index[0])} to {cell(equity.index[-1])}, "
        f"{told.measured.periods:,.0f} a year; capital {told.strategy.capital:,.0f}.",
        "quiet",
    )


def column(title: str, known: Mapping[str, tuple[str, str]], figures: Mapping[str, float]) -> str:
    lines = [[(said, ""), (written(figures[name], form), "number")] for name, (said, form) in known.items()]
    return f"<div><p><b>{title}</b></p>{table([], lines)}</div>"


def years(told: Study) -> str:
    lines: list[Sequence[tuple[Any, str]]] = [
        [
            (year, ""),
            (f"{row['bars']:,.0f}", "number"),
            (f"{row['total_return']:+.2%}", tone(row["total_return"])),
            (written(row["sharpe_ratio"], "{:+.2f}"), "number"),
            (f"{row['max_drawdown']:.2%}", "number"),
            (f"{row['benchmark']:+.2%}", "number"),
        ]
        for year, row in told.years.iterrows()
    ]
    return table(["year", "bars", "return, net", "Sharpe ratio", "deepest drawdown", "benchmark"], lines)


def tone(value: float) -> str:
    return "number bad" if value < 0 else "number"


def styles(found: pd.DataFrame | None) -> str:
    if found is None or len(found) < 2:
        return text("Too few bars to tell what the returns are due to.", "quiet")
    lines = [
        [
            ("left over (alpha)" if name == "alpha" else name, ""),
            ("" if name == "alpha" else f"{row['beta']:+.3f}", "number"),
            (f"{row['contribution']:+.2%}", tone(row["contribution"])),
            (f"{row['t']:+.1f}", "number"),
        ]
        for name, row in found.iterrows()
    ]
    told = "Styles are long-short books made of the same instruments; a |t| below 2 may well be chance."
    return text(told, "quiet") + table(["due to", "beta", "return a year", "t"], lines)


def reasons(trips: pd.DataFrame) -> str:
    if trips.empty:
        return text("No round trip was closed.", "quiet")
    lines: list[Sequence[tuple[Any, str]]] = [
        [
            (f"{side}, closed by {str(reason).replace('_', ' ')}", ""),
            (f"{len(part):,}", "number"),
            (f"{(part['profit'] > 0).mean():.1%}", "number"),
            (f"{part['profit'].mean():+,.2f}", tone(part["profit"].mean())),
            (f"{part['bars'].mean():,.1f}", "number"),
        ]
        for (side, reason), part in trips.groupby(["side", "reason"])
    ]
    return table(["round trips", "number", "with a profit", "mean profit", "mean bars held"], lines)


def others(told: Study) -> str:
    lines: list[Sequence[tuple[Any, str]]] = [
        [
            (title, ""),
            (f"{found['total_return']:+.2%}", tone(found["total_return"])),
            (f"{found['annual_return']:+.2%}", tone(found["annual_return"])),
            (written(found["sharpe_ratio"], "{:+.2f}"), "number"),
            (f"{found['max_drawdown']:.2%}", "number"),
        ]
        for title, found in sensitivity.table(told.others).items()
    ]
    return table(["", "total return", "a year", "Sharpe ratio", "deepest drawdown"], lines)


def lucky(told: Study, figures: Mapping[str, float]) -> str:
    if not told.luck.shape[1]:
        return text("Too few bars for other histories.", "quiet")
    lower, upper = (written(figures[f"sharpe_ratio_{end}"], "{:+.2f}") for end in ("lower", "upper"))
    return text(
        f"{told.luck.shape[1]} other histories were put together from runs of bars of this one, and traded by the same "
        f"rules and costs. The middle 95 % of their Sharpe ratios lies between {lower} and {upper}; one in twenty fell "
        f"by {figures['max_drawdown_upper']:.1%} or more."
    )


def parameters() -> str:
    return text(
        "Nothing is chosen from this picture. Skill shows as a plain, a lucky choice as a lone peak. A problem that is "
        "changed after a look at it becomes a new version, and every trial made before counts against its successor."
    )


def walked(forward: WalkedForward | None) -> str:
    """The procedure's own record, step by step."""
    if forward is None:
        return text("Nothing was walked forward: splits are in no order of time, or nothing is retrained.", "quiet")
    found = {name.removeprefix("backtest.walk_forward_"): value for name, value in forward.figures.items()}
    returns = forward.measured.returns
    lines: list[Sequence[tuple[Any, str]]] = []
    for step in forward.steps:
        part = returns[(returns.index >= step.scored[0]) & (returns.index <= step.scored[1])]
        ranks = forward.rank_ic[(forward.rank_ic.index >= step.scored[0]) & (forward.rank_ic.index <= step.scored[1])]
        earned = float(np.prod(1 + part.to_numpy()) - 1)
        lines.append(
            [
                (f"{step.scored[0].date()} to {step.scored[1].date()}", ""),
                (f"{step.trained[1].date()}", ""),
                (step.family, ""),
                (written(ranks.mean(), "{:+.4f}"), "number"),
                (f"{earned:+.2%}", tone(earned)),
                (written(metrics.sharpe_ratio(part, forward.measured.periods), "{:+.2f}"), "number"),
            ]
        )
    said = (
        "At each step the model was chosen and fitted anew, by what was known then, and traded until the next. Sharpe "
        f"ratio {written(found['sharpe_ratio'], '{:+.2f}')} ± {written(found['sharpe_ratio_error'], '{:.2f}')} a year, "
        f"net; {found['annual_return']:+.2%} a year; deepest drawdown {found['max_drawdown']:.1%}; mean rank IC "
        f"{written(found['rank_ic'], '{:+.4f}')}. Two engines are {found['engine_gap_bp']:.1e} bp apart."
    )
    return text(said) + table(["traded", "trained until", "family", "rank IC", "return, net", "Sharpe ratio"], lines)


def doubts(told: Study, third: str) -> list[str]:
    """What a reader should know before believing any of it."""
    gap, found = told.figures["backtest.engine_gap_bp"], []
    if told.difference is None:
        found.append(
            f"Two engines written apart from one page of rules agree on every fill, to {gap:.1e} bp of equity."
        )
    else:
        found.append(f"The two engines differ: {told.difference}.")
    found.append(f"{third}.")
    found.append(
        "That proves the arithmetic, not the scores: whether these knew the future, the probes of the validation tell."
    )
    if told.strategy.costs.impact_bp == 0:
        found.append("Trades are taken to move no price (impact_bp is 0).")
    if told.strategy.costs.borrow_rate == 0 and told.strategy.short_fraction:
        found.append("Shorts are taken to cost no borrow (borrow_rate is 0).")
    found.append("Instruments that no longer exist and were left out of the data are missing here too.")
    return found
