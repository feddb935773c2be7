"""Bars in the form that the rules work on: sorted columns, one instrument after the other."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
Places = npt.NDArray[np.uint32]
PRICES = ("open", "high", "low", "close")
SLICE_ROWS = 250_000
SECOND = 1_000_000
THREADS = 2  # numpy frees the interpreter's lock


@dataclass(frozen=True)
class Panel:
    """n bars sorted by instrument and time.

    `code` (n,) numbers the instruments, whose names are `names`; `time` (n,) is in microseconds since 1970, exchange
    local; `fields` holds price and volume columns (n,), NaN where a value is missing; `place` (n,) is the row's place
    in the delivery; `part` (n,) says which piece of the delivery it came in and `batch` (n,) in which collection.
    """

    names: tuple[str, ...]
    code: npt.NDArray[np.int32]
    time: Whole
    fields: dict[str, Floats]
    place: Places
    part: npt.NDArray[np.int32]
    batch: npt.NDArray[np.int32]
    # Statistics of whole instruments that several rules ask for; keyed by what they are.
    known: dict[str, Floats] = field(default_factory=dict, compare=False)

    def __len__(self) -> int:
        return len(self.code)

    @property
    def has_range(self) -> bool:
        """Whether bars tell open, high, low and close, not the close alone."""
        return set(PRICES) <= set(self.fields)

    @property
    def close(self) -> Floats:
        return self.fields["close"]

    def names_of(self, codes: npt.NDArray[np.integer]) -> list[str]:
        return [self.names[code] for code in codes.tolist()]

    def take(self, rows: Mask | Whole | slice) -> "Panel":
        """The rows named; a slice gives views, so that a change reaches the whole."""
        return replace(
            self,
            code=self.code[rows],
            time=self.time[rows],
            fields={name: values[rows] for name, values in self.fields.items()},
            place=self.place[rows],
            part=self.part[rows],
            batch=self.batch[rows],
            known={},
        )

    def compacted(self, kept: Iterator["Panel"]) -> "Panel":
        """What is left of each stretch, one after the other, in this panel's own memory.

        Each of `kept` holds rows of the next stretch of this panel, so nothing is overwritten before it is read.
        """
        end = 0
        for part in kept:
            begin, end = end, end + len(part)
            rows = slice(begin, end)
            for own, left in zip(self.arrays(), part.arrays(), strict=True):
                if not same_memory(own[rows], left):
                    own[rows] = left
        return self.take(slice(0, end))

    def arrays(self) -> list[npt.NDArray[Any]]:
        return [self.code, self.time, self.place, self.part, self.batch, *self.fields.values()]

    @property
    def is_first(self) -> Mask:
        """Rows that begin an instrument."""
        first = np.ones(len(self), dtype=bool)
        first[1:] = self.code[1:] != self.code[:-1]
        return first

    def starts(self) -> Whole:
        """Position of each instrument's first row, and the number of rows at the end."""
        return np.append(np.flatnonzero(self.is_first), len(self)).astype(np.int64)

    def slices(self, rows: int = SLICE_ROWS) -> Iterator[slice]:
        """Stretches of about `rows` rows that never cut an instrument."""
        starts = self.starts()
        begin = 0
        while begin < len(self):
            after = int(np.searchsorted(starts, begin + rows, side="left"))
            end = int(starts[min(after, len(starts) - 1)])
            yield slice(begin, end)
            begin = end

    def before(self, values: npt.NDArray[np.generic], steps: int = 1) -> Floats:
        """Each row's value `steps` bars earlier in the same instrument, NaN where there is none."""
        moved = np.full(len(self), np.nan)
        if len(self) > steps:
            same = self.code[steps:] == self.code[:-steps]
            moved[steps:] = np.where(same, values[:-steps], np.nan)
        return moved

    def after(self, values: npt.NDArray[np.generic], steps: int = 1) -> Floats:
        """Each row's value `steps` bars later in the same instrument, NaN where there is none."""
        moved = np.full(len(self), np.nan)
        if len(self) > steps:
            same = self.code[steps:] == self.code[:-steps]
            moved[:-steps] = np.where(same, values[steps:], np.nan)
        return moved

    def span(self, code: int) -> slice:
        """The rows of an instrument."""
        return slice(int(np.searchsorted(self.code, code, "left")), int(np.searchsorted(self.code, code, "right")))

    def per_instrument(self, what: Callable[[Floats], float], values: Floats) -> Floats:
        """A statistic of each instrument's values that are not missing, laid out along its rows."""
        starts = self.starts()
        found = [what(kept) if len(kept := drop_missing(values[a:b])) else np.nan for a, b in pairs(starts)]
        return np.repeat(np.array(found, dtype=np.float64), np.diff(starts))

    def usual_move(self) -> Floats:
        """How far the row's instrument ordinarily moves from bar to bar: the median absolute log return, or for names
        that hardly trade (most returns zero) what the ninth decile says about it."""
        if "usual_move" not in self.known:
            moves = np.abs(np.log(self.close) - self.before(np.log(self.close)))
            self.known["usual_move"] = self.per_instrument(ordinary, moves)
        return self.known["usual_move"]


def pairs(starts: Whole) -> Iterator[tuple[int, int]]:
    return zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)


def drop_missing(values: Floats) -> Floats:
    return values[~np.isnan(values)]


def ordinary(moves: Floats) -> float:
    """A normal variable's median and ninth decile of absolute values are 0.674 and 1.645 standard deviations."""
    middle, ninth = np.quantile(moves, [0.5, 0.9])
    return float(max(middle, ninth * 0.674 / 1.645))


def sort_order(code: npt.NDArray[np.int32], time: Whole) -> Whole | None:
    """Stable order by instrument and time; None if the rows have it already."""
    if bool(np.all((code[1:] > code[:-1]) | ((code[1:] == code[:-1]) & (time[1:] >= time[:-1])))):
        return None
    unit = SECOND if bool(np.all(time % SECOND == 0)) else 1
    first = int(time.min())
    span = (int(time.max()) - first) // unit + 1
    if span * (int(code.max()) + 1) > np.iinfo(np.int64).max:
        return np.asarray(np.lexsort((time, code)), dtype=np.int64)
    # One whole number a row sorts several times faster than two columns.
    key = code.astype(np.int64) * span + (time - first) // unit
    order = np.asarray(pl.Series(key).arg_sort().to_numpy(), dtype=np.int64)
    return with_ties_in_place(key[order], order)


def with_ties_in_place(ordered: Whole, order: Whole) -> Whole:
    """An order in which rows with equal keys keep the places they came in; `ordered` are the keys in that order."""
    equal = ordered[1:] == ordered[:-1]
    if equal.any():
        order = order.copy()
        rows = np.flatnonzero(np.append(equal, False) | np.append(False, equal))
        order[rows] = order[rows][np.lexsort((order[rows], ordered[rows]))]
    return order


def same_memory(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> bool:
    return bool(one.__array_interface__["data"] == other.__array_interface__["data"] and one.size == other.size)
