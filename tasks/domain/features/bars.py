"""Bars arranged for computing: one sorted table, its sessions and instruments as numbers."""

from typing import NamedTuple

import numpy as np
import pandas as pd

KEYS = ("timestamp", "instrument")
LONGEST_HOLE = 5  # sessions


class Bars(NamedTuple):
    """Bars by instrument, then timestamp: "row" means a row in this order.

    `given`: the long frame as it was handed over; `order`: int64 (n,), where each row lies in it, None if it lies
    there in order; `sessions`: the sorted distinct timestamps, datetime64[us]; `names`: the sorted instruments;
    `session`, `code`: int64 (n,), each row's place in those two.
    """

    given: pd.DataFrame
    order: np.ndarray | None
    sessions: np.ndarray
    names: np.ndarray
    session: np.ndarray
    code: np.ndarray

    def values(self, column: str) -> np.ndarray:
        """One column as float64 (n,)."""
        values = self.given[column].to_numpy("float64")
        return values if self.order is None else values[self.order]

    def table(self) -> pd.DataFrame:
        """All columns in order, index 0 … n - 1."""
        ordered = self.given if self.order is None else self.given.iloc[self.order]
        return ordered.reset_index(drop=True)


class Block(NamedTuple):
    """Bars that are computed together, each instrument's sessions side by side on one axis of columns.

    An instrument's part begins 60 sessions before the first bar asked for, so windows that reach into another's
    part belong to none that is asked for. `rows`, `column`: int64, the bars needed and the column of each; `asked`:
    int64, 3 × bars asked for: their row, their row in the output, their column; `width`: the columns.
    """

    rows: np.ndarray
    column: np.ndarray
    asked: np.ndarray
    width: int


def arrange(bars: pd.DataFrame) -> Bars:
    """Number the sessions and instruments of bars of any row order, and find their order.

    Raises:
        ValueError: two rows have the same timestamp and instrument.
    """
    session, times = pd.factorize(stamps(bars), sort=True)
    code, names = pd.factorize(bars["instrument"], sort=True)
    key = code * np.int64(len(times)) + session
    order = None
    if (key[1:] <= key[:-1]).any():
        order = np.argsort(key, kind="stable")
        key, session, code = key[order], session[order], code[order]
        if (repeated := np.flatnonzero(key[1:] == key[:-1])).size:
            at = repeated[0]
            twice = f"{names[code[at]]} has two rows at {times[session[at]]}"
            raise ValueError(f"bars: {twice}; expected one per session")
    return Bars(
        bars,
        order,
        np.asarray(times, dtype="datetime64[us]"),
        np.asarray(names, dtype=object),
        session.astype(np.int64),
        code.astype(np.int64),
    )


def stamps(bars: pd.DataFrame) -> np.ndarray:
    return bars["timestamp"].to_numpy("datetime64[us]")


def latest(bars: pd.DataFrame, since: pd.Timestamp, history: int) -> pd.DataFrame:
    """The bars of sessions ≥ `since` and of the `history` sessions before."""
    times = stamps(bars)
    sessions = np.sort(pd.unique(times))
    first = max(int(np.searchsorted(sessions, np.datetime64(since))) - history, 0)
    return bars if first == 0 else bars.loc[times >= sessions[first]]


def has_history(bars: Bars, history: int) -> np.ndarray:
    """Which rows have a bar `history` sessions before, or at most `LONGEST_HOLE` sessions before that one.

    A rule that looks no further back gives the same answer on a part of the bars as on all of them.
    """
    stride = np.int64(len(bars.sessions) + history + LONGEST_HOLE + 1)
    key = bars.code * stride + bars.session
    earlier = np.searchsorted(key, key - history, side="right") - 1
    # Instruments lie further apart than that, so an earlier one's bar is never taken for a bar of this one.
    known: np.ndarray = (earlier >= 0) & (key - key[earlier] <= history + LONGEST_HOLE)
    return known
