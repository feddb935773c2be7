"""What a problem states: refused in one line where it can't be meant, judged beside the gates, and its changes told."""

from typing import Any, get_args

import numpy as np
import pytest

from tasks.domain import complexity, history, monotone
from tasks.domain.criteria import Constraints, Criterion
from tasks.domain.errors import UsageError
from tasks.domain.families.catalogue import fit
from tasks.domain.families.sample import Sample
from tasks.domain.families.trial import Trial
from tasks.domain.gates import Policy, decide, parse_policy
from tasks.domain.history import Version, told, warnings
from tasks.domain.hyperparameters import Family, FamilyName
from tasks.domain.inference.catalogue import load
from tasks.domain.problem import Problem, parse_problem

WHY = {"why": "because"}
IC = {"figure": "lockbox.rank_ic", "at_least": 0.02} | WHY


def success(*criteria: dict[str, Any]) -> dict[str, Any]:
    return {"sentence": "it pays", "criteria": list(criteria)}


def changed(problem: Problem, **fields: Any) -> Problem:
    return parse_problem(problem.model_dump(mode="json") | fields, "here")


# --- only a part of it ---------------------------------------------------------------------------------------


def test_a_narrowed_problem_has_fewer_families_and_trials(shipped: Problem) -> None:
    whole = changed(shipped, families=[{"family": "ridge", "alpha": [1.0, 10.0]}, {"family": "lightgbm", "trials": 3}])
    assert whole.narrowed(None, None) == whole
    assert whole.narrowed([], None).sha256 == whole.sha256
    some = whole.narrowed(["lightgbm"], 5)
    assert [(each.family, each.trials) for each in some.families] == [("lightgbm", 3)]
    assert [each.trials for each in whole.narrowed(None, 2).families] == [2, 2]
    with pytest.raises(UsageError, match=r"families: mlp: not in problem \w+; it lists ridge, lightgbm"):
        whole.narrowed(["mlp"], None)


def test_a_form_can_offer_every_family() -> None:
    known = [get_args(each.model_fields["family"].annotation)[0] for each in get_args(get_args(Family)[0])]
    assert list(get_args(FamilyName)) == known == list(complexity.FAMILY_WORDS)


# --- what is refused ----------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a sentence alone": ({"success": "it pays"}, "success: a sentence alone decides nothing"),
    "no criteria": ({"success": success()}, "success.criteria: List should have at least 1 item"),
    "no bound": ({"success": success({"figure": "lockbox.x"} | WHY)}, "lockbox.x: give at_least or at_most"),
    "bounds that cross": ({"success": success(IC | {"at_most": 0.01})}, "at_least must not be above at_most"),
    "no reason": ({"success": success({"figure": "lockbox.x", "at_least": 0.0})}, "success.criteria.0.why: missing"),
    "a figure twice": ({"success": success(IC, IC)}, "['lockbox.rank_ic']: more than one criterion on a figure"),
    "the trainer's figure": ({"success": success(IC | {"figure": "train.rank_ic"})}, "success.criteria.0.figure"),
    "a bound that is no number": ({"success": success(IC | {"at_least": float("nan")})}, "success.criteria.0.at_least"),
    "no reviewer": ({"reviewer": ""}, "reviewer: String should have at least 1 character"),
    "owner reviews": ({"owner": "a-desk", "reviewer": "A-desk "}, "reviewer: is the owner too; expected somebody else"),
    "latency of nothing": ({"constraints": {"score_latency_ms": 0.0}}, "constraints.score_latency_ms"),
    "no turnover": ({"constraints": {"turnover": float("inf")}}, "constraints.turnover"),
    "no instruments": ({"constraints": {"instruments": []}}, "constraints.instruments.names: List should have"),
    "instruments of text": ({"constraints": {"instruments": "AAPL"}}, "constraints.instruments.count"),
    "unknown complexity": ({"constraints": {"complexity": "simple"}}, "constraints.complexity"),
    "too complex": (
        {"constraints": {"complexity": "medium"}},
        "families.1: lightgbm is of high complexity; constraints.complexity allows medium at most",
    ),
    "no sign": ({"constraints": {"monotone": {"momentum": 0}}}, "constraints.monotone.momentum"),
    "unknown constraint": ({"constraints": {"latency": 5.0}}, "constraints.latency: unknown key"),
}


@pytest.mark.parametrize(("fields", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_meant_is_refused_in_one_line(shipped: Problem, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as refusal:
        changed(shipped, **fields)
    assert str(refusal.value).startswith("here: ")
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert str(refusal.value).count(";") <= 1, "one finding"


def test_a_missing_reviewer_is_named(shipped: Problem) -> None:
    fields = shipped.model_dump(mode="json")
    del fields["reviewer"]
    with pytest.raises(UsageError, match=r"^here: reviewer: missing$"):
        parse_problem(fields, "here")


def test_every_family_has_a_tier_and_the_words_follow_it() -> None:
    found = {family: complexity.word(family) for family in ("ridge", "forest", "lightgbm", "sequence")}
    assert found == {"ridge": "low", "forest": "medium", "lightgbm": "high", "sequence": "very high"}
    assert not complexity.exceeds("lightgbm", "high")
    assert complexity.exceeds("mlp", "high")


def test_absent_constraints_ask_for_nothing(shipped: Problem) -> None:
    assert list(changed(shipped, constraints={}).constraints.criteria()) == []


def test_constraints_with_a_figure_become_criteria() -> None:
    listed = Constraints(score_latency_ms=5.0, turnover=20.0, instruments=["A", "B"], monotone={"m": 1})
    bounds = [(criterion.figure, criterion.at_most) for criterion in listed.criteria()]
    assert bounds == [
        ("probe.score_latency_ms", 5.0),
        ("backtest.turnover", 20.0),
        ("lockbox.instruments_outside_list", 0.0),
    ]
    counted = [(c.figure, c.at_most) for c in Constraints(instruments=7).criteria()]
    assert counted == [("lockbox.instruments", 7.0)]


def test_what_ships_loosens_no_gate(shipped: Problem, policy: Policy) -> None:
    gates = {gate.figure: gate for gate in policy.gates}
    for criterion in shipped.criteria():
        if criterion.figure in gates:
            gate = gates[criterion.figure]
            assert (criterion.at_least, criterion.at_most) == (gate.at_least, gate.at_most)


# --- criteria beside gates ----------------------------------------------------------------------------------


def policy_of(**fields: Any) -> Policy:
    return parse_policy({"name": "p", "objective": "alpha", "gates": [{"figure": "lockbox.x"} | fields | WHY]}, "here")


def criterion(**fields: Any) -> Criterion:
    return Criterion.model_validate({"figure": "lockbox.x"} | fields | WHY)


@pytest.mark.parametrize(
    ("gate", "own", "value", "accepted"),
    [
        (1.0, 2.0, 1.5, False),  # the criterion is stricter and binds
        (1.0, 2.0, 2.0, True),
        (2.0, 1.0, 1.5, False),  # the gate is stricter and binds
        (2.0, 1.0, 2.0, True),
    ],
)
def test_the_stricter_of_gate_and_criterion_binds(gate: float, own: float, value: float, accepted: bool) -> None:
    verdict = decide(policy_of(at_least=gate), {"lockbox.x": value}, [criterion(at_least=own)])
    assert verdict.accepted is accepted
    assert [finding.source for finding in verdict.findings] == ["policy", "problem"]


@pytest.mark.parametrize("figures", [{}, {"lockbox.y": float("nan")}])
def test_a_criterion_without_its_figure_fails(figures: dict[str, float]) -> None:
    own = criterion(figure="lockbox.y", at_least=0.0)
    verdict = decide(policy_of(at_least=0.0), {"lockbox.x": 1.0} | figures, [own])
    assert not verdict.accepted
    assert verdict.summary == "refused: 1 of 1 criteria of the problem failed: lockbox.y"


def test_a_criterion_cannot_stand_in_for_the_gates() -> None:
    nothing_applies = policy_of(at_least=0.0, when="champion.present")
    verdict = decide(nothing_applies, {"lockbox.x": 1.0, "champion.present": 0.0}, [criterion(at_least=0.0)])
    assert not verdict.accepted
    assert verdict.summary == "refused: no blocking gate of p applied"


def test_a_criterion_on_the_champion_waits_for_one() -> None:
    own = [criterion(figure="champion.rank_ic_difference", at_least=0.0)]
    held = {"lockbox.x": 1.0, "champion.present": 0.0}
    assert decide(policy_of(at_least=0.0), held, own).accepted
    assert not decide(policy_of(at_least=0.0), held | {"champion.present": 1.0}, own).accepted
    assert not decide(policy_of(at_least=0.0), {"lockbox.x": 1.0}, own).accepted


def test_the_summary_tells_both_and_ends_with_the_history() -> None:
    verdict = decide(policy_of(at_least=0.0), {"lockbox.x": 1.0}, [criterion(at_least=0.0)], "problem version 1")
    assert verdict.summary == (
        "accepted: all 1 blocking gates of p and all 1 criteria of the problem passed; problem version 1"
    )


# --- what was changed ---------------------------------------------------------------------------------------


def layout(problem: Problem) -> dict[str, str]:
    return history.layout(problem.model_dump(mode="json"))


def test_every_field_was_thought_of() -> None:
    """Whoever adds a field to a problem says here, or in BESIDES, whether it judges a model."""
    judging = {"objective", "universe", "success", "constraints", "horizon", "label", "lockbox_fraction", "splits"}
    judging |= {"strategy", "policy"}
    assert judging | set(history.BESIDES) == set(Problem.model_fields)
    assert judging.isdisjoint(history.BESIDES)


def test_a_criterion_is_laid_out_by_its_figure(shipped: Problem) -> None:
    found = layout(changed(shipped, success=success(IC), constraints={"instruments": ["A"], "monotone": {"m": -1}}))
    assert found["success.lockbox.rank_ic"] == "at least 0.02"
    assert found["constraints.instruments"] == '["A"]'
    assert found["constraints.monotone.m"] == "-1"
    assert found["strategy.costs.half_spread_bp"] == "2"
    assert "constraints.turnover" not in found


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"success": success(IC | {"at_least": 0.01})}, "changed from at least 0.02 to at least 0.01"),
        ({"success": success(IC | {"at_least": 0.02 + 1e-15})}, "changed from at least 0.02 to at least 0.02000"),
        ({"success": success(IC | {"at_most": 1.0})}, "from at least 0.02 to at least 0.02 and at most 1"),
        ({"success": success(IC, IC | {"figure": "lockbox.y"})}, "success.lockbox.y was added: at least 0.02"),
        ({"constraints": {}}, "constraints.turnover was removed, it was 60"),
        ({"lockbox_fraction": 0.1}, "lockbox_fraction was changed from 0.2 to 0.1"),
        ({"label": {"kind": "forward_return"}}, "label.kind was changed from session_rank to forward_return"),
        ({"splits": {"folds": 3}}, "splits.folds was changed from 5 to 3"),
        ({"strategy": {"rebalance_sessions": 10}}, "strategy.rebalance_sessions was changed from 5 to 10"),
    ],
)
def test_a_changed_criterion_is_named(shipped: Problem, fields: dict[str, Any], said: str) -> None:
    before = changed(shipped, success=success(IC))
    after = changed(before, **fields)
    assert before.sha256 != after.sha256
    found = history.changes(*(history.judged(layout(problem)) for problem in (before, after)))
    assert any(said in change.words for change in found), found


@pytest.mark.parametrize(
    "fields",
    [
        {"seed": 8},
        {"owner": "another-desk"},
        {"schedule": "0 0 * * *"},
        {"families": [{"family": "lightgbm", "num_leaves": [3]}]},
        {"success": success(IC | {"why": "other words"})},
    ],
)
def test_what_is_no_criterion_changes_the_hash_alone(shipped: Problem, fields: dict[str, Any]) -> None:
    before = changed(shipped, success=success(IC))
    after = changed(before, **fields)
    assert before.sha256 != after.sha256
    assert history.judged(layout(before)) == history.judged(layout(after))
    assert history.changes(layout(before), layout(after))


def test_a_gate_moved_in_the_policy_is_a_changed_criterion() -> None:
    before, after = (policy_of(at_least=bound).model_dump(mode="json") for bound in (1.0, 0.5))
    [change] = history.changes(history.gates(before), history.gates(after))
    assert change.words == "policy.lockbox.x was changed from at least 1 to at least 0.5"


ONE, TWO, THREE = {"success.x": "at least 1"}, {"success.x": "at least 2"}, {"success.x": "at least 3"}


def test_all_changes_up_to_a_version_are_told_and_those_after_trials_warned_of() -> None:
    versions = [Version(1, ONE, 0), Version(2, TWO, 0), Version(3, TWO, 1), Version(4, THREE, 12)]
    late = "since version 3 (after 12 trials had been seen) success.x was changed from at least 2 to at least 3"
    early = "since version 1 (before any trial had been seen) success.x was changed from at least 1 to at least 2"
    assert told(versions, THREE) == f"problem version 4; {early}; {late}"
    assert warnings(versions, THREE) == [late]
    assert told(versions[:1], ONE) == "problem version 1"


def test_gates_that_moved_after_freezing_are_told_too() -> None:
    [said] = warnings([Version(1, ONE, 0)], TWO)
    assert said.startswith("since version 1 was frozen and its trials were seen success.x was changed from at least 1")


# --- monotone -----------------------------------------------------------------------------------------------


def test_a_feature_that_is_none_is_named() -> None:
    with pytest.raises(UsageError, match=r"constraints.monotone: \['b'\] are no features"):
        monotone.in_order({"b": 1}, ["a"])


def test_signs_reach_lightgbm_in_the_order_of_the_columns() -> None:
    given = {"num_leaves": 7}
    assert monotone.constrained("lightgbm", given, {"c": -1}, ["a", "c"]) == given | {"monotone_constraints": [0, -1]}
    assert monotone.constrained("ridge", given, {"c": -1}, ["a", "c"]) == given
    assert monotone.constrained("lightgbm", given, {}, ["a", "c"]) == given


def test_a_slope_of_the_wrong_sign_is_found() -> None:
    x = np.random.default_rng(0).normal(size=(50, 3))
    x[0] = np.nan

    def linear(rows: np.ndarray) -> np.ndarray:
        return rows @ np.array([2.0, -1.0, 0.0])

    columns = ["a", "b", "c"]
    assert monotone.broken(linear, x, {"a": 1, "b": -1, "c": 1}, columns) == []
    assert monotone.broken(linear, x, {"a": -1, "b": 1, "c": -1}, columns) == ["a", "b"]


def test_lightgbm_keeps_its_signs() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(400, 2))
    y = -x[:, 0] + x[:, 1] + 0.1 * rng.normal(size=400)
    nothing = np.full(400, -1)
    signs = {"a": 1, "b": 1}
    free = {"form": "regression", "num_leaves": 7, "num_rounds": 20, "learning_rate": 0.1, "min_data_in_leaf": 20}
    free |= {"lambda_l2": 0.0, "feature_fraction": 1.0}
    for parameters, wrong in ((free, ["a"]), (monotone.constrained("lightgbm", free, signs, ["a", "b"]), [])):
        predictor = load("lightgbm", fit(Trial("lightgbm", parameters), Sample(x, y, None, nothing), 0))
        assert monotone.broken(lambda rows, score=predictor: score(rows, nothing), x, signs, ["a", "b"]) == wrong
