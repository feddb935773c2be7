"""Tiers of complexity: how hard it is to see what a family of models does. The one place that says so."""

from typing import Literal, get_args

Complexity = Literal["low", "medium", "high", "very high"]
WORDS: tuple[Complexity, ...] = get_args(Complexity)
# 1 (low) to 4 (very high). A higher tier must earn its place (tasks/domain/selection.py).
TIERS = {
    "ridge": 1,
    "lasso": 1,
    "logistic": 1,
    "tree": 2,
    "forest": 2,
    "svm": 3,
    "lightgbm": 3,
    "mlp": 4,
    "sequence": 4,
}
FAMILY_WORDS = {
    "ridge": "a weighted sum of its features (ridge regression)",
    "lasso": "a weighted sum of few of its features (lasso)",
    "logistic": "a weighted sum of its features, as a probability (logistic regression)",
    "tree": "one decision tree",
    "forest": "the average of many decision trees (random forest)",
    "svm": "likeness to rows seen before (support vector machine)",
    "lightgbm": "the sum of many small decision trees (LightGBM)",
    "mlp": "a neural network",
    "sequence": "a recurrent neural network over a name's latest rows",
}
# Families whose score can be kept from falling (or rising) as a feature rises: the linear ones have one slope a
# feature, whose sign can be looked at; LightGBM takes the signs into account while it grows its trees.
LINEAR = ("ridge", "lasso", "logistic")
MONOTONE = (*LINEAR, "lightgbm")


def word(family: str) -> Complexity:
    """A family's tier in words."""
    return WORDS[TIERS[family] - 1]


def exceeds(family: str, allowed: Complexity) -> bool:
    return TIERS[family] > WORDS.index(allowed) + 1
