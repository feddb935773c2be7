"""Features: bars in, one row of numbers per bar out.

This package is copied into every model artifact and runs there alone, so it imports numpy, pandas and numba only.
Every value at a session uses that session's bar and older ones, never a newer one.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from . import alpha158, price_only
from .bars import KEYS, LONGEST_HOLE, Bars, arrange, has_history, latest

Own = Callable[..., Any]


class Rows(NamedTuple):
    """Feature rows, sorted by timestamp, then instrument.

    `timestamp`: datetime64[us] (n,); `instrument`: object str (n,); `x`: float32 or float64, n × features,
    C-contiguous; `names`: the features in the order of x's columns; `previous`: int64 (n,), the row of the same
    instrument's previous bar among these rows, -1 if there is none.
    """

    timestamp: np.ndarray
    instrument: np.ndarray
    x: np.ndarray
    names: list[str]
    previous: np.ndarray


class FeatureSet(NamedTuple):
    """A named set of features. `columns`: those of the bars it needs beside the keys; `names`: of its features;
    `history`: how many sessions before its own a value looks at; `function`: a `Part` of given bars, with a number of
    threads."""

    columns: tuple[str, ...]
    names: tuple[str, ...]
    history: int
    function: Callable[[Bars, int], "Part"]


class Part(NamedTuple):
    """A set on given bars. `known`: bool (n,), the rows it has values for; `write(place, out)`: puts row i of the bars
    into row `place[i]` of `out` (rows × the set's features), none where `place[i]` is -1."""

    known: np.ndarray
    write: Callable[[np.ndarray, np.ndarray], None]


def ready(values: np.ndarray, known: np.ndarray) -> Part:
    """A part whose values, rows of the bars × features, are computed already."""

    def write(place: np.ndarray, out: np.ndarray) -> None:
        asked = place >= 0
        out[place[asked]] = values[asked]

    return Part(known, write)


def ranks(bars: Bars, _threads: int) -> Part:
    values = price_only.price_only(bars)
    return ready(values, ~np.isnan(values).any(axis=1))


def windows(bars: Bars, threads: int) -> Part:
    def write(place: np.ndarray, out: np.ndarray) -> None:
        alpha158.alpha158(bars, place, out, threads)

    return Part(np.ones(len(bars.code), dtype=bool), write)


SETS = {
    "price_only": FeatureSet(price_only.COLUMNS, price_only.NAMES, price_only.LONGEST_WINDOW, ranks),
    "alpha158": FeatureSet(alpha158.COLUMNS, alpha158.NAMES, alpha158.LONGEST_WINDOW, windows),
}


def prepare(features: Sequence[str]) -> None:
    """Import and compile now what `compute` would import at its first call with these features."""
    if "alpha158" in features:
        alpha158.compiled()


def compute(
    features: Sequence[str],
    bars: pd.DataFrame,
    since: pd.Timestamp | None = None,
    own: Mapping[str, Own] | None = None,
    threads: int = 2,
) -> Rows:
    """Features of bars; rows without their whole history are left out.

    A row has its whole history if its instrument has a bar as many sessions before as the longest look back of the
    features asked for, or at most 5 sessions before that; `price_only` leaves out every row with a missing value as
    well. Sessions are those of the whole panel.

    Args:
        features: names of sets in `SETS` and of functions in `own`.
        bars: long, `timestamp`, `instrument` and the columns that the features need; any row order, one row per key.
        since: only the rows of sessions from this one on, with exactly the values of the full computation; nothing
            older than the features' look back is read.
        own: functions of a user's by name, `def name(bars, history=20)`. Each gets the bars sorted by instrument, then
            timestamp, and returns one number per bar in the same order; the default of `history` says how many
            sessions before its own a value looks at.
        threads: how many to compute `alpha158` with; the values do not depend on it.

    Returns:
        float32 where `alpha158` is among the features, float64 otherwise.

    Raises:
        ValueError: an unknown name, a column the bars lack, two rows with one key, or an own function whose result
            is not one number per bar.
    """
    mine = dict(own or {})
    sets = [chosen(name, mine) for name in features]
    check_columns(features, sets, bars)
    history = max(part.history for part in sets)
    if since is not None:
        bars = latest(bars, since, history + LONGEST_HOLE)
    arranged = arrange(bars)
    parts = [part.function(arranged, threads) for part in sets]
    asked = has_history(arranged, history)
    if since is not None:
        asked &= arranged.sessions[arranged.session] >= np.datetime64(since)
    asked &= np.logical_and.reduce([part.known for part in parts])
    return written(arranged, np.flatnonzero(asked), sets, parts)


def history_of(features: Sequence[str], own: Mapping[str, Own] | None = None) -> int:
    """How many sessions before its own a row of these features looks at; raises as `compute`."""
    return max(chosen(name, dict(own or {})).history for name in features)


def chosen(name: str, own: Mapping[str, Own]) -> FeatureSet:
    if name in SETS:
        return SETS[name]
    if name in own:
        return own_set(name, own[name])
    raise ValueError(f"features: {name!r} is unknown; expected one of {', '.join([*SETS, *own])}")


def check_columns(features: Sequence[str], sets: Sequence[FeatureSet], bars: pd.DataFrame) -> None:
    for name, part in zip(features, sets, strict=True):
        if missing := [column for column in (*KEYS, *part.columns) if column not in bars]:
            other = "; bring them or use price_only, which needs closes alone" if name == "alpha158" else ""
            raise ValueError(f"features: {name} needs the bar columns {', '.join(missing)}, which are missing{other}")


def written(bars: Bars, rows: np.ndarray, sets: Sequence[FeatureSet], parts: Sequence[Part]) -> Rows:
    """The asked `rows` of the bars in their order by time, with the values of all parts side by side."""
    rows = rows[np.argsort(bars.session[rows], kind="stable")]
    place = np.full(len(bars.code), -1, dtype=np.int64)
    place[rows] = np.arange(len(rows))
    names = [name for part in sets for name in part.names]
    x = np.empty((len(rows), len(names)), dtype="float32" if set(alpha158.NAMES) <= set(names) else "float64")
    at = 0
    for given, part in zip(sets, parts, strict=True):
        part.write(place, x[:, at : at + len(given.names)])
        at += len(given.names)
    timestamp = bars.sessions[bars.session[rows]]
    return Rows(timestamp, bars.names[bars.code[rows]], x, names, before(bars, rows, place))


def before(bars: Bars, rows: np.ndarray, place: np.ndarray) -> np.ndarray:
    """For each of `rows`, where the last row before it of the same instrument lies, -1 if there is none."""
    held = np.sort(rows)
    same = bars.code[held[1:]] == bars.code[held[:-1]]
    found = np.full(len(rows), -1, dtype=np.int64)
    found[place[held[1:][same]]] = place[held[:-1][same]]
    return found


def own_features(source: str) -> dict[str, Own]:
    """The features that a user's file defines: its public functions with a parameter `history`."""
    defined: dict[str, Any] = {}
    exec(compile(source, "own features", "exec"), defined)
    return {
        name: value
        for name, value in defined.items()
        if inspect.isfunction(value) and not name.startswith("_") and "history" in inspect.signature(value).parameters
    }


def own_set(name: str, function: Own) -> FeatureSet:
    """A user's function as a set of one feature.

    Raises:
        ValueError: the function does not say how far it looks back.
    """
    declared = inspect.signature(function).parameters.get("history")
    if declared is None or not isinstance(declared.default, int) or declared.default < 0:
        raise ValueError(f"own feature {name}: say how many sessions it looks back, as in def {name}(bars, history=20)")

    def evaluated(bars: Bars, _threads: int) -> Part:
        values = own_values(name, function, bars.table())
        return ready(values[:, np.newaxis], np.ones(len(values), dtype=bool))

    return FeatureSet((), (name,), declared.default, evaluated)


def own_values(name: str, function: Own, table: pd.DataFrame) -> np.ndarray:
    """One float64 per bar from a user's function; raises ValueError where it gives something else."""
    try:
        given = function(table)
    except KeyError as fault:
        raise ValueError(f"own feature {name}: the bars have no column {fault}; they have {list(table)}") from fault
    if isinstance(given, pd.Series) and not given.index.equals(table.index):
        raise ValueError(f"own feature {name}: returned a Series in another order; keep the index of bars")
    shape = np.shape(given)
    if shape != (len(table),):
        raise ValueError(f"own feature {name}: returned shape {shape}; expected one number per bar, ({len(table)},)")
    try:
        return np.asarray(given, dtype="float64")
    except (TypeError, ValueError) as fault:
        raise ValueError(f"own feature {name}: returned {np.asarray(given).dtype}; expected numbers") from fault
