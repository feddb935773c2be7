"""What a strategy may look at when it decides: a copy that ends at the decision, so the future is not there to be read.

Whoever reads on by mistake gets an error, not a profit.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from tasks.domain.metrics import periods_a_year

Floats = npt.NDArray[np.float64]


class Past(NamedTuple):
    """What is known at the close of a bar, names in the order of the scores' columns.

    `score`: of each name, NaN where it has none. `close`: bars × names, the last of them that of `timestamp` where it
    has a close, NaN = not known; no rows where no closes were handed in. Both are this rule's own copies.
    `periods`: bars a year.
    """

    timestamp: pd.Timestamp
    score: Floats
    close: Floats
    periods: float


Rule = Callable[[Past], Floats]


def decide(rule: Rule, scores: pd.DataFrame, close: pd.DataFrame | None, bars: int) -> pd.DataFrame:
    """Target weights of a rule, at each line of `scores`.

    Args:
        rule: from what is known to the weight of each name (0 = flat); asked line by line, in order of time.
        scores: decisions × instruments, sorted and unique.
        close: a calendar that holds the decisions, and perhaps bars before them, × instruments.
        bars: how many closes a rule gets to see, the newest ones.

    Raises:
        ValueError: a decision that is no line of `close`.
    """
    values = scores.to_numpy(dtype=float)
    known = np.empty((0, values.shape[1])) if close is None else close.reindex(columns=scores.columns).to_numpy(float)
    ends = np.zeros(len(scores), dtype=int) if close is None else close.index.get_indexer(scores.index) + 1
    if close is not None and (ends == 0).any():
        raise ValueError(f"scores: {scores.index[ends == 0][0]} is no session of the closes")
    periods = periods_a_year(pd.DatetimeIndex(scores.index if close is None else close.index))
    weights = np.zeros(values.shape)
    for row, (timestamp, end) in enumerate(zip(scores.index, ends, strict=True)):
        weights[row] = rule(Past(timestamp, values[row].copy(), known[max(0, end - bars) : end].copy(), periods))
    return pd.DataFrame(weights, scores.index, scores.columns)
