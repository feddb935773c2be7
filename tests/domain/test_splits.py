"""Splits by session: twelve sessions by hand, and no label across any split, found by brute force."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from tasks.domain.errors import UsageError
from tasks.domain.splits import Fold, combinatorial, refuse_overlap, split, walk_forward
from tasks.domain.targets import Combinatorial, WalkForward

TWELVE = pd.date_range("2020-01-01", periods=12)  # the day of the month, less one, is the number of the session


def numbers(sessions: pd.DatetimeIndex) -> list[int]:
    return [session.day - 1 for session in sessions]


def by_number(folds: list[Fold]) -> list[tuple[list[int], list[int]]]:
    return [(numbers(fold.train), numbers(fold.test)) for fold in folds]


def test_walk_forward_by_hand() -> None:
    found = list(walk_forward(TWELVE, folds=2, purge=2))
    assert by_number(found) == [([0, 1], [4, 5, 6, 7]), ([0, 1, 2, 3, 4, 5], [8, 9, 10, 11])]
    assert [fold.group.tolist() for fold in found] == [[0] * 4, [1] * 4]
    assert [fold.path.tolist() for fold in found] == [[0] * 4, [0] * 4]


def test_an_embargo_widens_the_gap_of_a_walk_forward() -> None:
    found = list(split(TWELVE, WalkForward(folds=2, embargo=1), 2))
    assert by_number(found) == [([0], [4, 5, 6, 7]), ([0, 1, 2, 3, 4], [8, 9, 10, 11])]


def test_combinatorial_by_hand() -> None:
    """Three groups of four, two tested, a purge of one: the third is trained on, less its neighbours of a test."""
    found = list(combinatorial(TWELVE, groups=3, test_groups=2, purge=1))
    assert by_number(found) == [
        ([9, 10, 11], [0, 1, 2, 3, 4, 5, 6, 7]),
        ([5, 6], [0, 1, 2, 3, 8, 9, 10, 11]),
        ([0, 1, 2], [4, 5, 6, 7, 8, 9, 10, 11]),
    ]
    assert [fold.group.tolist() for fold in found] == [[0] * 4 + [1] * 4, [0] * 4 + [2] * 4, [1] * 4 + [2] * 4]
    assert [fold.path.tolist() for fold in found] == [[0] * 4 + [0] * 4, [1] * 4 + [0] * 4, [1] * 4 + [1] * 4]


def test_an_embargo_follows_a_test_window_and_does_not_precede_one() -> None:
    found = list(split(TWELVE, Combinatorial(groups=3, test_groups=2, embargo=1), 1))
    assert [numbers(fold.train) for fold in found] == [[10, 11], [6], [0, 1, 2]]


def test_six_groups_by_two_make_fifteen_fits_and_five_paths() -> None:
    """López de Prado 2018, figure 12.1; every path holds every session once."""
    sessions = pd.date_range("2020-01-01", periods=100)
    found = list(combinatorial(sessions, groups=6, test_groups=2, purge=3))
    assert len(found) == 15
    tested = pd.concat([pd.Series(fold.path, fold.test) for fold in found])
    assert sorted(tested.unique()) == [0, 1, 2, 3, 4]
    for path in range(5):
        assert tested[tested == path].sort_index().index.equals(sessions)
    assert [tuple(dict.fromkeys(fold.group.tolist())) for fold in found] == list(combinations(range(6), 2))


def labels_cross(fold: Fold, reach: int, sessions: pd.DatetimeIndex) -> bool:
    """Whether any two labels of the two sides have a session in common, by looking at every session of each."""
    at = {session: number for number, session in enumerate(sessions)}
    spans = [{at[s] + ahead for s in side for ahead in range(reach + 1)} for side in (fold.train, fold.test)]
    return bool(spans[0] & spans[1])


SPLITS = st.one_of(
    st.builds(WalkForward, folds=st.integers(2, 6), embargo=st.integers(0, 4)),
    st.builds(Combinatorial, groups=st.integers(4, 6), test_groups=st.integers(2, 3), embargo=st.integers(0, 4)),
)


@settings(max_examples=30, deadline=None)
@given(count=st.integers(20, 140), reach=st.integers(1, 12), splits=SPLITS)
def test_no_label_crosses_any_split(count: int, reach: int, splits: WalkForward | Combinatorial) -> None:
    sessions = pd.bdate_range("2020-01-01", periods=count)
    try:
        found = list(split(sessions, splits, reach))
    except UsageError:
        reject()
    for fold in found:
        assert len(fold.train)
        assert fold.train.union(fold.test).isin(sessions).all()
        assert not labels_cross(fold, reach, sessions)
        refuse_overlap(fold.train, fold.test, reach, sessions)


@settings(max_examples=50, deadline=None)
@given(sides=st.lists(st.sampled_from(["train", "test", "unused"]), min_size=12, max_size=12), reach=st.integers(1, 4))
def test_an_overlap_is_refused_exactly_where_labels_cross(sides: list[str], reach: int) -> None:
    train, test = (TWELVE[np.array(sides) == side] for side in ("train", "test"))
    fold = Fold(train, test, np.zeros(len(test)), np.zeros(len(test)))
    if labels_cross(fold, reach, TWELVE):
        with pytest.raises(UsageError, match="overlap"):
            refuse_overlap(train, test, reach, TWELVE)
    else:
        refuse_overlap(train, test, reach, TWELVE)


def test_an_overlap_names_its_sessions() -> None:
    words = "training session 2020-01-03 and test session 2020-01-05 overlap: they are at most 2 sessions apart"
    with pytest.raises(UsageError, match=words):
        refuse_overlap(TWELVE[[0, 1, 2, 9]], TWELVE[[4, 5]], 2, TWELVE)
    refuse_overlap(TWELVE[[0, 1, 9]], TWELVE[[4, 5]], 2, TWELVE)


@pytest.mark.parametrize(
    ("count", "splits", "words"),
    [
        (8, WalkForward(folds=5), "8 development sessions are too few for 5 folds and a purge of 6"),
        (3, WalkForward(folds=5), "3 development sessions are too few for 5 folds"),
        (0, WalkForward(folds=2), "0 development sessions are too few"),
        (77, Combinatorial(), "77 development sessions are too few for 6 groups, a purge of 6 and an embargo of 0"),
        (48, Combinatorial(embargo=1), "48 development sessions are too few for 6 groups, a purge of 6 and an embargo"),
    ],
)
def test_too_few_sessions_are_refused_in_words(count: int, splits: WalkForward | Combinatorial, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        list(split(pd.date_range("2020-01-01", periods=count), splits, 6))
