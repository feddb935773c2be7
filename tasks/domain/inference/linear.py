"""Linear models: a weighted sum of standardised features."""

import json
from collections.abc import Mapping

import numpy as np

from .predictor import Predictor, by_row, logistic
from .scaling import scaling_from

FILE = "parameters.json"


def load(files: Mapping[str, bytes]) -> Predictor:
    """From JSON `{"mean", "spread", "coefficients", "intercept", "form"}`; a classifier's score is its probability."""
    stored = json.loads(files[FILE])
    scale = scaling_from(stored)
    coefficients = np.asarray(stored["coefficients"], dtype="float64")
    intercept = float(stored["intercept"])

    def score(x: np.ndarray) -> np.ndarray:
        # Row by row, not as one matrix product: BLAS may round a row differently when others stand beside it,
        # and a score must not depend on which other rows were asked for.
        margin = np.einsum("ij,j->i", scale(x), coefficients) + intercept
        return logistic(margin) if stored["form"] == "classification" else margin

    return by_row(score)
