"""The scale of features, learned from the training rows of one fit and no others."""

import numpy as np

from tasks.domain.inference.scaling import Scaling

BLOCK = 65_536  # rows


def learn(x: np.ndarray) -> Scaling:
    """Mean and standard deviation of each column's finite values; a column without any, or constant, has spread 1."""
    mean, spread = np.zeros(x.shape[1]), np.ones(x.shape[1])
    for at, column in enumerate(x.T):
        finite = column[np.isfinite(column)].astype("float64")
        if len(finite):
            mean[at] = finite.mean()
            spread[at] = finite.std() or 1.0
    return Scaling(mean, spread)


def apply(scale: Scaling, x: np.ndarray, dtype: str) -> np.ndarray:
    """Standardised rows in `dtype`, made block by block so that no second whole copy is ever held."""
    z = np.empty(x.shape, dtype)
    for start in range(0, len(x), BLOCK):
        z[start : start + BLOCK] = scale(x[start : start + BLOCK])
    return z
