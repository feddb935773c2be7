"""The verdict's page: its first screen, every gate, what is not there, and words of strangers kept harmless."""

import re
from datetime import date
from typing import Any

import pytest

from tasks.domain import names
from tasks.domain.figure_words import words_of
from tasks.domain.gates import Gate, Policy, Verdict, Waived, Waiver, decide
from tasks.domain.verdict_words import Plain
from tasks.verdict_page import Signed, Told, assemble, wanted

HOSTILE = '<script>alert(1)</script><img src="https://x.example/a.png">'
PNG = b"\x89PNG"
WHY = {"why": "because"}
GATES = Policy(
    name="alpha-v1",
    objective="alpha",
    gates=[
        Gate(figure="lockbox.rank_ic_lower", at_least=0.0, **WHY),
        Gate(figure="backtest.max_drawdown", at_most=0.25, waivable=True, **WHY),
        Gate(figure="lockbox.hit_rate", at_least=0.5, severity="warn", **WHY),
        Gate(figure="probe.truncation_gap", at_most=1e-9, **WHY),
        Gate(figure="champion.rank_ic_difference_lower", at_least=-0.005, when="champion.present", **WHY),
    ],
)
GOOD = {
    "lockbox.rank_ic": 0.05,
    "lockbox.rank_ic_lower": 0.01,
    "lockbox.rank_ic_upper": 0.09,
    "backtest.max_drawdown": 0.1,
    "lockbox.hit_rate": 0.55,
    "probe.truncation_gap": 0.0,
    "champion.present": 0.0,
}
VALIDATION = {
    "figures": {"lockbox.trials": 12.0, "lockbox.looks": 2.0},
    "probes": {"truncation": "scores are the same", "surprise": HOSTILE},
    "scenarios": {"crash": {"total_return": -0.25, "sharpe_ratio": -1.5}, HOSTILE: {"total_return": 0.1}},
    "stability": {"by_year": {"2019": {"rank_ic": 0.04}, "2020": {"rank_ic": -0.01}}},
    "decay": [{"title": "1 session", "rank_ic": 0.05}, {"title": "5 sessions", "rank_ic": 0.02}],
    "rank_ic_by_state": [{"kind": "market", "state": "falling", "rank_ic": 0.01, "standard_error": 0.02}],
    "instruments_outside_list": [],
}
PLAIN = Plain("It ranks 24 names.", "It did so:", ["Its ranking beats chance."], ["Higher costs: it would lose."])


def told(verdict: Verdict, **fields: Any) -> Told:
    who = {"model": "planted/1", "candidate": "c", "policy": "alpha-v1", "tier": "full", "policy_sha256": "f" * 64}
    when = {"problem_version": 1, "changed_criteria": [], "decided_on": "2026-01-31", "supersedes": None}
    decision = verdict.model_dump(mode="json") | who | when
    return Told("Verdict on planted/1", "24 names", decision, PLAIN, **fields)


def whole(verdict: Verdict) -> str:
    products = {"validate/validation.json": "a" * 64, "validate/rank_ic.png": "b" * 64}
    signed = [Signed(names.VALIDATE, names.VALIDATOR, "0123456789abcdef", products, "../../../validate/0123/artifacts")]
    pictures = {(names.BACKTEST, "equity.png"): PNG, (names.VALIDATE, "rank_ic.png"): PNG}
    backtest = {
        "figures": {"backtest.total_return": 0.2, "backtest.sharpe_ratio": 1.2},
        "years": {"2020": {"bars": 5.0}},
    }
    trials = {"trials": [{"family": "ridge"}], "reason": "ridge chosen"}
    return assemble(
        told(verdict, validation=VALIDATION, backtest=backtest, pictures=pictures, signed=signed, trials=trials)
    )


def test_the_first_screen_says_it_in_colour_and_in_words() -> None:
    page = whole(decide(GATES, GOOD))
    first = page[: page.index("</header>")]
    assert '<p class="badge yes"><b>✓ ACCEPTED</b> <span>4 tests passed, 1 did not apply</span>' in first
    for said in ("It ranks 24 names.", "Its ranking beats chance.", "Higher costs: it would lose.", "+20.0%", "+1.20"):
        assert said in first
    assert first.count("<img ") == 1


def test_a_refusal_is_red_and_says_so() -> None:
    page = whole(decide(GATES, GOOD | {"lockbox.rank_ic_lower": -0.01}))
    assert '<p class="badge no"><b>✗ REFUSED</b>' in page
    assert "Why it was refused" in page
    assert '<td class="no">✗ failed</td>' in page


def test_a_waiver_is_neither_green_nor_silent() -> None:
    given = Waiver(figure="backtest.max_drawdown", until="2026-06-30", by=HOSTILE, reason="hedged since", entry=3)
    page = whole(decide(GATES, GOOD | {"backtest.max_drawdown": 0.4}, waivers=Waived([given], date(2026, 1, 31))))
    assert '<p class="badge but"><b>! ACCEPTED WITH 1 WAIVER</b>' in page
    assert '<td class="but">✗ failed, waived</td>' in page
    assert "Waivers: failures that a person signed for" in page
    assert "hedged since" in page
    assert "<script" not in page


def test_every_gate_has_its_line() -> None:
    verdict = decide(GATES, GOOD | {"lockbox.hit_rate": 0.4})
    page = whole(verdict)
    for finding in verdict.findings:
        assert words_of(finding.figure).question.replace("'", "&#x27;") in page
        assert finding.figure in page
    assert "from +0.0100 to +0.0900" in page
    assert "at least 50%" in page
    assert "next to 0 (1e-09)" in page
    assert "! warning" in page
    assert "there is no champion yet" in page
    assert '<a href="../../../validate/0123/artifacts/validation.json">validation.json</a><br>run 01234567' in page


def test_tables_it_does_not_know_are_shown_as_they_are() -> None:
    page = whole(decide(GATES, GOOD))
    for said in (
        "Stability",
        "By year",
        "Decay",
        "5 sessions",
        "falling market",
        "-25.00%",
        "What if: scenarios",
        "12 were ever tried",
    ):
        assert said in page
    assert "not on the problem" not in page, "what is empty is left out"


def test_it_loads_and_runs_nothing_and_keeps_strangers_words_harmless() -> None:
    page = whole(decide(GATES, GOOD))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r'src="(?!data:image/png;base64,)', page)
    assert not re.search(r'href="(?!\.\./)', page)


def test_what_is_missing_is_said() -> None:
    page = assemble(told(decide(GATES, {})))
    assert page.count("Nothing is known of this.") == 4
    assert "There is no picture of what it earned." in page
    assert "signed by nobody" in page
    assert page.count("missing") >= 4


@pytest.mark.parametrize(
    ("stage", "pictures"),
    [
        (names.VALIDATE, ["rank_ic.png", "sensitivity.png"]),
        (names.BACKTEST, ["sensitivity.png"]),
        (names.COLLECT, []),
    ],
)
def test_pictures_are_those_that_were_signed(stage: str, pictures: list[str]) -> None:
    products = {f"{stage}/{name}": "a" for name in ("rank_ic.png", "sensitivity.png", "scores.json")}
    assert wanted(Signed(stage, "", "", products, "")) == pictures
