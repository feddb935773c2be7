"""How forecasts that a model made of data it had not seen turned out: are they right on average, and when do they fail.

Rows are out-of-fold only; a row must not occur twice (take one path of combinatorial splits). Labels of neighbouring
sessions overlap, so all standard errors allow for dependence over `reach` sessions (`statistics.mean_error`).
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from tasks.domain.analysis.stretches import means_by_state
from tasks.domain.statistics import mean_error

GROUPS, BINS = 5, 10


class Calibration(NamedTuple):
    """`groups`: by group, 1 (lowest scores) to 5: mean `score`, mean `label` less its session's mean (in the label's
    unit), the `standard_error` of the latter, `rows`. `gain`: mean label of group 5 less that of group 1, with its
    `standard_error`."""

    groups: pd.DataFrame
    gain: float
    standard_error: float


class Reliability(NamedTuple):
    """Of probabilities. `bins`: mean `forecast`, observed `frequency`, its `standard_error` and `rows` of each.

    `brier`: mean squared error of the probabilities (Brier 1950); `brier_of_base_rate`: of always saying how often it
    happens.
    """

    bins: pd.DataFrame
    brier: float
    brier_of_base_rate: float


def calibration(scores: np.ndarray, labels: np.ndarray, sessions: np.ndarray, reach: int) -> Calibration:
    """What names of each fifth of their session's scores brought.

    Args:
        scores, labels, sessions: of each out-of-fold row; rows without a score or a label are left out.
        reach: sessions that a label looks ahead.
    """
    rows = pd.DataFrame({"session": sessions, "score": scores, "label": labels}).dropna()
    by_session = rows.groupby("session")
    rows["group"] = np.ceil(by_session["score"].rank(pct=True) * GROUPS).astype(int)
    rows["label"] -= by_session["label"].transform("mean")
    rows["session"] = by_session.ngroup()
    found = {group: described(part, reach) for group, part in rows.groupby("group")}
    groups = pd.DataFrame.from_dict(found, orient="index", columns=["score", "label", "standard_error", "rows"])
    return Calibration(groups, *difference(rows[rows["group"] == GROUPS], rows[rows["group"] == 1], reach))


def difference(high: pd.DataFrame, low: pd.DataFrame, reach: int) -> tuple[float, float]:
    """Of two mean labels, and its standard error: they are of the same sessions, and so they depend on one another."""
    means = high["label"].mean(), low["label"].mean()
    # Each row's part in the difference, scaled to a mean over all rows.
    parts = pd.concat([(high["label"] - means[0]) / len(high), (means[1] - low["label"]) / len(low)])
    sessions = pd.concat([high["session"], low["session"]]).to_numpy()
    error = mean_error(parts.to_numpy() * len(parts), sessions, reach - 1)
    return float(means[0] - means[1]), error


def described(part: pd.DataFrame, reach: int) -> tuple[float, float, float, int]:
    label = part["label"].to_numpy()
    error = mean_error(label, part["session"].to_numpy(), reach - 1)
    return float(part["score"].mean()), float(label.mean()), error, len(part)


def reliability(probability: np.ndarray, happened: np.ndarray, sessions: np.ndarray, reach: int) -> Reliability:
    """Forecast probabilities against how often it happened (1, 0, NaN = unknown), in ten bins of about equal size."""
    rows = pd.DataFrame({"session": sessions, "score": probability, "label": happened}).dropna()
    rows["session"] = rows.groupby("session").ngroup()
    bins = pd.qcut(rows["score"].rank(), BINS, labels=False, duplicates="drop")
    found = [described(part, reach) for _, part in rows.groupby(bins)]
    base = float(rows["label"].mean())
    return Reliability(
        pd.DataFrame(found, columns=["forecast", "frequency", "standard_error", "rows"]),
        float(((rows["score"] - rows["label"]) ** 2).mean()),
        base * (1 - base),
    )


def mean_rank_ic(rank_ic: pd.Series, reach: int) -> tuple[float, float]:
    """Mean rank IC of all judged sessions (in order of time) and its standard error: of thousands of sessions, where
    the spread of a handful of folds says little."""
    values = rank_ic.to_numpy()
    return float(values.mean()), mean_error(values, np.arange(len(values)), reach - 1)


def by_state(rank_ic: pd.Series, states: pd.DataFrame, reach: int) -> pd.DataFrame:
    """Mean out-of-fold rank IC of the sessions in each state.

    Args:
        rank_ic: of each judged session, in order of time. states: sessions × kinds of state (`market_states`).

    Returns:
        `kind`, `state`, `sessions`, `rank_ic`, `standard_error`; states of fewer than 20 sessions are left out.
    """
    found = means_by_state(rank_ic, states.reindex(rank_ic.index), reach - 1)
    return found.rename(columns={"count": "sessions", "mean": "rank_ic"})
