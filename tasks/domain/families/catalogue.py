"""All families of models, from simple to complex, and how each is fitted."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from threadpoolctl import threadpool_limits

from tasks.domain.complexity import TIERS
from tasks.domain.families import boosting, deep, linear, svm, trees
from tasks.domain.families.sample import Sample
from tasks.domain.families.trial import Trial
from tasks.domain.hyperparameters import Family

Learner = Callable[[dict[str, Any], Sample, int, int], dict[str, bytes]]

REGRESSION, CLASSIFICATION = "regression", "classification"
BOTH = (REGRESSION, CLASSIFICATION)
NUMBERS_A_THREAD = 2_500_000
MOST_THREADS = 2  # the smallest machine aimed at has two cores


class Kind(NamedTuple):
    """The forms a family has, and how it learns."""

    forms: tuple[str, ...]
    learn: Learner


FAMILIES = {
    "ridge": Kind((REGRESSION,), linear.ridge),
    "lasso": Kind((REGRESSION,), linear.lasso),
    "logistic": Kind((CLASSIFICATION,), linear.logistic),
    "tree": Kind(BOTH, trees.tree),
    "forest": Kind(BOTH, trees.forest),
    "svm": Kind(BOTH, svm.svm),
    "lightgbm": Kind(BOTH, boosting.lightgbm),
    "mlp": Kind(BOTH, deep.mlp),
    "sequence": Kind(BOTH, deep.sequence),
}


def simplest_first(families: Sequence[Family]) -> list[Family]:
    return sorted(families, key=lambda family: TIERS[family.family])


def fit(trial: Trial, sample: Sample, seed: int, num_threads: int | None = None) -> dict[str, bytes]:
    """Fit one trial and return its parameter files, name → content, for `inference.catalogue.load`.

    Equal trial, sample and seed give equal bytes, whatever `num_threads` (None: as many as the sample keeps busy):
    linear algebra keeps to one thread, because the order in which several add up is not fixed.

    Raises:
        UsageError: the sample does not fit the trial, or the family needs a package that is not installed.
    """
    # Rows without a target still matter as the past of others, to families that look back.
    usable = sample if "steps" in trial.parameters else sample.fitted()
    with threadpool_limits(1, user_api="blas"):
        return FAMILIES[trial.family].learn(trial.parameters, usable, seed, num_threads or worth(usable))


def worth(sample: Sample) -> int:
    """How many threads a fit is worth: fewer numbers each, and they wait for each other longer than they work."""
    return max(1, min(MOST_THREADS, sample.x.size // NUMBERS_A_THREAD))
