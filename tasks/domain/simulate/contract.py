"""What every engine must do with the same weights and prices, and in which shape it answers.

The fill rule:

1. A decision at session t uses only data up to t's close.
2. Sizing: target quantity = weight × equity(t, at the close) / close(t); order = target − current quantity.
   A name with no close at t gets no order, so a position in it stays as it is.
3. An order fills at session t+1, the next one of the calendar (`prices.close.index`): at the open if an open
   frame is given and that open is present, else at the close. With no price at t+1 the order lapses; it is not
   carried on. A decision at the last session never fills.
4. Cost = notional × (commission_bp + half_spread_bp) / 10⁴, paid from cash. Quantities are fractional; sizing
   does not reserve cash for costs.
5. A position is marked at its last known close, so a delisted name stays at its last mark. Cash earns no
   interest, shorts pay no borrow fee, and cash may go below zero within the gross limit.
6. A position whose name has no target (its column is absent from the weights) or target 0 is closed at the
   decision.
7. When opens are used to fill, that session is still marked at its close.
8. An order whose notional at close(t) is below 10⁻⁹ × equity(t) is skipped: it leaves no fill.
9. Ruin: when equity at a session's close is 0 or less, positions and pending orders are gone without further
   fills, and equity is 0 from that session on.

Each engine keeps its own arithmetic. They share this module only: the inputs, their checks and the result.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from tasks.domain.problem import Strategy

SMALLEST_ORDER = 1e-9
LIMIT_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Prices:
    """Bars in wide form: index = sorted unique sessions, columns = instruments, NaN = no bar.

    `open` has the same index and columns as `close`; without it every order fills at a close. Both are in
    currency per unit of the instrument.

    Raises:
        ValueError: an empty or unsorted calendar, repeated or differing instruments, a price that is not
            positive and finite.
    """

    close: pd.DataFrame
    open: pd.DataFrame | None = None

    def __post_init__(self) -> None:
        _check_calendar(self.close.index)
        if not self.close.columns.is_unique:
            raise ValueError("prices.close: an instrument appears twice")
        _check_positive(self.close, "prices.close")
        if self.open is None:
            return
        if not (self.open.index.equals(self.close.index) and self.open.columns.equals(self.close.columns)):
            raise ValueError("prices.open: its sessions and instruments must be those of prices.close")
        _check_positive(self.open, "prices.open")

    @property
    def calendar(self) -> pd.DatetimeIndex:
        return pd.DatetimeIndex(self.close.index)


@dataclass(frozen=True)
class Result:
    """What a strategy did.

    `equity`: currency at each session's close, one value per session of the calendar; the first is the capital.
    `fills`: one row per fill in the order of session, then of the price columns: `timestamp` (session of the
    fill), `instrument`, `side` ("buy" or "sell"), `quantity` (positive), `price`, `notional`, `cost` (currency).
    """

    equity: pd.Series
    fills: pd.DataFrame


def check_weights(weights: pd.DataFrame, prices: Prices, strategy: Strategy) -> None:
    """Check target weights (decision sessions × instruments, fractions of equity) before a simulation.

    Raises:
        ValueError: a decision outside the calendar, an unknown instrument, a weight that is not finite, or one
            beyond `name_limit`, or a session's sum of absolute weights beyond `gross_limit`.
    """
    if not (weights.index.is_monotonic_increasing and weights.index.is_unique):
        raise ValueError("weights: decision sessions must be sorted and unique")
    if not weights.columns.is_unique:
        raise ValueError("weights: an instrument appears twice")
    if strangers := list(weights.index.difference(prices.close.index)):
        raise ValueError(f"weights: {strangers[0]} is no session of the calendar")
    if unknown := list(weights.columns.difference(prices.close.columns)):
        raise ValueError(f"weights: {unknown[0]} has no prices")
    size = np.abs(weights.to_numpy(dtype=float))
    if not np.isfinite(size).all():
        raise ValueError("weights: every weight must be a finite number; 0 means flat")
    if (size > strategy.name_limit + LIMIT_TOLERANCE).any():
        raise ValueError(f"weights: {size.max():.6g} exceeds the name limit {strategy.name_limit:g}")
    gross = size.sum(axis=1)
    if (gross > strategy.gross_limit + LIMIT_TOLERANCE).any():
        raise ValueError(f"weights: gross {gross.max():.6g} exceeds the gross limit {strategy.gross_limit:g}")


def fills_table(
    timestamp: pd.DatetimeIndex,
    instrument: npt.ArrayLike,
    side: npt.ArrayLike,
    quantity: npt.ArrayLike,
    price: npt.ArrayLike,
    notional: npt.ArrayLike,
    cost: npt.ArrayLike,
) -> pd.DataFrame:
    """The fills of a `Result`: equal-length columns, typed also when there is none."""
    return pd.DataFrame(
        {
            "timestamp": timestamp,
            "instrument": pd.Series(np.asarray(instrument, dtype=object), dtype="str"),
            "side": pd.Series(np.asarray(side, dtype=object), dtype="str"),
            "quantity": np.asarray(quantity, dtype=float),
            "price": np.asarray(price, dtype=float),
            "notional": np.asarray(notional, dtype=float),
            "cost": np.asarray(cost, dtype=float),
        }
    )


def _check_calendar(index: pd.Index) -> None:
    if index.empty:
        raise ValueError("prices.close: the calendar is empty")
    if not (isinstance(index, pd.DatetimeIndex) and index.is_monotonic_increasing and index.is_unique):
        raise ValueError("prices.close: the index must be session timestamps, sorted and unique")


def _check_positive(frame: pd.DataFrame, name: str) -> None:
    values = frame.to_numpy(dtype=float)
    bad = (values <= 0) | np.isinf(values)
    if bad.any():
        session, column = np.argwhere(bad)[0]
        raise ValueError(
            f"{name}: {frame.columns[column]} at {frame.index[session]} is {values[session, column]:g}; "
            "a price must be positive and finite, NaN where there is no bar"
        )
