"""Momentum, reversal, volatility and range from closes alone."""

import numpy as np
import pandas as pd

from .bars import LONGEST_HOLE, Bars

COLUMNS = ("close",)
LONGEST_WINDOW = 252
RETURNS = (1, 5, 10, 21, 63, 126)
VOLATILITIES = (21, 63)
MEANS = (10, 50)
NAMES = (
    *(f"return_{n}" for n in RETURNS),
    "return_252_21",
    *(f"volatility_{n}" for n in VOLATILITIES),
    *(f"gap_to_mean_{n}" for n in MEANS),
    "gap_to_high_252",
    "gap_to_low_252",
)


def price_only(bars: Bars) -> np.ndarray:
    """Each feature as a cross-sectional percentile rank in [-0.5, 0.5].

    Windows count the panel's sessions. Returns rows of `bars` × `NAMES`, float64, NaN where the history is too short.
    """
    close = np.full((len(bars.sessions), len(bars.names)), np.nan)
    close[bars.session, bars.code] = bars.values("close")
    # A session without a bar (a halt, a row set aside) is bridged by the last known close, or every window that
    # contains it would be lost; it gets no row of its own.
    log_price = pd.DataFrame(np.log(close)).ffill(limit=LONGEST_HOLE)
    daily = log_price.diff()
    raw: list[pd.DataFrame] = [log_price.diff(n) for n in RETURNS]
    raw.append(log_price.shift(21) - log_price.shift(LONGEST_WINDOW))
    raw += [(moments(daily, n)[1] / (n - 1)) ** 0.5 for n in VOLATILITIES]
    raw += [log_price - moments(log_price, n)[0] for n in MEANS]
    year = log_price.rolling(LONGEST_WINDOW, min_periods=126)
    raw += [log_price - year.max(), log_price - year.min()]
    return np.column_stack([centred_rank(values).to_numpy()[bars.session, bars.code] for values in raw])


def moments(values: pd.DataFrame, window: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Mean and sum of squared deviations of the last `window` rows, NaN where one of them is missing.

    Windows are put together from halves of one, two, four, … rows (Chan, Golub and LeVeque 1979), never from a
    running sum: a running sum carries the rounding of all rows before, so that a value would depend on where the
    table begins.
    """
    part, size = (values, values * 0.0), 1
    whole, length = part, 0
    while size <= window:
        if window & size:
            whole = merged(part, size, shifted(whole, size), length) if length else part
            length += size
        part = merged(part, size, shifted(part, size), size)
        size *= 2
    return whole


def shifted(pair: tuple[pd.DataFrame, pd.DataFrame], rows: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    return pair[0].shift(rows), pair[1].shift(rows)


def merged(
    a: tuple[pd.DataFrame, pd.DataFrame], n_a: int, b: tuple[pd.DataFrame, pd.DataFrame], n_b: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Mean and sum of squared deviations of two samples together."""
    apart = b[0] - a[0]
    return a[0] + apart * (n_b / (n_a + n_b)), a[1] + b[1] + apart**2 * (n_a * n_b / (n_a + n_b))


def centred_rank(values: pd.DataFrame) -> pd.DataFrame:
    """Percentile rank within each session, centred on zero; a monotone change of scale leaves it as it is."""
    ranks = values.rank(axis=1)
    count = values.notna().sum(axis=1).clip(lower=2)
    return ranks.sub((count + 1) / 2, axis=0).div(count - 1, axis=0)
