"""Published figures, and properties where none is published."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.domain import statistics

# Bailey & López de Prado 2014: annual SR 2.5 over 1250 of 250 periods a year, variance of the trials ½ a year
DAILY = {"sr": 2.5 / math.sqrt(250), "n": 1250, "skew": -3.0, "kurtosis": 10.0}
VARIANCE = 0.5 / 250


def test_expected_maximum_reproduces_the_paper() -> None:
    assert statistics.expected_maximum_sharpe(100, VARIANCE) == pytest.approx(0.1132, abs=5e-5)


@pytest.mark.parametrize(("n_trials", "published"), [(100, 0.9004), (46, 0.9505)])
def test_deflated_sharpe_ratio_reproduces_the_paper(n_trials: int, published: float) -> None:
    figure = statistics.deflated_sharpe_ratio(**DAILY, n_trials=n_trials, variance=VARIANCE)  # type: ignore[arg-type]
    assert figure == pytest.approx(published, abs=5e-5)


@pytest.mark.parametrize(("skew", "kurtosis", "published"), [(0, 3, 0.982), (-2.448, 10.164, 0.913)])
def test_probabilistic_sharpe_ratio_reproduces_the_paper(skew: float, kurtosis: float, published: float) -> None:
    figure = statistics.probabilistic_sharpe_ratio(0.458, 0.0, 24, skew, kurtosis)
    assert figure == pytest.approx(published, abs=5e-4)


@pytest.mark.parametrize(
    ("periods", "skew", "kurtosis", "years"),
    [(252, 0, 3, 2.73), (52, 0, 3, 2.83), (12, 0, 3, 3.24), (12, -0.72, 5.78, 4.99)],
)
def test_minimum_track_record_reproduces_the_paper(periods: int, skew: float, kurtosis: float, years: float) -> None:
    root = math.sqrt(periods)
    figure = statistics.minimum_track_record_length(2 / root, 1 / root, skew, kurtosis)
    assert figure / periods == pytest.approx(years, abs=5e-3)


def test_minimum_backtest_reproduces_the_paper() -> None:
    assert statistics.minimum_backtest_length(45) == pytest.approx(5.0, abs=5e-3)


def test_the_expected_maximum_is_near_that_of_a_simulation() -> None:
    """The published formula is an approximation: for 50 trials it lies 1.2 % above, on the careful side."""
    best = np.random.default_rng(7).normal(0, 0.1, (20_000, 50)).max(axis=1).mean()
    assert statistics.expected_maximum_sharpe(50, 0.01) == pytest.approx(best, rel=0.02)


def test_one_trial_needs_no_deflation() -> None:
    assert statistics.expected_maximum_sharpe(1, VARIANCE) == 0
    assert statistics.minimum_backtest_length(1) == 0
    plain = statistics.probabilistic_sharpe_ratio(benchmark=0.0, **DAILY)  # type: ignore[arg-type]
    assert statistics.deflated_sharpe_ratio(**DAILY, n_trials=1, variance=VARIANCE) == plain  # type: ignore[arg-type]


def test_more_trials_always_deflate_more() -> None:
    trials = [1, 2, 3, 10, 100, 10_000, 10**9]
    figures = [statistics.deflated_sharpe_ratio(**DAILY, n_trials=n, variance=VARIANCE) for n in trials]  # type: ignore[arg-type]
    assert figures == sorted(figures, reverse=True)
    assert len(set(figures)) == len(figures)


@settings(max_examples=50, deadline=None)
@given(sr=st.floats(0.05, 0.5), skew=st.floats(-2, 1), extra=st.floats(0, 10))
def test_the_minimum_track_record_is_where_the_probability_reaches_the_confidence(
    sr: float, skew: float, extra: float
) -> None:
    kurtosis = skew**2 + 1.5 + extra
    length = statistics.minimum_track_record_length(sr, 0.01, skew, kurtosis, confidence=0.9)
    at = max(2, math.ceil(length))
    assert statistics.probabilistic_sharpe_ratio(sr, 0.01, at, skew, kurtosis) >= 0.9 - 1e-9
    if at > 2:
        assert statistics.probabilistic_sharpe_ratio(sr, 0.01, at - 1, skew, kurtosis) <= 0.9 + 1e-9


def test_a_sharpe_ratio_at_its_benchmark_never_proves_itself() -> None:
    assert statistics.minimum_track_record_length(0.1, 0.1, 0, 3) == math.inf
    assert statistics.probabilistic_sharpe_ratio(0.1, 0.1, 100, 0, 3) == 0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: statistics.expected_maximum_sharpe(0, 1.0), "n_trials"),
        (lambda: statistics.expected_maximum_sharpe(5, -1.0), "variance"),
        (lambda: statistics.minimum_backtest_length(0), "n_trials"),
        (lambda: statistics.probabilistic_sharpe_ratio(0.1, 0.0, 1, 0, 3), "at least 2 returns"),
        (lambda: statistics.probabilistic_sharpe_ratio(1.0, 0.0, 9, 3, 2), "no sample has skewness"),
        (lambda: statistics.minimum_track_record_length(0.1, 0.0, 0, 3, 0.5), "confidence"),
        (lambda: statistics.bootstrap_mean_interval(pd.Series([1.0]), 1), "at least 2 values"),
        (lambda: statistics.bootstrap_mean_interval(pd.Series([1.0, math.nan]), 1), "finite"),
        (lambda: statistics.bootstrap_mean_interval(pd.Series([1.0, 2.0]), 0), "block"),
    ],
)
def test_what_has_no_answer_is_refused(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()  # type: ignore[operator]


def test_moments_by_hand() -> None:
    moments = statistics.sharpe_moments(pd.Series([0.0, 0.0, 0.0, 0.04, math.nan]))
    # mean 0.01; deviations −0.01 three times and 0.03: squares sum to 12e-4, cubes to 24e-6, fourths to 84e-8
    assert moments.n == 4
    assert moments.sr == pytest.approx(0.01 / math.sqrt(12e-4 / 3))
    assert moments.skew == pytest.approx((24e-6 / 4) / (12e-4 / 4) ** 1.5)
    assert moments.kurtosis == pytest.approx((84e-8 / 4) / (12e-4 / 4) ** 2)


def test_moments_of_normal_returns_are_near_0_and_3() -> None:
    moments = statistics.sharpe_moments(pd.Series(np.random.default_rng(7).normal(0.001, 0.01, 200_000)))
    assert (moments.sr, moments.skew, moments.kurtosis) == (
        pytest.approx(0.1, abs=0.01),
        pytest.approx(0, abs=0.02),
        pytest.approx(3, abs=0.05),
    )


@pytest.mark.parametrize("returns", [[], [0.1], [0.1, 0.1, 0.1]])
def test_moments_without_variance_are_undefined_and_stay_so(returns: list[float]) -> None:
    sr, skew, kurtosis, n = statistics.sharpe_moments(pd.Series(returns, dtype=float))
    assert all(math.isnan(x) for x in (sr, skew, kurtosis))
    assert n == len(returns)
    assert math.isnan(statistics.deflated_sharpe_ratio(sr, 10, skew, kurtosis, 5, 0.1))


# Bootstrap


def autoregressive(seed: int, length: int, memory: float) -> pd.Series:
    shocks = np.random.default_rng(seed).normal(size=length + 50)
    values = np.zeros(length + 50)
    for t in range(1, length + 50):
        values[t] = memory * values[t - 1] + shocks[t]
    return pd.Series(values[50:])


def coverage(memory: float, block: int) -> float:
    """Share of 95 % intervals that hold the true mean 0."""
    intervals = [
        statistics.bootstrap_mean_interval(autoregressive(seed, 400, memory), block, repetitions=150)
        for seed in range(100)
    ]
    return float(np.mean([lower <= 0 <= upper for lower, upper in intervals]))


def test_the_interval_covers_the_mean_of_independent_values_as_often_as_it_says() -> None:
    assert 0.89 <= coverage(memory=0.0, block=1) <= 0.99


def test_blocks_are_what_covers_the_mean_of_dependent_values() -> None:
    # Single draws miss the factor (1 + 0.5) / (1 − 0.5) = 3 in the variance: 2 Φ(1.96 / √3) − 1 = 74 % coverage.
    assert 0.64 <= coverage(memory=0.5, block=1) <= 0.84
    assert 0.88 <= coverage(memory=0.5, block=20) <= 0.99


def test_the_interval_is_the_normal_one_for_a_long_independent_series() -> None:
    values = pd.Series(np.random.default_rng(7).normal(5, 2, 2000))
    lower, upper = statistics.bootstrap_mean_interval(values, block=1)
    half = 1.96 * values.std() / math.sqrt(2000)
    assert lower == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert upper == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_the_interval_depends_on_its_seed_alone() -> None:
    values = autoregressive(1, 100, 0.5)
    before = str(np.random.get_state())
    one = statistics.bootstrap_mean_interval(values, 5, repetitions=100)
    assert statistics.bootstrap_mean_interval(values, 5, repetitions=100) == one
    assert statistics.bootstrap_mean_interval(values, 5, repetitions=100, seed=8) != one
    assert str(np.random.get_state()) == before


def test_a_higher_confidence_is_a_wider_interval() -> None:
    values = autoregressive(1, 100, 0.5)
    narrow = statistics.bootstrap_mean_interval(values, 5, confidence=0.5, repetitions=200)
    wide = statistics.bootstrap_mean_interval(values, 5, confidence=0.99, repetitions=200)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_error_of_a_mean_by_hand() -> None:
    values, days = np.array([1.0, 2.0, 3.0, 6.0]), np.arange(4)
    assert statistics.mean_error(values, days, 0) == pytest.approx(values.std(ddof=1) / 2)
    # The same opinion twice a session is one opinion.
    assert statistics.mean_error(np.repeat(values, 2), np.repeat(days, 2), 0) == pytest.approx(values.std(ddof=1) / 2)
    # Deviations −2, −1, 0, 3: squares 14, neighbours' products 2 + 0 + 0 with weight 1/2 and twice.
    assert statistics.mean_error(values, days, 1) == pytest.approx(np.sqrt(16 * 4 / 3) / 4)
    assert np.isnan(statistics.mean_error(values, np.zeros(4, dtype=int), 0))
