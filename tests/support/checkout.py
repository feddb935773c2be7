"""Another checkout of this program."""

import shutil
from pathlib import Path
from typing import Any

import yaml

from tests.support.command import CHECKOUT


def copied(folder: Path, problem: dict[str, Any]) -> Path:
    """A checkout that knows one problem."""
    for part in ("flows", "tasks", "expectations"):
        shutil.copytree(CHECKOUT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(CHECKOUT / "requirements.lock", folder)
    (folder / "problems").mkdir()
    (folder / "problems" / f"{problem['name']}.yaml").write_text(yaml.safe_dump(problem))
    return folder
