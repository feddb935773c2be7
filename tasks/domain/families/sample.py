"""What a model learns from."""

from typing import NamedTuple

import numpy as np


class Sample(NamedTuple):
    """Rows to learn from, in the order of their sessions.

    `x`: rows × features, float32 or float64, NaN where unknown. `y`: target of each row; a row without one (NaN) is not
    fitted but may be another row's past. `weight`: of each row, None for equal ones. `previous`: row of the same
    instrument's previous bar, -1 for none.
    """

    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray | None
    previous: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """Which rows have a target."""
        return np.asarray(~np.isnan(self.y))

    def fitted(self) -> "Sample":
        """The rows with a target only, for learners that look at one row at a time.

        `x` is copied only where they do not lie side by side.
        """
        known = self.known
        if known.all():
            return self
        weight = None if self.weight is None else self.weight[known]
        return Sample(self.x[side_by_side(known)], self.y[known], weight, np.full(int(known.sum()), -1))


def side_by_side(rows: np.ndarray) -> np.ndarray | slice:
    """The same rows as a slice, if they are one, so that taking them copies nothing."""
    places = np.flatnonzero(rows)
    if len(places) == 0 or places[-1] - places[0] + 1 != len(places):
        return rows
    return slice(int(places[0]), int(places[-1]) + 1)
