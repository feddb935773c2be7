"""A declaration that names a user and groups for every role, by numbers that need no entry anywhere."""

from pathlib import Path

import yaml

CHECKOUT = Path(__file__).parents[2]
FIRST_USER, FIRST_GROUP = 61_001, 62_001
ROLES = ("steward", "trainer", "validator", "approver", "trader", "auditor")
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
