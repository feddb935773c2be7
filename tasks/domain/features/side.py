"""The side that a simple rule takes, which a meta-labelled model says to follow or not."""

import numpy as np
import pandas as pd


def momentum_side(close: pd.DataFrame, sessions: int) -> pd.DataFrame:
    """1 (long) for what rose over the last `sessions`, −1 (short) for what fell, 0 for neither.

    Args:
        close: sessions × instruments.

    Returns:
        Same shape; NaN where one of the two bars is missing.
    """
    return (close / close.shift(sessions) - 1).apply(np.sign)


def sides(bars: pd.DataFrame, sessions: int, timestamp: np.ndarray, instrument: np.ndarray) -> np.ndarray:
    """The side of each row named by `timestamp` and `instrument`; `bars` are long, as for features."""
    side = momentum_side(bars.pivot(index="timestamp", columns="instrument", values="close").sort_index(), sessions)
    rows, names = side.index.get_indexer(pd.Index(timestamp)), side.columns.get_indexer(pd.Index(instrument))
    return np.asarray(side.to_numpy()[rows, names])
