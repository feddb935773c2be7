"""Other histories that the same market might have had: its bars in another order, decisions with them.

A result is one draw. Trading others by the same rules, costs and stops tells how far apart luck alone puts them; an
interval of mean returns would know nothing of stops and limits.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd

from tasks.domain.simulate.contract import Prices

Order = npt.NDArray[np.intp]


def stationary_order(bars: int, block: float, rng: np.random.Generator) -> Order:
    """Numbers of the bars of another history: blocks of random length, `block` on average (Politis & Romano 1994).

    After the last bar the second follows; the first one, which comes from nowhere, is left out.

    Raises:
        ValueError: fewer than two bars, or a block below 1.
    """
    if bars < 2 or block < 1:
        raise ValueError(f"expected at least 2 bars and a block of at least 1, found {bars} and {block:g}")
    begins = rng.random(bars) < 1 / block
    begins[0] = True
    starts = rng.integers(1, bars, int(begins.sum()))
    number = np.cumsum(begins) - 1
    since = np.arange(bars) - np.flatnonzero(begins)[number]
    order: Order = 1 + (starts[number] - 1 + since) % (bars - 1)
    return order


class Histories:
    """A market from which other histories are drawn.

    Each bar's prices stand to the close before as they did in its own history; a bar that was missing is missing, and
    decisions come with the bar they were made at. Volumes are those of the bars.
    """

    def __init__(self, prices: Prices) -> None:
        self.index, self.columns = prices.close.index, prices.close.columns
        before = prices.close.ffill().shift()
        tables = {name: frame if name == "volume" else frame / before for name, frame in prices.fields()}
        # A bar's numbers beside each other: bars are what is drawn.
        self.moved = {name: np.ascontiguousarray(table.to_numpy(dtype=float)) for name, table in tables.items()}
        self.steps = np.where(np.isfinite(self.moved["close"]), self.moved["close"], 1.0)
        self.begin = prices.close.bfill().iloc[0].to_numpy()

    def draw(self, weights: pd.DataFrame, order: Order) -> tuple[pd.DataFrame, Prices]:
        """Decisions and prices of another history, on the same calendar.

        Args:
            weights: decision sessions × instruments. order: which bar each one is (`stationary_order`).
        """
        level = np.cumprod(np.vstack([self.begin, self.steps[order[:-1]]]), axis=0)
        fields = {
            name: ratio[order] if name == "volume" else ratio[order] * level for name, ratio in self.moved.items()
        }
        decision = np.full(len(self.index), -1)
        decision[self.index.get_indexer(weights.index)] = np.arange(len(weights))
        made = decision[order]
        decided = pd.DataFrame(weights.to_numpy()[made[made >= 0]], self.index[made >= 0], weights.columns)
        tables = {name: pd.DataFrame(values, self.index, self.columns, copy=False) for name, values in fields.items()}
        return decided, Prices(**tables)
