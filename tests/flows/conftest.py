from collections.abc import Iterator
from pathlib import Path

import pytest

from flows import servers
from tests.support.command import Countersign


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One real Prefect server for the tests that do not need to start their own; yields its API address."""
    import os

    folder = tmp_path_factory.mktemp("prefect")
    changed = {"COUNTERSIGN_HOME": str(folder), "PREFECT_HOME": str(folder / "prefect")}
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        server = servers.start_prefect(servers.free_port())
        servers.wait_until_healthy(server.name, server.health, server.process)
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    yield server.url + "/api"
    server.stop()


@pytest.fixture
def countersign(tmp_path: Path, prefect: str) -> Countersign:
    return Countersign(tmp_path / "state", prefect)
