"""What every loaded model is: rows in, one score for each out."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Matrix = np.ndarray
BLOCK = 16_384  # rows worked on at once, which bounds the memory of a score over millions of rows


class Predictor(NamedTuple):
    """Call it with `x` (rows × features) and `previous` (row of the same instrument's previous bar, -1 for none).

    Returns float64 scores, higher is better. `steps` is how many rows back a score looks, its own row included; a row
    with fewer has a NaN score.
    """

    score: Callable[[Matrix, Matrix], Matrix]
    steps: int = 1

    def __call__(self, x: Matrix, previous: Matrix) -> Matrix:
        return self.score(x, previous)


def by_row(score: Callable[[Matrix], Matrix]) -> Predictor:
    """A predictor whose scores need their own row only; `score` is handed float64 rows, block by block."""

    def blockwise(x: Matrix, previous: Matrix) -> Matrix:
        scores = np.empty(len(x))
        for start in range(0, len(x), BLOCK):
            block = slice(start, start + BLOCK)
            scores[block] = score(np.asarray(x[block], dtype="float64"))
        return scores

    return Predictor(blockwise)


def logistic(margin: Matrix) -> Matrix:
    """Probability of a margin: 1 / (1 + exp(-margin)), without overflow on either side."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * margin)))
