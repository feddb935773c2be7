"""Purged walk-forward: train on the past, test on what follows, with a gap that no label can cross."""

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd
from sklearn.model_selection import TimeSeriesSplit

from tasks.domain.errors import UsageError


class Fold(NamedTuple):
    train: pd.DatetimeIndex
    test: pd.DatetimeIndex


def walk_forward(sessions: pd.DatetimeIndex, folds: int, purge: int) -> Iterator[Fold]:
    """Expanding training windows, each followed by `purge` unused sessions and a test window.

    Splits are by session, not by row, so that all instruments of a day are on one side
    (López de Prado 2018, ch. 7.4: purging).

    Raises:
        UsageError: the sessions are too few for that many folds.
    """
    try:
        pairs = list(TimeSeriesSplit(n_splits=folds, gap=purge).split(sessions))
    except ValueError:
        raise UsageError(
            f"{len(sessions)} development sessions are too few for {folds} folds and a purge of {purge}; "
            "bring more data or set fewer splits.folds"
        ) from None
    for train, test in pairs:
        yield Fold(sessions[train], sessions[test])
