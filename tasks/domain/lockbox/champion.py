"""A candidate against the champion, on the same sessions at the same costs: is it better, is it worse, is it different.

Being better and being different are two questions: a model may hold quite other positions and earn the same.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from tasks.domain import metrics, statistics
from tasks.domain.accuracy import Figures, Lockbox, against_champion, block_length, rank_ic
from tasks.domain.metrics import Floats
from tasks.domain.simulate.contract import Prices
from tasks.domain.simulate.portfolio import target_weights
from tasks.domain.simulate.research import simulate
from tasks.domain.strategy import Strategy

BETTER, NOT_WORSE, NOT_KNOWN = "better beyond noise", "not worse", "worse or not known"
SAME, DIFFERENT = "the same", "different"
MARGIN = "champion.rank_ic_difference_lower"


class Rival(NamedTuple):
    """A model's scores on the lockbox, the targets they make and the net returns these earn from session to session."""

    box: Lockbox
    weights: pd.DataFrame
    returns: pd.Series
    periods: float


class Step(NamedTuple):
    """One champion of a line: was it accepted without any gate failing, warnings too, and how far was it from the
    champion before it; `distance` is NaN where that is not known, and for the first."""

    whole: bool
    distance: float


def rival(box: Lockbox, prices: Prices, strategy: Strategy) -> Rival:
    """Trade a model's lockbox with the research engine, as the backtest does."""
    weights = target_weights(box.scores, strategy, prices.close)
    part = prices.where(prices.close.index.isin(box.scores.index))
    equity = simulate(weights, part, strategy).equity
    return Rival(box, weights, metrics.simple_returns(equity), metrics.periods_a_year(part.calendar))


def compare(mine: Rival, theirs: Rival, horizon: int, seed: int) -> Figures:
    """All figures of the comparison, candidate less champion (`champion.*`)."""
    ranked = against_champion(rank_ic(mine.box), rank_ic(theirs.box), horizon, seed)
    return ranked | earned(mine, theirs, horizon, seed) | apart(mine, theirs)


def earned(mine: Rival, theirs: Rival, horizon: int, seed: int) -> Figures:
    """Net return and Sharpe ratio a year, each difference with its 95 % interval.

    Every resample draws the same sessions for both, so what moves both alike does not widen the interval.
    """
    both = np.stack([mine.returns.to_numpy(dtype=float), theirs.returns.to_numpy(dtype=float)])
    sessions, block = both.shape[1], block_length(horizon)

    def differences(drawn: np.ndarray) -> Floats:
        means, ratios = yearly(both.take(drawn, axis=1), mine.periods)
        found: Floats = np.array([means[0] - means[1], ratios[0] - ratios[1]])
        return found

    value = differences(np.arange(sessions))
    lower = upper = np.full(2, np.nan)
    if sessions >= 2 * block:
        lower, upper = statistics.bootstrap_intervals(differences, sessions, block, seed=seed)
    told = {
        "champion.net_return": float(yearly(both, mine.periods)[0][1]),
        "champion.sharpe_ratio": float(yearly(both, mine.periods)[1][1]),
    }
    for place, name in enumerate(("net_return", "sharpe")):
        ends = {"": value, "_lower": lower, "_upper": upper}
        told |= {f"champion.{name}_difference{end}": float(values[place]) for end, values in ends.items()}
    return told


def yearly(returns: Floats, periods: float) -> tuple[Floats, Floats]:
    """Mean and Sharpe ratio of each row of returns, brought to a year; no ratio (NaN) without variance."""
    means, spread = returns.mean(axis=1), returns.std(axis=1, ddof=1)
    moves = spread > 1e-12 * np.abs(returns).max(axis=1, initial=0.0)
    ratios = np.divide(means, spread, out=np.full(len(means), np.nan), where=moves)
    return means * periods, ratios * np.sqrt(periods)


def apart(mine: Rival, theirs: Rival) -> Figures:
    """How different two models' opinions and positions are.

    score_correlation: mean over sessions of the rank correlation of their scores; distance: 1 less that.
    other_side_share: share of (session, name) pairs whose two scores lie on opposite sides of their session's medians.
    positions_differing_share: of the positions that either holds after a decision, the share that the other does not
    hold on the same side. active_share: half the sum of absolute differences of weights, fractions of equity, mean over
    decisions (Cremers & Petajisto 2009).
    """
    unlike = distance(mine.box, theirs.box)
    same, counted = (int(count.sum()) for count in metrics.hits(mine.box.scores, theirs.box.scores))
    weights = theirs.weights.reindex(index=mine.weights.index, columns=mine.weights.columns, fill_value=0.0).to_numpy()
    own = mine.weights.to_numpy()
    held = (own != 0) | (weights != 0)
    differing = int((np.sign(own) != np.sign(weights)).sum())
    return {
        "champion.score_correlation": 1 - unlike,
        "champion.distance": unlike,
        "champion.other_side_share": 1 - same / counted if counted else np.nan,
        "champion.positions_differing_share": differing / int(held.sum()) if held.any() else np.nan,
        "champion.active_share": float(np.abs(own - weights).sum(axis=1).mean() / 2) if len(own) else np.nan,
    }


def distance(mine: Lockbox, theirs: Lockbox) -> float:
    """1 less the mean rank correlation of two models' scores: 0 the same order, 1 unrelated, 2 the reverse."""
    return round(1 - float(metrics.rank_ic_series(mine.scores, theirs.scores).mean()), 12)


def answers(figures: Figures, margin: float) -> dict[str, str]:
    """Three questions answered in words, from the figures of `compare`.

    Args:
        margin: the least lower end of the difference in rank IC that counts as not worse, ≤ 0. Net return has none: it
            is not worse only if the interval's lower end is at least 0.
    """
    differ = ("other_side_share", "positions_differing_share", "active_share")
    same = all(figures.get(f"champion.{name}") == 0 for name in differ)
    return {
        "rank_ic": answer(figures.get("champion.rank_ic_difference_lower", np.nan), margin),
        "net_return": answer(figures.get("champion.net_return_difference_lower", np.nan), 0.0),
        "sharpe_ratio": answer(figures.get("champion.sharpe_difference_lower", np.nan), 0.0),
        "positions": SAME if same else DIFFERENT,
    }


def answer(lower: float, margin: float) -> str:
    """What the lower end of a difference's interval says."""
    if lower > 0:
        return BETTER
    return NOT_WORSE if lower >= margin else NOT_KNOWN


def reference(line: Sequence[Step]) -> int:
    """Which champion of a line, oldest first, was the last to be accepted without any gate failing; else the first."""
    return max((number for number, step in enumerate(line) if step.whole), default=0)


def cumulative(line: Sequence[Step], own: float) -> float:
    """Sum of the distances from the reference to the present champion, and from there to the candidate (`own`).

    Small steps that are each "not worse" add up here though none of them shows. NaN where a step is not known.
    """
    return float(sum((step.distance for step in line[reference(line) + 1 :]), start=own))
