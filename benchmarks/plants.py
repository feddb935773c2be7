"""Defects to plant into real bars: each kind damages some rows and says which, and what the right values were.

A plant works on a `Field`: the bars of a real panel as columns, every row with an id. Plants keep out of each other's
way: those that touch a few rows share instruments but never a window of rows; those that touch whole instruments have
these for themselves.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

DAY = 86_400_000_000
PRICES = ["open", "high", "low", "close"]
MARGIN = 25  # rows kept free on either side of a plant


@dataclass
class Plant:
    """One planted defect: ids of the rows it damaged, and sessions it removed."""

    kind: str
    rows: list[int]
    removed: list[tuple[str, int]] = field(default_factory=list)
    moved: bool = False  # the rows are right, but in the wrong place


class Field:
    """Bars of n rows sorted by instrument and time, while defects are planted into them."""

    def __init__(self, bars: pl.DataFrame, sessions: np.ndarray, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.sessions = set(sessions.tolist())
        self.columns: dict[str, Any] = {name: bars[name].to_numpy().copy() for name in [*PRICES, "volume"]}
        self.time = bars["timestamp"].cast(pl.Int64).to_numpy().copy()
        self.names = bars["instrument"].cast(pl.String).to_list()
        edges = [0, *(at for at in range(1, len(bars)) if self.names[at] != self.names[at - 1]), len(bars)]
        self.spans = list(pairwise(edges))
        self.free = np.ones(len(bars), dtype=bool)
        self.notes: dict[int, dict[str, str]] = {}
        self.extra: list[dict[str, Any]] = []
        self.dropped: set[int] = set()
        self.moved: dict[int, float] = {}
        order = self.rng.permutation(len(self.spans)).tolist()
        self.whole, self.shared = order[: len(order) // 2], order[len(order) // 2 :]

    def window(self, rows: int, edge: bool = False) -> int:
        """Where a plant of some rows may begin, well inside an instrument; the surroundings are taken."""
        for _ in range(10_000):
            begin, end = self.spans[int(self.rng.choice(self.shared))]
            if end - begin < rows + 4 * MARGIN:
                continue
            at = end - rows if edge else int(self.rng.integers(begin + MARGIN, end - rows - MARGIN))
            around = slice(max(begin, at - MARGIN), min(end, at + rows + MARGIN))
            if self.free[around].all():
                self.free[around] = False
                return at
        raise RuntimeError("no room left for another plant")

    def instrument(self, rows: int = 400) -> tuple[int, int]:
        """An instrument of its own."""
        while self.whole:
            begin, end = self.spans[self.whole.pop()]
            if end - begin >= rows:
                return begin, end
        raise RuntimeError("no instrument left for another plant")

    def add(self, at: int, **changes: Any) -> int:
        """A further row like the one at a place; returns its id."""
        row = {name: values[at] for name, values in self.columns.items()}
        row |= {"time": self.time[at], "name": self.names[at], "after": at} | changes
        self.extra.append(row)
        return len(self.names) + len(self.extra) - 1

    def delivered(self) -> pl.DataFrame:
        """The bars as a vendor would deliver them, one part a name, every row with its `id`."""
        frame = self.truth()
        place = np.concatenate([np.arange(len(self.names), dtype=float), [row["after"] + 0.5 for row in self.extra]])
        for at, to in self.moved.items():
            place[at] = to
        notes = [json.dumps(self.notes[at]) if at in self.notes else None for at in range(len(frame))]
        frame = frame.with_columns(place=place, notes=pl.Series(notes, dtype=pl.String), batch=pl.lit(0))
        for name in [*PRICES, "volume"]:
            text = pl.Series([at for at, note in self.notes.items() if name in note], dtype=pl.Int64)
            hidden = pl.col("id").is_in(text.implode()) | pl.col(name).is_nan()
            frame = frame.with_columns(pl.when(~hidden).then(name))
        gone = pl.Series(sorted(self.dropped), dtype=pl.Int64)
        return frame.filter(~pl.col("id").is_in(gone.implode())).sort("place").drop("place")

    def truth(self) -> pl.DataFrame:
        """All rows with the numbers that their texts stand for."""
        made = {name: [*values.tolist(), *(row[name] for row in self.extra)] for name, values in self.columns.items()}
        part = np.zeros(len(self.names), dtype=np.int32)
        for number, (begin, end) in enumerate(self.spans):
            part[begin:end] = number
        return pl.DataFrame(made).with_columns(
            timestamp=pl.Series([*self.time.tolist(), *(row["time"] for row in self.extra)]).cast(pl.Datetime("us")),
            instrument=pl.Series([*self.names, *(row["name"] for row in self.extra)]),
            part=pl.Series([*part.tolist(), *(int(part[row["after"]]) for row in self.extra)], dtype=pl.Int32),
            id=pl.int_range(len(self.names) + len(self.extra)),
        )


def exact_duplicate(f: Field) -> Plant:
    return Plant("exact duplicate", [f.add(f.window(1))])


def conflicting_duplicate(f: Field) -> Plant:
    at = f.window(1)
    shift = 1 + 0.002 * float(f.rng.uniform(1, 5))
    return Plant(
        "conflicting duplicate",
        [at, f.add(at, close=f.columns["close"][at] * shift, high=f.columns["high"][at] * shift)],
    )


def missing_field(f: Field) -> Plant:
    at = f.window(1)
    f.columns[str(f.rng.choice([*PRICES, "volume"]))][at] = np.nan
    return Plant("missing field", [at])


def inconsistent(f: Field) -> Plant:
    at = f.window(1)
    if f.rng.random() < 0.5:
        f.columns["high"][at] = min(f.columns["open"][at], f.columns["close"][at]) * (
            1 - float(f.rng.uniform(0.002, 0.05))
        )
        f.columns["low"][at] = min(f.columns["low"][at], f.columns["high"][at])
    else:
        f.columns["low"][at] = max(f.columns["open"][at], f.columns["close"][at]) * (
            1 + float(f.rng.uniform(0.002, 0.05))
        )
        f.columns["high"][at] = max(f.columns["high"][at], f.columns["low"][at])
    return Plant("OHLC inconsistency", [at])


def price(kind: str, factor: float) -> Callable[[Field], Plant]:
    def plant(f: Field) -> Plant:
        at = f.window(1)
        columns = PRICES if f.rng.random() < 0.3 else [str(f.rng.choice(PRICES))]
        for name in columns:
            f.columns[name][at] *= factor
        return Plant(kind, [at])

    return plant


def volume(kind: str, factor: float) -> Callable[[Field], Plant]:
    def plant(f: Field) -> Plant:
        at = f.window(1)
        f.columns["volume"][at] *= factor
        return Plant(kind, [at])

    return plant


def scale(kind: str, factor: float) -> Callable[[Field], Plant]:
    """All prices of one bar, or of a stretch of up to twenty, on another scale."""

    def plant(f: Field) -> Plant:
        length = 1 if f.rng.random() < 0.5 else int(f.rng.integers(2, 21))
        at = f.window(length)
        for name in PRICES:
            f.columns[name][at : at + length] *= factor
        return Plant(kind, list(range(at, at + length)))

    return plant


def split(kind: str, ratios: list[float]) -> Callable[[Field], Plant]:
    """Older bars on the scale before a split: price times the ratio, volume divided by it."""

    def plant(f: Field) -> Plant:
        begin, end = f.instrument()
        at = int(f.rng.integers(begin + 60, end - 60))
        ratio = float(f.rng.choice(ratios))
        for name in PRICES:
            f.columns[name][begin:at] = np.round(f.columns[name][begin:at] * ratio, 4)
        f.columns["volume"][begin:at] = np.round(f.columns["volume"][begin:at] / ratio)
        return Plant(kind, list(range(begin, at)))

    return plant


def jump(f: Field, at: int, least: float, most: float) -> float:
    """A log jump that is told from the name's ordinary moves: at least twelve of them."""
    begin, end = next(span for span in f.spans if span[0] <= at < span[1])
    usual = float(np.nanmedian(np.abs(np.diff(np.log(f.columns["close"][begin:end])))))
    return float(f.rng.uniform(max(least, 12 * usual), max(most, 24 * usual)))


def spike(f: Field) -> Plant:
    """One whole bar off by 10 to 150 %, up or down."""
    at = f.window(1)
    factor = float(np.exp(f.rng.choice([-1, 1]) * jump(f, at, 0.1, 0.9)))
    for name in PRICES:
        f.columns[name][at] *= factor
    return Plant("spike that reverts", [at])


def bad_print(f: Field) -> Plant:
    at = f.window(1)
    if f.rng.random() < 0.5:
        f.columns["high"][at] *= np.exp(jump(f, at, 0.25, 1.5))
    else:
        f.columns["low"][at] *= np.exp(-jump(f, at, 0.25, 1.5))
    return Plant("bad print in high or low", [at])


def stale(f: Field) -> Plant:
    """The same bar again, one to ten times."""
    length = int(f.rng.integers(1, 11))
    at = f.window(length + 1)
    for name in [*PRICES, "volume"]:
        f.columns[name][at + 1 : at + 1 + length] = f.columns[name][at]
    return Plant("stale run", list(range(at + 1, at + 1 + length)))


def missing_session(f: Field) -> Plant:
    at = f.window(1)
    f.dropped.add(at)
    return Plant("missing session", [], [(f.names[at], int(f.time[at]))])


def holiday(f: Field) -> Plant:
    """A bar like the one before, a little off, on the weekend or holiday that follows it."""
    while True:
        at = f.window(1)
        day = int(f.time[at]) + DAY
        if day not in f.sessions:
            factor = 1 + 0.01 * float(f.rng.normal())
            return Plant(
                "bar on a holiday", [f.add(at, time=day, **{name: f.columns[name][at] * factor for name in PRICES})]
            )


def future(f: Field) -> Plant:
    at = f.window(1)
    f.time[at] += int(f.rng.integers(30, 60)) * 364 * DAY
    return Plant("future timestamp", [at])


def out_of_order(f: Field) -> Plant:
    at = f.window(12)
    f.moved[at] = at + int(f.rng.integers(2, 11)) + 0.25
    return Plant("out of order", [at], moved=True)


def zone(f: Field) -> Plant:
    """A stretch of bars stamped in another zone: five hours early, or four to nine hours late."""
    length = int(f.rng.integers(1, 21))
    at = f.window(length)
    f.time[at : at + length] += int(f.rng.choice([-5, -4, 4, 5, 8, 9])) * 3_600_000_000
    return Plant("shifted time zone", list(range(at, at + length)))


def spelling(f: Field) -> Plant:
    length = int(f.rng.integers(1, 11))
    at = f.window(length)
    form = [str.lower, str.title, lambda name: name + " ", lambda name: " " + name][int(f.rng.integers(4))]
    changed = form(f.names[at])
    if changed == f.names[at]:
        changed = f.names[at].lower()
    for row in range(at, at + length):
        f.names[row] = changed
    return Plant("symbol spelled differently", list(range(at, at + length)))


def alias(f: Field) -> Plant:
    """A whole series delivered again under a name of its own: either name may be the right one."""
    begin, end = f.instrument()
    made = [f.add(row, name="Z" + f.names[row] + "Q", after=end - 1) for row in range(begin, end)]
    return Plant("one series under two names", [*range(begin, end), *made])


def foreign_stretch(f: Field) -> Plant:
    """A stretch of one name's bars replaced by those of another, which trades at a quite different price."""
    begin, end = f.instrument()
    for _ in range(1_000):
        length = int(f.rng.integers(20, 120))
        at = int(f.rng.integers(begin + 60, end - 60 - length))
        first, last = f.spans[int(f.rng.choice(f.shared))]
        place = first + int(np.searchsorted(f.time[first:last], f.time[at]))
        rows = slice(place, place + length)
        same_days = rows.stop <= last and bool((f.time[rows] == f.time[at : at + length]).all())
        if same_days and f.free[rows].all() and abs(np.log(f.columns["close"][at] / f.columns["close"][place])) > 0.3:
            f.free[rows] = False
            for name in [*PRICES, "volume"]:
                f.columns[name][at : at + length] = f.columns[name][rows]
            return Plant("another name's bars for a stretch", list(range(at, at + length)))
    raise RuntimeError("no name to take bars from")


def reuse(f: Field) -> Plant:
    """An older company's bars under the name, then half a year of silence."""
    begin, _ = f.instrument(600)
    at = begin + 200
    first, last = f.spans[int(f.rng.choice(f.shared))]
    rows = np.arange(begin, at)
    donor = first + np.minimum(np.arange(200), last - first - 1)
    for name in [*PRICES, "volume"]:
        f.columns[name][rows] = f.columns[name][donor] * (1.7 if name in PRICES else 1.0)
    f.dropped |= set(range(at, at + 140))
    return Plant("ticker reuse", rows.tolist())


def swapped_range(f: Field) -> Plant:
    while True:
        at = f.window(1)
        high, low = f.columns["high"][at], f.columns["low"][at]
        if high > low:
            f.columns["high"][at], f.columns["low"][at] = low, high
            return Plant("high and low swapped", [at])


def swapped_body(f: Field) -> Plant:
    """Open and close in each other's column in the whole file of one name."""
    begin, end = f.instrument()
    opened = f.columns["open"][begin:end].copy()
    f.columns["open"][begin:end] = f.columns["close"][begin:end]
    f.columns["close"][begin:end] = opened
    return Plant("open and close swapped", list(range(begin, end)))


def written(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")


def decimal_comma(f: Field) -> Plant:
    length = int(f.rng.integers(1, 6))
    at = f.window(length)
    rows = list(range(at, at + length))
    for row in rows:
        f.notes[row] = {name: written(f.columns[name][row]).replace(".", ",") for name in PRICES}
        f.notes[row] = {name: words for name, words in f.notes[row].items() if "," in words}
    return Plant("decimal comma", rows)


def thousands(f: Field) -> Plant:
    while True:
        at = f.window(1)
        if f.columns["volume"][at] >= 1000:
            f.notes[at] = {"volume": f"{f.columns['volume'][at]:,.0f}"}
            return Plant("thousands separator", [at])


def garbage(f: Field) -> Plant:
    at = f.window(1)
    words = str(f.rng.choice(["n/a?", "#REF!", "--", "1.2.3", "12..5", "abc", "1O5.2"]))
    f.notes[at] = {str(f.rng.choice(PRICES)): words}
    return Plant("text in a number", [at])


def truncated(f: Field) -> Plant:
    """The file ends within the last field of its last row, or before it."""
    _, end = f.instrument()
    at = end - 1
    digits = f"{f.columns['volume'][at]:.0f}"
    cut = int(f.rng.integers(0, len(digits)))
    f.columns["volume"][at] = float(digits[:cut]) if cut else np.nan
    f.notes[at] = {"cut": "1"}
    return Plant("truncated last row", [at])


# How many of each kind, and what is planted; the kinds that need a name of their own are fewer.
KINDS: tuple[tuple[Callable[[Field], Plant], int], ...] = (
    (alias, 6),
    (foreign_stretch, 8),
    (reuse, 6),
    (split("unadjusted split", [2, 3, 4, 7, 1.5]), 16),
    (split("unadjusted reverse split", [0.5, 0.2, 0.1, 0.05]), 12),
    (swapped_body, 12),
    (truncated, 12),
    (exact_duplicate, 40),
    (conflicting_duplicate, 40),
    (missing_field, 40),
    (inconsistent, 40),
    (price("zero price", 0.0), 40),
    (price("negative price", -1.0), 40),
    (volume("zero volume", 0.0), 40),
    (volume("negative volume", -1.0), 40),
    (scale("scale x10", 10.0), 40),
    (scale("scale x100", 100.0), 40),
    (scale("scale /100", 0.01), 40),
    (spike, 60),
    (bad_print, 40),
    (stale, 40),
    (missing_session, 40),
    (holiday, 40),
    (future, 40),
    (out_of_order, 40),
    (zone, 40),
    (spelling, 40),
    (swapped_range, 40),
    (decimal_comma, 40),
    (thousands, 40),
    (garbage, 40),
)


def plant_all(f: Field) -> list[Plant]:
    """Every kind; smaller panels take fewer of each."""
    size = min(1.0, len(f.spans) / 400)
    return [plant(f) for plant, count in KINDS for _ in range(max(2, round(count * size)))]
