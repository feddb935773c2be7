"""The register: development keys first, then the people whom the owner lists; spans and revocations as they are."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks import evidence, journal, keys, register
from tasks.domain import names
from tasks.domain.errors import UsageError, VerificationFailed
from tasks.domain.people import People, parse_people

TODAY = datetime.now(UTC).date()


def listed(*people: dict[str, Any], **besides: Any) -> People:
    """The services of the stages as they are, and people."""
    services = [
        {"name": f"{role}-service", "roles": [{"role": role}], "keys": [{"public": public(keys.path_of(role))}]}
        for role in register.SERVICES
    ]
    return parse_people({"people": [*services, *people], **besides}, "test")


def public(path: Path) -> str:
    return keys.public_of(keys.signer_from(path).public_key)


def approver(name: str, path: Path, **span: Any) -> dict[str, Any]:
    return {"name": name, "roles": [{"role": "approver"}], "keys": [{"public": public(path)} | span]}


@pytest.fixture
def ada(state: Path, tmp_path: Path) -> Path:
    keys.make(tmp_path / "ada")
    return tmp_path / "ada.pem"


def reject(path: Path) -> journal.Event:
    return journal.append("p", journal.REJECTION, {"comment": "no"}, keys.signer_from(path))


def test_the_first_register_holds_development_keys(state: Path) -> None:
    known = register.load()
    assert known.number == 1
    assert known.now.development
    assert register.require(public(keys.path_of("approver")), "approver", Path("k"), "x") == "development-approver"
    evidence.establish()
    assert register.load().number == 1, "made once"


def test_whom_the_owner_lists_may_sign_and_development_people_no_longer(ada: Path) -> None:
    before = reject(keys.path_of("approver"))
    assert register.sync(listed(approver("ada", ada)))
    assert not register.sync(listed(approver("ada", ada))), "the second time changes nothing"
    assert reject(ada).by == "ada"
    with pytest.raises(VerificationFailed, match="belongs to nobody who is listed"):
        reject(keys.path_of("approver"))
    assert journal.read("p")[0] == before, "what was signed under the first register still holds"


def test_layouts_follow_the_register(ada: Path) -> None:
    register.sync(listed(approver("ada", ada), approver("bob", keys.path_of("approver")), approvals={"full": 2}))
    evidence.establish()
    layout = evidence.load_envelope(evidence.layout_path("release-full.layout")).get_payload()  # type: ignore[union-attr]
    [step] = [step for step in layout.steps if step.name == names.APPROVE]
    assert (step.threshold, len(step.pubkeys)) == (2, 2)
    assert register.DEVELOPMENT_KEYS not in layout.readme


@pytest.mark.parametrize(
    ("span", "why"),
    [
        ({"until": str(TODAY - timedelta(days=1))}, "ada's key expired on"),
        ({"from": str(TODAY + timedelta(days=1))}, "ada's key does not count before"),
        (
            {"revoked": {"since": str(TODAY), "why": "lost on a train"}},
            "ada's key was revoked from .*: lost on a train",
        ),
    ],
)
def test_a_key_out_of_its_span_signs_nothing(ada: Path, span: dict[str, Any], why: str) -> None:
    register.sync(listed(approver("ada", ada, **span)))
    with pytest.raises(VerificationFailed, match=why):
        reject(ada)
    assert journal.read("p") == []


def test_a_revocation_reaches_back_to_its_day_and_no_further(ada: Path) -> None:
    register.sync(listed(approver("ada", ada)))
    reject(ada)
    later = {"since": str(TODAY + timedelta(days=1)), "why": "left"}
    register.sync(listed(approver("ada", ada, revoked=later)))
    assert len(journal.read("p")) == 1
    register.sync(listed(approver("ada", ada, revoked={"since": str(TODAY), "why": "stolen"})))
    assert journal.read("p") == []
    [void] = journal.whole("p")
    assert void.void == f"ada's key was revoked from {TODAY} on: stolen"


def test_a_list_without_the_stages_own_keys_is_refused(ada: Path) -> None:
    people = listed(approver("ada", ada))
    keys.make(keys.path_of("trainer").with_suffix(""))
    with pytest.raises(UsageError, match="is not listed as a trainer's; list it"):
        register.sync(people)
    with pytest.raises(UsageError, match="lists nobody"):
        register.sync(People())


def test_a_revoked_key_is_in_no_layout_made_since(ada: Path) -> None:
    gone = {"since": str(date(2020, 1, 1)), "why": "left"}
    keys.make(ada.with_name("bob"))
    people = listed(approver("ada", ada, revoked=gone), approver("bob", ada.with_name("bob.pem")))
    register.sync(people)
    evidence.establish()
    layout = evidence.load_envelope(evidence.layout_path("release-full.layout")).get_payload()  # type: ignore[union-attr]
    [step] = [step for step in layout.steps if step.name == names.APPROVE]
    assert step.pubkeys == [keys.signer_from(ada.with_name("bob.pem")).public_key.keyid]
