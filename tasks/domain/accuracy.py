"""What a model's scores are worth on the lockbox: every figure recomputed from scores and bars alone."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from tasks.domain import metrics, statistics
from tasks.domain.labels import reach
from tasks.domain.overfitting import (
    BLOCKS,
    effective_trials,
    probability_of_overfitting,
    superior_predictive_ability,
)

Figures = dict[str, float]
GROUPS = 5


class Lockbox(NamedTuple):
    """`scores`, `labels` and `present` (is there a bar): sessions of the lockbox × instruments."""

    scores: pd.DataFrame
    labels: pd.DataFrame
    present: pd.DataFrame


def inside(scores: pd.DataFrame, close: pd.DataFrame, labels: pd.DataFrame, start: pd.Timestamp) -> Lockbox:
    """The lockbox's part of tables that also cover its history; missing scores become NaN."""
    sessions = close.index[close.index >= start]
    on_calendar = scores.reindex(index=sessions, columns=close.columns)
    return Lockbox(on_calendar, labels.loc[sessions], close.loc[sessions].notna())


def block_length(horizon: int) -> int:
    """Mean bootstrap block in sessions: twice the span over which labels of neighbouring sessions overlap."""
    return max(10, 2 * reach(horizon))


def rank_ic(box: Lockbox) -> pd.Series:
    return metrics.rank_ic_series(box.scores, box.labels)


def accuracy(box: Lockbox, horizon: int, long_fraction: float, seed: int) -> Figures:
    """Rank IC with its 95 % stationary block-bootstrap interval, hit rate, precision and recall of the top names.

    Precision counts a pick as right when its return is in the session's top third; `precision_lift` is precision
    over the share that names drawn at random would reach.
    """
    series = rank_ic(box)
    precision, recall, base = metrics.top_precision_recall(box.scores, box.labels, long_fraction)
    lower, upper = interval(series, horizon, seed)
    scored = (box.scores.notna() & box.present).to_numpy().sum()
    return {
        "lockbox.sessions": float(len(box.scores)),
        "lockbox.score_coverage": float(scored / box.present.to_numpy().sum()),
        "lockbox.rank_ic": float(series.mean()),
        "lockbox.rank_ic_lower": lower,
        "lockbox.rank_ic_upper": upper,
        "lockbox.hit_rate": metrics.hit_rate(box.scores, box.labels),
        "lockbox.precision": precision,
        "lockbox.recall": recall,
        "lockbox.precision_lift": precision / base if base else np.nan,
    }


def interval(series: pd.Series, horizon: int, seed: int) -> tuple[float, float]:
    """95 % interval of a series' mean; NaN where there are too few sessions to draw blocks from."""
    block = block_length(horizon)
    if len(series) < 2 * block:
        return np.nan, np.nan
    return statistics.bootstrap_mean_interval(series, block, seed=seed)


def overfitting(returns: pd.DataFrame, horizon: int, seed: int) -> Figures:
    """How much of the best trial is the choosing: the trainer's records, so they can warn, never vouch.

    Args:
        returns: net, sessions × trials, out of fold.
    """
    values = returns.to_numpy(dtype=float)
    enough = values.shape[1] > 1 and len(values) >= 2 * BLOCKS
    cash = np.zeros(len(values))
    return {
        "trials.complete": float(values.shape[1]),
        "trials.effective": float(effective_trials(values)) if len(values) > 1 else np.nan,
        "trials.probability_of_overfitting": probability_of_overfitting(values).probability if enough else np.nan,
        "trials.superiority_p_value": superior_predictive_ability(values, cash, block_length(horizon), seed)
        if enough
        else np.nan,
    }


def deflated_sharpe(returns: pd.Series, trial_sharpe_ratios: list[float]) -> Figures:
    """Sharpe ratio of net session returns, and the probability that it exceeds what luck would show.

    The hurdle is the expected maximum over as many worthless trials as were ever recorded (Bailey & López de
    Prado 2014, eq. 1). Its variance term is the larger of the recorded trials' variance and 1/(T-1), the sampling
    variance of a worthless trial's Sharpe ratio: the records come from the trainer, and so they can only raise
    the hurdle, never lower it.
    """
    moments = statistics.sharpe_moments(returns)
    count = len(trial_sharpe_ratios)
    recorded = float(np.var(trial_sharpe_ratios, ddof=1)) if count > 1 else 0.0
    variance = max(recorded, 1.0 / (moments.n - 1))
    deflated = statistics.deflated_sharpe_ratio(moments.sr, moments.n, moments.skew, moments.kurtosis, count, variance)
    return {
        "lockbox.sharpe_ratio": moments.sr * np.sqrt(252),
        "lockbox.deflated_sharpe_ratio": deflated,
        "lockbox.trials": float(count),
        "lockbox.minimum_track_record_sessions": statistics.minimum_track_record_length(
            moments.sr, 0.0, moments.skew, moments.kurtosis
        ),
    }


def surprise(series: pd.Series, promised: float, promised_error: float, horizon: int) -> Figures:
    """Standard errors by which the lockbox's mean rank IC exceeds what cross-validation promised.

    A model that was fitted on the lockbox as well knows it better than anything it was cross-validated on. Lockbox and
    promise are taken to be independent; the lockbox's error allows for labels that overlap (`statistics.mean_error`).
    NaN where either error is not known.

    Args:
        series: rank IC by session. promised, promised_error: of the chosen trial, as the trainer signed them.
    """
    values = series.to_numpy(dtype=float)
    error = np.hypot(statistics.mean_error(values, np.arange(len(values)), reach(horizon)), promised_error)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {"lockbox.rank_ic_surprise": float((values.mean() - promised) / error) if len(values) else np.nan}


def against_champion(challenger: pd.Series, champion: pd.Series, horizon: int, seed: int) -> Figures:
    """Paired difference of daily rank IC, challenger minus champion, on the sessions both have."""
    both = challenger.index.intersection(champion.index)
    difference = challenger.loc[both] - champion.loc[both]
    lower, upper = interval(difference, horizon, seed)
    return {
        "champion.present": 1.0,
        "champion.rank_ic": float(champion.mean()),
        "champion.rank_ic_difference": float(difference.mean()),
        "champion.rank_ic_difference_lower": lower,
        "champion.rank_ic_difference_upper": upper,
    }


def calibration(box: Lockbox) -> pd.Series:
    """Mean label of names grouped into fifths by their session's scores; index 1 (lowest) to 5."""
    group = np.ceil(box.scores.rank(axis=1, pct=True).to_numpy() * GROUPS)
    pairs = pd.DataFrame({"group": group.ravel(), "label": box.labels.to_numpy().ravel()}).dropna()
    return pairs.groupby(pairs["group"].astype(int))["label"].mean()


def finite(figures: Figures) -> Figures:
    """The figures that could be computed; the others are left out, and a gate on one of them fails."""
    return {name: float(value) for name, value in figures.items() if np.isfinite(value)}
