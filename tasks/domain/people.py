"""Who may sign what: people, their public keys and roles, and until when (`expectations/roles.yaml`)."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import Field

from tasks.domain import names
from tasks.domain.errors import UsageError
from tasks.domain.schema import Frozen, parse

Role = Literal["steward", "trainer", "validator", "approver", "trader", "auditor"]
Day = Annotated[date, Field(strict=False)]
Public = Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="an Ed25519 public key, 64 hexadecimal digits")]
Name = Annotated[str, Field(pattern="^[a-z0-9][a-z0-9._-]{1,62}$")]
Approvers = Annotated[int, Field(ge=1, le=9)]
# No two of these are one person's for one version: whoever made it, whoever judged it, whoever let it trade.
APART = (names.TRAINER, names.VALIDATOR, names.APPROVER)


class Span(Frozen):
    """From a day until another, both included; null: without a bound."""

    since: Day | None = Field(default=None, alias="from")
    until: Day | None = None

    def outside(self, day: date) -> str | None:
        """Why a day is not in it."""
        if self.since and day < self.since:
            return f"does not count before {self.since}"
        if self.until and day > self.until:
            return f"expired on {self.until}"
        return None


class Held(Span):
    """A role that a person has."""

    role: Role


class Revocation(Frozen):
    """From `since` on, whatever the key signed does not count: also what was signed before anybody noticed."""

    since: Day
    why: str


class KeyOf(Span):
    """A public key of a person."""

    public: Public
    revoked: Revocation | None = None


class Person(Frozen):
    """Somebody who signs, or a service that somebody answers for. MLflow knows them by the same name."""

    name: Name
    roles: Annotated[list[Held], Field(min_length=1)]
    keys: list[KeyOf] = Field(default_factory=list)

    def has(self, role: str, day: date) -> bool:
        return any(held.role == role and held.outside(day) is None for held in self.roles)

    def roles_on(self, day: date) -> list[str]:
        return sorted({held.role for held in self.roles if held.outside(day) is None})


class Approvals(Frozen):
    """How many different approvers a version needs to become champion, by the tier of its gates."""

    pilot: Approvers = 1
    full: Approvers = 1

    def needed(self, tier: str) -> int:
        """Raises UsageError for a tier that is never approved."""
        found = {"pilot": self.pilot, "full": self.full}.get(tier)
        if found is None:
            raise UsageError(f"tier {tier}: its versions are never approved; only those of pilot and full are")
        return found


class People(Frozen):
    """The whole declaration. `valid_days`: how long an approval counts while others are still awaited;
    `review_days`: how long a version may be champion before people look at it anew."""

    approvals: Approvals = Approvals()
    valid_days: Annotated[int, Field(ge=1, le=366)] = 14
    review_days: Annotated[int, Field(ge=1, le=1461)] = 365
    people: list[Person] = Field(default_factory=list)

    def owner_of(self, public: str) -> tuple[Person, KeyOf] | None:
        return next(((one, key) for one in self.people for key in one.keys if key.public == public), None)

    def keys_of(self, role: str) -> list[str]:
        """Public keys of all who have, had or will have a role, as they are listed."""
        return [key.public for one in self.people if any(held.role == role for held in one.roles) for key in one.keys]

    def revocations(self) -> list[tuple[str, Revocation]]:
        """Whose keys were revoked, and how."""
        return [(one.name, key.revoked) for one in self.people for key in one.keys if key.revoked]

    def trusted(self, role: str) -> list[str]:
        """Of those, the keys that were not revoked."""
        return [public for public in self.keys_of(role) if not self.revoked(public, date.max)]

    def revoked(self, public: str, day: date) -> str | None:
        """Why what a key signed on a day does not count, where it was revoked."""
        found = self.owner_of(public)
        if found is None or found[1].revoked is None or day < found[1].revoked.since:
            return None
        person, revoked = found[0].name, found[1].revoked
        return f"{person}'s key was revoked from {revoked.since} on: {revoked.why}"

    def refuses(self, public: str, role: str, day: date) -> str | None:
        """Why a key may not sign as a role on a day; None if it may."""
        found = self.owner_of(public)
        if found is None:
            return "belongs to nobody who is listed"
        person, key = found
        if why := self.revoked(public, day):
            return why
        if why := key.outside(day):
            return f"{person.name}'s key {why}"
        held = [each for each in person.roles if each.role == role]
        if not held:
            return f"{person.name} is {' and '.join(sorted({each.role for each in person.roles}))}, not {role}"
        if person.has(role, day):
            return None
        return f"{person.name}'s role of {role} {'; '.join(filter(None, (each.outside(day) for each in held)))}"


def conflicts(signed: Mapping[str, set[str]], person: str, role: str) -> str | None:
    """What a person did for a version that keeps them from filling a role for it; `signed`: role → who filled it."""
    if role not in APART:
        return None
    done = [other for other in APART if other != role and person in signed.get(other, set())]
    return (
        f"{person} was its {' and '.join(done)}; nobody fills two of {', '.join(APART)} for one version"
        if done
        else None
    )


def parse_people(fields: Any, origin: str) -> People:
    """Check `fields` against the schema and for contradictions.

    Raises:
        UsageError: one line naming the file, the field and what was expected.
    """
    people = parse(People, fields, origin)
    if found := list(faults(people)):
        raise UsageError(f"{origin}: {'; '.join(found)}")
    return people


def faults(people: People) -> Iterator[str]:
    """What contradicts itself: a name or key given twice, a service role without a key, too few approvers."""
    for name, count in Counter(person.name for person in people.people).items():
        if count > 1:
            yield f"people: {name} is listed {count} times; list each person once"
    for public, count in Counter(key.public for person in people.people for key in person.keys).items():
        if count > 1:
            yield f"people: the key {public[:8]}… is listed {count} times; a key belongs to one person"
    if not people.people:
        return
    for role in (names.STEWARD, names.TRAINER, names.VALIDATOR):
        if not people.keys_of(role):
            yield f"people: nobody with a key is {role}; without one, no stage of that role can be signed"
    most = max(people.approvals.pilot, people.approvals.full)
    able = sum(1 for one in people.people if one.keys and any(held.role == names.APPROVER for held in one.roles))
    if able < most:
        yield f"approvals: {most} approvers are needed, {able} with a key are listed"
