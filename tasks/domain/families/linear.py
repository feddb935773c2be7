"""Linear learners: ridge and lasso for regression, logistic for classification."""

import json
from typing import Any

import numpy as np

from tasks.domain.families import scaling
from tasks.domain.families.sample import Sample
from tasks.domain.inference.linear import FILE
from tasks.domain.inference.scaling import Scaling


def ridge(parameters: dict[str, Any], sample: Sample, seed: int, num_threads: int) -> dict[str, bytes]:
    from sklearn.linear_model import Ridge

    return regression(Ridge(alpha=parameters["alpha"], copy_X=False), sample)


def lasso(parameters: dict[str, Any], sample: Sample, seed: int, num_threads: int) -> dict[str, bytes]:
    from sklearn.linear_model import Lasso

    # The Gram matrix once, then coordinate descent on features × features only.
    return regression(Lasso(alpha=parameters["alpha"], copy_X=False, precompute=True, max_iter=10_000), sample)


def regression(learner: Any, sample: Sample) -> dict[str, bytes]:
    scale = scaling.learn(sample.x)
    learner.fit(scaling.apply(scale, sample.x, "float64"), sample.y.astype("float64"), sample_weight=sample.weight)
    return stored(scale, learner.coef_, float(learner.intercept_), "regression")


def logistic(parameters: dict[str, Any], sample: Sample, seed: int, num_threads: int) -> dict[str, bytes]:
    """Probability that the target is above 0."""
    from sklearn.linear_model import LogisticRegression

    scale = scaling.learn(sample.x)
    # Newton's method with a Cholesky factor: exact to the last digits, and quick where rows far outnumber features.
    learner = LogisticRegression(C=parameters["C"], solver="newton-cholesky")
    learner.fit(scaling.apply(scale, sample.x, "float64"), sample.y > 0, sample_weight=sample.weight)
    return stored(scale, learner.coef_[0], float(learner.intercept_[0]), "classification")


def stored(scale: Scaling, coefficients: np.ndarray, intercept: float, form: str) -> dict[str, bytes]:
    content = scale.as_lists() | {"coefficients": coefficients.tolist(), "intercept": intercept, "form": form}
    return {FILE: json.dumps(content).encode()}
