"""A declaration that names a user and groups for every role, by numbers that need no entry anywhere."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

CHECKOUT = Path(__file__).parents[2]
FIRST_USER, FIRST_GROUP = 61_001, 62_001
ROLES = ("steward", "trainer", "validator", "approver", "trader", "auditor")
NOBODY_ELSE = 61_999  # a user in none of the groups
Identity = dict[str, Any]
USERS = {role: FIRST_USER + number for number, role in enumerate(ROLES)}


def separated(folder: Path) -> Path:
    """Write the shipped declaration with numbers filled in; returns its path."""
    fields = yaml.safe_load((CHECKOUT / "expectations" / "access.yaml").read_text())
    fields["shared_group"] = FIRST_GROUP
    rows = [*fields["tables"].values(), *fields["shared"].values()]
    for number, row in enumerate((row for row in rows if "group" in row), start=1):
        row["group"] = FIRST_GROUP + number
    for role, user in USERS.items():
        fields["roles"][role] = {"user": user, "group": user}
    path = folder / "access.yaml"
    path.write_text(yaml.safe_dump(fields))
    return path


def cannot_separate() -> str | None:
    """Why users cannot be separated here, if they cannot."""
    if os.geteuid() != 0:
        return "only root can start processes as other users"
    command = [sys.executable, "-c", "import sys; print(sys.base_prefix)"]
    stranger: Identity = {"user": NOBODY_ELSE, "group": NOBODY_ELSE, "extra_groups": []}
    try:
        found = subprocess.run(command, **stranger, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        found = ""
    if found.strip() != sys.base_prefix:
        return f"other users cannot run {sys.executable} in {CHECKOUT}; use an interpreter and a checkout open to all"
    return None


def memberships(role: str) -> list[int]:
    from tasks import accounts

    who = accounts.load()
    assert who is not None
    return who.memberships(role)


def identity(role: str) -> Identity:
    """A role's user and groups, as `subprocess` takes them."""
    return {"user": USERS[role], "group": USERS[role], "extra_groups": memberships(role)}
