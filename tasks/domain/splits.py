"""Purged splits of development sessions: what is tested is never reached by a label that was trained on.

Splits are by session, not by row, so that all instruments of a day are on one side. The sessions handed in are those
of the development part, so no split can hold one of the lockbox.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from tasks.domain.errors import UsageError
from tasks.domain.targets import Combinatorial, Splits, WalkForward


class Fold(NamedTuple):
    """One fit: its `train` sessions, ascending and perhaps with holes, and the `test` sessions it is judged on.

    `group` and `path` hold a number for each test session. A group is an unbroken run of sessions that is tested as
    a whole; a path is one history of out-of-fold scores, made up of every tested group once.
    """

    train: pd.DatetimeIndex
    test: pd.DatetimeIndex
    group: np.ndarray
    path: np.ndarray


def split(sessions: pd.DatetimeIndex, splits: Splits, purge: int) -> Iterator[Fold]:
    """The folds that a problem asks for; `purge` is the label's reach in sessions.

    Raises:
        UsageError: the sessions are too few.
    """
    match splits:
        case WalkForward():
            return walk_forward(sessions, splits.folds, purge, splits.embargo)
        case Combinatorial():
            return combinatorial(sessions, splits.groups, splits.test_groups, purge, splits.embargo)


def walk_forward(sessions: pd.DatetimeIndex, folds: int, purge: int, embargo: int = 0) -> Iterator[Fold]:
    """Expanding training windows, each followed by `purge` + `embargo` unused sessions and a test window.

    All test windows together are one path, each is a group (López de Prado 2018, sections 7.4 and 12.2).

    Raises:
        UsageError: the sessions are too few for that many folds.
    """
    # A slow import that only training needs.
    from skfolio.model_selection import WalkForward as Splitter

    gap = purge + embargo
    tested = len(sessions) // (folds + 1)
    first = len(sessions) - folds * tested - gap
    if tested == 0 or first < 1:
        raise UsageError(
            f"{len(sessions)} development sessions are too few for {folds} folds and a purge of {gap}; "
            "bring more data or set fewer splits.folds"
        )
    splitter = Splitter(test_size=tested, train_size=first, purged_size=gap, expand_train=True)
    for number, (train, test) in enumerate(splitter.split(np.empty((len(sessions), 1)))):
        yield Fold(sessions[train], sessions[test], np.full(tested, number), np.zeros(tested, dtype=int))


def combinatorial(
    sessions: pd.DatetimeIndex, groups: int, test_groups: int, purge: int, embargo: int = 0
) -> Iterator[Fold]:
    """Every choice of `test_groups` out of `groups` equal runs of sessions is tested once, the others are trained on.

    `purge` sessions stay unused on both sides of each test window, and `embargo` more after it. N groups, k of them
    tested, make C(N, k) folds and C(N, k) · k / N paths (López de Prado 2018, sections 7.4.1, 7.4.2 and 12.3).

    Raises:
        UsageError: the sessions are too few for that many groups.
    """
    from skfolio.model_selection import CombinatorialPurgedCV

    splitter = CombinatorialPurgedCV(groups, test_groups, purged_size=purge, embargo_size=embargo)
    # A group between two tested ones loses sessions on both sides, and must have some left.
    if len(sessions) // groups <= purge + max(purge, 1) + embargo:
        raise UsageError(
            f"{len(sessions)} development sessions are too few for {groups} groups, a purge of {purge} and an embargo "
            f"of {embargo}; bring more data or set fewer splits.groups"
        )
    found = zip(
        splitter.split(np.empty((len(sessions), 1))), splitter.test_set_index, splitter.get_path_ids(), strict=True
    )
    for (train, tests), group, path in found:
        sizes = [len(test) for test in tests]
        yield Fold(sessions[train], sessions[np.concatenate(tests)], np.repeat(group, sizes), np.repeat(path, sizes))


def refuse_overlap(train: pd.DatetimeIndex, test: pd.DatetimeIndex, reach: int, sessions: pd.DatetimeIndex) -> None:
    """Make sure that no label of one side looks at a session of a label of the other.

    The label of a session spans it and the `reach` sessions after it (López de Prado 2018, section 7.4.1).

    Args:
        train, test: not empty, among `sessions`.
        sessions: the calendar in which the reach counts, ascending.

    Raises:
        UsageError: a label crosses the split; names the two sessions.
    """
    trained, tested = sessions.get_indexer(train), np.sort(sessions.get_indexer(test))
    following = np.searchsorted(tested, trained)
    for nearest in (following - 1, following):
        inside = (nearest >= 0) & (nearest < len(tested))
        at, facing = trained[inside], tested[nearest[inside]]
        if (crossed := np.abs(facing - at) <= reach).any():
            one, other = sessions[at[crossed][0]].date(), sessions[facing[crossed][0]].date()
            raise UsageError(
                f"the labels of training session {one} and test session {other} overlap: they are at most {reach} "
                "sessions apart, the reach of a label; purge the training sessions"
            )
