"""Features on one scale: centred, divided by their spread, without extremes, and nothing missing."""

from typing import Any, NamedTuple

import numpy as np

LIMIT = 5.0  # standard deviations


class Scaling(NamedTuple):
    """Mean and standard deviation of each feature on the rows of one fit."""

    mean: np.ndarray
    spread: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Standardised float64 copy within ±5; a missing value becomes 0, the average of the training rows."""
        z: np.ndarray = (np.asarray(x, dtype="float64") - self.mean) / self.spread
        np.clip(z, -LIMIT, LIMIT, out=z)
        z[np.isnan(z)] = 0.0
        return z

    def as_lists(self) -> dict[str, list[float]]:
        return {"mean": self.mean.tolist(), "spread": self.spread.tolist()}


def scaling_from(stored: dict[str, Any]) -> Scaling:
    return Scaling(np.asarray(stored["mean"], dtype="float64"), np.asarray(stored["spread"], dtype="float64"))
