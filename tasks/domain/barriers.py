"""Labels that depend on the path: which barrier a position touches first, and whether following a rule pays.

Tables are sessions × instruments. Everything known at a decision uses bars up to its own session only.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from tasks.domain.targets import Barriers


class Touch(NamedTuple):
    """First touch of a barrier by a position decided at each session, sessions × instruments.

    `earned`: its return there (a fraction, before costs), NaN where it isn't known; `session`: number of the
    session of the touch, counted from the table's first, −1 where it isn't known.
    """

    earned: pd.DataFrame
    session: pd.DataFrame

    @property
    def sign(self) -> pd.DataFrame:
        """The label: 1 a gain, −1 a loss, 0 neither, NaN not known."""
        return sign(self.earned)


def sign(values: pd.DataFrame) -> pd.DataFrame:
    return values.apply(np.sign)


def session_volatility(close: pd.DataFrame, sessions: int) -> pd.DataFrame:
    """Standard deviation of one session's return, exponentially weighted with a span of `sessions`.

    A value uses the closes up to its own session. NaN until there are `sessions` returns; a missing bar costs the
    two returns beside it. López de Prado 2018, snippet 3.1.
    """
    returns = close / close.shift(1) - 1
    return returns.ewm(span=sessions, min_periods=sessions).std()


def triple_barrier(close: pd.DataFrame, horizon: int, barriers: Barriers, side: pd.DataFrame | float = 1.0) -> Touch:
    """Where a position first gains or loses a multiple of its volatility, or else stands after `horizon` sessions.

    López de Prado 2018, sections 3.3 and 3.4. A decision at session t is filled at the close of t + 1, as in
    `forward_return`; the closes of t + 2 to t + 1 + horizon are compared with the barriers, whose width is fixed at
    t. A barrier is touched at a close, and that close's return counts, even beyond the barrier.

    Args:
        close: NaN where there is no bar; such a session touches nothing.
        horizon: sessions from entry to the vertical barrier, ≥ 1.
        side: 1 long, −1 short, of each decision or of all; gains and losses are the position's.

    Returns:
        Not known: the last horizon + 1 sessions (whatever has been touched by then, or only the quick ones among
        them would be labelled), and where the entry's bar, the volatility, the side or, with no earlier touch, the
        bar at the vertical barrier is missing. No side (0) or no volatility (0) is no bet, so not known either.
    """
    prices = close.to_numpy("float64")
    taken = np.broadcast_to(np.asarray(side, dtype="float64"), prices.shape)
    width = session_volatility(close, barriers.volatility_sessions).to_numpy()
    earned, session = np.full(prices.shape, np.nan), np.full(prices.shape, -1)
    decisions = max(len(prices) - horizon - 1, 0)
    bet, width = taken[:decisions], width[:decisions]
    waiting = (width > 0) & (np.abs(bet) > 0)
    for held in range(1, horizon + 1):
        gain = bet * (prices[1 + held :][:decisions] / prices[1:][:decisions] - 1)
        touched = (gain >= barriers.profit_taking * width) | (gain <= -barriers.stop_loss * width)
        ends = waiting & ~np.isnan(gain) & (touched | (held == horizon))
        rows, names = np.nonzero(ends)
        earned[rows, names] = gain[rows, names]
        session[rows, names] = rows + 1 + held
        waiting &= ~ends
    return Touch(
        pd.DataFrame(earned, index=close.index, columns=close.columns),
        pd.DataFrame(session, index=close.index, columns=close.columns),
    )


def meta_label(touch: Touch) -> pd.DataFrame:
    """1 where the position taken has made money (before costs) at its first touch, 0 where not, NaN not known.

    López de Prado 2018, section 3.6: `touch` is that of a side given by another rule, and the label tells when to
    follow it.
    """
    return (touch.earned > 0).astype("float64").where(touch.earned.notna())
