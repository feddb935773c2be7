"""From a family's name and the files its learner wrote to a predictor.

This package is copied into every model artifact and runs there alone. Files are text, arrays or skops: nothing is
unpickled.
"""

from collections.abc import Callable, Mapping

from . import boosting, deep, linear, svm, trees
from .predictor import Predictor

LOADERS: dict[str, Callable[[Mapping[str, bytes]], Predictor]] = {
    "ridge": linear.load,
    "lasso": linear.load,
    "logistic": linear.load,
    "tree": trees.load,
    "forest": trees.load,
    "svm": svm.load,
    "lightgbm": boosting.load,
    "mlp": deep.load_mlp,
    "sequence": deep.load_sequence,
}


def load(family: str, files: Mapping[str, bytes]) -> Predictor:
    """The predictor of a fitted model; `files` is what `fit` returned, name → content."""
    return LOADERS[family](files)
