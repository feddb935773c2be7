"""The versions of a problem in its journal: written only when something changed, and never by two at once."""

import json
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tasks import freeze, journal, keys, register
from tasks.configuration import load_policy, load_problem
from tasks.domain import names
from tasks.domain.errors import UsageError, VerificationFailed
from tasks.domain.gates import Policy
from tasks.domain.problem import Problem

pytestmark = pytest.mark.usefixtures("state")


@pytest.fixture(scope="module")
def problem() -> Problem:
    return load_problem("sp500_alpha")


@pytest.fixture(scope="module")
def policy(problem: Problem) -> Policy:
    return load_policy(problem.policy)


def looser(problem: Problem, bound: float) -> Problem:
    """The problem with another bound on its first criterion, the lower end of the rank IC."""
    first, *others = problem.success.criteria
    criteria = [first.model_copy(update={"at_least": bound}), *others]
    return problem.model_copy(update={"success": problem.success.model_copy(update={"criteria": criteria})})


def log(problem: Problem) -> list[Path]:
    return sorted(journal.folder(problem.name).glob("*.json"))


def test_the_first_entry_says_what_was_frozen_and_is_signed_by_the_trainer(problem: Problem, policy: Policy) -> None:
    frozen = freeze.freeze(problem, policy, 0)
    [event] = freeze.entries(problem.name)
    entry = event.content
    assert frozen == (1, freeze.as_bytes(event))
    assert (entry["sequence"], entry["problem_sha256"], entry["trials"]) == (1, problem.sha256, 0)
    assert entry["changes"] == []
    assert entry["judged"]["success.lockbox.rank_ic_lower"] == "at least 0"
    assert entry["judged"]["policy.lockbox.hit_rate"] == "at least 0.5"
    assert entry["besides"]["seed"] == "7"
    assert event.entry.public in register.load().publics(names.TRAINER)


def test_an_unchanged_problem_makes_no_entry(problem: Problem, policy: Policy) -> None:
    assert freeze.freeze(problem, policy, 0) == freeze.freeze(problem, policy, 6)
    assert len(log(problem)) == 1


def test_a_changed_problem_makes_a_version_with_the_change_and_the_trials(problem: Problem, policy: Policy) -> None:
    freeze.freeze(problem, policy, 0)
    assert freeze.freeze(looser(problem, -0.01), policy, 6).number == 2
    assert freeze.freeze(problem.model_copy(update={"seed": 8}), policy, 12).number == 3
    _, second, third = (event.content for event in freeze.entries(problem.name))
    name = "success.lockbox.rank_ic_lower"
    loosened = {"field": name, "before": "at least 0", "after": "at least -0.01", "criterion": True}
    assert (second["changes"], second["trials"]) == ([loosened], 6)
    put_back = loosened | {"before": "at least -0.01", "after": "at least 0"}
    assert third["changes"] == [{"field": "seed", "before": "7", "after": "8", "criterion": False}, put_back]


def test_a_gate_moved_in_the_policy_makes_a_version(problem: Problem, policy: Policy) -> None:
    freeze.freeze(problem, policy, 0)
    gates = [gate.model_copy(update={"at_least": 0.4}) if "hit" in gate.figure else gate for gate in policy.gates]
    assert freeze.freeze(problem, policy.model_copy(update={"gates": gates}), 6).number == 2
    [change] = freeze.entries(problem.name)[1].content["changes"]
    assert change["field"] == "policy.lockbox.hit_rate"


def edited(path: Path) -> None:
    envelope = json.loads(path.read_text())
    envelope["payload"] = envelope["payload"][:-8] + "AAAAAAA="
    path.write_text(json.dumps(envelope))


BREAKS: dict[str, Any] = {"edited": edited, "removed": Path.unlink}


@pytest.mark.parametrize("damage", BREAKS.values(), ids=BREAKS.keys())
def test_nothing_is_added_to_a_log_that_is_not_whole(problem: Problem, policy: Policy, damage: Any) -> None:
    for number in range(3):
        freeze.freeze(looser(problem, -0.01 * number), policy, number)
    damage(log(problem)[1])
    before = log(problem)
    with pytest.raises(VerificationFailed, match=r"journal: entry 00000[23]\.json (is altered|does not follow)"):
        freeze.freeze(problem, policy, 9)
    assert log(problem) == before


def test_only_the_trainer_freezes(problem: Problem) -> None:
    with pytest.raises(VerificationFailed, match="is for the trainer to sign: key development-steward is steward"):
        journal.append(problem.name, journal.PROBLEM, {}, keys.signer(names.STEWARD))


def test_a_log_that_cannot_be_written_refuses_in_one_line(problem: Problem, policy: Policy) -> None:
    folder = journal.folder(problem.name)
    folder.parent.mkdir(parents=True)
    folder.write_text("in the way")
    with pytest.raises(UsageError, match="events are recorded there"):
        freeze.freeze(problem, policy, 0)


def test_two_writers_at_once_leave_a_whole_log(problem: Problem, policy: Policy) -> None:
    wanted = [problem, problem, looser(problem, -0.01), looser(problem, -0.01)] * 4
    with ThreadPoolExecutor(len(wanted)) as pool:
        frozen = list(pool.map(lambda one: freeze.freeze(one, policy, 0), wanted))
    entries = [event.content for event in freeze.entries(problem.name)]
    assert {each.number for each in frozen} == {entry["sequence"] for entry in entries}
    hash_of = {entry["sequence"]: entry["problem_sha256"] for entry in entries}
    assert [hash_of[each.number] for each in frozen] == [one.sha256 for one in wanted]
    hashes = [entry["problem_sha256"] for entry in entries]
    assert all(one != other for one, other in pairwise(hashes)), "none repeats the one before"


def test_a_candidate_s_version_must_be_in_the_log_and_about_its_problem(problem: Problem, policy: Policy) -> None:
    first = freeze.freeze(problem, policy, 0)
    second = freeze.freeze(looser(problem, -0.01), policy, 6)
    found = freeze.versions_until(problem.name, first.entry, problem.canonical())
    assert [(version.number, version.trials) for version in found] == [(1, 0)]
    frozen = looser(problem, -0.01).canonical()
    assert [v.trials for v in freeze.versions_until(problem.name, second.entry, frozen)] == [0, 6]
    with pytest.raises(VerificationFailed, match="version 2 of the problem is not what was frozen with the model"):
        freeze.versions_until(problem.name, second.entry, problem.canonical())
    log(problem)[1].unlink()
    with pytest.raises(VerificationFailed, match="does not hold the version"):
        freeze.versions_until(problem.name, second.entry, frozen)
