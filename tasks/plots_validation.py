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
    "calibration_slope": "calibration slope (1 is right)",
}
SIGNED = FuncFormatter(lambda value, _: f"{value:+.3g}" if value else "0")


def yardsticks(table: pd.DataFrame) -> bytes:
    """Each yardstick with its interval, in a panel of its own: they have no unit in common."""
    figure = Figure(figsize=(8.5, 0.6 + 0.62 * len(table)), layout="constrained")
    figure.suptitle("Lockbox: yardsticks with 95 % intervals (dashed: without skill)", x=0.01, ha="left", fontsize=11)
    panels = np.atleast_1d(figure.subplots(len(table), 1))
    for axes, (name, line) in zip(panels, table.iterrows(), strict=True):
        value, lower, upper = line["value"], line["lower"], line["upper"]
        axes.set_ylabel(f"{WORDS[str(name)]}\n{value:.3g}", rotation=0, ha="right", va="center", fontsize=8)
        axes.set_yticks([])
        axes.tick_params(axis="x", labelsize=7)
        axes.spines[["left", "right", "top"]].set_visible(False)
        axes.axvline(line["without_skill"], color=GREY, lw=1, ls="--")
        if np.isfinite(value):
            axes.plot([lower, upper], [0, 0], color=BLUE, lw=2, solid_capstyle="butt")
            axes.plot([value], [0], "o", color=BLUE, ms=6)
        axes.margins(x=0.1, y=0.6)
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
