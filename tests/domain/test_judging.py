"""Gates fail closed; probes catch what cheats; the Sharpe hurdle can only be raised by the trainer."""

import numpy as np
import pandas as pd
import pytest

from tasks.domain import accuracy, probes
from tasks.domain.errors import UsageError
from tasks.domain.gates import Gate, Policy, decide, parse_policy


def gate(**fields: object) -> Gate:
    return Gate.model_validate({"figure": "x", "why": "because"} | fields)


def policy_of(*gates: Gate) -> Policy:
    return Policy(name="p", objective="alpha", gates=list(gates))


@pytest.mark.parametrize(("value", "accepted"), [(1.0, True), (2.0, True), (0.999, False)])
def test_a_gate_holds_at_its_threshold(value: float, accepted: bool) -> None:
    assert decide(policy_of(gate(at_least=1.0)), {"x": value}).accepted is accepted


@pytest.mark.parametrize("figures", [{}, {"x": float("nan")}, {"x": float("inf")}, {"X": 5.0}])
def test_a_gate_without_evidence_fails(figures: dict[str, float]) -> None:
    verdict = decide(policy_of(gate(at_least=1.0)), figures)
    assert not verdict.accepted
    assert verdict.findings[0].outcome == "fail"


def test_not_applicable_needs_evidence_too() -> None:
    conditional = policy_of(gate(at_least=0.0), gate(figure="y", at_least=0.0, when="champion.present"))
    assert decide(conditional, {"x": 1.0, "champion.present": 0.0}).accepted
    assert not decide(conditional, {"x": 1.0}).accepted
    assert not decide(conditional, {"x": 1.0, "champion.present": 1.0}).accepted


def test_nothing_applicable_is_a_refusal() -> None:
    assert not decide(policy_of(gate(at_least=0.0, when="z")), {"z": 0.0}).accepted
    assert not decide(policy_of(gate(at_least=0.0, severity="warn")), {"x": 1.0}).accepted


def test_a_warning_does_not_block() -> None:
    policy = policy_of(gate(at_least=0.0), gate(figure="y", at_least=0.0, severity="warn"))
    assert decide(policy, {"x": 1.0, "y": -1.0}).accepted


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "p", "objective": "alpha", "gates": []},
        {"name": "p", "objective": "alpha"},
        {"name": "p", "objective": "alpha", "gates": [{"figure": "x", "why": "w"}]},
        {"name": "p", "objective": "alpha", "gates": [{"figure": "x", "why": "w", "atleast": 1.0}]},
        {"name": "p", "objective": "alpha", "gates": [{"figure": "x", "why": "w", "at_least": 1.0}] * 2},
        [],
        None,
    ],
)
def test_a_gates_file_that_says_too_little_is_refused(fields: object) -> None:
    with pytest.raises(UsageError, match=r"^gates\.yaml: "):
        parse_policy(fields, "gates.yaml")


def test_every_shipped_gate_says_why(policy: Policy) -> None:
    assert len(policy.gates) >= 12
    assert all(len(gate.why) > 20 for gate in policy.gates)


# --- probes -------------------------------------------------------------------------------------------------

SESSIONS = pd.date_range("2020-01-01", periods=80)


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    index = pd.MultiIndex.from_product([SESSIONS, list("ABCDE")], names=["timestamp", "instrument"])
    return pd.DataFrame({"close": np.exp(rng.normal(0, 0.02, len(index)).cumsum())}, index=index).reset_index()


def wide(bars: pd.DataFrame) -> pd.DataFrame:
    return bars.pivot(index="timestamp", columns="instrument", values="close").sort_index()


def honest(bars: pd.DataFrame) -> pd.DataFrame:
    return wide(bars).pct_change(3)


def one_bar_ahead(bars: pd.DataFrame) -> pd.DataFrame:
    return wide(bars).pct_change().shift(-1)


def centred_window(bars: pd.DataFrame) -> pd.DataFrame:
    return wide(bars).rolling(5, center=True).mean()


def scaled_on_everything(bars: pd.DataFrame) -> pd.DataFrame:
    close = wide(bars)
    return (close - close.mean()) / close.std()


def future_dependent_seed(bars: pd.DataFrame) -> pd.DataFrame:
    close = wide(bars)
    noise = np.random.default_rng(int(close.iloc[-1].sum() * 1e6)).normal(size=close.shape)
    return pd.DataFrame(noise, close.index, close.columns)


@pytest.mark.parametrize("cheat", [one_bar_ahead, centred_window, scaled_on_everything, future_dependent_seed])
def test_cheats_are_caught_by_both_probes_with_a_date(bars: pd.DataFrame, cheat: probes.Model) -> None:
    full, cuts = cheat(bars), probes.cut_dates(SESSIONS, 5)
    for finding in (probes.truncation(cheat, bars, full, cuts), probes.perturbation(cheat, bars, full, cuts, seed=1)):
        assert finding.gap > 1e-9
        assert finding.first is not None
        assert str(finding.first.date()) in finding.words


def test_an_honest_model_passes_all_probes_exactly(bars: pd.DataFrame) -> None:
    full, cuts = honest(bars), probes.cut_dates(SESSIONS, 5)
    assert probes.truncation(honest, bars, full, cuts) == probes.Finding(0.0, None)
    assert probes.perturbation(honest, bars, full, cuts, seed=1) == probes.Finding(0.0, None)
    assert probes.repetition(honest, bars, full) == probes.Finding(0.0, None)


def test_a_random_model_fails_the_repetition(bars: pd.DataFrame) -> None:
    rng = np.random.default_rng(0)

    def moody(table: pd.DataFrame) -> pd.DataFrame:
        close = wide(table)
        return close + rng.normal(size=close.shape)

    assert probes.repetition(moody, bars, moody(bars)).gap > 0.1


def next_to_nothing(bars: pd.DataFrame) -> pd.DataFrame:
    return 1.0 + 1e-11 * one_bar_ahead(bars).rank(axis=1)


def test_an_order_that_comes_from_the_future_is_seen_however_small_the_scores(bars: pd.DataFrame) -> None:
    full, cuts = next_to_nothing(bars).fillna(1.0), probes.cut_dates(SESSIONS, 5)
    for finding in (
        probes.truncation(lambda table: next_to_nothing(table).fillna(1.0), bars, full, cuts),
        probes.perturbation(lambda table: next_to_nothing(table).fillna(1.0), bars, full, cuts, seed=1),
    ):
        assert finding.gap < 1e-9, "too small for the gap"
        assert finding.order > 0.5
        assert "of the ranks of a session" in finding.words


def by_name(bars: pd.DataFrame) -> pd.DataFrame:
    close = wide(bars)
    return close * 0 + [sum(map(ord, name)) for name in close.columns]


def by_date(bars: pd.DataFrame) -> pd.DataFrame:
    close = wide(bars)
    days = pd.DatetimeIndex(close.index)
    return close.pct_change().mul(np.sin(days.dayofyear + days.year), axis=0)


def by_price(bars: pd.DataFrame) -> pd.DataFrame:
    return wide(bars).rolling(3).mean()


def by_returns(bars: pd.DataFrame) -> pd.DataFrame:
    return np.log(wide(bars)).diff(3)


def test_who_looks_scores_up_finds_none_and_who_reads_prices_as_such_is_told(bars: pd.DataFrame) -> None:
    found = {
        model.__name__: (
            probes.renaming(model, bars, model(bars)).gap > 1e-9,
            probes.displacement(model, bars, model(bars)).gap > 1e-9,
            probes.rescaling(model, bars, model(bars)) > 0.01,
        )
        for model in (by_name, by_date, by_price, by_returns)
    }
    assert found == {
        "by_name": (True, False, False),
        "by_date": (False, True, False),
        "by_price": (False, False, True),
        "by_returns": (False, False, False),
    }


def test_no_scores_have_no_share(bars: pd.DataFrame) -> None:
    assert np.isnan(probes.rescaling(lambda table: wide(table) * np.nan, bars, wide(bars) * np.nan))


def test_a_score_that_vanishes_is_an_infinite_gap() -> None:
    one = pd.DataFrame({"A": [1.0, 2.0]}, index=SESSIONS[:2])
    assert probes.compare(one, one.iloc[:1]) == probes.Finding(np.inf, SESSIONS[1], 1.0, "A")


# --- lockbox ------------------------------------------------------------------------------------------------


def test_more_or_wilder_trials_raise_the_hurdle_and_tame_ones_do_not_lower_it() -> None:
    returns = pd.Series(np.random.default_rng(2).normal(0.0008, 0.01, 1000))
    few = accuracy.deflated_sharpe(returns, [0.01, 0.02])["lockbox.deflated_sharpe_ratio"]
    many = accuracy.deflated_sharpe(returns, [0.01, 0.02] * 50)["lockbox.deflated_sharpe_ratio"]
    wild = accuracy.deflated_sharpe(returns, [-0.5, 0.5])["lockbox.deflated_sharpe_ratio"]
    tame = accuracy.deflated_sharpe(returns, [0.02, 0.02])["lockbox.deflated_sharpe_ratio"]
    assert many < few
    assert wild < few
    assert tame == few


def test_a_lockbox_that_goes_far_better_than_promised_is_a_surprise_and_one_that_keeps_the_promise_is_none() -> None:
    rng = np.random.default_rng(5)
    series = pd.Series(rng.normal(0.05, 0.1, 400))
    found = {
        promised: accuracy.surprise(series, promised, 0.005, 5)["lockbox.rank_ic_surprise"]
        for promised in (0.0, 0.05, 0.2)
    }
    assert found[0.0] > 4 > 2 > abs(found[0.05])
    assert found[0.2] < -4
    by_hand = (series.mean() - 0.05) / np.hypot(0.1 / np.sqrt(400), 0.005)
    independent = accuracy.surprise(series, 0.05, 0.005, 0)["lockbox.rank_ic_surprise"]
    assert independent == pytest.approx(by_hand, abs=0.3)


@pytest.mark.parametrize(("sessions", "error"), [(0, 0.01), (1, 0.01), (50, np.nan)])
def test_what_cannot_be_held_against_a_promise_is_no_figure(sessions: int, error: float) -> None:
    series = pd.Series(np.linspace(0.0, 0.1, sessions))
    assert accuracy.finite(accuracy.surprise(series, 0.0, error, 5)) == {}


def test_lockbox_figures_of_a_perfect_and_a_reversed_model() -> None:
    rng = np.random.default_rng(4)
    index = pd.date_range("2020-01-01", periods=120)
    labels = pd.DataFrame(rng.normal(size=(120, 10)), index, list("ABCDEFGHIJ"))
    present = labels.notna()
    perfect = accuracy.accuracy(accuracy.Lockbox(labels, labels, present), 5, 0.2, 7)
    assert perfect["lockbox.rank_ic"] == perfect["lockbox.hit_rate"] == perfect["lockbox.precision"] == 1.0
    assert perfect["lockbox.precision_lift"] == pytest.approx(10 / 3)
    reversed_ = accuracy.accuracy(accuracy.Lockbox(-labels, labels, present), 5, 0.2, 7)
    assert reversed_["lockbox.rank_ic_upper"] == reversed_["lockbox.rank_ic"] == -1.0
    assert reversed_["lockbox.hit_rate"] == reversed_["lockbox.precision"] == 0.0


def test_a_lockbox_too_short_for_blocks_gives_no_interval_and_so_no_pass() -> None:
    labels = pd.DataFrame(np.random.default_rng(1).normal(size=(15, 5)), pd.date_range("2020-01-01", periods=15))
    figures = accuracy.finite(accuracy.accuracy(accuracy.Lockbox(labels, labels, labels.notna()), 5, 0.2, 7))
    assert "lockbox.rank_ic_lower" not in figures


def test_a_challenger_equal_to_the_champion_differs_by_nothing() -> None:
    series = pd.Series(np.random.default_rng(1).normal(size=300), pd.date_range("2020-01-01", periods=300))
    figures = accuracy.against_champion(series, series, 5, 7)
    assert figures["champion.rank_ic_difference_lower"] == figures["champion.rank_ic_difference_upper"] == 0.0
