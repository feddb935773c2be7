"""Two of several people let a version trade: who counts, what stops it, and that it happens once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tasks import approval, approvals, candidates, evidence, keys, ledger, register, verification
from tasks.domain import names
from tasks.domain.errors import UsageError, VerificationFailed
from tasks.domain.people import parse_people
from tasks.home import HOME_VARIABLE, exclusive, tracking_uri
from tests.support.command import Countersign
from tests.support.market import market

MODEL, LIVE = "desk/1", "desk.live"
YESTERDAY = str(datetime.now(UTC).date() - timedelta(days=1))


class Desk(NamedTuple):
    """An accepted version, and a key for each person."""

    countersign: Countersign
    folder: Path

    def key(self, person: str) -> Path:
        return self.folder / f"{person}.pem"

    def approve(self, person: str) -> dict[str, Any]:
        return approval.approve(MODEL, names.APPROVER, self.key(person), f"{person} read it")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, prefect: str) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    countersign = Countersign(folder / "state", prefect)
    countersign.json("retrain", market(folder, "desk", signal=0.003))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME_VARIABLE, str(countersign.home))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("MLFLOW_TRACKING_URI", tracking_uri(countersign.home))
        made = Desk(countersign, folder)
        people(made)
        yield made


def people(desk: Desk) -> None:
    """The owner lists who is who: two approvals of a full tier are needed. The training service is robo's, who may
    approve besides."""
    for person in ("ada", "bob", "cyn", "dan", "tom", "eve", "old"):
        keys.make(desk.folder / person)
    robo = keys.path_of("trainer")
    (desk.folder / "robo.pem").write_bytes(robo.read_bytes())
    services = [(f"{role}-service", [role], {}, keys.path_of(role)) for role in (names.STEWARD, names.VALIDATOR)]
    revoked = {"revoked": {"since": YESTERDAY, "why": "lost on a train"}}
    listed: list[tuple[str, list[str], dict[str, Any], Path]] = [
        *services,
        ("robo", [names.TRAINER, names.APPROVER], {}, robo),
        *((person, [names.APPROVER], {}, desk.key(person)) for person in ("ada", "bob", "cyn", "dan")),
        ("tom", [names.TRADER], {}, desk.key("tom")),
        ("eve", [names.APPROVER], revoked, desk.key("eve")),
        ("old", [names.APPROVER], {"until": YESTERDAY}, desk.key("old")),
    ]
    fields = [
        {
            "name": name,
            "roles": [{"role": role} for role in roles],
            "keys": [{"public": keys.public_of(keys.signer_from(path).public_key), **span}],
        }
        for name, roles, span, path in listed
    ]
    register.sync(parse_people({"approvals": {"full": 2}, "people": fields}, "test"))
    evidence.establish()


@pytest.mark.parametrize(
    ("person", "why"),
    [
        ("eve", "eve's key was revoked from .* on: lost on a train"),
        ("old", "old's key expired on"),
        ("tom", "tom is trader, not approver"),
        ("robo", "robo was its trainer; nobody fills two of trainer, validator, approver for one version"),
    ],
)
def test_who_may_not_approve_is_told_why_and_nothing_is_signed(desk: Desk, person: str, why: str) -> None:
    with pytest.raises(VerificationFailed, match=why):
        desk.approve(person)
    assert approvals.approvals(candidates.candidate("desk", 1)) == []
    assert ledger.aliases(LIVE) == {"shadow": 1}


def test_development_people_are_strangers_now(desk: Desk) -> None:
    with pytest.raises(VerificationFailed, match="belongs to nobody who is listed"):
        approval.approve(MODEL, names.APPROVER, keys.path_of(names.APPROVER), "as before")


def test_one_of_two_makes_no_champion_and_signs_once(desk: Desk) -> None:
    with exclusive("desk"):  # a retrain works on the problem meanwhile
        given = desk.approve("ada")
    assert given["champion"] is None
    assert given["said"] == "waits for 1 of 2 approvals, ada approved"
    assert desk.approve("ada")["said"] == given["said"]
    assert len(evidence.links(candidates.candidate("desk", 1).folder, names.APPROVE)) == 1
    checked = verification.verify(MODEL)
    assert (checked.faults, checked.standing) == ([], given["said"])
    assert names.CHAMPION not in ledger.aliases(LIVE)


def test_an_open_concern_stops_everybody_until_somebody_else_answers(desk: Desk) -> None:
    with pytest.raises(UsageError, match="say in words what the concern is"):
        approval.doubt(MODEL, names.TRADER, desk.key("tom"), " ")
    raised = approval.doubt(MODEL, names.TRADER, desk.key("tom"), "short squeezes?")
    with pytest.raises(VerificationFailed, match=r"concern \d+ of tom is open: short squeezes\?"):
        desk.approve("bob")
    assert any("of tom is open" in said for said in verification.verify(MODEL).warnings)
    with pytest.raises(UsageError, match="not raised about desk/1; those that were"):
        approval.answer(MODEL, 1, names.APPROVER, desk.key("ada"), "which?")
    said = approval.answer(MODEL, raised["entry"], names.APPROVER, desk.key("ada"), "shorts are capped at 2 %")
    assert said["said"] == "waits for 1 of 2 approvals, ada approved"


def test_a_rejection_stops_others_and_its_author_can_take_it_back(desk: Desk) -> None:
    assert approval.reject(MODEL, desk.key("bob"), "too thin")["said"].startswith("rejected by bob on ")
    with pytest.raises(VerificationFailed, match=r"rejected by bob on .*: too thin"):
        desk.approve("cyn")


def test_two_approvers_at_once_release_it_once(desk: Desk) -> None:
    with ThreadPoolExecutor(2) as pool:
        given = list(pool.map(lambda person: outcome(desk, person), ("bob", "cyn")))
    assert {"champion is 1"} <= set(given)
    assert all(each == "champion is 1" or "rejected by bob" in each for each in given)
    assert len(ledger.versions(LIVE)) == 1
    assert ledger.aliases(LIVE)[names.CHAMPION] == 1
    checked = verification.verify(f"{LIVE}/1")
    assert checked.faults == []
    assert checked.standing.startswith("approved by ada, bob")


def outcome(desk: Desk, person: str) -> str:
    """Cyn may come before bob has taken his rejection back; then she is told so."""
    try:
        return f"champion is {desk.approve(person)['champion']}"
    except VerificationFailed as fault:
        return str(fault)


def test_the_journal_tells_who_did_what(desk: Desk) -> None:
    events = desk.countersign.json("history", "desk")["events"]
    told = [(each["kind"], each["by"]) for each in events]
    assert told[0] == ("collect", "development-steward")
    assert ("concern", "tom") in told
    assert ("answer", "ada") in told
    assert ("rejection", "bob") in told
    assert [by for kind, by in told if kind == "approve"][:1] == ["ada"]
    assert [each["said"] for each in events if each["kind"] == "alias"][
        -1
    ] == "champion of desk.live points to version 1"


def test_a_key_revoked_back_to_an_approval_undoes_it_until_others_approve(desk: Desk) -> None:
    today = str(datetime.now(UTC).date())
    fields = register.load().now.people.model_dump(mode="json", by_alias=True)
    for person in fields["people"]:
        if person["name"] in ("ada", "bob"):
            person["keys"][0]["revoked"] = {"since": today, "why": "stolen last week"}
    register.sync(parse_people(fields, "test"))
    evidence.establish()
    found = candidates.candidate("desk", 1)
    said = "; ".join(verification.verify(MODEL).faults)
    assert "approvals: 2 people are needed" in said
    assert "ada's does not count: ada's key was revoked from" in said
    assert f"alias {LIVE}@champion: points to version 1, not authorised" in said, "bob's entry moved it"
    assert not approvals.standing(found).enough
    assert approval.doubt(MODEL, names.TRADER, desk.key("tom"), "and now?")["entry"], "the journal goes on"
    left = approvals.standing(found).open_concerns
    assert [each.text for each in left] == ["short squeezes?", "and now?"], "ada's answer does not count either"
    for each in left:
        approval.answer(MODEL, each.number, names.APPROVER, desk.key("dan"), "others look at it anew")
    assert [desk.approve(person)["person"] for person in ("cyn", "dan")] == ["cyn", "dan"]
    assert {each.person for each in approvals.standing(found).counted} == {"cyn", "dan"}
    assert ledger.aliases(LIVE)[names.CHAMPION] == 1
    assert [verification.verify(each).faults for each in (MODEL, f"{LIVE}/1")] == [[], []]
