"""The retraining walked forward: each step knows its past only, and steps follow one another without a gap."""

import json

import numpy as np
import pandas as pd
import pytest

from tasks import rolling
from tasks.configuration import load_problem
from tasks.domain.evaluation import Estimate, Panel, estimate, panel, scored_folds
from tasks.domain.families.trial import Trial
from tasks.domain.labels import reach
from tasks.domain.problem import Problem
from tasks.domain.search import Ended
from tasks.domain.targets import Combinatorial, WalkForward
from tasks.searching import Outcome
from tests.support.market import bars

SESSIONS, FOLDS = 500, 4
RIDGES = [{"alpha": 10.0}, {"alpha": 1e6}]


@pytest.fixture(scope="module")
def problem() -> Problem:
    shipped = load_problem("sp500_alpha")
    return shipped.model_copy(update={"splits": WalkForward(folds=FOLDS), "families": shipped.families[:1]})


def market() -> pd.DataFrame:
    made = bars(0.004, names=8, sessions=SESSIONS)
    return made.rename(columns={"date": "timestamp", "symbol": "instrument"})


def outcomes(known: Panel, problem: Problem) -> list[Outcome]:
    found = []
    for number, parameters in enumerate(RIDGES):
        trial = Trial("ridge", parameters)
        scores = list(scored_folds(trial, known, problem))
        ended = Ended(trial, [score.mean for score in scores], False)
        found.append(Outcome(f"key{number}", ended, estimate(scores, known, problem), 0.0))
    return found


@pytest.fixture(scope="module")
def known(problem: Problem) -> Panel:
    return panel(market(), problem)


def test_steps_follow_one_another_and_none_is_trained_on_what_it_scores(known: Panel, problem: Problem) -> None:
    steps = rolling.walked(problem, known, outcomes(known, problem))
    assert len(steps) == FOLDS - 1
    sessions = known.sessions
    scored = pd.concat([step.scores for step in steps]).index
    assert scored.tolist() == sessions[sessions >= scored[0]].tolist(), "every session once, in order, to the end"
    for step in steps:
        trained = sessions.get_loc(pd.Timestamp(step.told["trained"][1]))
        first = sessions.get_loc(pd.Timestamp(step.told["scored"][0]))
        assert first - trained > 2 * reach(problem.horizon), "the purge, and the window before has its labels"
        assert step.scores.index[0] == sessions[first]


def test_the_future_changes_no_step_before_it(known: Panel, problem: Problem) -> None:
    steps = rolling.walked(problem, known, outcomes(known, problem))
    cut = steps[-1].scores.index[0]
    disturbed = market()
    later = disturbed["timestamp"] >= cut
    factor = np.exp(np.random.default_rng(5).normal(0, 0.2, later.sum()))
    disturbed.loc[later, "close"] *= factor
    other = panel(disturbed, problem)
    again = rolling.walked(problem, other, outcomes(other, problem))
    for one, two in zip(steps[:-1], again[:-1], strict=True):
        assert one.told == two.told
        pd.testing.assert_frame_equal(one.scores, two.scores, check_exact=True)


def told(rank_ic: list[float], family: str = "ridge", pruned: bool = False) -> Outcome:
    return Outcome("", Ended(Trial(family, {}), rank_ic, pruned), Estimate(rank_ic, rank_ic, 0.0), 0.0)


def test_a_trial_is_known_by_the_windows_behind_and_counts_as_given_up_from_when_it_was(problem: Problem) -> None:
    seen = [told([0.1, 0.2, 0.3]), told([0.5, -0.9], pruned=True)]
    first, second, third = (rolling.by_then(problem, seen, windows) for windows in (1, 2, 3))
    assert [each.estimate.rank_ic for each in first] == [0.1, 0.5]
    assert [each.ended.pruned for each in second] == [False, False], "it was given up after the second window"
    assert [each.estimate.rank_ic for each in second] == pytest.approx([0.15, -0.2])
    assert [each.ended.pruned for each in third] == [False, True]


def test_what_a_search_proposed_after_it_had_seen_results_is_left_out(problem: Problem) -> None:
    fields = {"family": "ridge", "alpha": {"low": 1.0, "high": 1e5, "log": True}, "trials": 30}
    searched = type(problem.families[0]).model_validate_json(json.dumps(fields))
    asked = problem.model_copy(update={"families": [searched]})
    assert len(rolling.by_then(asked, [told([0.1, 0.2])] * 30, 2)) == 10


def test_without_an_order_in_time_nothing_is_written(known: Panel, problem: Problem) -> None:
    combinatorial = problem.model_copy(update={"splits": Combinatorial(groups=4, test_groups=2)})
    assert rolling.walk_forward.fn(combinatorial, known, [], None) is None  # type: ignore[arg-type]
