"""From scores to target weights: when to decide, which names enter, stay and leave; how large they are is `sizing`."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tasks.domain.metrics import top_count
from tasks.domain.simulate.past import Floats, Past, decide
from tasks.domain.simulate.sizing import sized, volatility
from tasks.domain.strategy import Strategy


def target_weights(scores: pd.DataFrame, strategy: Strategy, close: pd.DataFrame | None = None) -> pd.DataFrame:
    """Target weights at each decision session.

    With n names scored at a session (finite scores), each side wants max(1, floor(n × its fraction)) names.
    All names stand in one ranking by score, ties by name (the alphabetically first ranks higher). Longs are
    taken from its top, shorts from its bottom, so no name can be on both sides. A held name stays while it is
    within floor(n × exit_fraction) places of its end; then the best others fill up. A name without a score
    leaves. With `entry_score`, a long enters only at that score or above and leaves below `exit_score`; shorts
    mirror this. Without it there are no shorts when fewer than two names are scored.

    Args:
        scores: sessions × instruments, higher is better, NaN where a name is not scored.
        strategy: fractions, sizing, limits and the rebalancing calendar.
        close: the market's calendar × instruments, for sizing that looks at how names moved: a name that moved in fewer
            than 20 of the last `volatility_sessions` bars counts as not scored. A decision sees what is before it only.

    Returns:
        decision sessions × the same instruments; signed fraction of equity, 0 = flat.

    Raises:
        ValueError: sessions that are not sorted and unique, or a repeated instrument; no closes where they are needed.
    """
    _check(scores)
    if strategy.needs_closes and close is None:
        raise ValueError(f"strategy: sizing {strategy.sizing} and target_volatility need closes")
    decisions = scores[decides(pd.DatetimeIndex(scores.index), strategy.rebalance_sessions)]
    moved = close if strategy.needs_closes else None
    return decide(Ranking(scores.columns, strategy), decisions, moved, strategy.volatility_sessions + 1)


def decides(calendar: pd.DatetimeIndex, every: int | str) -> np.ndarray:
    """At which sessions is decided: every so many, or at the first one of each week, month or quarter."""
    if isinstance(every, int):
        return np.asarray(np.arange(len(calendar)) % every == 0)
    period = calendar.to_period({"weekly": "W", "monthly": "M", "quarterly": "Q"}[every])
    return ~pd.Series(period).duplicated().to_numpy(dtype=bool)


class Ranking:
    """The rule of `target_weights`; it remembers which names it holds."""

    def __init__(self, names: pd.Index, strategy: Strategy) -> None:
        self.names, self.strategy = names, strategy
        self.place = np.argsort(np.argsort(names.to_numpy(dtype=object)))
        self.longs: list[int] = []
        self.shorts: list[int] = []

    def __call__(self, past: Past) -> Floats:
        strategy, score = self.strategy, past.score
        usable = np.isfinite(score)
        if strategy.needs_closes:
            usable &= np.isfinite(volatility(past))
        scored = np.flatnonzero(usable)
        ranking = scored[np.lexsort((self.place[scored], -score[scored]))].tolist()
        short_fraction = strategy.short_fraction if len(ranking) > 1 or strategy.entry_score is not None else 0.0
        self.longs = self.side(ranking, score, self.longs, strategy.long_fraction)
        self.shorts = self.side(ranking[::-1], -score, self.shorts, short_fraction)
        return sized(
            past._replace(score=np.where(usable, score, np.nan)), self.longs, self.shorts, self.names, strategy
        )

    def side(self, ranking: Sequence[int], score: Floats, held: Sequence[int], fraction: float) -> list[int]:
        """The names of one side, `ranking` starting at that side's end: those that stay, then the best others.

        `score`: the higher, the better for this side.
        """
        if not ranking or not fraction:
            return []
        enter, leave = self.strategy.thresholds
        places = top_count(len(ranking), fraction)
        band = ranking[: max(places, top_count(len(ranking), self.strategy.exit_fraction))]
        before = set(held)
        staying = [name for name in band if name in before and score[name] >= leave]
        entering = [name for name in band if name not in before and score[name] >= enter]
        return (staying + entering)[:places]


def _check(scores: pd.DataFrame) -> None:
    if scores.empty:
        raise ValueError("scores: there are none")
    if not (scores.index.is_monotonic_increasing and scores.index.is_unique):
        raise ValueError("scores: sessions must be sorted and unique")
    if not scores.columns.is_unique:
        raise ValueError("scores: an instrument appears twice")
