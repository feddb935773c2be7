"""Measures of portfolios and of forecasts. Where a measure is undefined it is NaN, never a flattering number."""

import math

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]
SESSIONS_A_YEAR = 252.0


# Portfolios


def periods_a_year(calendar: pd.DatetimeIndex) -> float:
    """Bars a year of a calendar, by which figures are brought to a year.

    Where bars are a day or more apart and there is less than a year of them, or they come as often as an exchange's
    sessions (240 to 262 a year), the usual 252; else as many as there were in a year of 365.25 days.
    """
    if len(calendar) < 2:
        return SESSIONS_A_YEAR
    gaps = np.diff(calendar.to_numpy())
    years = float(gaps.sum() / np.timedelta64(1, "s")) / (365.25 * 86_400)
    measured = len(gaps) / years
    daily = bool(np.median(gaps) >= np.timedelta64(1, "D"))
    return SESSIONS_A_YEAR if daily and (years < 1 or 240 <= measured <= 262) else measured


def total_return(equity: pd.Series) -> float:
    """Last over first equity, less one (a fraction); NaN without a session."""
    return float(equity.iloc[-1] / equity.iloc[0] - 1) if len(equity) else math.nan


def simple_returns(equity: pd.Series) -> pd.Series:
    """Fractional change from session to session, one value fewer than `equity`; 0 after ruin."""
    values = equity.to_numpy(dtype=float)
    change = np.zeros(max(len(values) - 1, 0))
    np.divide(np.diff(values), values[:-1], out=change, where=values[:-1] != 0)
    return pd.Series(change, index=equity.index[1:], name="return")


def annual_return(equity: pd.Series, periods: float = SESSIONS_A_YEAR) -> float:
    """Compounded yearly return (a fraction) of session equity, `periods` sessions a year.

    A series of n values spans n − 1 sessions. NaN with fewer than two values; −1 after ruin.
    """
    if len(equity) < 2:
        return math.nan
    growth = float(equity.iloc[-1] / equity.iloc[0])
    return float(growth ** (periods / (len(equity) - 1)) - 1)


def annual_volatility(returns: pd.Series, periods: float = SESSIONS_A_YEAR) -> float:
    """Sample standard deviation (n − 1) of session returns × √periods; NaN with fewer than two returns."""
    values = _finite(returns)
    return float(values.std(ddof=1) * math.sqrt(periods)) if len(values) > 1 else math.nan


def sharpe_ratio(returns: pd.Series, periods: float = SESSIONS_A_YEAR) -> float:
    """Mean over sample standard deviation of session returns × √periods (Sharpe 1994, no riskless rate).

    NaN with fewer than two returns or without variance.
    """
    values = _finite(returns)
    if not varies(values):
        return math.nan
    return float(values.mean() / values.std(ddof=1) * math.sqrt(periods))


def drawdown(equity: pd.Series) -> pd.Series:
    """Distance of each session's equity from its highest value so far, as a fraction ≤ 0."""
    return (equity / equity.cummax() - 1).rename("drawdown")


def max_drawdown(equity: pd.Series) -> float:
    """The deepest drawdown as a positive fraction (1 = ruin); NaN without a session."""
    return float(-drawdown(equity).min()) + 0.0 if len(equity) else math.nan


def longest_drawdown(equity: pd.Series) -> int:
    """Most bars in a row below the highest equity so far; to the end, where it was not reached again."""
    below = (equity < equity.cummax()).to_numpy()
    reset = np.maximum.accumulate(np.where(below, 0, np.arange(1, len(below) + 1)))
    return int((np.arange(1, len(below) + 1) - reset).max(initial=0))


def sortino_ratio(returns: pd.Series, periods: float = SESSIONS_A_YEAR) -> float:
    """Mean return over downside deviation × √periods, both against 0 (Sortino & Price 1994).

    The downside deviation is the root of the mean square of losses, over all bars. NaN with fewer than two returns or
    without a loss.
    """
    values = _finite(returns)
    if not varies(values) or not (values < 0).any():
        return math.nan
    return float(values.mean() / math.sqrt(np.mean(np.minimum(values, 0) ** 2)) * math.sqrt(periods))


def calmar_ratio(equity: pd.Series, periods: float = SESSIONS_A_YEAR) -> float:
    """Compounded yearly return over the deepest drawdown (Young 1991); NaN without a drawdown."""
    deepest = max_drawdown(equity)
    return annual_return(equity, periods) / deepest if deepest > 0 else math.nan


def beta(returns: pd.Series, benchmark: pd.Series) -> float:
    """Slope of returns on those of a benchmark at the same bars; NaN with fewer than two, or where it does not vary."""
    mine, other = returns.to_numpy(dtype=float), benchmark.to_numpy(dtype=float)
    return float(np.cov(mine, other)[0, 1] / other.var(ddof=1)) if varies(other) else math.nan


def turnover(fills: pd.DataFrame, equity: pd.Series, periods: float = SESSIONS_A_YEAR) -> float:
    """One-way turnover a year: half the traded notional over mean equity, per `periods` sessions.

    Args:
        fills: a `Result`'s fills (currency in `notional`).
        equity: the same result's equity; n values span n − 1 sessions.

    Returns:
        times equity per year; NaN with fewer than two sessions.
    """
    if len(equity) < 2:
        return math.nan
    return float(fills["notional"].sum() / 2 / equity.mean() * periods / (len(equity) - 1))


# Forecasts: scores and labels are sessions × instruments with the same index and columns, NaN = absent.


def rank_ic_series(scores: pd.DataFrame, labels: pd.DataFrame) -> pd.Series:
    """Spearman correlation of scores and labels per session, over names that have both.

    Ties get their average rank. Sessions with fewer than two such names, or in which all scores or all labels
    are equal, are left out.

    Raises:
        ValueError: the two frames differ in index or columns.
    """
    score, label, _ = _paired(scores, labels)
    x, y = centred_ranks(score), centred_ranks(label)
    spread = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    defined = spread > 0
    correlation = (x * y).sum(axis=1)[defined] / spread[defined]
    return pd.Series(correlation, index=scores.index[defined], name="rank_ic")


def hit_rate(scores: pd.DataFrame, labels: pd.DataFrame) -> float:
    """Share of (session, name) pairs whose score and label lie on the same side of their session's medians.

    Medians are over the names that have both; pairs exactly at either median do not count. NaN without a pair.

    Raises:
        ValueError: the two frames differ in index or columns.
    """
    hit, counted = hits(scores, labels)
    return _ratio(int(hit.sum()), int(counted.sum()))


def hits(scores: pd.DataFrame, labels: pd.DataFrame) -> tuple[Counts, Counts]:
    """In each session: pairs on the same side of both medians, and pairs that lie at neither (see `hit_rate`)."""
    score, label, _ = _paired(scores, labels)
    product = _side(score) * _side(label)
    return (product > 0).sum(axis=1), (np.abs(product) > 0).sum(axis=1)


def top_precision_recall(scores: pd.DataFrame, labels: pd.DataFrame, fraction: float) -> tuple[float, float, float]:
    """How well a session's best-scored names are found among its best-performing third, pooled over sessions.

    Predicted positive: within the top max(1, floor(n × fraction)) by score. Actual positive: within the top
    max(1, floor(n / 3)) by label. n counts the session's names that have both; ties by name, alphabetically
    first wins.

    Returns:
        precision; recall; base rate, the share of actual positives, which is the precision of a guess. NaN
        without a pair.

    Raises:
        ValueError: the two frames differ in index or columns, or `fraction` is not within (0, 1].
    """
    found, predicted, actual, pairs = (int(count.sum()) for count in top_found(scores, labels, fraction))
    return _ratio(found, predicted), _ratio(found, actual), _ratio(actual, pairs)


def top_found(scores: pd.DataFrame, labels: pd.DataFrame, fraction: float) -> tuple[Counts, Counts, Counts, Counts]:
    """In each session: predicted positives that are actual ones, predicted ones, actual ones, names that have both;
    see `top_precision_recall`."""
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction: expected a number within (0, 1], found {fraction:g}")
    score, label, paired = _paired(scores, labels)
    predicted, actual = _top(score, fraction), _top(label, 1 / 3)
    return (predicted & actual).sum(axis=1), predicted.sum(axis=1), actual.sum(axis=1), paired.sum(axis=1)


def auc_series(scores: pd.DataFrame, labels: pd.DataFrame) -> pd.Series:
    """Area under the receiver operating characteristic of "ends in the better half", per session.

    The probability that a name whose label is above its session's median has a higher score than one whose label is
    below it, equal scores counting half: the Mann–Whitney statistic over the number of such pairs (Hanley & McNeil
    1982). Names exactly at the median are in neither half. Sessions without both halves are left out.

    Raises:
        ValueError: the two frames differ in index or columns.
    """
    score, label, _ = _paired(scores, labels)
    side = _side(label)
    ranks = pd.DataFrame(np.where(side != 0, score, np.nan)).rank(axis=1).to_numpy(dtype=float)
    better, worse = (side > 0).sum(axis=1), (side < 0).sum(axis=1)
    above = np.where(side > 0, ranks, 0.0).sum(axis=1) - better * (better + 1) / 2
    defined = (better > 0) & (worse > 0)
    return pd.Series((above / np.maximum(better * worse, 1))[defined], index=scores.index[defined], name="auc")


def ic_series(scores: pd.DataFrame, labels: pd.DataFrame) -> pd.Series:
    """Pearson correlation of scores and labels per session, over names that have both.

    Sessions with fewer than two such names, or in which scores or labels do not differ, are left out.

    Raises:
        ValueError: the two frames differ in index or columns.
    """
    score, label, _ = _paired(scores, labels)
    x, y = unit_rows(score), unit_rows(label)
    defined = np.asarray(x.any(axis=1) & y.any(axis=1))
    return pd.Series((x * y).sum(axis=1)[defined], index=scores.index[defined], name="ic")


def unit_rows(values: Floats) -> Floats:
    """Each row less its mean and scaled to length 1, so that the product of two rows sums to their correlation.

    0 where there is no value, and in rows whose values differ by no more than the rounding of floating point.
    """
    known = np.isfinite(values)
    filled = np.where(known, values, 0.0)
    largest = np.abs(filled).max(axis=1, keepdims=True, initial=0.0)
    scaled = filled / np.where(largest > 0, largest, 1.0)
    mean = scaled.sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1)
    apart = np.where(known, scaled - mean, 0.0)
    length = np.sqrt((apart**2).sum(axis=1, keepdims=True))
    unit: Floats = np.where(length > 1e-12, apart / np.where(length > 0, length, 1.0), 0.0)
    return unit


def top_count(names: int, fraction: float) -> int:
    """max(1, floor(names × fraction)), the number of names in a top fraction."""
    # 100 × 0.29 is 28.999999999999996 in floating point; the intended count is 29.
    return max(1, math.floor(names * fraction + 1e-9))


def varies(values: Floats) -> bool:
    """Whether values differ by more than the rounding of floating point; False with fewer than two."""
    return len(values) > 1 and bool(values.std() > 1e-12 * np.abs(values).max())


def _finite(series: pd.Series) -> Floats:
    values = series.to_numpy(dtype=float)
    finite: Floats = values[np.isfinite(values)]
    return finite


def _paired(scores: pd.DataFrame, labels: pd.DataFrame) -> tuple[Floats, Floats, Flags]:
    """Both as arrays with columns in alphabetical order, NaN where either is absent, and where both are there."""
    if not (scores.index.equals(labels.index) and scores.columns.equals(labels.columns)):
        raise ValueError("scores and labels must have the same sessions and instruments")
    order = np.argsort(scores.columns.to_numpy(dtype=object), kind="stable")
    score, label = scores.to_numpy(dtype=float)[:, order], labels.to_numpy(dtype=float)[:, order]
    paired: Flags = np.isfinite(score) & np.isfinite(label)
    return np.where(paired, score, np.nan), np.where(paired, label, np.nan), paired


def centred_ranks(values: Floats) -> Floats:
    """Average ranks along each row less the row's mean rank; 0 where there is no value."""
    ranks = pd.DataFrame(values).rank(axis=1).to_numpy(dtype=float)
    mean = (np.isfinite(ranks).sum(axis=1, keepdims=True) + 1) / 2
    centred: Floats = np.where(np.isfinite(ranks), ranks - mean, 0.0)
    return centred


def _side(values: Floats) -> Floats:
    """Which side of its row's median each value lies on: 1, −1, or 0 at it; NaN where there is no value."""
    side = np.full(values.shape, np.nan)
    known = np.isfinite(values).any(axis=1)
    side[known] = np.sign(values[known] - np.nanmedian(values[known], axis=1, keepdims=True))
    return side


def _top(values: Floats, fraction: float) -> Flags:
    """Whether each value is in its row's top fraction; ties by column order."""
    count = np.isfinite(values).sum(axis=1)
    wanted = np.array([top_count(int(n), fraction) if n else 0 for n in count], dtype=int)
    best_first = np.argsort(-values, axis=1, kind="stable")
    place = np.empty_like(best_first)
    np.put_along_axis(place, best_first, np.arange(values.shape[1])[np.newaxis, :], axis=1)
    top: Flags = place < wanted[:, np.newaxis]
    return top


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
