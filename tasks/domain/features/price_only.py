"""Features: bars in, one row of numbers per bar out.

This package is copied into every model artifact and runs there alone, so it imports numpy and pandas only.
Every value at a session uses that session's bar and older ones, never a newer one.
"""

import numpy as np
import pandas as pd

LONGEST_WINDOW = 252
LONGEST_HOLE = 5  # sessions


def price_only(bars: pd.DataFrame) -> pd.DataFrame:
    """Momentum, reversal, volatility and range features from closes alone.

    Args:
        bars: long, columns `timestamp`, `instrument`, `close`; any row order, one row per key.

    Returns:
        Long frame sorted by timestamp then instrument: the two keys and the features, each a
        cross-sectional percentile rank in [-0.5, 0.5]; NaN where the history is too short. One row per bar.
    """
    close = bars.pivot(index="timestamp", columns="instrument", values="close").sort_index()
    close = close.reindex(columns=sorted(close.columns))
    # A session without a bar (a halt, a row set aside) is bridged by the last known close, or every window that
    # contains it would be lost; it gets no row of its own.
    log_price = close.apply(np.log).ffill(limit=LONGEST_HOLE)
    daily = log_price.diff()
    raw = {f"return_{n}": log_price.diff(n) for n in (1, 5, 10, 21, 63, 126)}
    raw["return_252_21"] = log_price.shift(21) - log_price.shift(LONGEST_WINDOW)
    raw |= {f"volatility_{n}": daily.rolling(n).std() for n in (21, 63)}
    raw |= {f"gap_to_mean_{n}": log_price - log_price.rolling(n).mean() for n in (10, 50)}
    raw["gap_to_high_252"] = log_price - log_price.rolling(LONGEST_WINDOW, min_periods=126).max()
    raw["gap_to_low_252"] = log_price - log_price.rolling(LONGEST_WINDOW, min_periods=126).min()
    present = close.notna().to_numpy()
    sessions, names = np.nonzero(present)
    columns = {name: centred_rank(values).to_numpy()[present] for name, values in raw.items()}
    keys = {"timestamp": close.index[sessions], "instrument": close.columns[names]}
    return pd.DataFrame(keys | columns)


def centred_rank(values: pd.DataFrame) -> pd.DataFrame:
    """Percentile rank within each session, centred on zero; a monotone change of scale leaves it as it is."""
    ranks = values.rank(axis=1)
    count = values.notna().sum(axis=1).clip(lower=2)
    return ranks.sub((count + 1) / 2, axis=0).div(count - 1, axis=0)
