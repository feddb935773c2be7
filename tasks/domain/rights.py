"""Who may do what: roles × tables, declared once (`expectations/access.yaml`)."""

from collections.abc import Iterator
from typing import Any, Literal

from tasks.domain import names
from tasks.domain.errors import UsageError
from tasks.domain.schema import Frozen, parse

Right = Literal["none", "read", "write"]
Account = str | int | None
ROLES = (names.STEWARD, names.TRAINER, names.VALIDATOR, names.APPROVER, names.TRADER, names.AUDITOR)
HOLD_THE_LOCKBOX = ("lockbox", "raw", "quarantine", "corrections")
SHOWN_TO_ALL = ("evidence", "artifacts")


class Member(Frozen):
    """The operating system's user and group that stand for a role: names or numbers."""

    user: Account
    group: Account


class Row(Frozen):
    """What each role may do with one thing."""

    steward: Right
    trainer: Right
    validator: Right
    approver: Right
    trader: Right
    auditor: Right

    def right(self, role: str) -> Right:
        found: Right = getattr(self, role)
        return found

    @property
    def writers(self) -> list[str]:
        return [role for role in ROLES if self.right(role) == "write"]

    @property
    def readers(self) -> list[str]:
        """Who may read, those who write among them."""
        return [role for role in ROLES if self.right(role) != "none"]


class Grouped(Row):
    """A row whose readers are a group of the operating system."""

    group: Account


class Members(Frozen):
    steward: Member
    trainer: Member
    validator: Member
    approver: Member
    trader: Member
    auditor: Member


class Tables(Frozen):
    """The lake's tables: each is written by exactly one role."""

    development: Grouped
    lockbox: Grouped
    raw: Grouped
    quarantine: Grouped
    corrections: Grouped
    orders: Grouped
    series: Grouped


class Shared(Frozen):
    """What the roles have in common."""

    evidence: Grouped
    artifacts: Row
    mlflow: Grouped
    keys: Row


class Access(Frozen):
    """The whole declaration. It separates users either for every role or for none."""

    shared_group: Account
    roles: Members
    tables: Tables
    shared: Shared

    @property
    def rows(self) -> dict[str, Row]:
        return rows(self.tables) | rows(self.shared)

    @property
    def groups(self) -> dict[str, Account]:
        """The group of each thing that has one of its own."""
        return {name: row.group for name, row in self.rows.items() if isinstance(row, Grouped)}

    def member(self, role: str) -> Member:
        found: Member = getattr(self.roles, role)
        return found

    @property
    def separates_users(self) -> bool:
        return self.shared_group is not None


def rows(part: Tables | Shared) -> dict[str, Row]:
    return {name: getattr(part, name) for name in type(part).model_fields}


def parse_access(fields: Any, origin: str) -> Access:
    """Check `fields` against the schema and for contradictions.

    Raises:
        UsageError: one line naming the file, the field and what was expected.
    """
    access = parse(Access, fields, origin)
    if found := [*table_faults(access), *account_faults(access)]:
        raise UsageError(f"{origin}: {'; '.join(found)}")
    return access


def table_faults(access: Access) -> Iterator[str]:
    """Rights that contradict what the roles are for."""
    for name, row in rows(access.tables).items():
        if len(row.writers) != 1:
            yield f"tables.{name}: expected exactly one role that writes it, found {row.writers or 'none'}"
    for name in HOLD_THE_LOCKBOX:
        if (found := access.rows[name].trainer) != "none":
            yield f"tables.{name}.trainer: expected none, because it holds rows of the lockbox, found {found}"
    for name in SHOWN_TO_ALL:
        for role in ROLES:
            if access.rows[name].right(role) == "none":
                yield f"shared.{name}.{role}: expected read or write, because every role may check it, found none"


def account_faults(access: Access) -> Iterator[str]:
    """Users and groups must be named for all or for none, and what is to be separate must differ."""
    users = {f"roles.{role}.user": access.member(role).user for role in ROLES}
    groups = {f"roles.{role}.group": access.member(role).group for role in ROLES}
    groups |= {f"{name}.group": group for name, group in access.groups.items()}
    groups["shared_group"] = access.shared_group
    missing = [field for field, account in (users | groups).items() if account is None]
    if missing and len(missing) < len(users | groups):
        yield f"name every user and every group, or none; missing are {', '.join(missing)}"
    for accounts in (users, groups):
        seen: dict[Account, str] = {}
        for field, account in accounts.items():
            if account is not None and seen.setdefault(account, field) != field:
                yield f"{seen[account]} and {field}: expected different ones, found {account!r} for both"
