"""From scores to target weights: entry and exit bands, equal sizing, limits."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tasks.domain.metrics import top_count
from tasks.domain.strategy import Strategy


def target_weights(scores: pd.DataFrame, strategy: Strategy) -> pd.DataFrame:
    """Target weights at each decision session, every `rebalance_sessions`-th one from the first.

    With n names scored at a session (finite scores), each side wants max(1, floor(n × its fraction)) names.
    All names stand in one ranking by score, ties by name (the alphabetically first ranks higher). Longs are
    taken from its top, shorts from its bottom, so no name can be on both sides. A held name stays while it is
    within floor(n × exit_fraction) places of its end; then the best others fill up. A name without a score
    leaves. There are no shorts when `short_fraction` is 0 or fewer than two names are scored.

    Each side gets half of `gross_limit`, or longs get all of it where there are no shorts, in equal parts of
    at most `name_limit`; what the cap cuts off stays in cash.

    Args:
        scores: sessions × instruments, higher is better, NaN where a name is not scored.
        strategy: fractions, limits and the rebalancing interval.

    Returns:
        decision sessions × the same instruments; signed fraction of equity, 0 = flat.

    Raises:
        ValueError: sessions that are not sorted and unique, or a repeated instrument.
    """
    _check(scores)
    decisions = scores.iloc[:: strategy.rebalance_sessions]
    values = decisions.to_numpy(dtype=float)
    place_by_name = np.argsort(np.argsort(scores.columns.to_numpy(dtype=object)))
    weights = np.zeros(values.shape)
    longs: list[int] = []
    shorts: list[int] = []
    for row, score in enumerate(values):
        scored = np.flatnonzero(np.isfinite(score))
        ranking = scored[np.lexsort((place_by_name[scored], -score[scored]))].tolist()
        longs = _side(ranking, longs, strategy.long_fraction, strategy.exit_fraction)
        short_fraction = strategy.short_fraction if len(ranking) > 1 else 0.0
        shorts = _side(ranking[::-1], shorts, short_fraction, strategy.exit_fraction)
        budget = strategy.gross_limit / 2 if shorts else strategy.gross_limit
        weights[row, longs] = _size(budget, len(longs), strategy.name_limit)
        weights[row, shorts] = -_size(budget, len(shorts), strategy.name_limit)
    return pd.DataFrame(weights, index=decisions.index, columns=decisions.columns)


def _side(ranking: Sequence[int], held: Sequence[int], fraction: float, exit_fraction: float) -> list[int]:
    """The names of one side, `ranking` starting at that side's end: those that stay, then the best others."""
    if not ranking or not fraction:
        return []
    places = top_count(len(ranking), fraction)
    band = ranking[: max(places, top_count(len(ranking), exit_fraction))]
    before = set(held)
    staying = [name for name in band if name in before]
    entering = [name for name in band if name not in before]
    return (staying + entering)[:places]


def _size(budget: float, names: int, name_limit: float) -> float:
    return min(budget / names, name_limit) if names else 0.0


def _check(scores: pd.DataFrame) -> None:
    if not (scores.index.is_monotonic_increasing and scores.index.is_unique):
        raise ValueError("scores: sessions must be sorted and unique")
    if not scores.columns.is_unique:
        raise ValueError("scores: an instrument appears twice")
