"""Fitted parameters to scores, without the learner that fitted them where that is possible.

This file is copied into every model artifact and runs there alone. Parameters are text: nothing is unpickled.
"""

import json
from collections.abc import Callable

import numpy as np

Matrix = np.ndarray
Predictor = Callable[[Matrix], Matrix]


def ridge(parameters: str) -> Predictor:
    """Linear score from JSON `{"coefficients": [...], "intercept": x}`; a missing feature counts as average."""
    fitted = json.loads(parameters)
    coefficients = np.asarray(fitted["coefficients"], dtype="float64")
    intercept = float(fitted["intercept"])
    # Row by row, not as one matrix product: BLAS may round a row differently when others stand beside it,
    # and a score must not depend on which other rows were asked for.
    return lambda x: np.einsum("ij,j->i", np.nan_to_num(x, nan=0.0), coefficients) + intercept


def lightgbm(parameters: str) -> Predictor:
    """Score from LightGBM's own text format."""
    from lightgbm import Booster

    booster = Booster(model_str=parameters)
    return lambda x: np.asarray(booster.predict(x, num_threads=1), dtype="float64")


FAMILIES = {"ridge": ridge, "lightgbm": lightgbm}
