"""Explanations: contributions by hand and adding up for every family, importance, dependence, diagnosis, words."""

import json

import numpy as np
import pandas as pd
import pytest

from tasks.domain.errors import UsageError
from tasks.domain.explain.contributions import contributions, gives_probability, linked, sampled, spread, with_history
from tasks.domain.explain.dependence import partial_dependence
from tasks.domain.explain.diagnosis import by_state, calibration, reliability
from tasks.domain.explain.explanation import Table, explain
from tasks.domain.explain.importance import shares, stability
from tasks.domain.explain.reasons import Standing, ordinal, percentiles, reasons
from tasks.domain.families.catalogue import fit
from tasks.domain.families.sample import Sample
from tasks.domain.families.trial import Trial
from tasks.domain.feature_words import describe, standing
from tasks.domain.features.engine import SETS
from tasks.domain.inference.catalogue import load
from tasks.domain.inference.predictor import Predictor, by_row
from tasks.domain.problem import Problem
from tasks.domain.states import market_states
from tests.domain.test_families import FORMS, needs, planted, trial_of

ONE_ROW = Trial("svm", {"form": "regression"})  # any family whose contributions are sampled
ALONE = np.full(4, -1)
LINEAR = {"mean": [1.0, 2.0], "spread": [2.0, 1.0], "coefficients": [3.0, -1.0], "intercept": 0.5}
STUMP = {
    "form": "regression",
    "num_rounds": 1,
    "num_leaves": 2,
    "learning_rate": 1.0,
    "min_data_in_leaf": 1,
    "min_sum_hessian_in_leaf": 0.0,
}


def test_a_linear_contribution_is_coefficient_times_distance_from_the_mean() -> None:
    """(5 − 1) / 2 · 3 = 6 and (0 − 2) / 1 · −1 = 2; a missing value says nothing."""
    files = {"parameters.json": json.dumps(LINEAR | {"form": "regression"}).encode()}
    x = np.array([[5.0, 0.0], [np.nan, 2.0]])
    found = contributions(Trial("ridge", {"alpha": 1.0}), files, x, ALONE[:2], np.arange(2), np.arange(2), seed=1)
    assert found.values.tolist() == [[6.0, 2.0], [0.0, 0.0]]
    assert found.score.tolist() == [8.5, 0.5]


def test_a_tree_of_two_leaves_by_hand() -> None:
    """Three rows at 0 and one at 4 have mean 1, so the side of the split is worth −1 or +3."""
    x = np.array([[0.0, 5.0], [0.0, 5.0], [0.0, 5.0], [1.0, 5.0]])
    sample = Sample(x, np.array([0.0, 0.0, 0.0, 4.0]), None, ALONE)
    trial = Trial("lightgbm", STUMP)
    found = contributions(trial, fit(trial, sample, 7), x, ALONE, np.array([0, 3]), ALONE, seed=1)
    np.testing.assert_allclose(found.values, [[-1, 0], [3, 0]], atol=1e-9)
    assert found.base == pytest.approx(1.0)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["regression", "classification"])
def test_a_tree_of_scikit_learn_by_hand(form: str) -> None:
    """As above; of the classifier's rows a quarter is positive."""
    x = np.array([[0.0, 5.0], [0.0, 5.0], [0.0, 5.0], [1.0, 5.0]])
    trial = Trial("tree", {"form": form, "max_depth": 1})
    files = fit(trial, Sample(x, np.array([0.0, 0.0, 0.0, 4.0]), None, ALONE), 7)
    found = contributions(trial, files, x, ALONE, np.array([0, 3]), ALONE, seed=1)
    unit = 4 if form == "regression" else 1
    np.testing.assert_allclose(found.values, unit * np.array([[-0.25, 0], [0.75, 0]]), atol=1e-12)
    assert found.base == pytest.approx(unit * 0.25)


def test_sampled_contributions_by_hand() -> None:
    """Of 2 · 3 + 1, seen from zero, the product's two features earn half of it each."""
    predictor = by_row(lambda x: x[:, 0] * x[:, 1] + x[:, 2])
    x = np.array([[2.0, 3.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [2.0, 3.0, 1.0]])
    found = sampled(ONE_ROW, predictor, x, ALONE, np.array([0]), np.array([1, 2]), seed=1)
    np.testing.assert_allclose(found.values, [[3.0, 3.0, 1.0]])
    assert found.base == 0


def looking_back() -> Predictor:
    """The first feature now, and ten times what it was a row before."""

    def score(x: np.ndarray, previous: np.ndarray) -> np.ndarray:
        return np.asarray(np.where(previous >= 0, x[:, 0] + 10 * x[previous, 0], np.nan))

    return Predictor(score, steps=2)


def test_a_feature_of_a_sequence_stands_for_its_whole_path() -> None:
    x = np.array([[1.0, 7.0], [2.0, 8.0], [0.0, 0.0], [0.0, 1.0]])
    previous = np.array([-1, 0, -1, 2])
    found = sampled(
        Trial("sequence", {"form": "regression"}), looking_back(), x, previous, np.array([1]), np.array([3]), 1
    )
    assert found.values.tolist() == [[12.0, 0.0]]
    curve = partial_dependence(looking_back(), x, previous, np.array([1, 3]), 0, "a")
    np.testing.assert_allclose(curve.mean, 11 * curve.grid)


def test_rows_without_enough_history_are_refused() -> None:
    x, previous = np.zeros((3, 2)), np.array([-1, 0, 1])
    assert with_history(3, previous).tolist() == [2]
    with pytest.raises(UsageError, match="fewer than 2 rows of history"):
        sampled(ONE_ROW, looking_back(), x, previous, np.array([0]), np.array([1]), seed=1)


@pytest.mark.parametrize(
    ("family", "form", "told"),
    [("logistic", "classification", True), ("tree", "classification", True), ("svm", "classification", False)],
)
def test_which_scores_are_probabilities(family: str, form: str, told: bool, shipped: Problem) -> None:
    assert gives_probability(trial_of(shipped, family, form)) == told
    assert not gives_probability(trial_of(shipped, "lightgbm", "regression"))


def check_adding_up(trial: Trial) -> None:
    sample = planted(1)
    files = fit(trial, sample, seed=7)
    predictor = load(trial.family, files)
    able = with_history(predictor.steps, sample.previous)
    rows = spread(able, 5, seed=2)
    scores = linked(trial, predictor(sample.x, sample.previous)[rows])
    found = contributions(trial, files, sample.x, sample.previous, rows, able, seed=3)
    np.testing.assert_allclose(found.score, scores, rtol=0, atol=1e-10)
    assert np.abs(found.values).mean(axis=0).argmax() == 0
    again = contributions(trial, files, sample.x, sample.previous, rows, able, seed=3)
    assert (again.values == found.values).all()


@pytest.mark.parametrize(("family", "form"), [pair for pair in FORMS if pair[0] in ("ridge", "logistic", "lightgbm")])
def test_contributions_of_quick_families_add_up_to_the_score(family: str, form: str, shipped: Problem) -> None:
    check_adding_up(trial_of(shipped, family, form))


@pytest.mark.slow
@pytest.mark.parametrize(("family", "form"), FORMS)
def test_contributions_of_every_family_add_up_to_the_score(family: str, form: str, shipped: Problem) -> None:
    needs(family)
    check_adding_up(trial_of(shipped, family, form))


def test_rows_are_drawn_from_equal_stretches_by_seed() -> None:
    candidates = np.arange(100, 200)
    drawn = spread(candidates, 10, seed=1)
    assert (drawn // 10).tolist() == list(range(10, 20))
    assert drawn.tolist() == spread(candidates, 10, seed=1).tolist()
    assert drawn.tolist() != spread(candidates, 10, seed=2).tolist()
    assert spread(candidates[:7], 10, seed=1).tolist() == candidates[:7].tolist()


def test_shares_of_importance_and_their_stability_by_hand() -> None:
    assert shares(np.array([[3.0, -1.0], [-3.0, 1.0]])).tolist() == [0.75, 0.25]
    assert shares(np.zeros((2, 2))).tolist() == [0.0, 0.0]
    same = stability(np.array([[0.5, 0.3, 0.2], [0.7, 0.2, 0.1]]))
    np.testing.assert_allclose(same.mean, [0.6, 0.25, 0.15])
    np.testing.assert_allclose(same.deviation, np.array([0.1, 0.05, 0.05]) * np.sqrt(2))
    assert same.rank_correlation == pytest.approx(1.0)
    assert stability(np.array([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5]])).rank_correlation == pytest.approx(-1.0)
    assert np.isnan(stability(np.array([[0.5, 0.5]])).rank_correlation)


def test_partial_dependence_of_a_sum_is_a_line_that_all_rows_share() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 2))
    alone = np.full(200, -1)
    line = partial_dependence(by_row(lambda x: 2 * x[:, 0] + x[:, 1]), x, alone, np.arange(200), 0, "a")
    np.testing.assert_allclose(line.mean, 2 * line.grid + x[:, 1].mean())
    np.testing.assert_allclose(line.high - line.low, 0, atol=1e-12)
    product = partial_dependence(by_row(lambda x: x[:, 0] * x[:, 1]), x, alone, np.arange(200), 0, "a")
    assert (product.high - product.low)[[0, -1]].min() > 1


def test_calibration_by_hand() -> None:
    """Two sessions of five names; the market's 10 % in the second is nobody's merit."""
    scores = np.tile([1.0, 2.0, 3.0, 4.0, 5.0], 2)
    labels = np.array([-2.0, -1.0, 0.0, 1.0, 2.0, 8.0, 9.0, 10.0, 11.0, 12.0])
    told = calibration(scores, labels, np.repeat([0, 1], 5), reach=1)
    assert (told.gain, told.standard_error) == (4.0, 0.0)
    found = told.groups
    assert found.index.tolist() == [1, 2, 3, 4, 5]
    assert found["label"].tolist() == [-2.0, -1.0, 0.0, 1.0, 2.0]
    assert found["standard_error"].tolist() == [0.0] * 5
    assert found["rows"].tolist() == [2] * 5


def test_error_of_the_gain_knows_that_both_ends_share_their_sessions() -> None:
    """The ends differ by 2 in one session and by 6 in the other: 4, and half of 6 − 2 as its error."""
    scores = np.tile([1.0, 2.0, 3.0, 4.0, 5.0], 2)
    labels = np.array([-1.0, 0.0, 0.0, 0.0, 1.0, -3.0, 0.0, 0.0, 0.0, 3.0])
    told = calibration(scores, labels, np.repeat([0, 1], 5), reach=1)
    assert (told.gain, told.standard_error) == pytest.approx((4.0, 2.0))


def test_reliability_by_hand() -> None:
    """20 % that happens once in five times, 80 % that happens four times in five: each forecast errs by 0.16."""
    probability = np.repeat([0.2, 0.8], 50)
    happened = np.concatenate([np.tile([1.0, 0, 0, 0, 0], 10), np.tile([0.0, 1, 1, 1, 1], 10)])
    found = reliability(probability, happened, np.tile(np.arange(10), 10), reach=1)
    assert found.bins["forecast"].tolist() == pytest.approx([0.2, 0.8])
    assert found.bins["frequency"].tolist() == pytest.approx([0.2, 0.8])
    assert found.brier == pytest.approx(0.16)
    assert found.brier_of_base_rate == pytest.approx(0.25)


def test_states_of_the_market_need_no_future_and_tell_when_it_fails() -> None:
    rng = np.random.default_rng(1)
    days = pd.date_range("2020-01-01", periods=900)
    size = np.repeat([0.02, 0.01, 0.03], 300)[:, None]
    close = pd.DataFrame(np.exp(np.cumsum(size * rng.normal(size=(900, 3)), axis=0)), index=days)
    states = market_states(close)
    pd.testing.assert_frame_equal(market_states(close.iloc[:700]), states.iloc[:700])
    assert set(states["volatility"].iloc[700:]) == {"high"}
    rank_ic = pd.Series(np.where(states["volatility"] == "high", -0.1, 0.1), index=days)
    found = by_state(rank_ic, states, reach=6).set_index("state")
    assert found.loc["high", "rank_ic"] == pytest.approx(-0.1)
    assert found.loc["low", "rank_ic"] == pytest.approx(0.1)
    assert found.loc["2020", "sessions"] == 366


def test_every_shipped_feature_has_words_of_its_own_and_a_strangers_its_name() -> None:
    told = [describe(name) for each in SETS.values() for name in each.names]
    assert len(set(told)) == 158 + 13
    assert all(" " in words and "{" not in words for words in told)
    assert describe("return_21") == "21-session return"
    assert describe("STD5") == "5-session spread of the price"
    for name in ("my_own", "XYZ5", "return", "<b>"):
        assert describe(name) == name


@pytest.mark.parametrize(
    ("percentile", "words"),
    [
        (0.0, "among the lowest tenth"),
        (0.3, "in the lowest third"),
        (0.5, "in the middle third"),
        (1, "among the highest tenth"),
    ],
)
def test_values_are_told_by_where_they_stand(percentile: float, words: str) -> None:
    assert standing(percentile) == words
    assert standing(float("nan")) == "unknown"


def test_reasons_for_and_against() -> None:
    moved = np.array([0.012, 0.0, -0.003, 0.001])
    found = reasons(["return_21", "STD5", "mine", "return_5"], np.array([0.05, 0.5, np.nan, 0.95]), moved)
    assert [reason.feature for reason in found] == ["return_21", "mine", "return_5"]
    top = Standing("AAA", 0.1, 1, 20, found[:2])
    assert top.sentence == (
        "AAA stands 1st of 20 because: 21-session return among the lowest tenth (+0.012); "
        "against it: mine unknown (-0.003)"
    )
    assert Standing("AAA", -0.1, 20, 20, found[:1]).sentence.startswith("AAA stands 20th of 20, for many small reasons")
    assert [ordinal(number) for number in (1, 2, 3, 4, 11, 12, 13, 21, 102)] == (
        ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "102nd"]
    )
    assert percentiles(np.array([[1.0], [3.0], [2.0], [np.nan]]))[:3, 0].tolist() == [0.0, 1.0, 0.5]


def test_a_whole_explanation(shipped: Problem) -> None:
    sample = planted(1)
    trial = trial_of(shipped, "ridge", "regression")
    files = fit(trial, sample, 7)
    days = np.repeat(np.arange(60).astype("datetime64[D]"), 20)
    names = np.tile([f"N{name:02d}" for name in range(20)], 60).astype(object)
    table = Table(sample.x, ["return_1", "b", "c", "d"], sample.previous, days, names)
    told = explain(trial, files, table, [files, fit(trial, planted(2), 7)], seed=1)
    assert told.importance.argmax() == 0
    assert told.stability is not None
    assert told.dependence[0].feature == "return_1"
    assert [one.place for one in told.standings] == [1, 2, 3, 18, 19, 20]
    scores = load("ridge", files)(sample.x[-20:], ALONE[:0])
    assert told.standings[0].instrument == names[-20:][scores.argmax()]
    assert told.standings[0].score == pytest.approx(scores.max())
    assert told.exact
