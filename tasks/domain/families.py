"""Families of models, from simple to complex: each expands to its trials and fits to text parameters."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from tasks.domain import complexity
from tasks.domain.problem import Family, LightGBM, Problem, Ridge

TIERS = {family: complexity.TIERS[family] for family in ("ridge", "lightgbm")}


class Trial(NamedTuple):
    """One configuration. `key` names it for ever: the same configuration on the same data is one trial."""

    family: str
    parameters: dict[str, Any]

    def key(self, *context: str) -> str:
        content = json.dumps([self.family, self.parameters, *context], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()


def trials(problem: Problem) -> list[Trial]:
    """All configurations of all families, simplest family first."""
    found = [trial for family in problem.families for trial in expand(family)]
    return sorted(found, key=lambda trial: TIERS[trial.family])


def expand(family: Family) -> Iterator[Trial]:
    match family:
        case Ridge():
            yield from (Trial("ridge", {"alpha": alpha}) for alpha in family.alphas)
        case LightGBM():
            for leaves in family.num_leaves:
                fixed = family.model_dump(exclude={"family", "num_leaves"})
                yield Trial("lightgbm", {"num_leaves": leaves} | fixed)


def fit(trial: Trial, x: np.ndarray, y: np.ndarray, seed: int) -> str:
    """Fit one trial on rows × features and return its parameters as text for `inference`."""
    if trial.family == "ridge":
        return fit_ridge(x, y, trial.parameters["alpha"])
    return fit_lightgbm(x, y, trial.parameters, seed)


def fit_ridge(x: np.ndarray, y: np.ndarray, alpha: float) -> str:
    from sklearn.linear_model import Ridge as Learner

    fitted = Learner(alpha=alpha).fit(np.nan_to_num(x, nan=0.0), y)
    return json.dumps({"coefficients": fitted.coef_.tolist(), "intercept": float(fitted.intercept_)})


def fit_lightgbm(x: np.ndarray, y: np.ndarray, parameters: dict[str, Any], seed: int) -> str:
    import lightgbm

    settings = {key: value for key, value in parameters.items() if key != "num_rounds"} | {
        "objective": "regression",
        "seed": seed,
        # The three fix the bytes. At the sizes handled here one thread is as fast as two (2.2 s against 2.8 s for
        # three fits of 110,000 × 13), and it does not fight with the stage that gets ready meanwhile.
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(x, y, params={"verbosity": -1}, free_raw_data=True)
    text = lightgbm.train(settings, data, num_boost_round=parameters["num_rounds"]).model_to_string()
    return str(text)


def importance(family: str, parameters: str, features: list[str]) -> dict[str, float]:
    """Each feature's share of what the model does: |coefficient| or split gain, summing to one."""
    if family == "ridge":
        weights = np.abs(json.loads(parameters)["coefficients"])
    else:
        from lightgbm import Booster

        weights = Booster(model_str=parameters).feature_importance("gain")
    total = float(np.sum(weights)) or 1.0
    return {name: float(weight) / total for name, weight in zip(features, weights, strict=True)}
