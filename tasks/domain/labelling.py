"""What a problem's label means in numbers: the target that families learn."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from tasks.domain.barriers import meta_label, triple_barrier
from tasks.domain.features.side import momentum_side
from tasks.domain.labels import forward_return, reach, session_rank
from tasks.domain.targets import ForwardReturn, Label, MetaLabel, SessionRank, TripleBarrier


class Target(NamedTuple):
    """What is learned, sessions × instruments.

    `y`: the label, NaN where unknown. `end`: number of the session whose close completes it, counted from the first,
    never more than `reach` after the decision; −1 where unknown. `side`: the side (−1, 0, 1) that the label says to
    follow or not, where it is a meta-label: a score of such a model is worth `side` × score.
    """

    y: pd.DataFrame
    end: pd.DataFrame
    side: pd.DataFrame | None = None


def target(label: Label, close: pd.DataFrame, horizon: int) -> Target:
    """The label of every session and instrument of `close` (NaN where there is no bar)."""
    match label:
        case ForwardReturn():
            return over_horizon(forward_return(close, horizon), horizon)
        case SessionRank():
            return over_horizon(session_rank(forward_return(close, horizon)), horizon)
        case TripleBarrier():
            touch = triple_barrier(close, horizon, label)
            return Target(touch.sign, touch.session)
        case MetaLabel():
            side = momentum_side(close, label.momentum_sessions)
            touch = triple_barrier(close, horizon, label, side)
            return Target(meta_label(touch), touch.session, side)


def over_horizon(y: pd.DataFrame, horizon: int) -> Target:
    """A label that is complete when the horizon is over, not before."""
    over = np.arange(len(y))[:, np.newaxis] + reach(horizon)
    end = np.where(y.notna(), over, -1)
    return Target(y, pd.DataFrame(end, index=y.index, columns=y.columns))
