"""What each feature adds to a score: Shapley values (Lundberg and Lee 2017) on the scale on which a model adds up.

A classifier that turns a sum into a probability is explained in log odds, every other model in its own scores; there,
base + sum of contributions = score for each row, to rounding.

- ridge, lasso, logistic: coefficient × (value − mean of the fit's rows), features taken as independent (Štrumbelj and
  Kononenko 2014, section 3.1).
- tree, forest, lightgbm: exact, features absent in the proportions of the training rows below each split (Lundberg et
  al. 2020, "From local explanations to global understanding", algorithm 2).
- svm, mlp, sequence: sampled. A walk takes a background row to the explained one, feature after feature in a random
  order, and each feature is credited with what its step changes (Štrumbelj and Kononenko 2014, algorithm 1); every
  second walk goes in the reverse order of the one before (Mitchell et al. 2022, section 4.1). It is done here
  rather than by a library because a step then costs one score and not one for each background row, and because a
  recurrent model needs whole paths exchanged.
- A feature of a sequence model stands for its whole recent path: all its values over the model's steps together.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from tasks.domain.errors import UsageError
from tasks.domain.families.catalogue import FAMILIES
from tasks.domain.families.trial import Trial
from tasks.domain.inference import boosting, linear, trees
from tasks.domain.inference.catalogue import load
from tasks.domain.inference.deep import walk_back
from tasks.domain.inference.predictor import Predictor
from tasks.domain.inference.scaling import scaling_from

LINEAR, TREES, BOOSTED = ("ridge", "lasso", "logistic"), ("tree", "forest"), ("lightgbm",)
LOG_ODDS = ("logistic", "lightgbm", "mlp", "sequence")
EXACT_ROWS, SAMPLED_ROWS, BACKGROUND_ROWS = 512, 32, 32
NEAREST = 1e-15  # to certainty: log odds of a probability that was rounded to 0 or 1

Files = Mapping[str, bytes]


class Contributions(NamedTuple):
    """`values`: rows × features; `base`: the score where no feature says anything."""

    values: np.ndarray
    base: float

    @property
    def score(self) -> np.ndarray:
        return np.asarray(self.base + self.values.sum(axis=1))


def contributions(
    trial: Trial, files: Files, x: np.ndarray, previous: np.ndarray, rows: np.ndarray, background: np.ndarray, seed: int
) -> Contributions:
    """Contributions to the scores of some rows of `x`.

    Args:
        files: what `fit` returned for the trial.
        x: rows × features in order of time. previous: row of the same instrument's bar before, -1 if none.
        rows: numbers of the rows to explain, with as much history as the model needs.
        background: numbers of the rows that stand for "this feature says nothing" where contributions are sampled;
            BACKGROUND_ROWS of them are drawn. The other families do not look at them.

    Raises:
        UsageError: a row has too little history for a score.
    """
    if trial.family in LINEAR:
        return of_linear(files, x[rows])
    if trial.family in TREES:
        return of_trees(files, x[rows])
    if trial.family in BOOSTED:
        return of_boosted(files, x[rows])
    return sampled(trial, load(trial.family, files), x, previous, rows, spread(background, BACKGROUND_ROWS, seed), seed)


def is_exact(trial: Trial) -> bool:
    return trial.family in LINEAR + TREES + BOOSTED


def most_rows(trial: Trial) -> int:
    """How many rows are worth explaining: what takes seconds."""
    return EXACT_ROWS if is_exact(trial) else SAMPLED_ROWS


def in_log_odds(trial: Trial) -> bool:
    """Whether contributions add up to log odds, and not to the score itself."""
    return classifies(trial) and trial.family in LOG_ODDS


def gives_probability(trial: Trial) -> bool:
    """Whether a score is the probability of a target above 0."""
    return classifies(trial) and trial.family in LOG_ODDS + TREES


def classifies(trial: Trial) -> bool:
    return bool(trial.parameters.get("form", FAMILIES[trial.family].forms[0]) == "classification")


def linked(trial: Trial, scores: np.ndarray) -> np.ndarray:
    """Scores on the scale on which contributions add up."""
    if not in_log_odds(trial):
        return scores
    probability = np.clip(scores, NEAREST, 1 - NEAREST)
    return np.asarray(np.log(probability / (1 - probability)))


def spread(candidates: np.ndarray, count: int, seed: int) -> np.ndarray:
    """At most `count` of the candidates, one drawn from each of as many equal stretches: in order of time, they are
    spread over all sessions."""
    if len(candidates) <= count:
        return candidates
    edges = np.linspace(0, len(candidates), count + 1).astype(int)
    return np.asarray(candidates[np.random.default_rng(seed).integers(edges[:-1], edges[1:])])


def with_history(steps: int, previous: np.ndarray) -> np.ndarray:
    """Numbers of the rows that a model looking back over `steps` rows can score."""
    return np.flatnonzero(walk_back(previous, steps)[:, 0] >= 0)


def of_linear(files: Files, x: np.ndarray) -> Contributions:
    stored = json.loads(files[linear.FILE])
    return Contributions(scaling_from(stored)(x) * np.asarray(stored["coefficients"]), float(stored["intercept"]))


def of_trees(files: Files, x: np.ndarray) -> Contributions:
    """In probabilities for a classifier, since that is what trees average."""
    # shap takes seconds to import.
    from shap import TreeExplainer
    from skops.io import loads

    explainer = TreeExplainer(
        loads(files[trees.FILE], trusted=trees.ALLOWED), feature_perturbation="tree_path_dependent"
    )
    values = np.asarray(explainer.shap_values(np.asarray(x, dtype="float64"), check_additivity=False))
    # A classifier has a last axis of its classes.
    values = values if values.ndim == 2 else values[:, :, -1]
    return Contributions(values, float(np.ravel(explainer.expected_value)[-1]))


def of_boosted(files: Files, x: np.ndarray) -> Contributions:
    from lightgbm import Booster

    booster = Booster(model_str=files[boosting.FILE].decode())
    found = np.asarray(booster.predict(np.asarray(x, dtype="float64"), pred_contrib=True, num_threads=1))
    return Contributions(found[:, :-1], float(found[0, -1]) if len(found) else 0.0)


def sampled(
    trial: Trial,
    predictor: Predictor,
    x: np.ndarray,
    previous: np.ndarray,
    rows: np.ndarray,
    background: np.ndarray,
    seed: int,
) -> Contributions:
    """Base is the mean score of the background, and all rows are walked to from the same background rows."""
    ends = windows_of(x, previous, rows, predictor.steps)
    starts = windows_of(x, previous, background, predictor.steps)

    def score(windows: np.ndarray) -> np.ndarray:
        return linked(trial, scores_of(predictor, windows))

    rng = np.random.default_rng(seed)
    values = np.zeros((len(rows), x.shape[1]))
    # Each step's matrices are small, so threads would wait for one another most of the time.
    with threadpool_limits(1, user_api="blas"):
        for moved, end in zip(values, ends, strict=True):
            for order, start in zip(orders(x.shape[1], len(starts), rng), starts, strict=True):
                moved += walk(score, start, end, order)
    return Contributions(values / len(starts), float(score(starts).mean()))


def orders(features: int, count: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Random orders of features, every second the reverse of the one before."""
    order = np.arange(features)
    for turn in range(count):
        order = order[::-1] if turn % 2 else rng.permutation(features)
        yield order


def walk(
    score: Callable[[np.ndarray], np.ndarray], start: np.ndarray, end: np.ndarray, order: np.ndarray
) -> np.ndarray:
    """What each feature changes when they are exchanged one after the other; steps × features at both ends."""
    arrival = np.argsort(order)
    arrived = arrival < np.arange(len(order) + 1)[:, None]
    changes = np.empty(len(order))
    changes[order] = np.diff(score(np.where(arrived[:, None, :], end, start)))
    return changes


def windows_of(x: np.ndarray, previous: np.ndarray, rows: np.ndarray, steps: int) -> np.ndarray:
    """What each row's score looks at: rows × steps × features in float64, the row itself last.

    Raises:
        UsageError: a row has too little history.
    """
    path = np.empty((len(rows), steps), dtype="int64")
    path[:, -1] = rows
    for step in range(steps - 2, -1, -1):
        path[:, step] = previous[path[:, step + 1]]
    if (path < 0).any():
        raise UsageError(
            f"a row to explain or to compare with has fewer than {steps} rows of history; take those of `with_history`"
        )
    return np.asarray(x[path], dtype="float64")


def scores_of(predictor: Predictor, windows: np.ndarray) -> np.ndarray:
    """Scores of windows (examples × steps × features) that have no rows in common."""
    examples, steps, features = windows.shape
    previous = np.arange(examples * steps) - 1
    previous[::steps] = -1
    return predictor(windows.reshape(-1, features), previous)[steps - 1 :: steps]
