"""Bars arranged for computing: one sorted table, its sessions and instruments as numbers."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

KEYS = ("timestamp", "instrument")
LONGEST_HOLE = 5  # sessions


class Bars(NamedTuple):
    """Bars sorted by instrument, then timestamp.

    `table`: the long frame, index 0 … n - 1; `sessions`: the sorted distinct timestamps, datetime64[us]; `names`: the
    sorted instruments; `session`, `code`: int64 (n,), each row's place in those two; `begins`: int64, the first row of
    each instrument and, last, n.
    """

    table: pd.DataFrame
    sessions: np.ndarray
    names: np.ndarray
    session: np.ndarray
    code: np.ndarray
    begins: np.ndarray


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


def arrange(bars: pd.DataFrame, columns: Sequence[str]) -> Bars:
    """Sort bars of any row order; `columns` are kept beside the keys.

    Raises:
        ValueError: two rows have the same timestamp and instrument.
    """
    # A set of numbers for each key once: all later steps compare integers.
    session, times = pd.factorize(bars["timestamp"], sort=True)
    code, names = pd.factorize(bars["instrument"], sort=True)
    key = code * np.int64(len(times)) + session
    table = bars[[*KEYS, *columns]]
    if (key[1:] <= key[:-1]).any():
        order = np.argsort(key, kind="stable")
        key, session, code, table = key[order], session[order], code[order], table.iloc[order]
        if (repeated := np.flatnonzero(key[1:] == key[:-1])).size:
            row = table.iloc[repeated[0]]
            raise ValueError(f"bars: {row['instrument']} has two rows at {row['timestamp']}; expected one per session")
    begins = np.searchsorted(code, np.arange(len(names) + 1))
    return Bars(
        table.reset_index(drop=True),
        np.asarray(times, dtype="datetime64[us]"),
        np.asarray(names, dtype=object),
        session.astype(np.int64),
        code.astype(np.int64),
        begins.astype(np.int64),
    )


def latest(bars: pd.DataFrame, since: pd.Timestamp, history: int) -> pd.DataFrame:
    """The bars of sessions ≥ `since` and of the `history` sessions before."""
    times = bars["timestamp"]
    before = np.sort(times[times < since].unique())
    return bars if len(before) <= history else bars[times >= before[-history]]


def has_history(bars: Bars, history: int) -> np.ndarray:
    """Which rows have a bar `history` sessions before, or at most `LONGEST_HOLE` sessions before that one.

    A rule that looks no further back gives the same answer on a part of the bars as on all of them.
    """
    stride = np.int64(len(bars.sessions) + history + LONGEST_HOLE)
    key = bars.code * stride + bars.session
    earlier = np.searchsorted(key, key - history, side="right") - 1
    known: np.ndarray = (earlier >= bars.begins[bars.code]) & (key - key[earlier] <= history + LONGEST_HOLE)
    return known
