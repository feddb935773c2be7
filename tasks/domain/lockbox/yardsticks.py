"""Every yardstick of accuracy on the lockbox, with its interval from one resampling of the same sessions."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from tasks.domain import accuracy, labels, metrics, statistics
from tasks.domain.accuracy import Figures, Lockbox, block_length
from tasks.domain.metrics import Floats
from tasks.domain.targets import ForwardReturn, Label, SessionRank

COLUMNS = ["value", "lower", "upper"]
ELSEWHERE = ("rank_ic", "hit_rate", "precision", "recall")  # values that `accuracy.accuracy` gives


class Parts(NamedTuple):
    """What each judged session adds to each yardstick: `parts` over `wholes`, yardsticks × sessions.

    A yardstick is the sum of its parts over the sum of its wholes, so that means and pooled shares are resampled alike.
    `guess`: what scores drawn at random would reach.
    """

    guess: dict[str, float]
    parts: Floats
    wholes: Floats


def table(box: Lockbox, horizon: int, long_fraction: float, label: Label, seed: int) -> pd.DataFrame:
    """Yardsticks × `value`, `lower` and `upper` end of its 95 % stationary block-bootstrap interval, `without_skill`.

    Rank IC; IC (Pearson); hit rate, precision, recall (`metrics`); AUC of "ends in the better half"; calibration slope.
    All are judged on the sessions that have a rank IC, which are drawn once for all of them. The ends are NaN where
    there are too few sessions to draw blocks from.

    Args:
        long_fraction: share of names whose precision and recall are meant. label: what scores are forecasts of.
    """
    found = parts(box, long_fraction, label)
    sessions, block = found.parts.shape[1], block_length(horizon)
    value = ratio(found, np.arange(sessions))
    lower = upper = np.full(len(value), np.nan)
    if sessions >= 2 * block:
        lower, upper = statistics.bootstrap_intervals(lambda drawn: ratio(found, drawn), sessions, block, seed=seed)
    guess = list(found.guess.values())
    return pd.DataFrame({"value": value, "lower": lower, "upper": upper, "without_skill": guess}, list(found.guess))


def figures(found: pd.DataFrame) -> Figures:
    """The table as gates ask for it; the interval of the rank IC, and values of what is pooled, are `accuracy`'s."""
    told: Figures = {}
    for name, (value, lower, upper) in zip(found.index, found[COLUMNS].to_numpy(), strict=True):
        if name not in ELSEWHERE:
            told[f"lockbox.{name}"] = value
        if name != "rank_ic":
            told |= {f"lockbox.{name}_lower": lower, f"lockbox.{name}_upper": upper}
    return told


def ratio(found: Parts, drawn: npt.NDArray[np.int64]) -> Floats:
    """Each yardstick on the sessions drawn; NaN where there is nothing to divide by."""
    part, whole = (values.take(drawn, axis=1).sum(axis=1) for values in (found.parts, found.wholes))
    defined: Floats = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    return defined


def parts(box: Lockbox, long_fraction: float, label: Label) -> Parts:
    rank_ic = accuracy.rank_ic(box)
    judged = rank_ic.index
    scores, outcome = box.scores.loc[judged], box.labels.loc[judged]
    found, predicted, actual, names = metrics.top_found(scores, outcome, long_fraction)
    pairs = {
        "rank_ic": (rank_ic.to_numpy(), np.ones(len(judged))),
        "ic": averaged(metrics.ic_series(scores, outcome), judged),
        "hit_rate": metrics.hits(scores, outcome),
        "precision": (found, predicted),
        "recall": (found, actual),
        "auc": averaged(metrics.auc_series(scores, outcome), judged),
    }
    unit = in_unit_of(label, outcome)
    if unit is not None:
        pairs["calibration_slope"] = slope_parts(scores, unit)
    winners, picks = (float(count.sum() / max(names.sum(), 1)) for count in (actual, predicted))
    guess = dict.fromkeys(pairs, 0.0) | {"hit_rate": 0.5, "auc": 0.5, "precision": winners, "recall": picks}
    both = np.array([(part, whole) for part, whole in pairs.values()], dtype=float)
    return Parts(guess, both[:, 0].copy(), both[:, 1].copy())


def averaged(series: pd.Series, sessions: pd.Index) -> tuple[Floats, Floats]:
    """Parts and wholes of a mean over the sessions that a series has."""
    values = series.reindex(sessions).to_numpy(dtype=float)
    return np.nan_to_num(values), np.isfinite(values).astype(float)


def in_unit_of(label: Label, outcome: pd.DataFrame) -> pd.DataFrame | None:
    """What happened, in the unit of what the model forecasts; None for labels whose forecasts are probabilities."""
    match label:
        case ForwardReturn():
            return outcome
        case SessionRank():
            return labels.session_rank(outcome)
        case _:
            return None


def slope_parts(scores: pd.DataFrame, outcome: pd.DataFrame) -> tuple[Floats, Floats]:
    """Parts and wholes of the slope of outcomes on forecasts, both less their session's mean (Cox 1958).

    1: names differ by as much as was forecast; below 1 forecasts are too bold, above 1 too timid.
    """
    known = scores.notna() & outcome.notna()
    forecast, happened = (
        frame.where(known).sub(frame.where(known).mean(axis=1), axis=0) for frame in (scores, outcome)
    )
    x, y = forecast.fillna(0.0).to_numpy(dtype=float), happened.fillna(0.0).to_numpy(dtype=float)
    largest = float(np.abs(x).max(initial=0.0)) or 1.0  # squares of large numbers would be infinite
    return (x / largest * y).sum(axis=1) / largest, ((x / largest) ** 2).sum(axis=1)
