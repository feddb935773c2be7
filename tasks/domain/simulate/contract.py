"""What goes into every engine and what comes out; what happens between the two is said in docs/fills.md.

Each engine keeps its own arithmetic. They share this module only: the inputs, their checks and the result.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from tasks.domain.strategy import Strategy

SMALLEST_ORDER: Final = 1e-9  # of equity (rule F5)
TOLERANCE: Final = 1e-9  # of a level or a number of lots (F4, F10, F14)
AVERAGE_BARS: Final = 20  # whose volume says how large a trade is (F8)
YEAR_DAYS: Final = 365.0  # (F15)
# Why an order was filled; the kernel knows them by their place.
REASONS: Final = ("decision", "stop_loss", "take_profit", "holding_bars", "drawdown_stop")
LIMIT_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Prices:
    """Bars in wide form: index = sorted unique timestamps, columns = instruments, NaN = not known.

    All have the index and columns of `close`. Prices are in currency per unit, volumes in units. Without `open` every
    order fills at a close; without `high` and `low` stops see opens and closes only.

    Raises:
        ValueError: an empty or unsorted calendar, repeated or differing instruments, a price that is not
            positive and finite, a volume that is negative or infinite, a high below its low.
    """

    close: pd.DataFrame
    open: pd.DataFrame | None = None
    high: pd.DataFrame | None = None
    low: pd.DataFrame | None = None
    volume: pd.DataFrame | None = None

    def __post_init__(self) -> None:
        _check_calendar(self.close.index)
        if not self.close.columns.is_unique:
            raise ValueError("prices.close: an instrument appears twice")
        for name, frame in self.fields():
            if not (frame.index.equals(self.close.index) and frame.columns.equals(self.close.columns)):
                raise ValueError(f"prices.{name}: its sessions and instruments must be those of prices.close")
            _check_values(frame, f"prices.{name}", may_be_zero=name == "volume")
        if self.high is not None and self.low is not None:
            _refuse_first(self.high.to_numpy() < self.low.to_numpy(), self.high, "prices.high", "it is below the low")

    def fields(self) -> Iterator[tuple[str, pd.DataFrame]]:
        """The tables that are there, by name, close first."""
        for name in ("close", "open", "high", "low", "volume"):
            frame = getattr(self, name)
            if frame is not None:
                yield name, frame

    def where(self, inside: npt.NDArray[np.bool_]) -> "Prices":
        """The same prices on a part of the calendar."""
        return Prices(**{name: frame[inside] for name, frame in self.fields()})

    @property
    def calendar(self) -> pd.DatetimeIndex:
        return pd.DatetimeIndex(self.close.index)


@dataclass(frozen=True)
class Result:
    """What a strategy did.

    `equity`: currency at each session's close, one value per session of the calendar; the first is the capital.
    `fills`: one row per fill in the order of rule F19: `timestamp` (bar of the fill), `instrument`, `side` ("buy" or
    "sell"), `quantity` (positive), `price`, `notional`, `cost` (currency), `reason` (one of `REASONS`).
    """

    equity: pd.Series
    fills: pd.DataFrame


def check_weights(weights: pd.DataFrame, prices: Prices, strategy: Strategy) -> None:
    """Check target weights (decision sessions × instruments, fractions of equity) before a simulation.

    Raises:
        ValueError: a decision outside the calendar, an unknown instrument, a weight that is not finite, or one
            beyond `name_limit`, or a session's weights beyond `gross_limit`, `net_limit` or `sector_limit`; a strategy
            that needs volumes where there are none.
    """
    if strategy.needs_volume and prices.volume is None:
        raise ValueError("strategy: impact_bp and volume_share need volumes, and the bars have none")
    if not (weights.index.is_monotonic_increasing and weights.index.is_unique):
        raise ValueError("weights: decision sessions must be sorted and unique")
    if not weights.columns.is_unique:
        raise ValueError("weights: an instrument appears twice")
    if strangers := list(weights.index.difference(prices.close.index)):
        raise ValueError(f"weights: {strangers[0]} is no session of the calendar")
    if unknown := list(weights.columns.difference(prices.close.columns)):
        raise ValueError(f"weights: {unknown[0]} has no prices")
    size = np.abs(weights.to_numpy(dtype=float))
    largest = size.max(initial=0.0)
    if not np.isfinite(largest):
        raise ValueError("weights: every weight must be a finite number; 0 means flat")
    if largest > strategy.name_limit + LIMIT_TOLERANCE:
        raise ValueError(f"weights: {largest:.6g} exceeds the name limit {strategy.name_limit:g}")
    gross = size.sum(axis=1)
    if (gross > strategy.gross_limit + LIMIT_TOLERANCE).any():
        raise ValueError(f"weights: gross {gross.max():.6g} exceeds the gross limit {strategy.gross_limit:g}")
    net = np.abs(weights.to_numpy(dtype=float).sum(axis=1))
    if strategy.net_limit is not None and (net > strategy.net_limit + LIMIT_TOLERANCE).any():
        raise ValueError(f"weights: net {net.max():.6g} exceeds the net limit {strategy.net_limit:g}")
    if strategy.sector_limit is not None:
        most = max(size[:, members].sum(axis=1).max() for members in sectors_of(weights.columns, strategy.sectors))
        if most > strategy.sector_limit + LIMIT_TOLERANCE:
            raise ValueError(f"weights: {most:.6g} in a sector exceeds the sector limit {strategy.sector_limit:g}")


def sectors_of(names: pd.Index, sectors: dict[str, list[str]]) -> list[npt.NDArray[np.intp]]:
    """Numbers of the names of each sector; those that are in none are one more."""
    sector = {name: sector for sector, members in sectors.items() for name in members}
    codes, _ = pd.factorize(np.array([sector.get(str(name), "") for name in names], dtype=object))
    return [np.flatnonzero(codes == code) for code in np.unique(codes)]


def fills_table(
    timestamp: pd.DatetimeIndex,
    instrument: Any,
    quantity: npt.ArrayLike,
    price: npt.ArrayLike,
    cost: npt.ArrayLike,
    reason: Any,
) -> pd.DataFrame:
    """The fills of a `Result` from equal-length columns, quantities signed; typed also when there is none."""
    signed, paid = np.asarray(quantity, dtype=float), np.asarray(price, dtype=float)
    return pd.DataFrame(
        {
            "timestamp": timestamp,
            "instrument": pd.Series(instrument, dtype="str"),
            "side": pd.array(["sell", "buy"], dtype="str").take((signed > 0).astype(np.intp)),
            "quantity": np.abs(signed),
            "price": paid,
            "notional": np.abs(signed) * paid,
            "cost": np.asarray(cost, dtype=float),
            "reason": pd.Series(reason, dtype="str"),
        }
    )


def _check_calendar(index: pd.Index) -> None:
    if index.empty:
        raise ValueError("prices.close: the calendar is empty")
    if not (isinstance(index, pd.DatetimeIndex) and index.is_monotonic_increasing and index.is_unique):
        raise ValueError("prices.close: the index must be session timestamps, sorted and unique")


def _check_values(frame: pd.DataFrame, name: str, may_be_zero: bool) -> None:
    values = frame.to_numpy(dtype=float)
    if may_be_zero:
        _refuse_first((values < 0) | np.isinf(values), frame, name, "a volume must be finite and not negative")
    else:
        wrong = (values <= 0) | np.isinf(values)
        _refuse_first(wrong, frame, name, "a price must be positive and finite, NaN where there is no bar")


def _refuse_first(wrong: npt.NDArray[np.bool_], frame: pd.DataFrame, name: str, expected: str) -> None:
    if wrong.any():
        session, column = np.argwhere(wrong)[0]
        value = float(frame.to_numpy(dtype=float)[session, column])
        raise ValueError(f"{name}: {frame.columns[column]} at {frame.index[session]} is {value:g}; {expected}")
