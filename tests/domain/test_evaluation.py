"""Out-of-fold figures of both kinds of splits, with a family that says what it's told to."""

import numpy as np
import pandas as pd
import pytest

from tasks.domain import evaluation
from tasks.domain.errors import UsageError
from tasks.domain.evaluation import (
    Estimate,
    Panel,
    estimate,
    evaluate,
    forecast_rows,
    path_scores,
    scored_folds,
    with_history,
)
from tasks.domain.families.sample import Sample
from tasks.domain.families.trial import Trial
from tasks.domain.inference.predictor import Predictor
from tasks.domain.labels import forward_return
from tasks.domain.problem import Problem
from tasks.domain.simulate.contract import Prices
from tasks.domain.targets import Combinatorial, WalkForward

SESSIONS, NAMES = 48, 5
TRIAL = Trial("ridge", {"alpha": 1.0})


@pytest.fixture
def known() -> Panel:
    """One feature, the forward return itself (0 where unknown)."""
    rng = np.random.default_rng(3)
    sessions = pd.bdate_range("2020-01-01", periods=SESSIONS)
    path = np.cumsum(0.01 * rng.normal(size=(SESSIONS, NAMES)), axis=0)
    close = pd.DataFrame(100 * np.exp(path), index=sessions, columns=list("ABCDE"))
    labels = forward_return(close, 2)
    keys = pd.DataFrame({"timestamp": sessions.repeat(NAMES), "instrument": np.tile(close.columns, SESSIONS)})
    y = labels.to_numpy().ravel()
    before = np.maximum(np.arange(len(y)) - NAMES, -1)
    return Panel(keys, np.nan_to_num(y)[:, np.newaxis], y, ["x"], labels, Prices(close), before)


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size of each fit's sample; what is fitted says its number (from 1) times the feature."""
    sizes: list[int] = []

    def fit(trial: Trial, sample: Sample, seed: int) -> dict[str, bytes]:
        sizes.append(len(sample.y))
        return {"number": str(len(sizes)).encode()}

    def load(family: str, files: dict[str, bytes]) -> Predictor:
        return Predictor(lambda x, previous: int(files["number"]) * x[:, 0])

    monkeypatch.setattr(evaluation, "fit", fit)
    monkeypatch.setattr(evaluation, "load", load)
    return sizes


def with_splits(shipped: Problem, splits: WalkForward | Combinatorial) -> Problem:
    return shipped.model_copy(update={"horizon": 2, "splits": splits})


def test_combinatorial_splits_give_paths_and_an_error_over_groups(
    known: Panel, shipped: Problem, fits: list[int]
) -> None:
    """Four groups of twelve, two tested: six fits, three paths. Perfect forecasts have a rank IC of 1 everywhere."""
    problem = with_splits(shipped, Combinatorial(groups=4, test_groups=2))
    scored = list(scored_folds(TRIAL, known, problem))
    assert len(fits) == 6
    found = estimate(scored, known, problem)
    assert found.path_rank_ic == pytest.approx([1] * 3)
    assert found.group_rank_ic == pytest.approx([1] * 4)
    assert (found.rank_ic, found.standard_error) == pytest.approx((1, 0))
    assert found.session_sharpe_ratio > 0


def test_every_path_is_a_whole_history_of_scores(known: Panel, shipped: Problem, fits: list[int]) -> None:
    """Fits 1 to 6 test groups 01 02 03 12 13 23; the first path takes each group from the first fit that tests it."""
    scored = list(scored_folds(TRIAL, known, with_splits(shipped, Combinatorial(groups=4, test_groups=2))))
    first, second, third = path_scores(scored, known)
    feature = known.labels.fillna(0.0)
    for scores, by_fit in ((first, [1, 1, 2, 3]), (second, [2, 4, 4, 5]), (third, [3, 5, 6, 6])):
        expected = feature.mul(np.repeat(by_fit, 12), axis=0)
        pd.testing.assert_frame_equal(scores, expected, check_names=False, check_freq=False)
    forecasts = forecast_rows(scored, known)
    assert len(forecasts) == 3 * SESSIONS * NAMES
    assert forecasts["row"].tolist() == list(range(SESSIONS * NAMES)) * 3


def test_walk_forward_gives_one_figure_a_fold(known: Panel, shipped: Problem, fits: list[int]) -> None:
    found = evaluate(TRIAL, known, with_splits(shipped, WalkForward(folds=3)))
    assert found.path_rank_ic == found.group_rank_ic == pytest.approx([1] * 3)
    assert fits == [(12 - 3) * NAMES, (24 - 3) * NAMES, (36 - 3) * NAMES]


def test_the_error_is_that_of_group_means() -> None:
    """Groups 0.0, 0.1, 0.2: deviation 0.1 over √3, however alike the paths are."""
    found = Estimate([0.1] * 5, [0.0, 0.1, 0.2], 0.0)
    assert found.rank_ic == pytest.approx(0.1)
    assert found.standard_error == pytest.approx(0.1 / 3**0.5)


def test_nothing_is_fitted_before_it_is_asked_for(known: Panel, shipped: Problem, fits: list[int]) -> None:
    search = scored_folds(TRIAL, known, with_splits(shipped, WalkForward(folds=3)))
    assert not fits
    score = next(search)
    assert len(fits) == 1
    assert score.rank_ic.mean() == pytest.approx(1)


def test_a_meta_labelled_score_backs_its_side(known: Panel, shipped: Problem, fits: list[int]) -> None:
    """The rule is always short: the more it is to be followed, the lower the score, so a right one ranks wrongly."""
    short = known._replace(side=np.full(len(known.y), -1.0))
    scored = next(scored_folds(TRIAL, short, with_splits(shipped, WalkForward(folds=3))))
    assert scored.rank_ic.to_numpy() == pytest.approx(-1)
    assert (scored.predicted == known.x[scored.rows, 0]).all()


def test_a_label_known_nowhere_is_refused_in_words(known: Panel, shipped: Problem) -> None:
    unknown = known._replace(y=np.full(len(known.y), np.nan))
    with pytest.raises(UsageError, match="no label is known from 2020-01-01 to 2020-01-13"):
        evaluate(TRIAL, unknown, with_splits(shipped, WalkForward(folds=3)))


def test_weights_have_mean_one_in_each_sample(known: Panel) -> None:
    weights = np.where(np.isnan(known.y), 0.0, np.arange(len(known.y)) + 1.0)
    sample = known._replace(weight=weights).sample((known.keys["timestamp"] > known.sessions[30]).to_numpy())
    assert sample.weight is not None
    assert sample.weight[~np.isnan(sample.y)].mean() == pytest.approx(1)
    assert known.sample(np.ones(len(known.y), dtype=bool)).weight is None


def test_history_is_the_rows_before_and_no_others(known: Panel) -> None:
    asked = np.zeros(len(known.y), dtype=bool)
    asked[[3, 22]] = True
    assert np.flatnonzero(with_history(asked, known.previous, 1)).tolist() == [3, 22]
    assert np.flatnonzero(with_history(asked, known.previous, 3)).tolist() == [3, 12, 17, 22]


def test_a_sequence_gets_its_history_and_only_test_rows_are_judged(
    known: Panel, shipped: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A predictor that says the feature of two bars before: known for every test row, as its history is handed in."""

    def two_before(x: np.ndarray, previous: np.ndarray) -> np.ndarray:
        back = np.where(previous >= 0, previous[previous], -1)
        return np.where(back >= 0, x[back, 0], np.nan)

    monkeypatch.setattr(evaluation, "load", lambda family, files: Predictor(two_before, 3))
    score = next(scored_folds(TRIAL, known, with_splits(shipped, WalkForward(folds=3))))
    assert score.rows.tolist() == list(range(12 * NAMES, 24 * NAMES))
    assert (score.predicted == known.x[score.rows - 2 * NAMES, 0]).all()
