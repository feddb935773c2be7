"""A verdict in words, with its intervals and evidence; waivers that count, and those that do not."""

from datetime import date
from typing import Any

import pytest

from tasks.configuration import load_policy, load_problem, policy_of, problem_names
from tasks.domain.errors import UsageError
from tasks.domain.figure_words import THEMES, WORDS, theme_of, words_of, written
from tasks.domain.gates import Gate, Policy, Verdict, Waived, Waiver, decide, misfits, parse_policy, word
from tasks.domain.history import bound_in_words
from tasks.domain.problem import Problem
from tasks.domain.verdict_words import Plain, plain_words, reason
from tasks.home import CHECKOUT

FELL = "backtest.max_drawdown"


def gate(figure: str = FELL, **fields: Any) -> Gate:
    return Gate.model_validate({"figure": figure, "at_most": 0.25, "why": "desks are stopped out"} | fields)


def policy(*gates: Gate) -> Policy:
    return Policy(name="p", objective="alpha", gates=list(gates))


def waiver(**fields: Any) -> Waiver:
    told = {"figure": FELL, "until": "2026-06-30", "by": "ada", "reason": "hedged since", "entry": 1}
    return Waiver.model_validate(told | fields)


# --- waivers ------------------------------------------------------------------------------------------------

BORNE = policy(gate(waivable=True), gate("backtest.total_return", at_least=0.0, at_most=None))
FIGURES = {FELL: 0.4, "backtest.total_return": 0.1}


def decided(
    on: str = "2026-06-30", figures: dict[str, float] = FIGURES, gates: Policy = BORNE, **given: Any
) -> Verdict:
    return decide(gates, figures, waivers=Waived([waiver(**given)], date.fromisoformat(on)))


def test_a_waived_failure_stays_a_failure_and_the_verdict_says_so() -> None:
    verdict = decided()
    assert verdict.accepted
    assert verdict.waived == [FELL]
    assert verdict.word == "accepted with 1 waiver"
    assert verdict.findings[0].outcome == "fail"
    assert verdict.findings[0].waived == waiver()
    assert verdict.summary == (
        "accepted with 1 waiver: 1 of 2 blocking gates of p passed, the others failed and are waived: "
        f"{FELL} until 2026-06-30"
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"on": "2026-07-01"},
        {"figure": "backtest.turnover"},
        {"gates": policy(gate(), gate("backtest.total_return", at_least=0.0, at_most=None))},
        {"figures": {"backtest.total_return": 0.1}},
        {"figures": {FELL: float("nan"), "backtest.total_return": 0.1}},
        {"figures": FIGURES | {"backtest.total_return": -0.1}},
    ],
    ids=["ended", "another figure", "cannot be waived", "missing", "not a number", "another gate fails"],
)
def test_what_a_waiver_does_not_reach(changed: dict[str, Any]) -> None:
    verdict = decided(**changed)
    assert not verdict.accepted
    assert verdict.word == "refused"


def test_a_waiver_of_what_passed_is_not_used() -> None:
    verdict = decided(figures={FELL: 0.1, "backtest.total_return": 0.1})
    assert verdict.word == "accepted"
    assert verdict.findings[0].waived is None


def test_the_last_waiver_of_a_figure_counts() -> None:
    given = [waiver(), waiver(until="2026-01-31", entry=2)]
    assert Waived(given, date(2026, 2, 1)).of(FELL) is None
    assert Waived(given, date(2026, 1, 31)).of(FELL) == given[1]


def test_the_problem_s_own_criteria_cannot_be_waived(shipped: Problem) -> None:
    turnover = policy(gate("backtest.turnover", at_most=60.0, waivable=True))
    given = Waived([waiver(figure="backtest.turnover")], date(2026, 1, 1))
    verdict = decide(turnover, {"backtest.turnover": 61.0}, list(shipped.constraints.criteria()), waivers=given)
    assert not verdict.accepted
    assert verdict.waived == ["backtest.turnover"]
    assert word(verdict.accepted, verdict.waived) == "refused"


def test_what_cannot_be_borne_is_not_waivable(policy: Policy) -> None:
    waivable = {each.figure for each in policy.gates if each.waivable}
    assert waivable == {
        "lockbox.score_coverage",
        "champion.rank_ic_difference_lower",
        "backtest.max_drawdown",
        "backtest.turnover",
    }


def test_a_gate_made_waivable_later_is_a_changed_criterion() -> None:
    before, after = (bound_in_words(gate(waivable=may).model_dump(mode="json")) for may in (False, True))
    assert (before, after) == ("at most 0.25", "at most 0.25, which may be waived")


# --- gate sets ----------------------------------------------------------------------------------------------


def test_a_policy_is_for_its_objective_and_called_like_its_file(shipped: Problem, policy: Policy) -> None:
    assert misfits(policy, shipped.policy, shipped.objective) is None
    assert misfits(policy, "alpha-v2", "alpha") == (
        "policy alpha-v2: its file is that of alpha-v1; a file must be called like its policy"
    )
    assert (
        misfits(policy, "alpha-v1", "risk")
        == "policy alpha-v1: its gates are for objective alpha, the problem's is risk"
    )
    assert policy_of(shipped) == policy
    with pytest.raises(UsageError, match="cannot be read"):
        policy_of(shipped.model_copy(update={"policy": "none"}))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"tier": "half"}, r"tier: Input should be 'research', 'pilot' or 'full', found 'half'"),
        ({"objective": "risk"}, "objective: Input should be 'alpha', found 'risk'"),
        (
            {"gates": [{"figure": "sharpe", "at_least": 1.0, "why": "w"}]},
            "sharpe is no figure; names begin with one of",
        ),
        ({"gates": [{"figure": FELL, "at_most": 1.0, "why": "w", "when": "always"}]}, "always is no figure"),
    ],
)
def test_a_gates_file_of_another_kind_is_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_policy(policy(gate()).model_dump(mode="json") | changed, "gates.yaml")


def test_gates_frozen_before_there_were_tiers_are_read() -> None:
    old = {"name": "p", "objective": "alpha", "gates": [{"figure": FELL, "at_most": 0.25, "why": "w"}]}
    read = parse_policy(old, "policy.json")
    assert (read.tier, read.gates[0].waivable) == ("full", False)


# --- findings and words -------------------------------------------------------------------------------------


def test_a_finding_has_its_interval_its_theme_and_its_evidence() -> None:
    figures = {"lockbox.rank_ic": 0.05, "lockbox.rank_ic_lower": 0.01, "lockbox.rank_ic_upper": 0.09, FELL: 0.1}
    on_end, alone = decide(policy(gate("lockbox.rank_ic_lower", at_least=0.0), gate()), figures).findings
    assert (on_end.lower, on_end.upper) == (0.01, 0.09)
    assert (alone.lower, alone.upper) == (None, None)
    assert [each.evidence.file for each in (on_end, alone) if each.evidence] == ["validation.json", "backtest.json"]
    assert on_end.theme != alone.theme


def shipped_figures() -> list[str]:
    policies = [load_policy(path.stem) for path in (CHECKOUT / "expectations" / "models").glob("*.yaml")]
    asked = [each.figure for known in policies for each in known.gates]
    return sorted({*asked, *(each.figure for name in problem_names() for each in load_problem(name).criteria())})


@pytest.mark.parametrize("figure", shipped_figures())
def test_every_figure_that_decides_has_words(figure: str) -> None:
    known = WORDS[figure]
    assert known.question.endswith("?")
    assert known.meaning.endswith(".")
    assert known.failed[0].islower()
    assert known.failed[-1] != "."
    assert theme_of(figure) in THEMES[:-1]
    assert written(figure, 0.5)


def test_a_figure_without_words_is_still_told() -> None:
    known = words_of("scenario.crash_loss")
    assert (known.question, known.failed) == ("crash loss", "crash loss is not as it must be")
    assert theme_of("scenario.crash_loss") == theme_of("scenario.other")
    assert (written("scenario.crash_loss", -0.5), written("scenario.crash_loss", None)) == ("-0.5", "missing")
    assert words_of("odd").question == "odd"


def test_small_values_keep_their_digits() -> None:
    assert [written(FELL, value) for value in (0.0, 1e-6, 0.25)] == ["0.0%", "1e-06", "25.0%"]


WAYS = {
    "costs × 0": {"total_return": 0.12},
    "costs × 1": {"total_return": 0.1},
    "costs × 2": {"total_return": 0.05},
    "costs × 5": {"total_return": -0.1},
    "1 session later": {"total_return": -0.02},
}


def told(shipped: Problem, verdict: Verdict, **backtest: Any) -> Plain:
    validation = {"figures": {"lockbox.sessions": 300.0, "lockbox.instruments": 24.0}}
    return plain_words(shipped, "ridge", verdict.model_dump(mode="json"), validation, backtest)


def test_a_refusal_names_what_failed_once_in_plain_words(shipped: Problem) -> None:
    gates = policy(*(gate(name, at_least=0.0, at_most=None) for name in ("lockbox.rank_ic_lower", "lockbox.hit_rate")))
    said = told(shipped, decide(gates, {"lockbox.rank_ic_lower": -0.1}, list(shipped.success.criteria)))
    assert said.why == "It failed 4 of the 4 tests that decide, on 300 sessions that it had never seen:"
    assert said.reasons == [
        "Its ranking of names cannot be told from guessing.",
        "There is no evidence on the question “Did it earn money after costs?”.",
        "There is no evidence on the question “Is it right more often than a coin?”.",
    ]
    assert said.hurts == []
    assert "24 names" in said.does
    assert "ridge regression" in said.does


def test_many_reasons_are_cut_to_the_worst_of_each_theme(shipped: Problem, policy: Policy) -> None:
    warns = [each.model_copy(update={"severity": "warn"}) for each in policy.gates[:4]]
    said = told(shipped, decide(policy.model_copy(update={"gates": [*policy.gates[4:], *warns]}), {}))
    assert len(said.reasons) == 6
    assert said.reasons[4].endswith("other things failed; the table below has all of them.")
    assert said.reasons[5].endswith(" warnings; the table below has all of them.")


def test_an_acceptance_says_what_was_proved_and_what_was_borne(shipped: Problem) -> None:
    said = told(shipped, decided())
    assert said.why.startswith("It passed 1 of the 2 tests that decide")
    assert "1 failed, and a person bears that for a time:" in said.why
    assert said.reasons == [
        "It fell further from its highest value than a desk can bear. ada bears it until 2026-06-30: hedged since",
        "It earned money after costs.",
    ]
    proved = told(
        shipped, decide(policy(gate("lockbox.rank_ic_lower", at_least=0.0, at_most=None)), {"lockbox.rank_ic_lower": 1})
    )
    assert proved.reasons == ["Its ranking beats chance."]


def test_a_warning_is_told_and_a_gate_that_waits_says_for_what(shipped: Problem) -> None:
    gates = policy(gate(), gate("lockbox.hit_rate", at_least=0.5, at_most=None, severity="warn"))
    verdict = decide(gates, {FELL: 0.1, "lockbox.hit_rate": 0.4})
    assert told(shipped, verdict).reasons[-1].startswith("Warning: it puts names in the right half")
    waits = gate("champion.rank_ic_difference_lower", when="champion.present")
    [finding] = decide(policy(waits), {"champion.present": 0.0}).findings
    assert reason(finding.model_dump()) == "Does not apply: there is no champion yet to compare it with."


def test_what_would_hurt_it_is_told_worst_first(shipped: Problem) -> None:
    years = {"2019": {"total_return": 0.2}, "2020": {"total_return": -0.1}}
    figures = {FELL: 0.1, "backtest.max_drawdown_upper": 0.2}
    hurts = told(shipped, decided(), sensitivity=WAYS, years=years, figures=figures).hurts
    assert hurts == [
        "Higher costs: at 5 times the costs it would have lost 10.0% instead of earning 10.0%.",
        "Acting late: 1 session later it would have lost 2.0% instead of earning 10.0%.",
        "A bad year: in 2020, its worst, it lost 10.0%.",
        "Bad luck: it fell by 10.0% from its highest; with other luck, one history in twenty falls by 20.0% or more.",
    ]


@pytest.mark.parametrize(
    "scenarios",
    [
        {"calm": {"total_return": 0.1}, "crash": {"total_return": -0.3, "max_drawdown": 0.4}},
        {"calm": {"why": "w", "figures": {"total_return": 0.1}}, "crash": {"figures": {"total_return": -0.3}}},
        [{"title": "calm", "return": 0.1}, {"title": "crash", "return": -0.3}, {"title": "odd", "words": "none"}],
    ],
)
def test_the_worst_scenario_comes_first(shipped: Problem, scenarios: Any) -> None:
    verdict = decided().model_dump(mode="json")
    said = plain_words(shipped, None, verdict, {"scenarios": scenarios}, {"figures": {FELL: 0.1}})
    assert said.hurts[0] == "Worst of 2 scenarios, “crash”: it would have lost 30.0%."


@pytest.mark.parametrize(("rank_ic", "is_told"), [(0.01, True), (0.05, False)])
def test_the_weakest_state_is_told_where_skill_ends(shipped: Problem, rank_ic: float, is_told: bool) -> None:
    states = [
        {"kind": "year", "state": "2020", "rank_ic": -0.5, "standard_error": 0.01},
        {"kind": "market", "state": "falling", "rank_ic": rank_ic, "standard_error": 0.02},
        {"kind": "volatility", "state": "high", "rank_ic": 0.2, "standard_error": 0.02},
        {"kind": "size", "state": "small", "rank_ic": None, "standard_error": None},
    ]
    told_of = plain_words(shipped, None, decided().model_dump(mode="json"), {"rank_ic_by_state": states}, {})
    said = "Its weakest time, a falling market: there its ranking cannot be told from guessing."
    assert told_of.hurts == ([said] if is_told else [])


def test_the_deepest_fall_stands_for_scenarios_without_returns(shipped: Problem) -> None:
    table = {"as_it_was": {"figures": {"max_drawdown": 0.1}}, "bad_tick": {"figures": {"max_drawdown": 0.4}}}
    said = plain_words(shipped, None, decided().model_dump(mode="json"), {"scenarios": table}, {})
    assert said.hurts == ["Worst of 2 scenarios, “bad tick”: it would fall by 40.0% from its highest."]


def test_what_it_did_and_what_it_mostly_does_come_first(shipped: Problem) -> None:
    validation: dict[str, Any] = {
        "fault": "it opened a socket",
        "robustness": {"in_words": "It mostly prefers cheap names (rank 0.9); a tree repeats 80%."},
    }
    said = plain_words(shipped, None, decided().model_dump(mode="json"), validation, {"fault": "it opened a socket"})
    assert said.reasons[0] == "It did what no model may: it opened a socket."
    assert said.does.endswith("It mostly prefers cheap names.")


def test_a_loss_is_compared_with_no_costs_at_all(shipped: Problem) -> None:
    lost = WAYS | {"costs × 1": {"total_return": -0.01}}
    hurts = told(shipped, decided(), sensitivity=lost).hurts
    assert hurts == ["Costs: it lost 1.0% after them; with no costs at all it would have earned 12.0%."]
