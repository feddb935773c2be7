"""Do features look into the future, or further back than they say? Asked before anything is trained on them."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tasks.domain.errors import UsageError
from tasks.domain.features.bars import KEYS, LONGEST_HOLE
from tasks.domain.features.engine import Own, Rows, compute, history_of

CUTS = 4  # sessions, spread over the panel
NAMES = 40  # at most, spread over the sorted names
PAST, FUTURE = 5, 10  # sessions looked at before each cut, and perturbed after it
SAME = 1e-9  # relative: a running sum of a user's may carry the rounding of older bars along


def check_causal(features: Sequence[str], bars: pd.DataFrame, own: Mapping[str, Own] | None = None) -> None:
    """Refuse features whose value at a session changes with what comes after it, or with what is too old for it.

    At each of a few cuts the features are computed three times: on bars that end at the cut, on the same bars followed
    by the next ones, and on those with the next ones changed at random. The last sessions up to the cut must have the
    same values all three times, and the values must be those of the whole history before the cut, too.

    Cheap by looking at little: at most 40 names, and before each cut only as many sessions as the features look back.
    That is exact for looks into the future: features are computed anew on the smaller panel each time, so a
    cross-sectional one is compared with itself. Whether the declared history is long enough is asked at the last cut
    only.

    Args:
        features, bars, own: as for `features.engine.compute`.

    Raises:
        UsageError: names the first feature and session whose value changes, or says what else is wrong with a feature.
    """
    try:
        check_each_cut(features, subset(bars), own)
    except ValueError as fault:
        raise UsageError(str(fault)) from fault


def check_each_cut(features: Sequence[str], table: pd.DataFrame, own: Mapping[str, Own] | None) -> None:
    sessions = np.sort(table["timestamp"].unique())
    history = history_of(features, own) + LONGEST_HOLE
    last = max(len(sessions) - 2, 0)
    cuts = np.unique(np.linspace(min(history + PAST, last), last, CUTS).astype(int))
    for number, cut in enumerate(cuts):
        stretch = (sessions[max(0, cut - history - PAST)], sessions[min(cut + FUTURE, len(sessions) - 1)])
        near = table[(table["timestamp"] >= stretch[0]) & (table["timestamp"] <= stretch[1])]
        past = near["timestamp"] <= sessions[cut]
        known = compute(features, near[past], own=own)
        for future in (near, perturbed(near, ~past, seed=number)):
            compare(known, compute(features, future, own=own), sessions[cut], "looks into the future")
    whole = compute(features, table[table["timestamp"] <= sessions[cuts[-1]]], own=own)
    compare(known, whole, sessions[cuts[-1]], "looks further back than its history says")


def subset(bars: pd.DataFrame) -> pd.DataFrame:
    names = np.sort(bars["instrument"].unique())
    kept = names[np.unique(np.linspace(0, len(names) - 1, NAMES).astype(int))]
    return bars[bars["instrument"].isin(kept)]


def perturbed(bars: pd.DataFrame, where: pd.Series, seed: int) -> pd.DataFrame:
    """The bars with every number of the chosen rows scaled by a factor of its own."""
    rng = np.random.default_rng(seed)
    changed = bars.copy()
    for column in [name for name in bars if name not in KEYS and pd.api.types.is_numeric_dtype(bars[name])]:
        values = bars[column].to_numpy("float64", copy=True)
        values[where] *= rng.uniform(0.5, 2.0, int(where.sum()))
        changed[column] = values
    return changed


def compare(known: Rows, other: Rows, cut: np.datetime64, fault: str) -> None:
    """Raise for the first value up to the cut that differs; rows are matched by their keys."""
    left, right = (frame(rows, cut) for rows in (known, other))
    right = right.reindex(left.index)
    same = np.isclose(left, right, rtol=SAME, atol=SAME, equal_nan=True)
    if same.all():
        return
    row, column = np.argwhere(~same)[0]
    session, name = pd.Timestamp(left.index[row][0]), str(left.index[row][1])
    found = [float(values.to_numpy()[row, column]) for values in (left, right)]
    raise UsageError(
        f"feature {known.names[column]} {fault}: at {session.date()}, {name}, it is {found[0]:.6g} on the bars up to "
        f"{pd.Timestamp(cut).date()} and {found[1]:.6g} on more bars; use older bars only and declare how many "
        "sessions it looks back"
    )


def frame(rows: Rows, cut: np.datetime64) -> pd.DataFrame:
    kept = rows.timestamp <= cut
    index = pd.MultiIndex.from_arrays([rows.timestamp[kept], rows.instrument[kept]])
    return pd.DataFrame(rows.x[kept], index=index, columns=rows.names)
