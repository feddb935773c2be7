"""Pictures, as PNG bytes."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

BLUE, RED, GREY = "#2b6cb0", "#c53030", "#718096"


def png(figure: Figure) -> bytes:
    """PNG bytes that depend on the picture alone (no creation date, no software version)."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def blank(title: str, ylabel: str, height: float = 3.6) -> tuple[Figure, Any]:
    figure = Figure(figsize=(8.5, height), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_ylabel(ylabel)
    axes.grid(alpha=0.3)
    return figure, axes


def importance(shares: Mapping[str, float]) -> bytes:
    ordered = sorted(shares.items(), key=lambda item: item[1])
    figure, axes = blank("What the model looks at", "", height=1.2 + 0.26 * len(ordered))
    axes.barh([name for name, _ in ordered], [share for _, share in ordered], color=BLUE)
    axes.set_xlabel("share of importance")
    return png(figure)


def trials(rows: Sequence[Mapping[str, Any]]) -> bytes:
    figure, axes = blank("Every trial: purged walk-forward rank IC ± one standard error", "rank IC")
    for number, row in enumerate(rows):
        colour = BLUE if row["family"] == "ridge" else RED
        axes.errorbar(
            number, row["train.rank_ic"], row["train.rank_ic_standard_error"], fmt="o", color=colour, capsize=4
        )
    axes.axhline(0, color=GREY, lw=1)
    labels = [f"{row['family']}\n{next(iter(row['parameters'].values())):g}" for row in rows]
    axes.set_xticks(range(len(rows)), labels, fontsize=8)
    return png(figure)


def equity(series: pd.Series) -> bytes:
    figure, axes = blank("Lockbox: equity, net of costs", "multiple of the capital")
    axes.plot(series.index, (series / series.iloc[0]).to_numpy(), color=BLUE)
    axes.axhline(1, color=GREY, lw=1, ls="--")
    return png(figure)


def drawdown(series: pd.Series) -> bytes:
    figure, axes = blank("Lockbox: drawdown from the highest equity so far", "fraction of equity", height=2.6)
    axes.fill_between(series.index, series.to_numpy(), 0, color=RED, alpha=0.5)
    return png(figure)


def cumulative_ic(series: pd.Series) -> bytes:
    figure, axes = blank("Lockbox: running sum of the daily rank IC (straight up is steady skill)", "sum of rank IC")
    axes.plot(series.index, series.cumsum().to_numpy(), color=BLUE)
    axes.axhline(0, color=GREY, lw=1)
    return png(figure)


def calibration(means: pd.Series, horizon: int) -> bytes:
    figure, axes = blank("Lockbox: what names of each score group earned", f"mean {horizon}-session return, bp")
    axes.bar([f"{group}" for group in means.index], means.to_numpy() * 1e4, color=BLUE)
    axes.axhline(0, color=GREY, lw=1)
    axes.set_xlabel("score group, 1 = lowest fifth of the session")
    return png(figure)
