"""How the tests share the processes that run them (`make test`): who shares a fixture shares a process."""

import pytest

MARKETS = {"history", "worthless"}  # retrained once, for all files that look at them
ROOMS = (
    "flows",
    "browser",
    "tasks",
    "domain",
)  # the longest first, so that no process works long while others are done


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    by_file: dict[str, str] = {}
    for item in items:
        file = item.nodeid.partition("::")[0]
        if MARKETS & set(getattr(item, "fixturenames", ())):
            by_file[file] = "markets"
        elif "service" in getattr(item, "fixturenames", ()):
            by_file[file] = "service"
    for item in items:
        file = item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(by_file.get(file, file)))
    items.sort(key=lambda item: place(item, by_file))


def place(item: pytest.Item, by_file: dict[str, str]) -> tuple[bool, int]:
    file = item.nodeid.partition("::")[0]
    room = next((at for at, name in enumerate(ROOMS) if file.startswith(f"tests/{name}/")), len(ROOMS))
    return by_file.get(file) != "markets", room
