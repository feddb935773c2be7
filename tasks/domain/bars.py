"""Bars: the canonical form of the data, its digest, and its cut into development and lockbox."""

import hashlib
from typing import NamedTuple

import numpy as np
import pandas as pd

from tasks.domain.errors import UsageError
from tasks.domain.problem import BAR_COLUMNS

KEY = ["instrument", "timestamp"]
VALUES = [name for name in BAR_COLUMNS if name not in KEY]


class Parts(NamedTuple):
    """A snapshot in two disjoint pieces of time."""

    development: pd.DataFrame
    lockbox: pd.DataFrame


def canonical(bars: pd.DataFrame) -> pd.DataFrame:
    """Bars in canonical column order, types and row order (instrument, then timestamp).

    Rows with equal keys keep their order of arrival, so the form is a function of the content alone.
    """
    columns = [name for name in BAR_COLUMNS if name in bars.columns]
    ordered = bars.loc[:, columns].copy()
    ordered["timestamp"] = ordered["timestamp"].astype("datetime64[us]")
    ordered["instrument"] = ordered["instrument"].astype("str")
    for name in VALUES:
        if name in ordered:
            ordered[name] = ordered[name].astype("float64")
    return ordered.sort_values(KEY, kind="stable", ignore_index=True)


def digest(table: pd.DataFrame) -> str:
    """SHA-256 over the columns' names, types and values in the order given; all missing numbers are one."""
    sha = hashlib.sha256()
    for name in table.columns:
        column = table[name]
        sha.update(f"{name}\x00{len(column)}\x00".encode())
        if pd.api.types.is_datetime64_any_dtype(column):
            sha.update(b"datetime" + column.to_numpy("datetime64[us]").tobytes())
        elif pd.api.types.is_numeric_dtype(column):
            numbers = column.to_numpy("float64", copy=True)
            numbers[np.isnan(numbers)] = np.nan
            sha.update(b"float" + (numbers + 0.0).tobytes())  # + 0.0 makes the two zeros one
        else:
            codes, words = pd.factorize(column.astype("str"), use_na_sentinel=False)
            sha.update(b"text" + "\x00".join(map(str, words)).encode() + codes.astype("int64").tobytes())
    return sha.hexdigest()


def until(bars: pd.DataFrame, as_of: pd.Timestamp | None) -> pd.DataFrame:
    """Bars up to and including `as_of`.

    Raises:
        UsageError: no bar is that old.
    """
    if as_of is None:
        return bars
    kept = bars[bars["timestamp"] < as_of.normalize() + pd.Timedelta(days=1)]
    if kept.empty:
        first = bars["timestamp"].min()
        raise UsageError(f"--as-of {as_of.date()}: the data starts on {first.date()}; give that date or a later one")
    return kept


def split(bars: pd.DataFrame, lockbox_fraction: float) -> Parts:
    """Cut off the newest `lockbox_fraction` of sessions; both parts keep canonical order.

    Raises:
        UsageError: too few sessions to leave both parts at least one.
    """
    sessions = np.sort(bars["timestamp"].unique())
    held_back = round(len(sessions) * lockbox_fraction)
    if not 1 <= held_back < len(sessions):
        raise UsageError(
            f"{len(sessions)} sessions are too few for a lockbox of {lockbox_fraction:.0%}; bring more data"
        )
    inside = bars["timestamp"] >= sessions[-held_back]
    return Parts(bars[~inside].reset_index(drop=True), bars[inside].reset_index(drop=True))


def wide(bars: pd.DataFrame, column: str) -> pd.DataFrame:
    """One column as sessions × instruments, missing bars as NaN."""
    return bars.pivot(index="timestamp", columns="instrument", values=column).sort_index()
