"""Every family of models: it learns what there is to learn, to the same bytes each time, and scores each row alone."""

import hashlib
import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from tasks.domain.complexity import word
from tasks.domain.errors import UsageError
from tasks.domain.families.catalogue import FAMILIES, fit, simplest_first
from tasks.domain.families.sample import Sample
from tasks.domain.families.scaling import learn
from tasks.domain.families.trial import Trial, grid
from tasks.domain.hyperparameters import Range, space
from tasks.domain.inference.catalogue import LOADERS, load
from tasks.domain.inference.deep import gru, walk_back
from tasks.domain.problem import Problem, parse_problem

SESSIONS, NAMES = 60, 20
DEEP = ("mlp", "sequence")
# Small where a default is made for hundreds of thousands of rows.
SMALL: dict[str, dict[str, Any]] = {
    "tree": {"min_samples_leaf": 20},
    "forest": {"min_samples_leaf": 5, "n_estimators": 20},
    "svm": {"n_components": 30, "C": 1.0},
    "lightgbm": {"min_data_in_leaf": 20},
    "mlp": {"batch_size": 64, "dropout": 0.0},
    "sequence": {"batch_size": 64, "steps": 3, "dropout": 0.0, "epochs": 5},
}
FORMS = [(family, form) for family, kind in FAMILIES.items() for form in kind.forms]


def planted(seed: int, skill: float = 1.0) -> Sample:
    """Sessions × names rows of four features, of which the first tells of the target; some values are missing."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(SESSIONS * NAMES, 4)).astype("float32")
    y = skill * x[:, 0] + rng.normal(size=len(x))
    x[rng.random(x.shape) < 0.02] = np.nan
    y[rng.random(len(y)) < 0.02] = np.nan
    previous = np.arange(len(x)) - NAMES
    return Sample(x, y, None, np.maximum(previous, -1))


def given(shipped: Problem, *families: dict[str, Any]) -> Problem:
    return parse_problem(shipped.model_dump(mode="json") | {"families": list(families), "constraints": {}}, "x.yaml")


def trial_of(shipped: Problem, family: str, form: str) -> Trial:
    """The default configuration of a family, only smaller."""
    wanted = {"form": form} if len(FAMILIES[family].forms) > 1 else {}
    [trial] = grid(given(shipped, {"family": family} | SMALL.get(family, {}) | wanted).families[0])
    return trial


def needs(family: str) -> None:
    if family in DEEP:
        pytest.importorskip("torch")


def skill(scores: np.ndarray, y: np.ndarray) -> float:
    both = ~np.isnan(scores) & ~np.isnan(y)
    return float(np.corrcoef(scores[both], y[both])[0, 1])


def check_learning(trial: Trial) -> dict[str, str]:
    """All that is asked of one family in one form; returns the digests of its files."""
    sample, fresh = planted(1), planted(2)
    files = fit(trial, sample, seed=7)
    predictor = load(trial.family, files)
    scores = predictor(fresh.x, fresh.previous)
    assert skill(scores, fresh.y) > 0.4
    assert fit(trial, sample, seed=7, num_threads=2) == files
    assert np.isnan(scores).sum() == (predictor.steps - 1) * NAMES
    # The newest session on its own, with no more history than it needs, scores as it did among all others.
    tail = slice(-predictor.steps * NAMES, None)
    alone = predictor(fresh.x[tail], np.maximum(fresh.previous[tail] - (len(fresh.x) + tail.start), -1))
    np.testing.assert_allclose(alone[-NAMES:], scores[-NAMES:], rtol=0, atol=1e-12)
    if trial.parameters.get("form", FAMILIES[trial.family].forms[0]) == "classification" and trial.family != "svm":
        assert np.nanmin(scores) >= 0
        assert np.nanmax(scores) <= 1
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


@pytest.mark.parametrize(("family", "form"), [pair for pair in FORMS if pair[0] in ("ridge", "logistic", "lightgbm")])
def test_quick_families_learn_repeat_themselves_and_score_rows_alone(family: str, form: str, shipped: Problem) -> None:
    check_learning(trial_of(shipped, family, form))


@pytest.mark.slow
@pytest.mark.parametrize(("family", "form"), FORMS)
def test_every_family_learns_repeats_itself_and_scores_rows_alone(family: str, form: str, shipped: Problem) -> None:
    needs(family)
    check_learning(trial_of(shipped, family, form))


@pytest.mark.slow
def test_another_process_fits_the_same_bytes(shipped: Problem) -> None:
    pytest.importorskip("torch")
    found = [trial_of(shipped, *pair) for pair in FORMS]
    code = (
        "import json, sys; from tests.domain import test_families as t; from tasks.domain.families.trial import Trial\n"
        "print(json.dumps([t.digests(Trial(*each)) for each in json.load(sys.stdin)]))"
    )
    command = [sys.executable, "-W", "ignore", "-c", code]
    said = subprocess.run(command, input=json.dumps(found), capture_output=True, text=True, check=True)
    assert json.loads(said.stdout) == [digests(trial) for trial in found]


def digests(trial: Trial) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in fit(trial, planted(1), seed=7).items()}


def test_linear_scores_are_those_of_the_learner_on_standardised_features(shipped: Problem) -> None:
    from sklearn.linear_model import Lasso, LogisticRegression, Ridge
    from sklearn.preprocessing import StandardScaler

    sample = planted(1)
    x, y = np.nan_to_num(sample.x[sample.known].astype("float64")), sample.y[sample.known]
    z = StandardScaler().fit_transform(x)
    assert np.abs(z).max() < 5
    whole = Sample(x, y, np.linspace(0.5, 1.5, len(y)), np.full(len(y), -1))
    learners = {"ridge": Ridge(1000.0), "lasso": Lasso(0.001), "logistic": LogisticRegression(C=0.001, tol=1e-10)}
    for family, learner in learners.items():
        scores = load(family, fit(trial_of(shipped, family, FAMILIES[family].forms[0]), whole, 7))(x, whole.previous)
        learner.fit(z, y > 0 if family == "logistic" else y, sample_weight=whole.weight)
        own = learner.predict_proba(z)[:, 1] if family == "logistic" else learner.predict(z)
        np.testing.assert_allclose(scores, own, rtol=0, atol=1e-6 if family == "logistic" else 1e-12)


@pytest.mark.slow
def test_stored_machines_and_trees_score_as_their_learners_do(shipped: Problem) -> None:
    """The learners are fitted here once more with the settings that the trial names."""
    import lightgbm
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.tree import DecisionTreeClassifier

    sample = planted(1).fitted()
    x, y = np.nan_to_num(sample.x), sample.y
    whole = sample._replace(x=x)
    booster = lightgbm.train(
        trial_of(shipped, "lightgbm", "regression").parameters
        | {"seed": 7, "verbosity": -1, "deterministic": True, "force_row_wise": True},
        lightgbm.Dataset(x, y),
        num_boost_round=80,
    )
    forest = RandomForestRegressor(
        20, max_depth=8, min_samples_leaf=5, max_features="sqrt", max_samples=0.1, random_state=7
    )
    tree = DecisionTreeClassifier(max_depth=4, min_samples_leaf=20, random_state=7)
    own = {
        ("tree", "classification"): tree.fit(x, y > 0).predict_proba(x)[:, 1],
        ("forest", "regression"): forest.fit(x, y).predict(x),
        ("lightgbm", "regression"): booster.predict(x),
    }
    for (family, form), expected in own.items():
        scores = load(family, fit(trial_of(shipped, family, form), whole, 7))(x, whole.previous)
        np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-12)


def test_a_kernel_machine_is_its_landmarks_weighed(shipped: Problem) -> None:
    """The same map and machine of scikit-learn, one after the other; the solver stops at about 1e-7."""
    from sklearn.kernel_approximation import Nystroem
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVR

    x, y = np.nan_to_num(planted(1).x).astype("float64"), planted(1, skill=0).y
    whole = Sample(x, y, None, np.full(len(y), -1)).fitted()
    z = StandardScaler().fit_transform(whole.x)
    kernel = Nystroem(gamma=1 / 4, n_components=30, random_state=7).fit(z)
    machine = LinearSVR(C=1.0, epsilon=0.1, loss="squared_epsilon_insensitive", dual=False)
    scaled = StandardScaler().fit(whole.y[:, None])
    machine.fit(kernel.transform(z), scaled.transform(whole.y[:, None])[:, 0])
    own = scaled.inverse_transform(machine.predict(kernel.transform(z))[:, None])[:, 0]
    files = fit(trial_of(shipped, "svm", "regression"), whole, 7)
    np.testing.assert_allclose(load("svm", files)(whole.x, whole.previous), own, rtol=0, atol=1e-6)
    by_hand = {"mean": [0.0], "spread": [1.0], "landmarks": [[1.0], [3.0]], "weights": [2.0, -1.0]}
    content = json.dumps(by_hand | {"intercept": 0.5, "gamma": 0.25}).encode()
    expected = 2 * np.exp(-0.25) - np.exp(-0.25) + 0.5
    assert load("svm", {"parameters.json": content})(np.array([[2.0]]), np.array([-1])) == pytest.approx([expected])


@pytest.mark.slow
def test_numpy_and_pytorch_agree_on_a_recurrent_network() -> None:
    torch = pytest.importorskip("torch")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        layer = torch.nn.GRU(5, 8, 2, batch_first=True, dtype=torch.float64)
        windows = torch.randn(50, 4, 5, dtype=torch.float64)
    tensors = {f"gru.{name}": tensor.numpy() for name, tensor in layer.state_dict().items()}
    weight, bias = tensors["gru.weight_ih_l0"], tensors["gru.bias_ih_l0"]
    own = gru([step @ weight.T + bias for step in windows.numpy().swapaxes(0, 1)], tensors, layers=2)
    np.testing.assert_allclose(own, layer(windows)[0][:, -1].detach().numpy(), rtol=0, atol=1e-12)


def test_walking_back_along_an_instrument() -> None:
    """Two instruments in turn, the second without a bar on the second day."""
    previous = np.array([-1, -1, 0, 2, 1])
    assert walk_back(previous, 3).tolist() == [[-1, -1, 0], [-1, -1, 1], [-1, 0, 2], [0, 2, 3], [-1, 1, 4]]


def test_scaling_by_hand() -> None:
    """Mean 2 and deviation 1 of 1, 3 and a missing value; a constant column and an empty one are only centred."""
    x = np.array([[1.0, 7.0, np.nan], [3.0, 7.0, np.nan], [np.nan, 7.0, np.inf]])
    scale = learn(x)
    assert scale.mean.tolist() == [2.0, 7.0, 0.0]
    assert scale.spread.tolist() == [1.0, 1.0, 1.0]
    assert scale(np.array([[4.0, 7.0, np.inf], [-99.0, np.nan, 1.0]])).tolist() == [[2.0, 0.0, 5.0], [-5.0, 0.0, 1.0]]


def test_a_row_of_no_weight_is_no_row(shipped: Problem) -> None:
    sample = planted(1).fitted()
    x, previous = planted(2).x, planted(2).previous
    half = np.r_[np.ones(600), np.zeros(len(sample.y) - 600)]
    only = Sample(sample.x[:600], sample.y[:600], None, np.full(600, -1))
    boosted = Trial("lightgbm", trial_of(shipped, "lightgbm", "regression").parameters)
    assert (
        skill(
            load("lightgbm", fit(boosted, sample._replace(weight=half), 7))(x, previous),
            load("lightgbm", fit(boosted, only, 7))(x, previous),
        )
        > 0.9
    )


def test_monotone_constraints_hold(shipped: Problem) -> None:
    free = trial_of(shipped, "lightgbm", "regression")
    trial = free._replace(parameters=free.parameters | {"monotone_constraints": [-1, 0, 0, 0]})
    line = np.zeros((50, 4))
    line[:, 0] = np.linspace(-3, 3, 50)
    scores = load("lightgbm", fit(trial, planted(1), 7))(line, np.full(50, -1))
    assert (np.diff(scores) <= 0).all()


def test_both_sides_know_the_same_families_and_tiers_rise() -> None:
    assert FAMILIES.keys() == LOADERS.keys()
    assert [word(family) for family in FAMILIES] == [
        *("low", "low", "low", "medium", "medium", "high", "high", "very high", "very high")
    ]


def test_trials_go_from_simple_to_complex_and_in_written_order(shipped: Problem) -> None:
    families = [{"family": "tree", "max_depth": [2, 3], "min_samples_leaf": [9, 5]}, {"family": "ridge"}]
    ordered = simplest_first(given(shipped, *families).families)
    found = [trial for family in ordered for trial in grid(family)]
    assert [trial.family for trial in found] == ["ridge", "tree", "tree", "tree", "tree"]
    assert [tuple(trial.parameters.values())[1:] for trial in found[1:]] == [(2, 9), (2, 5), (3, 9), (3, 5)]


def test_a_trial_has_one_key_for_ever() -> None:
    trial = Trial("ridge", {"alpha": 1.0})
    assert trial.key("p", "d") == Trial("ridge", {"alpha": 1.0}).key("p", "d")
    assert trial.key("p", "d") != trial.key("p", "e")


def test_the_space_of_a_family(shipped: Problem) -> None:
    family = {"family": "svm", "trials": 5, "C": {"low": 0.01, "high": 1.0, "log": True}, "epsilon": [0.1, 0.2]}
    [svm] = given(shipped, family).families
    found = space(svm)
    assert found["C"] == Range(0.01, 1.0, log=True)
    assert found["epsilon"] == (0.1, 0.2)
    assert found["form"] == "regression"
    with pytest.raises(UsageError, match="svm: C cannot be listed"):
        grid(svm)


@pytest.mark.parametrize(
    ("family", "said"),
    [
        ({"family": "ridge", "alphas": [1.0]}, "families.0.ridge.alphas: unknown key"),
        ({"family": "ridge", "alpha": [1.0, -1.0]}, "families.0.ridge.alpha.choices.1: Input should be greater than 0"),
        ({"family": "ridge", "alpha": []}, "families.0.ridge.alpha.choices: List should have at least 1 item"),
        ({"family": "ridge", "alpha": {"low": 1, "high": 2}}, "alpha may take any value of a range, so say how many"),
        ({"family": "ridge", "alpha": {"low": 2, "high": 1}, "trials": 3}, "alpha.range: low must be below high"),
        ({"family": "lasso", "alpha": {"low": 0.1, "high": 1, "lgo": True}, "trials": 3}, "range.lgo: unknown key"),
        ({"family": "svm", "epsilon": {"low": 0, "high": 1, "log": True}, "trials": 3}, "logarithms starts above 0"),
        ({"family": "tree", "max_depth": {"low": 1.5, "high": 4}, "trials": 3}, "max_depth.range.low: Input should be"),
        ({"family": "tree", "form": "ranking"}, "form.value: Input should be 'regression' or 'classification'"),
        ({"family": "ridge", "trials": 0}, "families.0.ridge.trials: Input should be greater than or equal to 1"),
    ],
)
def test_a_wrong_hyperparameter_is_told_in_one_line(family: dict[str, Any], said: str, shipped: Problem) -> None:
    with pytest.raises(UsageError) as fault:
        given(shipped, family)
    assert said in str(fault.value)
    assert "\n" not in str(fault.value)


@pytest.mark.slow
def test_a_file_that_asks_for_a_strange_type_is_not_loaded() -> None:
    import skops.io

    content = skops.io.dumps(subprocess.Popen)
    with pytest.raises(ValueError, match=r"subprocess\.Popen"):
        load("tree", {"estimator.skops": content})


def test_deep_families_without_pytorch_say_what_to_install(shipped: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UsageError, match="optional extra `deep`"):
        fit(trial_of(shipped, "mlp", "regression"), planted(1), 7)


@pytest.mark.slow
def test_a_sequence_needs_history(shipped: Problem) -> None:
    pytest.importorskip("torch")
    sample = planted(1)
    alone = sample._replace(previous=np.full(len(sample.y), -1))
    with pytest.raises(UsageError, match="no row has 3 rows of history"):
        fit(trial_of(shipped, "sequence", "regression"), alone, 7)
