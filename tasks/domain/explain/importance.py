"""How much each feature moves a model's scores, and whether fits on other data agree."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from tasks.domain.explain.contributions import Files, contributions
from tasks.domain.families.trial import Trial


class Stability(NamedTuple):
    """Of shares of importance over folds. `mean`, `deviation`: of each feature (n − 1; NaN for one fold).
    `rank_correlation`: mean Spearman correlation of two folds' shares over all pairs, 1 = all folds agree; NaN where
    there is no pair or a fold holds all features equal."""

    mean: np.ndarray
    deviation: np.ndarray
    rank_correlation: float


def shares(values: np.ndarray) -> np.ndarray:
    """Mean |contribution| of each feature (rows × features in) as shares of their sum; all 0 where nothing moves."""
    moved = np.abs(values).mean(axis=0)
    return np.asarray(moved / (moved.sum() or 1.0))


def over_folds(
    trial: Trial,
    fits: Sequence[Files],
    x: np.ndarray,
    previous: np.ndarray,
    rows: np.ndarray,
    background: np.ndarray,
    seed: int,
) -> np.ndarray:
    """Shares of importance by each fold's fit, folds × features, all on the same rows: they differ by the fit alone."""
    found = [shares(contributions(trial, files, x, previous, rows, background, seed).values) for files in fits]
    return np.array(found)


def stability(by_fold: np.ndarray) -> Stability:
    """From shares, folds × features."""
    folds, features = by_fold.shape
    several = folds > 1
    deviation = by_fold.std(axis=0, ddof=1) if several else np.full(features, np.nan)
    return Stability(by_fold.mean(axis=0), deviation, rank_agreement(by_fold) if several else np.nan)


def rank_agreement(by_fold: np.ndarray) -> float:
    ranks = stats.rankdata(by_fold, axis=1)
    if not ranks.std(axis=1).all():
        return float("nan")
    pairs = np.triu_indices(len(ranks), k=1)
    return float(np.asarray(np.corrcoef(ranks))[pairs].mean())
