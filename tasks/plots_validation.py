"""Pictures of a validation: yardsticks with intervals, rank IC by state, its decay."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from tasks.plots import BLUE, GREY, RED, blank, literal, png

WORDS = {
    "rank_ic": "rank IC",
    "ic": "IC (Pearson)",
    "hit_rate": "hit rate",
    "precision": "precision of the picks",
    "recall": "recall of the winners",
    "auc": "AUC, better half",
    "calibration_slope": "calibration slope",
}
SIGNED = FuncFormatter(lambda value, _: f"{value:+.3g}" if value else "0")


def yardsticks(table: pd.DataFrame) -> bytes:
    """Each yardstick's distance from what random scores would reach, with its interval, all on one scale.

    They have no unit in common; half the width of its own interval is each one's unit, and the numbers stand beside.
    """
    figure, axes = blank("Lockbox: yardsticks with 95 % intervals", "", height=1.2 + 0.32 * len(table))
    half = ((table["upper"] - table["lower"]) / 2).to_numpy()
    unit = np.where(half > 0, half, np.nan)
    value, lower, upper = (
        ((table[end] - table["without_skill"]) / unit).to_numpy() for end in ("value", "lower", "upper")
    )
    at = np.arange(len(table))
    axes.hlines(at, lower, upper, color=BLUE, lw=2)
    axes.plot(value, at, "o", color=BLUE, ms=6)
    axes.axvline(0, color=GREY, lw=1.2)
    axes.set_yticks(at, [WORDS[str(name)] for name in table.index], fontsize=8)
    for place, line in zip(at, table.to_numpy(dtype=float), strict=True):
        told = "{:.3g}  [{:.3g}, {:.3g}]  random: {:.3g}".format(*line)
        axes.text(1.01, place, told, transform=axes.get_yaxis_transform(), va="center", fontsize=8)
    axes.set_ylim(len(table) - 0.5, -0.5)
    axes.set_xlabel("distance from random scores (0), in half widths of the yardstick's own interval", fontsize=8)
    return png(figure)


def by_state(table: pd.DataFrame) -> bytes:
    """Mean rank IC by year, state of the market, sector and size, one beside the other; means below zero are red."""
    figure, axes = blank("Lockbox: where the rank IC comes from (lines: ± one standard error)", "mean rank IC", 4.0)
    kinds = table["kind"].to_numpy()
    x = np.arange(len(table)) + np.cumsum(np.append(False, kinds[1:] != kinds[:-1]))[: len(table)]
    axes.bar(x, table["rank_ic"], color=np.where(table["rank_ic"] < 0, RED, BLUE), width=0.7)
    axes.errorbar(x, table["rank_ic"], table["standard_error"], fmt="none", ecolor="#1a202c", elinewidth=1, capsize=2)
    axes.axhline(0, color=GREY, lw=1)
    axes.set_xticks(
        x, [literal(named(kind, state)) for kind, state in table[["kind", "state"]].to_numpy()], rotation=90
    )
    axes.tick_params(axis="x", labelsize=8)
    axes.yaxis.set_major_formatter(SIGNED)
    return png(figure)


def named(kind: str, state: str) -> str:
    """What a bar is called."""
    words = {"volatility": f"{state} volatility", "market": f"{state} market"}
    return words.get(kind, state)


def decay(by_horizon: pd.DataFrame, late: pd.DataFrame, horizon: int) -> bytes:
    """Mean rank IC against horizon and against delay, with 95 % intervals."""
    figure = Figure(figsize=(8.5, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[len(by_horizon) + 1, len(late) + 1])
    figure.suptitle("Lockbox: how long a score is worth something (95 % intervals)", x=0.01, ha="left", fontsize=11)
    left.set_ylabel("mean rank IC")
    for axes, table, first, title in (
        (left, by_horizon, "horizon", f"return over so many sessions (the model's own: {horizon})"),
        (right, late, "sessions_late", "acted on so many sessions late"),
    ):
        at = np.arange(len(table))
        axes.errorbar(
            at, table["rank_ic"], 1.96 * table["standard_error"], fmt="o", color=BLUE, ms=5, elinewidth=1.5, capsize=3
        )
        own = table[first].to_numpy() == (horizon if first == "horizon" else 0)
        axes.plot(at[own], table["rank_ic"][own], "o", ms=12, mfc="none", mec="#1a202c")
        axes.axhline(0, color=GREY, lw=1)
        axes.set_xticks(at, [f"{each}" for each in table[first]])
        axes.set_xlabel(title, fontsize=9)
        axes.margins(x=0.1)
        axes.grid(alpha=0.3, axis="y")
        axes.yaxis.set_major_formatter(SIGNED)
    return png(figure)
