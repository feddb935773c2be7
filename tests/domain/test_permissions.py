"""What each role may do in MLflow: one writer a thing, readers all, and the widest of several roles."""

import pytest

from tasks.domain import names
from tasks.domain.permissions import NONE, VERSIONS, Thing, permissions, widest, writers
from tasks.domain.rights import ROLES

LIVE, CANDIDATES = Thing("registered_model", "p.live"), Thing("registered_model", "p")


def experiment(stage: str) -> Thing:
    return Thing("experiment", f"p/{stage}")


def test_every_experiment_is_written_by_the_role_that_signs_its_stage_and_read_by_all() -> None:
    for stage, signer in names.SIGNERS.items():
        held = {role: permissions(role, "p")[experiment(stage)] for role in ROLES}
        assert held == dict.fromkeys(ROLES, "READ") | {signer: "EDIT"}, stage


def test_the_trainer_writes_candidates_and_nothing_that_was_released() -> None:
    assert permissions("trainer", "p")[CANDIDATES] == "EDIT"
    assert permissions("trainer", "p")[LIVE] == "READ"
    assert [role for role in ROLES if permissions(role, "p")[LIVE] == "EDIT"] == ["validator", "approver"]
    assert [role for role in ROLES if permissions(role, "p")[CANDIDATES] == "EDIT"] == ["trainer"]


def test_judges_describe_versions_without_a_right_on_candidates() -> None:
    assert [role for role in ROLES if permissions(role, "p")[VERSIONS] == "EDIT"] == ["validator", "approver"]
    assert permissions("validator", "p")[CANDIDATES] == "READ"


@pytest.mark.parametrize("role", ["trader", "auditor"])
def test_who_runs_no_stage_reads_all_and_writes_nothing(role: str) -> None:
    held = permissions(role, "p", "q")
    assert {held[thing] for thing in writers("p", "q")} == {"READ"}
    assert held[VERSIONS] == NONE


def test_several_roles_hold_the_widest_of_each_and_none_holds_nothing() -> None:
    both = widest(["auditor", "validator", "trainer"], "p")
    assert (both[CANDIDATES], both[LIVE], both[VERSIONS]) == ("EDIT", "EDIT", "EDIT")
    assert both[experiment("collect")] == "READ"
    assert set(widest([], "p", "q").values()) == {NONE}
    assert len(widest([], "p", "q")) == 2 * len(writers("p")) + 1


def test_nobody_manages_anything() -> None:
    assert set(widest(ROLES, "p").values()) == {"EDIT"}
