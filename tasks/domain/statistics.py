"""How much of a track record is evidence: Sharpe ratios corrected for length, shape and number of trials.

Sharpe ratios here are per period of the returns, not annual. Kurtosis is the plain fourth moment (3 for normal
returns). PSR, MinTRL: Bailey & López de Prado, "The Sharpe ratio efficient frontier" (2012). SR0, DSR: the same,
"The deflated Sharpe ratio" (2014). MinBTL: Bailey, Borwein, López de Prado & Zhu, "Pseudo-mathematics and
financial charlatanism" (2014).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from tasks.domain.metrics import Floats, varies


class SharpeMoments(NamedTuple):
    """Per-period Sharpe ratio, skewness, kurtosis (3 = normal), number of returns."""

    sr: float
    skew: float
    kurtosis: float
    n: int


def sharpe_moments(returns: pd.Series) -> SharpeMoments:
    """What the Sharpe statistics need to know about per-period returns; absent returns are left out.

    The standard deviation is the sample's (n − 1), skewness and kurtosis are plain moment ratios. NaN where
    fewer than two returns are finite or they have no variance.
    """
    values = returns.to_numpy(dtype=float)
    values = values[np.isfinite(values)]
    if not varies(values):
        return SharpeMoments(math.nan, math.nan, math.nan, len(values))
    return SharpeMoments(
        float(values.mean() / values.std(ddof=1)),
        float(stats.skew(values)),
        float(stats.kurtosis(values, fisher=False)),
        len(values),
    )


def sharpe_ratio_error(returns: pd.Series, periods: float) -> float:
    """Standard error of the Sharpe ratio a year, with skewness and kurtosis taken into account (Mertens 2002; 2012).

    Independent returns are assumed. NaN where there is no ratio.
    """
    found = sharpe_moments(returns)
    if math.isnan(found.sr):
        return math.nan
    return math.sqrt(_estimator_variance(found.sr, found.skew, found.kurtosis) / (found.n - 1) * periods)


def probabilistic_sharpe_ratio(sr: float, benchmark: float, n: int, skew: float, kurtosis: float) -> float:
    """Probability that the true Sharpe ratio exceeds `benchmark`, given `sr` estimated from n returns (2012).

    Both ratios per period. NaN in, NaN out.

    Raises:
        ValueError: fewer than two returns, or moments that no sample can have.
    """
    if n < 2:
        raise ValueError(f"n: expected at least 2 returns, found {n}")
    spread = _estimator_variance(sr, skew, kurtosis)
    return float(stats.norm.cdf((sr - benchmark) * math.sqrt((n - 1) / spread)))


def expected_maximum_sharpe(n_trials: int, variance: float) -> float:
    """SR0: the best Sharpe ratio to expect from `n_trials` independent trials without skill (2014).

    √V · ((1 − γ) Φ⁻¹(1 − 1/N) + γ Φ⁻¹(1 − 1/(N e))), γ the Euler–Mascheroni constant; 0 for one trial.

    Args:
        n_trials: every trial ever run, not only those that were kept; fewer trials flatter the result.
        variance: of the trials' Sharpe ratios; its period is the period of the answer.

    Raises:
        ValueError: no trial, or a negative variance.
    """
    if n_trials < 1:
        raise ValueError(f"n_trials: expected at least 1, found {n_trials}")
    if variance < 0:
        raise ValueError(f"variance: expected at least 0, found {variance:g}")
    if n_trials == 1:
        return 0.0
    plain, stretched = stats.norm.isf(1 / n_trials), stats.norm.isf(1 / (n_trials * math.e))
    return float(math.sqrt(variance) * ((1 - np.euler_gamma) * plain + np.euler_gamma * stretched))


def deflated_sharpe_ratio(sr: float, n: int, skew: float, kurtosis: float, n_trials: int, variance: float) -> float:
    """Probability that the true Sharpe ratio exceeds 0 after `n_trials` attempts: PSR against SR0 (2014).

    `sr` and `variance` (of the trials' Sharpe ratios) per period of the n returns.

    Raises:
        ValueError: as `probabilistic_sharpe_ratio` and `expected_maximum_sharpe`.
    """
    return probabilistic_sharpe_ratio(sr, expected_maximum_sharpe(n_trials, variance), n, skew, kurtosis)


def minimum_track_record_length(
    sr: float, benchmark: float, skew: float, kurtosis: float, confidence: float = 0.95
) -> float:
    """Periods needed before `sr` exceeds `benchmark` (both per period) with `confidence` (2012).

    Infinite where `sr` is not above the benchmark.

    Raises:
        ValueError: a confidence outside (½, 1), or moments that no sample can have.
    """
    if not 0.5 < confidence < 1:
        raise ValueError(f"confidence: expected a number within (0.5, 1), found {confidence:g}")
    spread = _estimator_variance(sr, skew, kurtosis)
    if sr <= benchmark:
        return math.inf
    return float(1 + spread * (stats.norm.ppf(confidence) / (sr - benchmark)) ** 2)


def minimum_backtest_length(n_trials: int) -> float:
    """Years of backtest below which `n_trials` without skill are expected to show an annual Sharpe ratio of 1.

    The square of the expected maximum of N standard normals (2014, eq. 6); its bound 2 ln N is looser: 7.6
    years instead of 5.0 for 45 trials.

    Raises:
        ValueError: no trial.
    """
    return expected_maximum_sharpe(n_trials, 1.0) ** 2


def bootstrap_mean_interval(
    series: pd.Series, block: int, confidence: float = 0.95, repetitions: int = 2000, seed: int = 7
) -> tuple[float, float]:
    """Percentile interval of the mean by the stationary bootstrap (Politis & Romano 1994).

    Args:
        series: serially dependent values without gaps, in order.
        block: mean block length in periods. Shorter than the dependence, the interval is too narrow: overlapping
            labels of horizon h need at least h. Where few independent blocks remain, it is somewhat too narrow
            whatever the block.
        confidence: coverage aimed at, within (0, 1).
        repetitions: resamples drawn.
        seed: of the resamples; the same seed gives the same interval.

    Returns:
        lower and upper end, in the unit of the series.

    Raises:
        ValueError: fewer than two values, an absent value, or a block below 1.
    """
    values = series.to_numpy(dtype=float)
    if len(values) < 2 or not np.isfinite(values).all():
        raise ValueError("series: expected at least 2 values, all of them finite")
    lower, upper = bootstrap_intervals(
        lambda drawn: values[drawn].mean(), len(values), block, confidence, repetitions, seed
    )
    return float(lower[0]), float(upper[0])


def bootstrap_intervals(
    statistic: Callable[[npt.NDArray[np.int64]], Any],
    periods: int,
    block: int,
    confidence: float = 0.95,
    repetitions: int = 2000,
    seed: int = 7,
) -> tuple[Floats, Floats]:
    """Percentile intervals of several statistics of the same resampled periods, by the stationary bootstrap.

    Args:
        statistic: numbers of the periods drawn (0 to periods − 1, in the order drawn) → one or several values. What it
            takes from the same numbers is paired: a difference of two series has an interval of its own.
        periods: how many there are. block, confidence, repetitions, seed: see `bootstrap_mean_interval`.

    Returns:
        lower and upper ends, one each of every value; NaN where a value is NaN in any resample.

    Raises:
        ValueError: fewer than two periods, or a block below 1.
    """
    # A slow import that most callers never need.
    from arch.bootstrap import StationaryBootstrap

    if periods < 2:
        raise ValueError(f"periods: expected at least 2, found {periods}")
    if block < 1:
        raise ValueError(f"block: expected at least 1, found {block}")
    resamples = StationaryBootstrap(block, np.arange(periods), seed=seed)
    lower, upper = resamples.conf_int(statistic, reps=repetitions, method="percentile", size=confidence)
    return lower, upper


def mean_error(values: np.ndarray, periods: np.ndarray, lags: int) -> float:
    """Standard error of the mean of a panel's values, which may depend on others of their period and of `lags` more.

    Driscoll & Kraay, "Consistent covariance matrix estimation with spatially dependent panel data" (1998), with
    Bartlett weights; one value a period makes it the estimator of Newey & West (1987).

    Args:
        values: finite, in any unit.
        periods: number of each value's period, counted so that neighbours differ by 1.
        lags: periods over which values depend on one another; 0 for none.

    Returns:
        in the unit of the values; NaN where they are of fewer than two periods.
    """
    if len(values) == 0 or periods.min() == periods.max():
        return math.nan
    first = int(periods.min())
    sums = np.bincount(periods - first, weights=values - values.mean())
    total = float(sums @ sums)
    for lag in range(1, min(lags, len(sums) - 1) + 1):
        total += 2 * (1 - lag / (lags + 1)) * float(sums[lag:] @ sums[:-lag])
    count = len(np.unique(periods))
    return math.sqrt(max(total, 0.0) * count / (count - 1)) / len(values)


def _estimator_variance(sr: float, skew: float, kurtosis: float) -> float:
    """(n − 1) × the variance of an estimated Sharpe ratio."""
    variance = 1 - skew * sr + (kurtosis - 1) / 4 * sr**2
    if variance <= 0:
        raise ValueError(f"no sample has skewness {skew:g} together with kurtosis {kurtosis:g}")
    return variance
