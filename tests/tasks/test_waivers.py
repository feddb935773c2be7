"""Waivers in their log: whose they are, what a decision knew of them, and decisions from before there were any."""

from datetime import date
from typing import Any, NamedTuple, cast

import pytest

from tasks import journal, keys, proof, register, waivers, waiving
from tasks.candidates import Candidate
from tasks.domain import names
from tasks.domain.errors import UsageError, VerificationFailed
from tasks.domain.gates import Gate, Policy, Verdict, Waiver, decide

pytestmark = pytest.mark.usefixtures("state")
FIGURES = {"backtest.max_drawdown": 0.4, "lockbox.hit_rate": 0.4}
GATES = Policy(
    name="p",
    objective="alpha",
    gates=[
        Gate(figure="backtest.max_drawdown", at_most=0.25, waivable=True, why="w"),
        Gate(figure="backtest.turnover", at_most=60.0, waivable=True, why="w"),
        Gate(figure="lockbox.hit_rate", at_least=0.5, why="w"),
    ],
)


class Asked(NamedTuple):
    """As much of a candidate as a waiver needs."""

    id: str
    model: str = "alpha"

    @property
    def reference(self) -> str:
        return f"{self.model}/{self.id}"

    def decision(self) -> dict[str, Any]:
        return decide(GATES, FIGURES).model_dump(mode="json") | {"policy": "p"}

    def gates(self) -> Policy:
        return GATES


def asked(number: int) -> Candidate:
    return cast("Candidate", Asked(str(number)))


def give(number: int, figure: str = "backtest.max_drawdown") -> Waiver:
    given = Waiver(figure=figure, until="2026-06-30", by="ada", reason="hedged", entry=0)
    return waivers.append(asked(number), given, keys.signer(names.APPROVER))


def test_a_waiver_is_its_candidate_s_and_signed_by_the_approver() -> None:
    assert [give(1).entry, give(2).entry] == [1, 2]
    known = waivers.standing(asked(2), date(2026, 1, 1))
    assert (known.entries, [each.entry for each in known.waived.given]) == (2, [2])
    assert waivers.entries("alpha")[0].entry.public in register.load().publics(names.APPROVER)
    with pytest.raises(VerificationFailed, match="development-validator is validator, not approver"):
        journal.append("alpha", journal.WAIVER, {}, keys.signer(names.VALIDATOR))


def test_a_decision_knows_what_was_given_before_it_and_no_more() -> None:
    give(1)
    decision = waivers.standing(asked(1), date(2026, 1, 1)).told
    assert not waivers.given_since(asked(1), decision)
    give(2)
    assert not waivers.given_since(asked(1), decision), "another candidate's"
    give(1, "backtest.turnover")
    assert waivers.given_since(asked(1), decision)
    then = waivers.standing_then(asked(1), decision)
    assert [each.figure for each in then.waived.given] == ["backtest.max_drawdown"]
    assert then.waived.on == date(2026, 1, 1)


def test_a_log_cut_short_or_altered_is_seen() -> None:
    give(1)
    give(1, "backtest.turnover")
    decision = waivers.standing(asked(1), date(2026, 1, 1)).told
    last = journal.folder("alpha") / "000002.json"
    content = last.read_bytes()
    last.unlink()
    with pytest.raises(VerificationFailed, match="has 1 waivers, the decision on alpha/1 was made with 2"):
        waivers.standing_then(asked(1), decision)
    last.write_bytes(content.replace(b"payload", b"payl0ad"))
    with pytest.raises(VerificationFailed, match=r"entry 000002\.json is altered"):
        waivers.standing_then(asked(1), decision)


def test_only_a_failed_waivable_gate_that_was_measured_can_be_waived() -> None:
    waiving.require_waivable(asked(1), "backtest.max_drawdown")
    may = "gates of p that can: backtest.max_drawdown, backtest.turnover"
    with pytest.raises(VerificationFailed, match=f"^lockbox.hit_rate: cannot be waived; {may}$"):
        waiving.require_waivable(asked(1), "lockbox.hit_rate")
    with pytest.raises(VerificationFailed, match=r"^backtest\.turnover: was never measured"):
        waiving.require_waivable(asked(1), "backtest.turnover")
    with pytest.raises(UsageError, match=r"no blocking gate of p on it failed; those that did: backtest\.max_drawdown"):
        waiving.require_waivable(asked(1), "probe.odd")


# --- decisions from before --------------------------------------------------------------------------------

SINCE = ("lower", "upper", "theme", "evidence", "waived")


def as_before(verdict: Verdict) -> dict[str, Any]:
    """A verdict as it was written before findings had intervals, themes, evidence and waivers."""
    told = verdict.model_dump(mode="json")
    del told["waived"]
    findings = [{name: value for name, value in each.items() if name not in SINCE} for each in told["findings"]]
    return told | {"findings": findings, "policy": "p"}


def test_a_decision_from_before_still_follows() -> None:
    verdict = decide(GATES, FIGURES)
    assert proof.follows(as_before(verdict), verdict)
    assert proof.follows(verdict.model_dump(mode="json"), verdict)


@pytest.mark.parametrize(
    "change",
    [
        lambda told: told | {"accepted": True},
        lambda told: told | {"summary": "accepted"},
        lambda told: told | {"findings": told["findings"][:-1]},
        lambda told: told | {"findings": [told["findings"][0] | {"outcome": "pass"}, *told["findings"][1:]]},
        lambda told: told | {"findings": [told["findings"][0] | {"theme": "other"}, *told["findings"][1:]]},
        lambda told: {name: value for name, value in told.items() if name != "accepted"},
        lambda told: told | {"findings": "none"},
    ],
)
@pytest.mark.parametrize("before", [True, False])
def test_what_does_not_follow_is_seen(change: Any, before: bool) -> None:
    verdict = decide(GATES, FIGURES)
    told = as_before(verdict) if before else verdict.model_dump(mode="json")
    assert not proof.follows(change(told), verdict)
