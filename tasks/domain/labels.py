"""Labels: what a model is asked to forecast."""

import pandas as pd


def forward_return(close: pd.DataFrame, horizon: int) -> pd.DataFrame:
    """Return over `horizon` sessions from the session after the decision.

    A decision at session t is filled at t + 1 at the earliest, so the return it can earn runs from the close of
    t + 1 to the close of t + 1 + horizon. A label that started at t would credit a move nobody could trade.

    Args:
        close: sessions × instruments, NaN where there is no bar.
        horizon: sessions, ≥ 1.

    Returns:
        Same shape; NaN for the last horizon + 1 sessions and wherever either bar is missing.
    """
    return close.shift(-(horizon + 1)) / close.shift(-1) - 1


def reach(horizon: int) -> int:
    """How many sessions after the decision a label looks at: the number that a purge must cover."""
    return horizon + 1


def session_rank(labels: pd.DataFrame) -> pd.DataFrame:
    """Rank within each session, scaled to [-0.5, 0.5]: a target free of market moves and fat tails."""
    count = labels.notna().sum(axis=1).clip(lower=2)
    return labels.rank(axis=1).sub((count + 1) / 2, axis=0).div(count - 1, axis=0)
