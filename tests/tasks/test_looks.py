"""Looks at the lockbox: each candidate once, those on the same sessions counted, and nothing added to a broken log."""

from typing import Any, NamedTuple, cast

import pytest

from tasks import journal, looks, register
from tasks.candidates import Candidate
from tasks.domain import names
from tasks.domain.errors import VerificationFailed

pytestmark = pytest.mark.usefixtures("state")


class Part(NamedTuple):
    """As much of a snapshot as a look needs."""

    first: str
    as_of: str

    @property
    def manifest(self) -> dict[str, Any]:
        return {"lockbox_starts": self.first}

    def digest(self, part: str) -> str:
        return f"sha-{part}-{self.first}"


class Asked(NamedTuple):
    """As much of a candidate."""

    id: str
    part: Part
    told: dict[str, float]
    model: str = "alpha"

    @property
    def reference(self) -> str:
        return f"{self.model}/{self.id}"

    def snapshot(self) -> Part:
        return self.part

    def figures(self, stage: str) -> dict[str, float]:
        return self.told


def asked(number: int, first: str = "2020-01-01", as_of: str = "2020-12-31", **told: float) -> Candidate:
    return cast("Candidate", Asked(str(number), Part(first, as_of), told))


def test_a_candidate_looks_once_however_often_it_is_validated() -> None:
    assert looks.record(asked(1)) == []
    assert looks.record(asked(1)) == []
    [event] = looks.entries("alpha")
    told = (event.content["candidate"], event.content["first"], event.content["last"])
    assert told == ("1", "2020-01-01", "2020-12-31")
    assert event.entry.public in register.load().publics(names.VALIDATOR)


def test_a_look_learns_of_those_before_it_and_of_no_later_ones() -> None:
    looks.record(asked(1, "2019-01-01", "2019-12-31"))
    [first] = looks.record(asked(2, "2019-06-01", "2020-06-30"))
    assert (str(first.first.date()), str(first.last.date())) == ("2019-01-01", "2019-12-31")
    assert len(looks.record(asked(3, "2020-06-30", "2021-06-30"))) == 2
    assert looks.record(asked(2, "2019-06-01", "2020-06-30")) == [first], "asked again, to the same answer"


def test_a_broken_log_takes_no_look() -> None:
    looks.record(asked(1))
    path = next(journal.folder("alpha").glob("*.json"))
    path.write_bytes(path.read_bytes().replace(b"payload", b"payl0ad"))
    with pytest.raises(VerificationFailed, match=r"entry 000001\.json is altered"):
        looks.record(asked(2))
    assert len(list(journal.folder("alpha").glob("*.json"))) == 1


def test_a_look_that_was_told_of_must_be_in_the_log() -> None:
    looks.record(asked(1))
    looks.check(asked(1, **{looks.LOOKS: 1.0}))
    with pytest.raises(VerificationFailed, match="does not hold the look that alpha/2 had"):
        looks.check(asked(2, **{looks.LOOKS: 1.0}))
    looks.check(asked(3))  # validated before looks were recorded
