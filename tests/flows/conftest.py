import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from flows import servers
from tasks import logins
from tasks.home import HOME_VARIABLE, tracking_uri
from tests.support.command import Countersign
from tests.support.forks import Forks, forks
from tests.support.market import market
from tests.support.secured import logged_in, secured


class History(NamedTuple):
    """A market with a signal: version 1 accepted and approved, then version 2 by force, accepted.

    From the approval on, MLflow was asked through a server that lets each role do its own alone."""

    countersign: Countersign
    problem: Path
    first: dict[str, Any]
    forced: dict[str, Any]


def approve(countersign: Countersign, model: str, role: str, code: int) -> str:
    """`countersign approve` with a role's key."""
    key = countersign.home / "keys" / f"{role}.pem"
    arguments = ("--role", "approver", "--key", key, "--comment", "read and understood")
    return countersign("approve", model, *arguments, code=code)


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory, prefect: str) -> History:
    """The first retrain runs with no server running."""
    folder = tmp_path_factory.mktemp("planted")
    problem = market(folder, "planted", signal=0.003)
    first = Countersign(folder / "state", fresh=True).json("retrain", problem)
    countersign = Countersign(folder / "state", prefect)
    with secured(countersign.home) as url:
        countersign("roles", "mlflow", "--url", url, "planted")
        served = {logins.SERVER: url}
        approve(replace(countersign, extra=served | logged_in("approver")), "planted/1", "approver", code=0)
        forced = replace(countersign, extra=served).json("retrain", problem, "--force")
    return History(countersign, problem, first, forced)


@pytest.fixture(scope="session")
def worthless(tmp_path_factory: pytest.TempPathFactory, prefect: str) -> tuple[Countersign, Path, dict[str, Any]]:
    """A market without a signal, retrained once."""
    folder = tmp_path_factory.mktemp("worthless")
    countersign, problem = Countersign(folder / "state", prefect), market(folder, "worthless", signal=0.0)
    return countersign, problem, countersign.json("retrain", problem)


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One real Prefect server for the tests that do not need to start their own; yields its API address."""
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


@pytest.fixture(scope="session")
def starter(tmp_path_factory: pytest.TempPathFactory, prefect: str) -> Iterator[Forks]:
    """Starts collections at once, each in a process of its own."""
    folder = tmp_path_factory.mktemp("forks")
    with forks(Countersign(folder / "state", prefect), folder) as started:
        yield started


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder that the test's own process looks into as well."""
    folder = tmp_path / "state"
    monkeypatch.setenv(HOME_VARIABLE, str(folder))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri(folder))
    return folder
