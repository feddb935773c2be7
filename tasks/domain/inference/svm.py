"""Kernel machines: a weighted sum of similarities to landmarks."""

import json
from collections.abc import Mapping

import numpy as np

from .predictor import Predictor, by_row
from .scaling import scaling_from

FILE = "parameters.json"


def load(files: Mapping[str, bytes]) -> Predictor:
    """From JSON `{"mean", "spread", "landmarks", "weights", "intercept", "gamma"}`; the score is the margin."""
    stored = json.loads(files[FILE])
    scale = scaling_from(stored)
    landmarks = np.asarray(stored["landmarks"], dtype="float64")
    weights = np.asarray(stored["weights"], dtype="float64")
    gamma, intercept = float(stored["gamma"]), float(stored["intercept"])
    across, squares = np.ascontiguousarray(landmarks.T), np.einsum("ij,ij->i", landmarks, landmarks)

    def score(x: np.ndarray) -> np.ndarray:
        z = scale(x)
        # Sums in a fixed order for each row, as in the linear models.
        distances = np.einsum("ij,ij->i", z, z)[:, None] + squares - 2 * np.einsum("ij,jk->ik", z, across)
        return np.asarray(np.einsum("ij,j->i", np.exp(-gamma * np.maximum(distances, 0.0)), weights) + intercept)

    return by_row(score)
