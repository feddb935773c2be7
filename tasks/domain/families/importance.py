"""How much each feature has to do with a model's scores, as far as its parameters tell."""

import json

import numpy as np

from tasks.domain.inference import boosting, linear


def importance(family: str, files: dict[str, bytes], features: list[str]) -> dict[str, float]:
    """Each feature's share of what the model does, summing to one: |coefficient| of a linear model, split gain of
    LightGBM. Empty for the other families."""
    if family in ("ridge", "lasso", "logistic"):
        weights = np.abs(json.loads(files[linear.FILE])["coefficients"])
    elif family == "lightgbm":
        from lightgbm import Booster

        weights = Booster(model_str=files[boosting.FILE].decode()).feature_importance("gain")
    else:
        return {}
    total = float(np.sum(weights)) or 1.0
    return {name: float(weight) / total for name, weight in zip(features, weights, strict=True)}
