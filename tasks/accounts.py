"""The users and groups of the operating system that stand for the roles."""

import grp
import os
import pwd
from pathlib import Path
from typing import NamedTuple

from tasks.configuration import read_yaml
from tasks.domain.errors import UsageError
from tasks.domain.rights import ROLES, Access, Account, parse_access
from tasks.home import CHECKOUT

ACCESS_VARIABLE = "COUNTERSIGN_ACCESS"
# Whoever is in the group of these may add to them; of every other thing the group are those who read it.
SHARED_BY_WRITERS = ("evidence", "mlflow")


class Accounts(NamedTuple):
    """Numbers: a user and a group of its own per role, a group per thing, and the group that all roles share."""

    access: Access
    users: dict[str, int]
    own: dict[str, int]
    groups: dict[str, int]
    shared: int

    def memberships(self, role: str) -> list[int]:
        """The groups that a role is in besides its own."""
        rows = self.access.rows
        members = {
            name: rows[name].writers if name in SHARED_BY_WRITERS else rows[name].readers for name in self.groups
        }
        return [self.shared, *(self.groups[name] for name in self.groups if role in members[name])]


def declaration() -> Path:
    return Path(os.environ.get(ACCESS_VARIABLE) or CHECKOUT / "expectations" / "access.yaml")


def load() -> Accounts | None:
    """The accounts declared, or None where everything runs as the caller.

    Raises:
        UsageError: the declaration is wrong, or names what the operating system does not know.
    """
    path = declaration()
    access = parse_access(read_yaml(path), str(path))
    if not access.separates_users:
        return None
    return Accounts(
        access,
        {role: user_id(access.member(role).user, path) for role in ROLES},
        {role: group_id(access.member(role).group, path) for role in ROLES},
        {name: group_id(group, path) for name, group in access.groups.items()},
        group_id(access.shared_group, path),
    )


def user_id(account: Account, path: Path) -> int:
    try:
        number = account if isinstance(account, int) else pwd.getpwnam(str(account)).pw_uid
    except KeyError:
        raise UsageError(f"{path}: user {account!r} is unknown here; make it or give a number") from None
    if number <= 0:
        raise UsageError(f"{path}: user {account!r} cannot stand for a role: nothing is closed to root")
    return number


def group_id(account: Account, path: Path) -> int:
    try:
        return account if isinstance(account, int) else grp.getgrnam(str(account)).gr_gid
    except KeyError:
        raise UsageError(f"{path}: group {account!r} is unknown here; make it or give a number") from None
