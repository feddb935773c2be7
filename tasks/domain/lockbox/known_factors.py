"""What is left of a score once everything that it shares with well-known factors is taken out."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from tasks.domain import metrics
from tasks.domain.accuracy import Figures, Lockbox, interval
from tasks.domain.metrics import Floats

MONTH, QUARTER, YEAR = 21, 63, 252  # sessions
KNOWN_SHARE = 2 / 3  # of a window's returns
FEWEST_NAMES = 10  # of a session, for a regression on four factors to leave something to chance
DIGITS = 9  # of what is left, where a session's ranks have length 1; the rest is rounding, and no order


class Left(NamedTuple):
    """`residual`: scores' ranks less what factors' ranks explain, sessions × instruments, NaN where not regressed.
    `correlation`: sessions × factors, rank correlation with the score. `r_squared`: of each session, adjusted for the
    number of factors (Theil 1961): chance alone explains nothing on average."""

    residual: pd.DataFrame
    correlation: pd.DataFrame
    r_squared: pd.Series


def factors(close: pd.DataFrame, sessions: pd.Index) -> dict[str, pd.DataFrame]:
    """Known factors at each of some sessions, × instruments, from closes up to that session.

    momentum: return over the year but its last month (Jegadeesh & Titman 1993). reversal: minus the last month's return
    (Jegadeesh 1990). volatility: standard deviation of the last 63 returns. beta: slope of the last 252 returns on
    those of the equally weighted market. The last two need two thirds of their returns.

    Args:
        close: with a year of history before the sessions; NaN where there is no bar, and so where there is too little.
    """
    first = max(int(close.index.get_indexer(sessions[:1])[0]) - YEAR, 0)
    part = close.iloc[first:]
    returns = part.pct_change(fill_method=None)
    found = {
        "momentum": part.shift(MONTH) / part.shift(YEAR) - 1,
        "reversal": 1 - part / part.shift(MONTH),
        "volatility": returns.rolling(QUARTER, min_periods=round(QUARTER * KNOWN_SHARE)).std(),
        "beta": rolling_beta(returns, YEAR),
    }
    return {name: table.reindex(sessions) for name, table in found.items()}


def rolling_beta(returns: pd.DataFrame, window: int) -> pd.DataFrame:
    """Slope of each column's last `window` values on those of the mean column, over times that have both."""
    values = returns.to_numpy(dtype=float)
    known = np.isfinite(values)
    market = np.where(known, values, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    x, y = np.where(known, market[:, np.newaxis], 0.0), np.where(known, values, 0.0)
    count, sum_x, sum_y, sum_xy, sum_xx = (trailing(each, window) for each in (known, x, y, x * y, x * x))
    seen = np.maximum(count, 1)
    covariance, variance = sum_xy - sum_x * sum_y / seen, sum_xx - sum_x**2 / seen
    enough = (count >= round(window * KNOWN_SHARE)) & (variance > 1e-12 * sum_xx)
    slope = np.divide(covariance, variance, out=np.full(values.shape, np.nan), where=enough)
    return pd.DataFrame(slope, returns.index, returns.columns)


def trailing(values: np.ndarray, window: int) -> Floats:
    """Sums over the last `window` rows up to each one, or over as many as there are."""
    total = np.cumsum(values, axis=0, dtype=float)
    total[window:] -= total[:-window].copy()
    return total


def regress(scores: pd.DataFrame, known: dict[str, pd.DataFrame]) -> Left:
    """Regress, session by session, the ranks of the scores on the ranks of the factors, over names that have all.

    Ranks are of those names. Sessions with fewer than 10 of them, or with scores that are all equal, are left out. A
    factor that does not vary among a session's names, or repeats another, explains nothing more (least norm).
    """
    every = np.stack([scores.to_numpy(dtype=float), *(table.to_numpy(dtype=float) for table in known.values())])
    whole = np.isfinite(every).all(axis=0)
    judged = np.flatnonzero(whole.sum(axis=1) >= FEWEST_NAMES)
    ranked = [metrics.unit_rows(metrics.centred_ranks(np.where(whole, each, np.nan)[judged])) for each in every]
    kept = np.asarray(ranked[0].any(axis=1))
    judged, whole = judged[kept], whole[judged[kept]]
    y, x = ranked[0][kept], np.stack([each[kept] for each in ranked[1:]], axis=2)
    y, x = np.where(whole, y, 0.0), np.where(whole[:, :, np.newaxis], x, 0.0)
    gram, shared = x.swapaxes(1, 2) @ x, (x * y[:, :, np.newaxis]).sum(axis=1)
    slopes = np.linalg.pinv(gram, rcond=1e-10, hermitian=True) @ shared[:, :, np.newaxis]
    residual = np.round(y - (x @ slopes)[:, :, 0], DIGITS)
    table = np.full(scores.shape, np.nan)
    table[judged] = np.where(whole, residual, np.nan)
    return Left(
        pd.DataFrame(table, scores.index, scores.columns),
        pd.DataFrame(shared, scores.index[judged], list(known)),
        adjusted(residual, whole.sum(axis=1), len(known), scores.index[judged]),
    )


def adjusted(residual: Floats, names: np.ndarray, count: int, sessions: pd.Index) -> pd.Series:
    """R² less what so many regressors explain by chance; the regressand's rows are of length 1."""
    unexplained = (residual**2).sum(axis=1) * (names - 1) / (names - count - 1)
    return pd.Series(1 - unexplained, sessions, name="r_squared")


def figures(box: Lockbox, left: Left, horizon: int, seed: int) -> Figures:
    """Rank IC of what is left with its 95 % interval, mean correlation with each factor, mean share explained."""
    series = metrics.rank_ic_series(left.residual, box.labels)
    lower, upper = interval(series, horizon, seed)
    told = {
        "lockbox.residual_rank_ic": float(series.mean()),
        "lockbox.residual_rank_ic_lower": lower,
        "lockbox.residual_rank_ic_upper": upper,
        "lockbox.explained_by_factors": float(left.r_squared.mean()),
    }
    return told | {
        f"lockbox.correlation_with_{name}": float(left.correlation[name].mean()) for name in left.correlation
    }
