"""Decision trees and random forests of scikit-learn, stored by skops."""

from collections.abc import Mapping

import numpy as np

from .predictor import Predictor, by_row

FILE = "estimator.skops"
# What a file may hold beyond what skops trusts of itself: the arrays of a tree. Anything else is never constructed.
ALLOWED = ["sklearn.tree._tree.Tree"]


def load(files: Mapping[str, bytes]) -> Predictor:
    """A classifier's score is its probability.

    Raises:
        ValueError: the file asks for a type that is not allowed.
    """
    from skops.io import get_untrusted_types, loads

    if strange := set(get_untrusted_types(data=files[FILE])) - set(ALLOWED):
        raise ValueError(f"{FILE}: holds {sorted(strange)}; allowed beyond plain scikit-learn are {ALLOWED}")
    estimator = loads(files[FILE], trusted=ALLOWED)

    def score(x: np.ndarray) -> np.ndarray:
        if hasattr(estimator, "predict_proba"):
            return np.asarray(estimator.predict_proba(x)[:, -1])
        return np.asarray(estimator.predict(x))

    return by_row(score)
