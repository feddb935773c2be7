"""A market without holes, from the newest bars, of which others are made: its returns drawn, stretched or pulled
together, and bars rebuilt around the closes that follow."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from tasks.domain.bars import wide
from tasks.domain.simulate.contract import Prices

Floats = npt.NDArray[np.float64]
SHAPES = ("open", "high", "low")
COMPLETE = 0.9  # share of sessions with a bar that a name needs to be part of it


class Market(NamedTuple):
    """`begin`: first close of each name; `moves`: log returns from close to close, sessions × names, 0 in the first
    row; `shapes`: open, high and low over the same bar's close; `volume`: in units, None where there is none."""

    calendar: pd.DatetimeIndex
    names: pd.Index
    begin: Floats
    moves: Floats
    shapes: Mapping[str, Floats]
    volume: Floats | None

    @property
    def close(self) -> Floats:
        closes: Floats = self.begin * np.exp(np.cumsum(self.moves, axis=0))
        return closes

    def drawn(self, order: npt.NDArray[np.intp]) -> "Market":
        """Its sessions in another order, on the same calendar."""
        moves = self.moves[order].copy()
        moves[0] = 0.0
        return self._replace(
            moves=moves,
            shapes={name: shape[order] for name, shape in self.shapes.items()},
            volume=None if self.volume is None else self.volume[order],
        )

    def prices(self) -> Prices:
        """As engines trade it."""
        return Prices(**{name: self.table(values) for name, values in self.fields().items()})

    def bars(self) -> pd.DataFrame:
        """As a model gets it: long, sorted by instrument, then timestamp."""
        rows, columns = self.moves.shape
        instrument = pd.Series(np.repeat(np.asarray(self.names, dtype=object), rows), dtype="str")
        keys = {"timestamp": self.calendar.take(np.tile(np.arange(rows), columns)), "instrument": instrument}
        return pd.DataFrame(keys | {name: values.T.ravel() for name, values in self.fields().items()})

    def fields(self) -> dict[str, Floats]:
        close = self.close
        found = {name: shape * close for name, shape in self.shapes.items()} | {"close": close}
        return found if self.volume is None else found | {"volume": self.volume}

    def table(self, values: Floats) -> pd.DataFrame:
        return pd.DataFrame(values, self.calendar, self.names)


def market_of(bars: pd.DataFrame) -> Market:
    """The names that have a bar at nearly every session, or else those with most bars; what is missing did not move."""
    close = wide(bars, "close")
    share = close.notna().mean()
    kept = share.index[share >= min(COMPLETE, share.max())]
    whole = close[kept].ffill().bfill()
    level = np.log(whole.to_numpy(dtype=float))
    moves = np.diff(level, axis=0, prepend=level[:1])
    shapes = {
        name: (wide(bars, name)[kept] / close[kept]).fillna(1.0).to_numpy(dtype=float)
        for name in SHAPES
        if name in bars and bars[name].notna().any()
    }
    calendar, first = pd.DatetimeIndex(whole.index), whole.iloc[0].to_numpy(dtype=float)
    return Market(calendar, kept, first, moves, shapes, volumes(bars, kept))


def volumes(bars: pd.DataFrame, names: pd.Index) -> Floats | None:
    """The usual one where there is no bar."""
    if "volume" not in bars or not bars["volume"].notna().any():
        return None
    volume = wide(bars, "volume")[names]
    return np.asarray(volume.fillna(volume.median()).fillna(0.0), dtype=float)
