"""Feature rows of bars by the names of feature sets."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from . import price_only


class Rows(NamedTuple):
    """Feature rows, sorted by timestamp, then instrument.

    `x`: n × features; `names`: the features in the order of x's columns; `previous`: the row of the same instrument's
    previous bar among these rows, -1 if there is none.
    """

    timestamp: np.ndarray
    instrument: np.ndarray
    x: np.ndarray
    names: list[str]
    previous: np.ndarray


SETS = {"price_only": price_only.price_only}


def compute(features: Sequence[str], bars: pd.DataFrame, since: pd.Timestamp | None = None) -> Rows:
    """Features of bars, of sessions from `since` on; rows without their whole history are left out."""
    [name] = features
    rows = SETS[name](bars).dropna()
    if since is not None:
        rows = rows[rows["timestamp"] >= since]
    rows = rows.reset_index(drop=True)
    instrument = rows["instrument"].to_numpy(dtype=object)
    names = [str(name) for name in rows if name not in ("timestamp", "instrument")]
    before = pd.Series(np.arange(len(rows))).groupby(instrument).shift(1, fill_value=-1).to_numpy()
    x = np.ascontiguousarray(rows[names].to_numpy("float64"))
    return Rows(rows["timestamp"].to_numpy(), instrument, x, names, before)
