"""Pictures, as PNG bytes."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

BLUE, RED, GREY = "#2b6cb0", "#c53030", "#718096"
# Okabe and Ito's colours, which people with any kind of colour blindness can tell apart.
MANY = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a6d3b", "#4d4d4d", "#a0a0a0")
# Whole is quiet, a hole is loud.
HOLES = LinearSegmentedColormap.from_list(
    "holes", [(0, "#7b1e1e"), (0.5, "#dd6b20"), (0.95, "#ecc94b"), (1, "#a9c5e6")]
)


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
    axes.set_axisbelow(True)
    return figure, axes


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


def scenarios(falls: Mapping[str, float], limits: Mapping[str, float]) -> bytes:
    """The deepest drawdown of each scenario (fractions) beside its limit, in the order given."""
    figure = Figure(figsize=(8.5, 1.2 + 0.2 * len(falls)), layout="constrained")
    axes = figure.subplots()
    axes.set_title("Scenarios: deepest drawdown, and where the limit is", loc="left", fontsize=11)
    places = np.arange(len(falls))
    beyond = [fall > limits[name] for name, fall in falls.items()]
    axes.barh(places, list(falls.values()), color=[RED if each else BLUE for each in beyond])
    axes.plot([limits[name] for name in falls], places, "|", color=GREY, ms=10, mew=2, label="limit")
    axes.set_yticks(places, [literal(name.replace("_", " ")) for name in falls], fontsize=8)
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(alpha=0.3, axis="x")
    axes.set_axisbelow(True)
    axes.legend(fontsize=8, frameon=False)
    return png(figure)


def literal(text: str) -> str:
    """Text from data as a label: no formula between dollar signs, and a box for what the font does not have."""
    drawable = (c if c.isprintable() and (ord(c) < 0x530 or c in "–…") else "□" for c in text)
    return "".join(drawable).replace("$", r"\$")


def along_time(axes: Any) -> None:
    """Dates on the x axis, as few words as will do."""
    locator = AutoDateLocator(minticks=4, maxticks=10)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def coverage(shares: np.ndarray, starts: np.ndarray, labels: Sequence[str], grouped: bool) -> bytes:
    """A heat map of the share of sessions with a bar.

    Args:
        shares: rows of instruments (or groups of them) × stretches of time; NaN where nothing was to be expected.
        starts: where each stretch begins, and where the last one ends (datetime64).
        labels: one a row.
        grouped: a row stands for several instruments.
    """
    figure, axes = blank("", "", height=1.9 + 0.17 * len(labels) if len(labels) <= 60 else 8)
    axes.set_title("Coverage: share of sessions with a bar, from each instrument's first bar to its last", loc="left")
    axes.title.set_fontsize(11)
    axes.grid(False)
    axes.set_facecolor("#ffffff")
    mesh = axes.pcolormesh(starts, np.arange(len(labels) + 1), shares, cmap=HOLES, vmin=0, vmax=1)
    axes.set_yticks(np.arange(len(labels)) + 0.5, [literal(label) for label in labels], fontsize=7)
    axes.invert_yaxis()
    axes.set_ylabel(
        "instruments, by first bar (groups, first and last name)" if grouped else "instruments, by first bar"
    )
    along_time(axes)
    bar = figure.colorbar(mesh, ax=axes, pad=0.01, shrink=0.6, aspect=35, format=PercentFormatter(1.0))
    bar.set_label("sessions with a bar (white: none to be expected)", fontsize=8)
    return png(figure)


def missing_sessions(starts: np.ndarray, counts: np.ndarray, worst: Sequence[tuple[str, int]], total: int) -> bytes:
    """Sessions in which an instrument should have a bar and has none: over time, and by instrument."""
    figure = Figure(figsize=(8.5, 3.4 + 0.14 * len(worst)), layout="constrained")
    over_time, by_name = figure.subplots(2, 1, height_ratios=[2.4, 1 + 0.14 * len(worst)])
    over_time.set_title(f"Missing sessions over time ({total:,} in all)", loc="left", fontsize=11)
    over_time.bar(starts[:-1], counts, width=np.diff(starts), align="edge", color=RED)
    over_time.set_ylabel("missing bars")
    over_time.yaxis.set_major_locator(MaxNLocator(integer=True))
    over_time.grid(alpha=0.3)
    along_time(over_time)
    names = [literal(name) for name, _ in worst][::-1]
    by_name.set_title(
        f"The {len(worst)} instruments with most of them" if worst else "No instrument misses any",
        loc="left",
        fontsize=11,
    )
    by_name.barh(range(len(names)), [number for _, number in worst][::-1], color=RED)
    by_name.set_yticks(range(len(names)), names, fontsize=7)
    by_name.set_xlabel("missing bars")
    by_name.xaxis.set_major_locator(MaxNLocator(integer=True))
    by_name.grid(alpha=0.3, axis="x")
    return png(figure)


def by_rule(starts: np.ndarray, parts: Sequence[tuple[str, Mapping[str, np.ndarray]]]) -> bytes:
    """Counts over time, stacked by rule: one panel for each of `parts` (title, rule → count in each stretch)."""
    figure = Figure(figsize=(8.5, 2.9 * len(parts)), layout="constrained")
    panels = np.atleast_1d(figure.subplots(len(parts), 1, sharex=True))
    for axes, (title, counts) in zip(panels, parts, strict=True):
        axes.set_title(title, loc="left", fontsize=11)
        axes.set_ylabel("lines")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        below = np.zeros(len(starts) - 1)
        for colour, (rule, number) in zip(MANY, counts.items(), strict=False):
            label = literal(f"{rule} ({int(number.sum()):,})")
            axes.bar(starts[:-1], number, np.diff(starts), bottom=below, align="edge", color=colour, label=label)
            below = below + number
        if counts:
            axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
        axes.set_xlim(starts[0], starts[-1])
        along_time(axes)
    return png(figure)


def returns(edges: np.ndarray, shares: Mapping[str, np.ndarray]) -> bytes:
    """Distributions of log returns from bar to bar: shares of all returns in the bins between `edges`.

    Bins differ in width, so the height is a density.
    """
    figure, axes = blank("Returns from bar to bar, both scales logarithmic", "share of returns per percentage point")
    widths = np.diff(edges) * 100
    for (label, share), style in zip(
        shares.items(), ({"color": BLUE, "lw": 1.6}, {"color": RED, "ls": "--"}), strict=False
    ):
        axes.stairs(np.where(share > 0, share / widths, np.nan), edges * 100, label=label, **style)
    axes.set_xscale("symlog", linthresh=0.1, linscale=0.5)
    if any(share.any() for share in shares.values()):
        axes.set_yscale("log")
    ticks = [-100, -10, -1, -0.1, 0, 0.1, 1, 10, 100]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xlim(-300, 300)
    axes.set_xlabel("log return, % (outermost bins: that and beyond)")
    axes.legend(fontsize=8, frameon=False)
    return png(figure)


def rows_per_session(series: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> bytes:
    """Rows of each session: label → (sessions, rows)."""
    figure, axes = blank("Rows in each session", "rows")
    for (label, (sessions, rows)), style in zip(
        series.items(), ({"color": BLUE, "lw": 1.2}, {"color": RED, "lw": 1.0, "ls": "--"}), strict=False
    ):
        axes.plot(sessions, rows, label=label, **style)
    axes.set_ylim(0, 1.1 * max(int(rows.max()) for _, rows in series.values()))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    along_time(axes)
    axes.legend(fontsize=8, frameon=False)
    return png(figure)
