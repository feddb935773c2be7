"""Published and planted figures of the tests against choosing the best of many."""

import numpy as np
import pandas as pd
import pytest

from tasks.domain import accuracy
from tasks.domain.overfitting import effective_trials, probability_of_overfitting, superior_predictive_ability

SESSIONS, TRIALS = 1000, 200


def noise(seed: int, trials: int = TRIALS, planted: float = 0.0) -> np.ndarray:
    """Returns of 1 % a session; the first trial earns `planted` of that on average."""
    returns = np.random.default_rng(seed).normal(0, 0.01, (SESSIONS, trials))
    returns[:, 0] += planted * 0.01
    return returns


def test_sixteen_blocks_are_halved_in_12870_ways() -> None:
    assert len(probability_of_overfitting(noise(1, 5)).logits) == 12_870


@pytest.mark.slow
def test_the_best_of_pure_noise_is_below_the_median_about_half_of_the_time() -> None:
    """Bailey et al. (2015), T = 1000, N = 200, S = 16: 0.45 to 0.48 on average, ± 0.14 from one draw to the next."""
    found = [probability_of_overfitting(noise(seed)).probability for seed in range(12)]
    assert np.mean(found) == pytest.approx(0.465, abs=3 * 0.14 / np.sqrt(12))


def test_a_planted_strategy_is_best_in_both_halves() -> None:
    assert probability_of_overfitting(noise(3, planted=0.2)).probability < 0.01


def test_two_trials_by_hand() -> None:
    """Four sessions in two blocks: the first trial wins in the first block and loses in the second."""
    returns = np.array([[0.03, 0.01], [0.01, -0.01], [-0.03, 0.01], [-0.01, -0.005]])
    found = probability_of_overfitting(returns, blocks=2)
    # best of either half is worst in the other: rank 1 of 2, so ln(1/3 / 2/3)
    assert found.probability == 1.0
    assert found.logits == pytest.approx([np.log(0.5)] * 2)


def test_trials_that_are_the_same_are_at_the_median() -> None:
    returns = np.repeat(noise(1, 1), 5, axis=1)
    assert probability_of_overfitting(returns).logits == pytest.approx(np.zeros(12_870))


@pytest.mark.parametrize(("shape", "blocks"), [((1000, 1), 16), ((31, 5), 16), ((1000, 5), 5)])
def test_too_little_is_refused(shape: tuple[int, int], blocks: int) -> None:
    with pytest.raises(ValueError, match="expected at least"):
        probability_of_overfitting(np.ones(shape), blocks)


@pytest.mark.slow
def test_noise_is_not_superior_and_skill_is() -> None:
    cash = np.zeros(SESSIONS)
    chance = np.mean([superior_predictive_ability(noise(seed, 20), cash, 10, seed) for seed in range(10)])
    assert 0.2 < chance < 0.8
    assert superior_predictive_ability(noise(1, 20, planted=0.2), cash, 10, 1) < 0.01


def test_superiority_is_asked_of_what_differs_and_repeats() -> None:
    cash = np.zeros(SESSIONS)
    assert np.isnan(superior_predictive_ability(np.zeros((SESSIONS, 3)), cash, 10, 1))
    one, two = (superior_predictive_ability(noise(2, 5), cash, 10, 4) for _ in range(2))
    assert one == two


def test_copies_count_once_and_groups_as_many_as_there_are() -> None:
    rng = np.random.default_rng(5)
    common = rng.normal(0, 0.01, (SESSIONS, 4))
    groups = np.repeat(common, 6, axis=1) + rng.normal(0, 0.002, (SESSIONS, 24))
    assert effective_trials(groups) == 4
    assert effective_trials(np.repeat(common[:, :1], 7, axis=1)) == 1
    assert effective_trials(np.column_stack([groups, np.zeros(SESSIONS)])) == 5
    assert effective_trials(common[:, :1]) == 1
    assert effective_trials(np.zeros((SESSIONS, 3))) == 1


def test_figures_of_a_search_and_what_a_single_trial_cannot_tell() -> None:
    searched = pd.DataFrame(noise(1, 5, planted=0.3))
    found = accuracy.overfitting(searched, 5, 7)
    assert found["trials.complete"] == 5
    assert found["trials.probability_of_overfitting"] < 0.01
    assert found["trials.superiority_p_value"] < 0.01
    alone = accuracy.overfitting(searched[[0]], 5, 7)
    assert alone["trials.effective"] == 1
    assert np.isnan([alone["trials.probability_of_overfitting"], alone["trials.superiority_p_value"]]).all()
