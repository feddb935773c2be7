"""The search within a family: budgets, grids, proposals that follow from what has ended, and giving up in time."""

import math
from typing import Any

import pytest

from tasks.domain.families.trial import Trial
from tasks.domain.hyperparameters import Family
from tasks.domain.problem import Problem, parse_problem
from tasks.domain.search import Ended, budget, is_hopeless, propose

RANGES = {
    "family": "lightgbm",
    "num_leaves": {"low": 4, "high": 64, "log": True},
    "learning_rate": {"low": 0.01, "high": 0.2, "log": True},
    "trials": 9,
}
SPLITS = 4


def family(shipped: Problem, **fields: Any) -> Family:
    found: Family = parse_problem(shipped.model_dump(mode="json") | {"families": [fields]}, "x.yaml").families[0]
    return found


def judged(trial: Trial) -> list[float]:
    """Best at 20 leaves and a rate of 0.05; a little more at each split."""
    leaves, rate = trial.parameters["num_leaves"], trial.parameters["learning_rate"]
    return [0.01 * split - abs(math.log(leaves / 20)) - abs(math.log(rate / 0.05)) for split in range(SPLITS)]


def searched(given: Family, ended: list[Ended], most: int = 99) -> list[Ended]:
    found = list(ended)
    while len(found) < most and (trial := propose(given, found, 7)):
        values = judged(trial)
        stop = next((n for n in range(1, SPLITS) if is_hopeless(given, found, values[:n])), SPLITS)
        found.append(Ended(trial, values[:stop], stop < SPLITS))
    return found


def test_a_grid_within_the_budget_is_tried_whole_and_in_order(shipped: Problem) -> None:
    ridge = family(shipped, family="ridge", alpha=[10.0, 1000.0, 100.0])
    assert budget(ridge) == 3
    ended: list[Ended] = []
    while trial := propose(ridge, ended, 7):
        ended.append(Ended(trial, [0.0], False))
    assert [each.trial.parameters["alpha"] for each in ended] == [10.0, 1000.0, 100.0]


def test_a_budget_below_the_grid_spends_itself_on_different_trials(shipped: Problem) -> None:
    tree = family(shipped, family="tree", max_depth=[2, 3, 4], min_samples_leaf=[50, 100, 200], trials=5)
    ended: list[Ended] = []
    while trial := propose(tree, ended, 7):
        ended.append(Ended(trial, [0.0], False))
    assert len({each.trial.key() for each in ended}) == budget(tree) == 5


@pytest.mark.slow
def test_a_search_goes_on_as_if_it_had_not_been_stopped(shipped: Problem) -> None:
    given = family(shipped, **RANGES)
    whole = searched(given, [])
    assert len(whole) == len({each.trial.key() for each in whole}) == 9
    for stopped in (0, 1, 6):
        assert searched(given, searched(given, [], most=stopped)) == whole
    assert all(4 <= each.trial.parameters["num_leaves"] <= 64 for each in whole)


def test_a_trial_below_the_median_is_given_up_and_one_above_is_not(shipped: Problem) -> None:
    given = family(shipped, **RANGES)
    trials = [Trial("lightgbm", {"num_leaves": 4 + n, "learning_rate": 0.05}) for n in range(5)]
    ended = [Ended(trial, [0.01 * n] * SPLITS, False) for n, trial in enumerate(trials)]
    assert not is_hopeless(given, ended, [-1.0]), "one split tells too little"
    assert is_hopeless(given, ended, [0.01, 0.01])
    assert not is_hopeless(given, ended, [0.03, 0.03])
    assert not is_hopeless(given, ended[:4], [-1.0, -1.0]), "four trials tell too little"
