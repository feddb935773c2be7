"""How a score answers to one feature while the others stay as they are."""

from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from tasks.domain.explain.contributions import scores_of, windows_of
from tasks.domain.inference.predictor import Predictor

POINTS, ROWS = 20, 256
OUTERMOST = 0.01  # quantile


class Dependence(NamedTuple):
    """One feature's partial dependence (Friedman 2001, section 8.2): mean score at each value of the grid.

    `low`, `high`: the 10 % and 90 % quantiles over single rows' curves (Goldstein et al. 2015), each shifted to the
    mean curve's level. A wide band says that the answer depends on the other features.
    """

    feature: str
    grid: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def quantile_grid(values: np.ndarray) -> np.ndarray:
    """At most POINTS quantiles of the finite values, from 1 % to 99 %."""
    finite = values[np.isfinite(values)]
    return np.unique(np.quantile(finite, np.linspace(OUTERMOST, 1 - OUTERMOST, POINTS))) if len(finite) else finite


def partial_dependence(
    predictor: Predictor, x: np.ndarray, previous: np.ndarray, rows: np.ndarray, feature: int, name: str
) -> Dependence:
    """Over some rows of `x`, on a grid of quantiles of the feature in all of `x`, in the predictor's scores.

    For a sequence model the feature takes the value on the whole path, so the curve is its answer to a lasting level.
    """
    windows = windows_of(x, previous, rows, predictor.steps)
    grid = quantile_grid(x[:, feature])
    curves = np.empty((len(rows), len(grid)))
    # As in sampling: threads would wait for one another most of the time.
    with threadpool_limits(1, user_api="blas"):
        for at, value in enumerate(grid):
            windows[:, :, feature] = value
            curves[:, at] = scores_of(predictor, windows)
    mean = curves.mean(axis=0)
    level = curves - curves.mean(axis=1, keepdims=True) + curves.mean()
    low, high = np.quantile(level, (0.1, 0.9), axis=0)
    return Dependence(name, grid, mean, low, high)
