"""A real MLflow server that asks who is there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows import servers
from tasks import logins
from tasks.home import HOME_VARIABLE


@contextmanager
def secured(home: Path) -> Iterator[str]:
    """Such a server on a state folder, which the test's own process looks into as well; yields its address."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME_VARIABLE, str(home))
        patch.delenv(logins.SERVER, raising=False)
        server = servers.start_mlflow(servers.free_port(), secured=True)
        try:
            servers.wait_until_healthy(server.name, server.health, server.process)
            yield server.url
        finally:
            server.stop()


def logged_in(role: str) -> dict[str, str]:
    """What somebody who uses a role's login puts into their environment."""
    login = logins.read(logins.role_path(role))
    return {logins.USERNAME: login.username, logins.PASSWORD: login.password}
