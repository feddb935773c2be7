"""Pictures of a backtest, as PNG bytes."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import FuncFormatter, PercentFormatter

from tasks.plots import BLUE, GREY, MANY, RED, along_time, blank, literal, png

LOSS_TO_GAIN = LinearSegmentedColormap.from_list("gains", [(0, RED), (0.5, "#f7fafc"), (1, BLUE)])
INK = "#1a202c"
MOST_POINTS = 4000  # of a line; more than a picture has columns
MOST_GAP = 0.02  # of the whole time; a longer one breaks a line
SHOWN = 10  # names at each end


def thinned(series: pd.Series) -> pd.Series:
    """Every so many values and the last one, as minute bars by the hundred thousand make no better line, and a break
    where there were no bars for long, so that none is drawn across it."""
    gaps = np.diff(series.index.to_numpy())
    whole = series.index[-1] - series.index[0]
    long = (gaps > MOST_GAP * whole) & (gaps > 30 * np.median(gaps)) if len(gaps) else np.zeros(0, dtype=bool)
    step = -(-len(series) // MOST_POINTS)
    ends = np.flatnonzero(long)
    places = np.unique(np.concatenate([np.arange(0, len(series), step), ends, ends + 1, [len(series) - 1]]))
    breaks = pd.Series(np.nan, series.index[ends] + gaps[ends] / 2)
    return pd.concat([series.iloc[places], breaks]).sort_index() if len(ends) else series.iloc[places]


def equity(series: pd.Series, benchmark: pd.Series) -> bytes:
    """Equity as a multiple of the capital beside the benchmark's; `benchmark`: its returns from bar to bar."""
    figure, axes = blank("Equity, net of costs", "multiple of the capital")
    held = (1 + benchmark.reindex(series.index).fillna(0.0)).cumprod()
    for line, colour, label in ((series / series.iloc[0], BLUE, "strategy, net"), (held, GREY, "benchmark, no costs")):
        axes.plot(thinned(line), color=colour, lw=1.4 if colour == BLUE else 1, label=label)
    axes.axhline(1, color=GREY, lw=1, ls="--")
    axes.legend(fontsize=8, frameon=False)
    along_time(axes)
    return png(figure)


def walk_forward(series: pd.Series, starts: Sequence[pd.Timestamp]) -> bytes:
    """Equity of the retraining walked forward; a line where a new model took over."""
    figure, axes = blank("The retraining walked forward: equity, net of costs", "multiple of the capital", height=3)
    axes.plot(thinned(series / series.iloc[0]), color=BLUE, lw=1.4)
    for start in starts:
        axes.axvline(start, color=GREY, lw=0.8, ls=":")
    axes.axhline(1, color=GREY, lw=1, ls="--")
    along_time(axes)
    return png(figure)


def luck(actual: pd.Series, drawn: pd.DataFrame) -> bytes:
    """Equity among that of other histories of the same market, multiples of the capital."""
    figure, axes = blank("Other histories of the same market, traded by the same rules", "multiple of the capital")
    places = thinned(actual).index.intersection(drawn.index)
    lines = drawn.loc[places].div(actual.iloc[0]).quantile([0.025, 0.25, 0.5, 0.75, 0.975], axis=1)
    for low, high, shade, label in ((0.025, 0.975, 0.15, "middle 95 %"), (0.25, 0.75, 0.3, "middle half")):
        axes.fill_between(places, lines.loc[low], lines.loc[high], color=GREY, alpha=shade, lw=0, label=label)
    axes.plot(places, lines.loc[0.5], color=GREY, lw=1, label="median")
    axes.plot(thinned(actual / actual.iloc[0]), color=BLUE, lw=1.4, label="as it was")
    axes.axhline(1, color=GREY, lw=1, ls="--")
    axes.legend(fontsize=8, frameon=False, loc="upper left")
    along_time(axes)
    return png(figure)


def drawdown(series: pd.Series) -> bytes:
    figure, axes = blank("Drawdown from the highest equity so far", "", height=2.6)
    line = thinned(series)
    axes.fill_between(line.index, line.to_numpy(), 0, color=RED, alpha=0.5, lw=0)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    along_time(axes)
    return png(figure)


def sensitivity(equity: pd.DataFrame) -> bytes:
    """Equity of each alternative as a multiple of the capital."""
    figure, axes = blank("The same scores at other costs, and acted on later", "multiple of the capital")
    for colour, (title, series) in zip(MANY, equity.items(), strict=False):
        late = "later" in str(title)
        line = thinned(series / series.iloc[0])
        axes.plot(line, color=colour, lw=1.2, ls="--" if late else "-", label=literal(str(title)))
    axes.axhline(1, color=GREY, lw=1, ls="--")
    axes.legend(fontsize=8, ncols=2, frameon=False)
    along_time(axes)
    return png(figure)


def parameters(ratios: pd.DataFrame) -> bytes:
    """A heat map of net Sharpe ratios: what picks names × sessions between decisions."""
    figure, axes = blank("Net Sharpe ratio under other parameters", "", height=1.6 + 0.42 * len(ratios))
    coloured(axes, ratios.to_numpy(dtype=float), "{:+.2f}")
    axes.set_xticks(range(ratios.shape[1]), [f"{every}" for every in ratios.columns])
    axes.set_yticks(range(len(ratios)), [literal(str(title)) for title in ratios.index], fontsize=8)
    axes.set_xlabel("sessions between decisions")
    return png(figure)


def months(returns: pd.DataFrame) -> bytes:
    """A heat map of monthly returns: years × months."""
    figure, axes = blank("Return of each month, %", "", height=1.3 + 0.33 * len(returns))
    coloured(axes, 100 * returns.to_numpy(dtype=float), "{:+.1f}")
    axes.set_xticks(range(12), ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"])
    axes.set_yticks(range(len(returns)), [str(year) for year in returns.index], fontsize=8)
    return png(figure)


def coloured(axes: object, values: np.ndarray, form: str) -> None:
    """Cells red below 0 and blue above, with their numbers."""
    largest = np.nanmax(np.abs(values), initial=1e-9, where=np.isfinite(values))
    axes.imshow(values, cmap=LOSS_TO_GAIN, vmin=-largest, vmax=largest, aspect="auto")  # type: ignore[attr-defined]
    axes.grid(False)  # type: ignore[attr-defined]
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            strong = abs(value) > 0.6 * largest
            axes.text(  # type: ignore[attr-defined]
                column, row, form.format(value), ha="center", va="center", fontsize=8, color="white" if strong else INK
            )


def rolling_sharpe(series: pd.Series) -> bytes:
    figure, axes = blank("Sharpe ratio of the last half year", "a year", height=2.6)
    axes.plot(thinned(series), color=BLUE, lw=1.2)
    axes.axhline(0, color=GREY, lw=1)
    along_time(axes)
    return png(figure)


def exposure(table: pd.DataFrame) -> bytes:
    """`long`, `short` and `net` over time, fractions of equity."""
    figure, axes = blank("Exposure: positions as a share of equity", "", height=2.8)
    for column, colour in (("long", BLUE), ("short", RED)):
        line = thinned(table[column])
        axes.fill_between(line.index, line.to_numpy(), 0, color=colour, alpha=0.45, lw=0, label=column)
    axes.plot(thinned(table["net"]), color=INK, lw=1, label="net")
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    along_time(axes)
    return png(figure)


def profits(series: pd.Series, capital: float, title: str) -> bytes:
    """Profit by name or sector as a share of the capital: the largest and the smallest ones."""
    ordered = series.sort_values(kind="stable")
    shown = ordered if len(ordered) <= 2 * SHOWN else pd.concat([ordered.iloc[:SHOWN], ordered.iloc[-SHOWN:]])
    figure, axes = blank(title, "", height=1.3 + 0.24 * len(shown))
    share = shown.to_numpy() / capital
    axes.barh(range(len(shown)), share, color=np.where(share < 0, RED, BLUE))
    axes.set_yticks(range(len(shown)), [literal(str(name)) for name in shown.index], fontsize=8)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel("of the capital, net of the costs of its trades")
    axes.axvline(0, color=GREY, lw=1)
    return png(figure)


def costs(paid: dict[str, float], capital: float) -> bytes:
    figure, axes = blank("What trading cost over the whole time", "", height=2.2)
    axes.barh(range(len(paid)), [value / capital for value in paid.values()], color=MANY[1])
    axes.set_yticks(range(len(paid)), [kind.replace("_", " ") for kind in paid], fontsize=8)
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel("of the capital")
    return png(figure)


def trips(profit_share: Sequence[float]) -> bytes:
    """Distribution of round trips' profits as fractions of what was put in."""
    figure, axes = blank("Round trips: profit on what was put in, net", "round trips", height=2.8)
    values = np.asarray(profit_share, dtype=float)
    low, high = np.quantile(values, [0.005, 0.995])
    edges = np.linspace(low, high, 41) if high > low else 1
    _, edges, bars = axes.hist(np.clip(values, low, high), bins=edges)
    for left, right, bar in zip(edges[:-1], edges[1:], bars, strict=True):
        bar.set_color(RED if left + right < 0 else BLUE)
    axes.axvline(0, color=GREY, lw=1)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel("outermost bars: that and beyond")
    return png(figure)


def states(table: pd.DataFrame) -> bytes:
    """Mean return a year by the market's state; states below zero are red."""
    figure, axes = blank("What it earned in each state of the market, as known at the close before", "", height=2.8)
    at = np.arange(len(table))
    axes.bar(at, table["annual_return"], color=np.where(table["annual_return"] < 0, RED, BLUE), width=0.6)
    axes.errorbar(at, table["annual_return"], table["standard_error"], fmt="none", ecolor=INK, elinewidth=1, capsize=3)
    axes.set_xticks(at, [f"{state}\n{kind}" for kind, state in table[["kind", "state"]].to_numpy()], fontsize=8)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_ylabel("a year; lines: ± one standard error", fontsize=8)
    axes.axhline(0, color=GREY, lw=1)
    return png(figure)


def capacity(returns: pd.Series) -> bytes:
    """Net return a year against capital."""
    figure, axes = blank("Capacity: net return a year against capital", "", height=2.8)
    axes.semilogx(returns.index, returns.to_numpy(), color=BLUE, marker="o", ms=4)
    axes.axhline(0, color=GREY, lw=1)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.tick_params(axis="x", labelsize=8)
    axes.set_xlabel("capital")
    return png(figure)
