"""The journal: whatever is changed in it is named, whoever may not sign cannot, and times only go forward."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks import journal, keys, register
from tasks.domain import names
from tasks.domain.errors import UsageError, VerificationFailed

pytestmark = pytest.mark.usefixtures("state")


def look(number: int) -> journal.Event:
    return journal.append("p", journal.LOOK, {"candidate": str(number)})


def paths() -> list[Path]:
    return sorted(journal.folder("p").glob("*.json"))


def test_events_are_numbered_dated_and_whose_they_are() -> None:
    look(1)
    journal.append("p", journal.CONCERN, {"comment": "odd"}, keys.signer(names.TRADER))
    first, second = journal.read("p")
    assert (first.number, first.kind, first.by) == (1, "look", "development-validator")
    assert (second.number, second.by, second.register) == (2, "development-trader", 1)
    assert first.at <= second.at <= datetime.now(UTC)
    assert [event.number for event in journal.read("p", journal.CONCERN)] == [2]
    assert journal.head("p") == f"2:{second.sha256}"
    assert journal.head("nothing yet") == "0"


def flipped(path: Path) -> None:
    content = path.read_bytes()
    at = len(content) // 2
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])


def swapped(path: Path) -> None:
    other = path.with_name("000001.json")
    one, two = path.read_bytes(), other.read_bytes()
    path.write_bytes(two)
    other.write_bytes(one)


def repeated(path: Path) -> None:
    path.with_name("000004.json").write_bytes(path.read_bytes())


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (flipped, "entry 000002.json is altered or signed by an unknown key"),
        (Path.unlink, "entry 000003.json does not follow the one before it"),
        (swapped, "entry 000001.json does not follow the one before it"),
        (repeated, "entry 000004.json does not follow the one before it"),
    ],
)
def test_the_first_entry_that_does_not_hold_is_named_and_nothing_is_added(damage: object, named: str) -> None:
    for number in range(3):
        look(number)
    damage(paths()[1])  # type: ignore[operator]
    before = [path.read_bytes() for path in paths()]
    with pytest.raises(VerificationFailed, match=f"^journal: {named}"):
        journal.read("p")
    with pytest.raises(VerificationFailed, match=named):
        look(9)
    assert [path.read_bytes() for path in paths()] == before


def test_a_kind_is_for_its_roles_and_an_alias_for_its_own() -> None:
    with pytest.raises(VerificationFailed, match="for the validator to sign: key development-trainer is trainer"):
        journal.append("p", journal.LOOK, {}, keys.signer(names.TRAINER))
    move = {"model": "p.live", "alias": names.CHAMPION, "version": 1, "candidate": "c"}
    with pytest.raises(VerificationFailed, match="for the approver to sign"):
        journal.append("p", journal.ALIAS, move, keys.signer(names.VALIDATOR))
    journal.append("p", journal.ALIAS, move)
    assert [event.by for event in journal.read("p")] == ["development-approver"]


def test_a_stranger_s_entry_and_the_owner_s_do_not_count(tmp_path: Path) -> None:
    look(1)
    for by in (keys.make(tmp_path / "stranger"), keys.signer(names.OWNER)):
        with pytest.raises(VerificationFailed, match="belongs to nobody who is listed"):
            journal.append("p", journal.LOOK, {}, by)


def test_a_clock_set_back_stops_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock(datetime):
        away = timedelta(0)

        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) + cls.away

    monkeypatch.setattr(journal, "datetime", Clock)
    last = look(1).at
    Clock.away = -timedelta(minutes=3)
    assert look(2).at == last, "clocks of two machines differ a little"
    Clock.away = -timedelta(days=30)
    with pytest.raises(UsageError, match=r"clock: says .* the journal's last entry is from"):
        look(3)
    assert len(journal.read("p")) == 2


def test_many_writers_leave_a_whole_journal() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(look, range(16)))
    assert sorted(event.number for event in made) == list(range(1, 17))
    assert len(journal.read("p")) == 16


def test_a_head_kept_outside_tells_of_a_journal_cut_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "anchors"
    monkeypatch.setenv(journal.ANCHORS_VARIABLE, str(kept))
    for number in range(3):
        look(number)
    assert len(kept.read_text().splitlines()) == 3
    assert journal.anchor_faults("p") == []
    paths()[-1].unlink()
    assert len(journal.read("p")) == 2, "nothing inside tells of it"
    [fault] = journal.anchor_faults("p")
    assert fault.startswith("journal: entry 000003.json is not the one whose hash was kept outside")
    kept.unlink()
    assert "cannot be read" in journal.anchor_faults("p")[0]


def test_an_event_under_a_register_that_is_not_there_does_not_count() -> None:
    look(1)
    register.folder().rename(register.folder().with_name("away"))
    with pytest.raises(VerificationFailed, match="is empty; nobody's signature can be checked"):
        journal.read("p")


def test_the_register_is_the_owner_s() -> None:
    path = register.folder() / "000001.json"
    envelope = json.loads(path.read_text())
    path.write_text(json.dumps(envelope | {"payload": envelope["payload"][:-8] + "AAAAAAA="}))
    with pytest.raises(VerificationFailed, match=r"register: entry 000001\.json is altered .* only the owner signs it"):
        look(1)
    assert [each.name for each in register.folder().iterdir()] == ["000001.json"]
