"""The note of a decision: every gate stands in it, whatever MLflow cuts off."""

import pytest

from tasks import decision
from tasks.configuration import load_policy
from tasks.domain.gates import Policy, decide

APPLY = {"scenario.ran": 1.0, "champion.present": 1.0, "backtest.restarted": 1.0}


def all_wrong(policy: Policy) -> dict[str, float]:
    return {gate.figure: -1e9 if gate.at_least is not None else 1e9 for gate in policy.gates} | APPLY


@pytest.mark.parametrize("kind", ["missing", "wrong"])
def test_every_gate_stands_in_the_note_of_the_worst_verdict(kind: str) -> None:
    policy = load_policy("alpha-v1")
    verdict = decide(policy, APPLY if kind == "missing" else all_wrong(policy))
    note = decision.as_markdown(verdict, {"validate": "#/experiments/1/runs/" + 60 * "x"})
    assert len(note) <= decision.NOTE_CHARACTERS
    assert [line.split(" | ")[0] for line in note.splitlines() if "| policy |" in line] == [
        f"| {gate.figure}" for gate in policy.gates
    ]
    blocking = [gate for gate in policy.gates if gate.severity == "block" and gate.when is None]
    assert all(decision.unmarked(gate.why) in note for gate in blocking) or kind == "missing"


def test_reasons_are_told_of_what_did_not_pass() -> None:
    policy = load_policy("alpha-v1")
    note = decision.as_markdown(decide(policy, {"lockbox.sessions": 10.0, "lockbox.hit_rate": 0.6}), {})
    lines = {line.split(" | ")[0]: line for line in note.splitlines()}
    assert "shorter lockboxes cannot tell luck from skill" in lines["| lockbox.sessions"]
    assert lines["| lockbox.hit_rate"].endswith("| pass |  |")
