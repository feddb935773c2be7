"""Scores that must not fall, or not rise, as a feature rises (constraints.monotone of a problem)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tasks.domain.errors import UsageError

Signs = Mapping[str, int]
ROWS, ROUNDING = 64, 1e-12


def in_order(monotone: Signs, columns: Sequence[str]) -> list[int]:
    """A sign for each column, 0 where it is free.

    Raises:
        UsageError: a sign is for something that is no feature.
    """
    if unknown := sorted(set(monotone) - set(columns)):
        raise UsageError(f"constraints.monotone: {unknown} are no features of the problem; expected some of {columns}")
    return [monotone.get(name, 0) for name in columns]


def constrained(family: str, parameters: dict[str, Any], monotone: Signs, columns: Sequence[str]) -> dict[str, Any]:
    """A trial's parameters with the signs in them, where its family takes them into account."""
    signs = in_order(monotone, columns)
    return parameters | {"monotone_constraints": signs} if any(signs) and family == "lightgbm" else parameters


def broken(
    score: Callable[[np.ndarray], np.ndarray], x: np.ndarray, monotone: Signs, columns: Sequence[str]
) -> list[str]:
    """The features whose sign a model doesn't keep: each is raised by its standard deviation on some rows.

    For a linear model, or a monotone function of one, a single row would tell; for any other this is a sample.

    Args:
        score: rows × features → scores.
        x: rows × features; those without NaN are taken.
    """
    rows = x[np.isfinite(x).all(axis=1)][:ROWS]
    before = score(rows)
    found = []
    for at, sign in enumerate(in_order(monotone, columns)):
        raised = rows.copy()
        raised[:, at] += np.nanstd(x[:, at]) or 1.0
        if sign and (sign * (score(raised) - before) < -ROUNDING).any():
            found.append(columns[at])
    return found
