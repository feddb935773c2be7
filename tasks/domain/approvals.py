"""Where a version stands with the people who may let it trade: what was signed, what counts, what is still awaited."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple


class Approval(NamedTuple):
    """One person's signed yes, by its `number` in the journal. `about`: SHA-256 of the decision that was approved."""

    number: int
    person: str
    at: datetime
    about: str


class Rejection(NamedTuple):
    """One person's signed no, by its `number` in the journal."""

    number: int
    person: str
    at: datetime
    comment: str


class Concern(NamedTuple):
    """A doubt that somebody signed, by its `number` in the journal; open until it is answered."""

    number: int
    person: str
    role: str
    text: str
    answer: str | None = None
    answered_by: str | None = None


class Standing(NamedTuple):
    """`needed`: different people; `counted`: whose approvals count; `void`: those that do not, and why; `rejections`:
    that were not taken back; `concerns`: all, answered ones too; `released`: it was made champion once."""

    needed: int
    counted: Sequence[Approval]
    void: Sequence[str]
    rejections: Sequence[Rejection]
    concerns: Sequence[Concern]
    released: bool

    @property
    def open_concerns(self) -> list[Concern]:
        return [each for each in self.concerns if each.answer is None]

    @property
    def obstacles(self) -> list[str]:
        """What keeps it from being approved by anybody, in words."""
        rejected = [f"rejected by {each.person} on {each.at.date()}: {each.comment}" for each in self.rejections]
        doubted = [f"concern {each.number} of {each.person} is open: {each.text}" for each in self.open_concerns]
        return rejected + doubted

    @property
    def enough(self) -> bool:
        return len(self.counted) >= self.needed and not self.obstacles

    @property
    def said(self) -> str:
        """In a line."""
        if self.released:
            return f"approved by {people(self.counted)}"
        if self.obstacles:
            return "; ".join(self.obstacles)
        given = f", {people(self.counted)} approved" if self.counted else ""
        void = f" ({'; '.join(self.void)})" if self.void else ""
        return f"waits for {self.needed - len(self.counted)} of {self.needed} approvals{given}{void}"


def people(counted: Sequence[Approval]) -> str:
    return ", ".join(each.person for each in counted) or "nobody"


def standing(
    needed: int,
    approvals: Sequence[Approval],
    rejections: Sequence[Rejection],
    concerns: Sequence[Concern],
    decision: str,
    now: datetime,
    valid_days: int,
    released: datetime | None,
) -> Standing:
    """Count what was signed.

    Args:
        approvals, rejections: oldest first; of a person, the last word counts.
        decision: SHA-256 of the decision as it is; an approval of another one is void.
        valid_days: how long an approval counts until the version is released; what was released stays so.
        released: when it was made champion first, if it was.
    """
    counted: list[Approval] = []
    void: list[str] = []
    for each in {approval.person: approval for approval in approvals}.values():
        if each.about != decision:
            void.append(f"{each.person}'s approval of {each.at.date()} was of another decision")
        elif (released or now) > each.at + timedelta(days=valid_days):
            void.append(f"{each.person}'s approval of {each.at.date()} expired after {valid_days} days")
        else:
            counted.append(each)
    last = {each.person: each.number for each in approvals}
    standing = [each for each in rejections if each.number > last.get(each.person, 0)]
    return Standing(needed, counted, void, standing, concerns, released is not None)
