"""Where the lake lies, and what opens it: a local folder, or a URL with the credentials of the process's role."""

import json
import os
import stat
from pathlib import Path

from tasks.domain.errors import UsageError
from tasks.home import home, keys_folder

LAKE_VARIABLE = "COUNTERSIGN_LAKE"
ROLE_VARIABLE = "COUNTERSIGN_ROLE"
CLOUDS = ("AWS_", "AZURE_", "GOOGLE_")


def lake() -> str:
    """The lake's own place: a folder's absolute path, or an object store's URL."""
    named = os.environ.get(LAKE_VARIABLE) or str(home() / "lake")
    named = named.removeprefix("file://").rstrip("/")
    return named if is_url(named) else str(Path(named).resolve())


def is_url(place: str) -> bool:
    return "://" in place


def table(problem: str, name: str) -> str:
    return f"{lake()}/{problem}/{name}"


def options(place: str) -> dict[str, str]:
    """Storage options for a place: those of the process's role if it has some, else the environment's own.

    Raises:
        UsageError: the role's file is not what it must be.
    """
    if not is_url(place):
        return {}
    role = os.environ.get(ROLE_VARIABLE)
    path = keys_folder() / f"{role}.lake.json"
    if role and path.exists():
        return credentials(path)
    return {name.lower(): value for name, value in os.environ.items() if name.startswith(CLOUDS)}


def credentials(path: Path, what: str = "storage options") -> dict[str, str]:
    """What opens a door to a role: one JSON object of texts, in a file that its owner alone can read."""
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise UsageError(f"{path}: others than its owner can read it; chmod 600 {path}")
        found = json.loads(path.read_text())
    except OSError as fault:
        raise UsageError(f"{path}: cannot be read ({fault.strerror}); it belongs to another role's user") from None
    except ValueError:
        raise UsageError(f"{path}: expected one JSON object of {what}") from None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise UsageError(f"{path}: expected one JSON object of {what}, each value a text")
    return found
