"""How the tests share the processes that run them (`make test`): files that share what is costly share a process."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
# What is made once for all files that say so: two markets, retrained; a browser's visit to all servers.
SHARED = {"history: History": "markets", "worthless": "markets", "service: Service": "service"}
# The longest first, so that no process works long while the others are done.
ROOMS = ("flows", "browser", "tasks", "domain")


@cache
def group(file: str) -> str:
    """The process that a file belongs to: a common one, or any."""
    text = (HERE.parent / file).read_text()
    return next((name for said, name in SHARED.items() if said in text), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Groups by file: pytest-xdist's own way, by marks, is without effect in pytest 9."""
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group(nodeid.partition("::")[0])

    return ByGroup(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: place(item.nodeid.partition("::")[0]))


def place(file: str) -> tuple[bool, int]:
    room = next((at for at, name in enumerate(ROOMS) if file.startswith(f"tests/{name}/")), len(ROOMS))
    return group(file) != "markets", room
