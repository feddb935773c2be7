"""Gradient-boosted trees in LightGBM's own text format."""

from collections.abc import Mapping

import numpy as np

from .predictor import Predictor, by_row

FILE = "booster.txt"
MANY = 50_000  # rows from which on a second thread is worth its start


def load(files: Mapping[str, bytes]) -> Predictor:
    """A classifier's score is its probability."""
    from lightgbm import Booster

    booster = Booster(model_str=files[FILE].decode())
    return by_row(lambda x: np.asarray(booster.predict(x, num_threads=2 if len(x) >= MANY else 1), dtype="float64"))
