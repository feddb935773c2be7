"""The state of the market at each session, as far as closes tell it."""

import numpy as np
import pandas as pd

QUARTER, YEAR = 63, 252  # sessions


def market_states(close: pd.DataFrame) -> pd.DataFrame:
    """The state of the market at each session, as it could be known at that session's close.

    Args:
        close: sessions × instruments, NaN where there is no bar.

    Returns:
        Same sessions; `year`; `volatility` (low, middle, high): the third that the last quarter's volatility of the
        mean return is in among all such figures so far; `market` (rising, falling): sign of the last quarter's sum of
        mean returns. None where there is too little history.
    """
    market = close.pct_change(fill_method=None).mean(axis=1)
    volatility = market.rolling(QUARTER).std()
    standing = volatility.expanding(min_periods=YEAR).rank(pct=True)
    trend = market.rolling(QUARTER).sum()
    return pd.DataFrame(
        {
            "year": pd.DatetimeIndex(close.index).year.astype(str),
            "volatility": named(standing, [(1 / 3, "low"), (2 / 3, "middle"), (1.0, "high")]),
            "market": named(trend, [(0.0, "falling"), (np.inf, "rising")]),
        },
        index=close.index,
    )


def named(values: pd.Series, limits: list[tuple[float, str]]) -> np.ndarray:
    """The name of the first limit that each value does not exceed, None for a missing value, which sorts last."""
    words = np.array([*(word for _, word in limits), None], dtype=object)
    return np.asarray(words[np.searchsorted([limit for limit, _ in limits], values.to_numpy())])
