"""All families of models, from simple to complex, and how each is fitted."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from threadpoolctl import threadpool_limits

from tasks.domain.families import boosting, deep, linear, svm, trees
from tasks.domain.families.sample import Sample
from tasks.domain.families.trial import Trial
from tasks.domain.hyperparameters import Family

Learner = Callable[[dict[str, Any], Sample, int, int], dict[str, bytes]]

TIER_WORDS = {1: "low", 2: "medium", 3: "high", 4: "very high"}
REGRESSION, CLASSIFICATION = "regression", "classification"
BOTH = (REGRESSION, CLASSIFICATION)


class Kind(NamedTuple):
    """`tier`: complexity from 1 to 4; a higher one must earn its place (tasks/domain/selection.py). `scaled`: whether
    the learner works on standardised features, missing ones at their average; the others know missing values."""

    tier: int
    forms: tuple[str, ...]
    scaled: bool
    learn: Learner

    @property
    def complexity(self) -> str:
        return TIER_WORDS[self.tier]


FAMILIES = {
    "ridge": Kind(1, (REGRESSION,), True, linear.ridge),
    "lasso": Kind(1, (REGRESSION,), True, linear.lasso),
    "logistic": Kind(1, (CLASSIFICATION,), True, linear.logistic),
    "tree": Kind(2, BOTH, False, trees.tree),
    "forest": Kind(2, BOTH, False, trees.forest),
    "svm": Kind(3, BOTH, True, svm.svm),
    "lightgbm": Kind(3, BOTH, False, boosting.lightgbm),
    "mlp": Kind(4, BOTH, True, deep.mlp),
    "sequence": Kind(4, BOTH, True, deep.sequence),
}


def simplest_first(families: Sequence[Family]) -> list[Family]:
    return sorted(families, key=lambda family: FAMILIES[family.family].tier)


def fit(trial: Trial, sample: Sample, seed: int, num_threads: int = 1) -> dict[str, bytes]:
    """Fit one trial and return its parameter files, name → content, for `inference.catalogue.load`.

    Equal trial, sample and seed give equal bytes, whatever `num_threads`: linear algebra keeps to one thread, because
    the order in which several add up is not fixed.

    Raises:
        UsageError: the sample does not fit the trial, or the family needs a package that is not installed.
    """
    # Rows without a target still matter as the past of others, to families that look back.
    usable = sample if "steps" in trial.parameters else sample.fitted()
    with threadpool_limits(1, user_api="blas"):
        return FAMILIES[trial.family].learn(trial.parameters, usable, seed, num_threads)
