"""Pictures of a fitted model, as PNG bytes: what moves it, how well it forecasts, and how it compares."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tasks.domain.explain.dependence import Dependence
from tasks.domain.explain.diagnosis import Reliability
from tasks.pages import short
from tasks.plots import BLUE, GREY, MANY, RED, blank, literal, png

SHOWN, IN_SWARM, COLUMNS, WIDEST = 15, 10, 3, 48
LOW_TO_HIGH = LinearSegmentedColormap.from_list("values", [(0, BLUE), (0.5, "#cbd5e0"), (1, RED)])
PALE, INK = "#ebf4ff", "#1a202c"


class Tried(NamedTuple):
    """A trial as it is shown: its family's complexity `tier` from 1 to 4 in `complexity` words, its estimate."""

    family: str
    tier: int
    complexity: str
    parameters: str
    rank_ic: float
    standard_error: float
    fit_seconds: float | None
    chosen: bool


def label(text: str) -> str:
    """Text from data, as much of it as there is room for."""
    return literal(short(text, WIDEST))


def importance(words: Sequence[str], mean: np.ndarray, deviation: np.ndarray | None) -> bytes:
    """Shares of importance of the strongest features, with one standard deviation over folds where that is known."""
    strongest = np.argsort(-mean, kind="stable")[:SHOWN][::-1]
    figure, axes = blank("What moves the scores", "", height=1.3 + 0.27 * len(strongest))
    bars = None if deviation is None else 100 * deviation[strongest]
    whiskers = {"ecolor": GREY, "capsize": 3, "error_kw": {"lw": 1.2}} if deviation is not None else {}
    axes.barh(range(len(strongest)), 100 * mean[strongest], xerr=bars, color=BLUE, **whiskers)
    axes.set_yticks(range(len(strongest)), [label(words[at]) for at in strongest], fontsize=8)
    over = "; lines: ± one standard deviation over folds" if deviation is not None else ""
    axes.set_xlabel(f"share of all movement, %{over}")
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3, axis="x")
    axes.grid(False, axis="y")
    return png(figure)


def contributions(words: Sequence[str], values: np.ndarray, moved: np.ndarray, unit: str) -> bytes:
    """Each dot is a row: how far a feature moved its score, coloured by the feature's value among the rows.

    Args:
        values, moved: rows × features, the values and their contributions.
        unit: what the contributions add up to.
    """
    strongest = np.argsort(-np.abs(moved).mean(axis=0), kind="stable")[:IN_SWARM][::-1]
    figure, axes = blank(
        "How they move them: each dot is one name on one session", "", height=1.6 + 0.42 * len(strongest)
    )
    colour = pd.DataFrame(values).rank(pct=True).to_numpy()
    for line, at in enumerate(strongest):
        seen = axes.scatter(
            moved[:, at], line + swarm(moved[:, at]), c=colour[:, at], cmap=LOW_TO_HIGH, vmin=0, vmax=1, s=9, lw=0
        )
    axes.axvline(0, color=GREY, lw=1)
    axes.set_yticks(range(len(strongest)), [label(words[at]) for at in strongest], fontsize=8)
    axes.set_ylim(-0.6, len(strongest) - 0.4)
    axes.set_xlabel(f"contribution to the {unit}")
    bar = figure.colorbar(seen, ax=axes, pad=0.01, shrink=0.7, aspect=30, ticks=[0.02, 0.98])
    bar.set_ticklabels(["low", "high"])
    bar.set_label("value of the feature", fontsize=8, labelpad=-12)
    return png(figure)


def swarm(values: np.ndarray, width: float = 0.38, bins: int = 60) -> np.ndarray:
    """Heights that keep dots of about equal value apart: those of a bin side by side, in order, around zero."""
    low, high = float(values.min()), float(values.max())
    place = np.minimum(((values - low) / ((high - low) or 1.0) * bins).astype(int), bins - 1)
    turn = pd.Series(place).groupby(place).cumcount().to_numpy()
    step = (turn + 1) // 2 * np.where(turn % 2, 1, -1)
    return np.asarray(width * step / max(np.abs(step).max(), 8))


def dependence(words: Sequence[str], curves: Sequence[Dependence]) -> bytes:
    """Partial dependence of the strongest features, on one scale, so that heights can be compared."""
    lines = math.ceil(len(curves) / COLUMNS)
    figure = Figure(figsize=(8.5, 2.3 * lines + 0.4), layout="constrained")
    figure.suptitle("Mean score as one feature changes and the others stay", x=0.01, ha="left", fontsize=11)
    panels = figure.subplots(lines, COLUMNS, sharey=True, squeeze=False).ravel()
    for axes, word, curve in zip(panels, words, curves, strict=False):
        axes.fill_between(curve.grid, curve.low, curve.high, color=BLUE, alpha=0.15, lw=0)
        axes.plot(curve.grid, curve.mean, color=BLUE)
        axes.set_title(label(word), fontsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.3)
    for axes in panels[len(curves) :]:
        axes.set_axis_off()
    for axes in panels[: len(curves) : COLUMNS]:
        axes.set_ylabel("mean score", fontsize=8)
    return png(figure)


def calibration(groups: pd.DataFrame, horizon: int) -> bytes:
    """What each score group brought beyond its session's mean, ± one standard error, in basis points."""
    figure, axes = blank("What each score group earned, out of fold", f"{horizon}-session return\nbeyond the mean, bp")
    labels = [str(group) for group in groups.index]
    axes.bar(labels, groups["label"] * 1e4, color=BLUE, width=0.6)
    axes.errorbar(labels, groups["label"] * 1e4, groups["standard_error"] * 1e4, fmt="none", ecolor=INK, capsize=4)
    axes.axhline(0, color=GREY, lw=1)
    axes.set_xlabel("score group: 1 = lowest fifth of the session, 5 = highest; lines: ± one standard error")
    return png(figure)


def reliability(found: Reliability) -> bytes:
    """Forecast probabilities against frequencies; on the line, forecasts are what they say."""
    figure, axes = blank("Forecast probability against what happened, out of fold", "how often it happened")
    bins = found.bins
    ends = [min(bins["forecast"].min(), bins["frequency"].min()), max(bins["forecast"].max(), bins["frequency"].max())]
    axes.plot(ends, ends, color=GREY, lw=1, ls="--", label="forecasts that are what they say")
    axes.errorbar(bins["forecast"], bins["frequency"], bins["standard_error"], fmt="o", color=BLUE, capsize=3)
    axes.set_xlabel("mean forecast probability of the bin; lines: ± one standard error")
    axes.legend(fontsize=8, frameon=False)
    return png(figure)


def complexity(trials: Sequence[Tried]) -> bytes:
    """Accuracy of every trial against the complexity of its family."""
    figure, axes = blank(
        "Does complexity pay? Every trial by its family's complexity", "out-of-fold rank IC", height=4.2
    )
    [winner] = [trial for trial in trials if trial.chosen]
    rival = simpler(trials, winner)
    low, high = rival.rank_ic - rival.standard_error, rival.rank_ic + rival.standard_error
    axes.axhspan(low, high, color=PALE, zorder=0, label=f"best {label(rival.family)} ± one standard error")
    axes.axhline(0, color=GREY, lw=1)
    families = list(dict.fromkeys(trial.family for trial in sorted(trials, key=lambda trial: trial.tier)))
    for colour, family in zip(MANY, families, strict=False):
        own = [trial for trial in trials if trial.family == family]
        x = [place(trials, trial) for trial in own]
        figures = [trial.rank_ic for trial in own], [trial.standard_error for trial in own]
        axes.errorbar(x, *figures, fmt="o", ms=5, color=colour, elinewidth=1, capsize=2, label=label(family))
    at = place(trials, winner), winner.rank_ic
    axes.plot(*at, "o", ms=15, mfc="none", mec=INK, mew=1.6, label="chosen", ls="none")
    tiers = sorted({(trial.tier, trial.complexity) for trial in trials})
    axes.set_xticks([tier for tier, _ in tiers], [word for _, word in tiers])
    axes.set_xlim(tiers[0][0] - 0.5, tiers[-1][0] + 0.5)
    axes.set_xlabel("complexity of the family")
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return png(figure)


def simpler(trials: Sequence[Tried], winner: Tried) -> Tried:
    """Whom the winner had to beat: the best trial of simpler families, or itself where there are none."""
    below = [trial for trial in trials if trial.tier < winner.tier]
    return max(below, key=lambda trial: trial.rank_ic, default=winner)


def place(trials: Sequence[Tried], trial: Tried) -> float:
    """Where a trial stands along its tier: all of a tier side by side, in the order in which they were tried."""
    beside = [other for other in trials if other.tier == trial.tier]
    return trial.tier + 0.7 * ((beside.index(trial) + 0.5) / len(beside) - 0.5)


def states(table: pd.DataFrame) -> bytes:
    """Mean rank IC by year and by the market's state; states below zero are red."""
    figure, axes = blank("When it works and when it does not, out of fold", "mean rank IC")
    kinds = table["kind"].to_numpy()
    x = np.arange(len(table)) + np.cumsum(np.append(False, kinds[1:] != kinds[:-1]))
    colours = np.where(table["rank_ic"] < 0, RED, BLUE)
    axes.bar(x, table["rank_ic"], color=colours, width=0.7)
    axes.errorbar(x, table["rank_ic"], table["standard_error"], fmt="none", ecolor=INK, elinewidth=1, capsize=2)
    axes.axhline(0, color=GREY, lw=1)
    labels = [state if kind == "year" else f"{state} {kind}" for kind, state in table[["kind", "state"]].to_numpy()]
    axes.set_xticks(x, [label(each) for each in labels], fontsize=8, rotation=90)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+.2f}" if value else "0"))
    axes.set_xlabel("lines: ± one standard error")
    return png(figure)
