"""Traps: ways in which a test session could get into a fit. Each is set here, and training must not fall into it."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tasks.domain import evaluation
from tasks.domain.errors import UsageError
from tasks.domain.evaluation import Panel, evaluate, panel, scored_folds
from tasks.domain.families.catalogue import FAMILIES
from tasks.domain.families.trial import Trial
from tasks.domain.labels import forward_return
from tasks.domain.problem import Problem
from tasks.domain.simulate.contract import Prices
from tasks.domain.splits import Fold
from tasks.domain.targets import Combinatorial, WalkForward
from tests.support.market import bars as market_bars
from tests.support.market import canonical

# One small configuration of each family.
NETWORK = {"form": "regression", "hidden": 4, "layers": 1, "dropout": 0.0, "epochs": 1, "batch_size": 32}
NETWORK |= {"learning_rate": 0.01, "weight_decay": 0.0}
SMALL: dict[str, dict[str, Any]] = {
    "ridge": {"alpha": 1.0},
    "lasso": {"alpha": 0.0001},
    "logistic": {"C": 1.0},
    "tree": {"form": "regression", "max_depth": 3, "min_samples_leaf": 5},
    "forest": {
        "form": "regression",
        "n_estimators": 3,
        "max_depth": 3,
        "min_samples_leaf": 5,
        "max_features": "sqrt",
        "max_samples": 0.9,
    },
    "svm": {
        "form": "regression",
        "C": 1.0,
        "epsilon": 0.01,
        "gamma_scale": 1.0,
        "n_components": 10,
        "max_samples": 1000,
    },
    "lightgbm": {
        "form": "regression",
        "num_leaves": 4,
        "num_rounds": 3,
        "learning_rate": 0.1,
        "min_data_in_leaf": 5,
        "lambda_l2": 0.0,
        "feature_fraction": 1.0,
    },
    "mlp": NETWORK,
    "sequence": NETWORK | {"steps": 2},
}
DEEP = ("mlp", "sequence")
# Their libraries take seconds to import.
SLOW = ("tree", "forest", *DEEP)
EVERY = [pytest.param(family, marks=pytest.mark.slow) if family in SLOW else family for family in FAMILIES]
SPLITS = [WalkForward(folds=2), Combinatorial(groups=4, test_groups=2)]


@pytest.fixture
def problem(shipped: Problem) -> Problem:
    return shipped.model_copy(update={"horizon": 2})


@pytest.fixture
def known() -> Panel:
    """Sixty sessions of six names with three random features."""
    rng = np.random.default_rng(3)
    close = pd.DataFrame(
        100 * np.exp(np.cumsum(0.01 * rng.normal(size=(60, 6)), axis=0)),
        index=pd.bdate_range("2020-01-01", periods=60),
        columns=list("ABCDEF"),
    )
    labels = forward_return(close, 2)
    keys = pd.DataFrame({"timestamp": close.index.repeat(6), "instrument": np.tile(close.columns, 60)})
    x = rng.normal(size=(360, 3))
    y = labels.to_numpy().ravel()
    return Panel(keys, x, y, list("xyz"), labels, Prices(close), np.maximum(np.arange(360) - 6, -1))


def test_a_label_that_overlaps_the_split_is_refused(
    known: Panel, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Train up to the session before the test: the last labels trained on are returns of test sessions."""

    def careless(known: Panel, problem: Problem) -> Iterator[Fold]:
        yield Fold(known.sessions[:40], known.sessions[40:], np.zeros(20), np.zeros(20))

    monkeypatch.setattr(evaluation, "folds", careless)
    with pytest.raises(UsageError, match="training session 2020-02-21 and test session 2020-02-26 overlap"):
        evaluate(Trial("ridge", SMALL["ridge"]), known, problem)


@pytest.mark.parametrize("family", EVERY)
@pytest.mark.parametrize("splits", SPLITS, ids=lambda splits: splits.kind)
def test_a_fit_sees_its_training_sessions_only(
    family: str, splits: WalkForward | Combinatorial, known: Panel, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Poison every row outside the training sessions: a scaler, an imputer or an early stop that had looked at one
    of them would change the fitted bytes; and poison one training row, which does change them."""
    if family in DEEP:
        pytest.importorskip("torch")
    trial, split_problem = Trial(family, SMALL[family]), problem.model_copy(update={"splits": splits})
    parameters: list[object] = []

    def recorded(*arguments: Any) -> Any:
        parameters.append(real(*arguments))
        return parameters[-1]

    real = evaluation.fit
    monkeypatch.setattr(evaluation, "fit", recorded)
    fold = next(scored_folds(trial, known, split_problem)).fold
    trained = known.keys["timestamp"].isin(fold.train).to_numpy()
    one = np.flatnonzero(trained)[[5]]
    for rows in (~trained, one):
        x, y = known.x.copy(), known.y.copy()
        x[rows], y[rows] = 50.0 - x[rows], 9.0
        next(scored_folds(trial, known._replace(x=x, y=y), split_problem))
    clean, poisoned_outside, poisoned_inside = parameters
    assert poisoned_outside == clean
    assert poisoned_inside != clean


def test_no_row_of_the_past_that_is_left_out_is_walked_back_to(known: Panel) -> None:
    """Leave session 1 out: rows of session 2 have no previous one, the others keep theirs under new numbers."""
    kept = (known.keys["timestamp"] != known.sessions[1]).to_numpy()
    sample = known.sample(kept)
    assert sample.previous[:18].tolist() == [-1] * 12 + list(range(6, 12))
    assert (sample.x == known.x[kept]).all()


@pytest.mark.parametrize("label", ["session_rank", "triple_barrier", "meta_label"])
def test_development_bars_are_all_that_training_sees(shipped: Problem, label: str) -> None:
    """Labels near the lockbox are not known, and every split lies in the sessions that were handed in."""
    table = market_bars(0.003, names=4, sessions=400).rename(columns={"date": "timestamp", "symbol": "instrument"})
    development = canonical(table)
    fields = shipped.model_dump() | {"label": label, "weights": "uniqueness"}
    problem = Problem.model_validate(fields | {"splits": {"kind": "combinatorial", "groups": 4, "test_groups": 2}})
    known = panel(development, problem)
    last = known.keys["timestamp"].isin(known.sessions[-6:]).to_numpy()
    assert np.isnan(known.y[last]).all()
    assert known.weight is not None
    assert (known.weight[last] == 0).all()
    assert known.weight[~np.isnan(known.y)].mean() == pytest.approx(1)
    for fold in evaluation.folds(known, problem):
        assert fold.test.max() <= development["timestamp"].max()
