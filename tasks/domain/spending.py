"""Whether scores are worth more than chance, and how much of the permitted error a look at a lockbox may spend.

A lockbox that is asked again and again says yes in the end. Each look therefore gets its own share of the error, and
the shares add up to a bound (the union bound; alpha spending: Lan & DeMets, "Discrete sequential boundaries for
clinical trials", 1983; online control under any dependence: Tian & Ramdas, "Online control of the familywise error
rate", 2021, section 3):

- the first look at sessions that nobody has judged a candidate on spends all of ERROR;
- each further look at some of the same sessions a quarter of the one before: whoever builds candidates out of earlier
  verdicts gains about one standard error by the square root of their number, and has to show more than that (a verdict
  that tells one bit at a time halves what a next one is worth: Dwork et al., "Generalization in adaptive data analysis
  and holdout reuse", 2015, section 3);
- besides, sessions that are new bring YEARLY × ERROR a year.

In the first year of nightly retraining that is at most (1 + 1/3 + YEARLY) × ERROR = 3.7 %, in any later one 3 %.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from tasks.domain.labels import session_rank
from tasks.domain.metrics import SESSIONS_A_YEAR, rank_ic_series
from tasks.domain.statistics import mean_error

ERROR = 0.005
REPEATED = 0.25
YEARLY = 6.0
LOOKS = "lockbox.looks"  # candidates judged on any of these sessions so far, this one counted


class Look(NamedTuple):
    """First and last session of the lockbox that a candidate was judged on."""

    first: pd.Timestamp
    last: pd.Timestamp


def session_rank_ic(scores: pd.DataFrame, close: pd.DataFrame, horizon: int) -> pd.Series:
    """Rank correlation of each session's returns with the scores that a holder of `horizon` sessions then acts on.

    The return from session d − 1 to d is held against the mean rank that a name had at the decisions d − 2 … d − 1 −
    horizon: a decision is filled one session later and held for `horizon` (staggered holding: Jegadeesh & Titman,
    "Returns to buying winners and selling losers", 1993). Unlike labels that overlap, each return counts once, so that
    the correlations of scores that know nothing are uncorrelated from session to session.

    Args:
        scores: sessions of the lockbox × instruments. close: the same sessions and instruments.
    """
    acted_on = session_rank(scores).shift(2)
    known = acted_on.notna().astype(float)
    held = acted_on.fillna(0.0)
    for lag in range(1, horizon):
        earlier = acted_on.shift(lag)
        known += earlier.notna()
        held += earlier.fillna(0.0)
    return rank_ic_series(held / known.where(known > 0), close.pct_change(fill_method=None))


def skill_p_value(series: pd.Series, horizon: int) -> float:
    """One-sided p-value of a mean rank IC by session that is not above zero; NaN with fewer than two sessions.

    Student's t on the larger of two standard errors: for independent sessions, and for ones that depend on the
    `horizon` before them (Newey & West 1987).
    """
    values = series.to_numpy(dtype=float)
    if len(values) < 2:
        return np.nan
    periods = np.arange(len(values))
    error = max(mean_error(values, periods, lags) for lags in (0, horizon))
    if error == 0:
        return 0.0 if values.mean() > 0 else 1.0
    return float(stats.t.sf(values.mean() / error, len(values) - 1))


def share(earlier: Sequence[Look], sessions: pd.DatetimeIndex) -> float:
    """The part of ERROR that one more look may spend, in (0, 1].

    Args:
        earlier: looks at lockboxes of the same problem, this one left out. sessions: of this lockbox.
    """
    met = meeting(earlier, sessions)
    fresh = int((~met.any(axis=0)).sum())
    return float(min(1.0, REPEATED ** len(met) + YEARLY * fresh / SESSIONS_A_YEAR))


def meeting(earlier: Sequence[Look], sessions: pd.DatetimeIndex) -> np.ndarray:
    """Which of the sessions each look saw, looks that saw any × sessions."""
    days = sessions.normalize()
    seen = [np.asarray((days >= look.first.normalize()) & (days <= look.last.normalize())) for look in earlier]
    return np.array([each for each in seen if each.any()], dtype=bool).reshape(-1, len(sessions))


def skill(scores: pd.DataFrame, close: pd.DataFrame, horizon: int, earlier: Sequence[Look]) -> dict[str, float]:
    """The p-value of the lockbox's rank IC, and what it comes to where earlier looks are paid for.

    Args:
        scores: sessions of the lockbox × instruments. close: the same, or more of it.
    """
    sessions = pd.DatetimeIndex(scores.index)
    found = skill_p_value(session_rank_ic(scores, close.loc[sessions, scores.columns], horizon), horizon)
    spent = share(earlier, sessions)
    return {
        LOOKS: float(len(meeting(earlier, sessions)) + 1),
        "lockbox.p_value": found,
        "lockbox.error_share": spent,
        "lockbox.adjusted_p_value": min(1.0, found / spent) if np.isfinite(found) else np.nan,
    }
