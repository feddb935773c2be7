"""Logins to an MLflow server that asks who is there: made here, kept in files that their owner alone can read, and
handed to a process by its environment.

A login is never printed, logged or put on a command line: whoever has it can do what its user may.
"""

import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tasks.domain import names
from tasks.domain.errors import UsageError
from tasks.home import as_json, home, keys_folder, write_whole
from tasks.places import ROLE_VARIABLE, credentials

SERVER, USERNAME, PASSWORD = "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
# What MLflow's client would log in with besides.
OTHERS = ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_AUTH")
ADMIN = "mlflow-admin"
PASSWORD_BYTES = 24  # 32 characters
REFUSED = ("PERMISSION_DENIED", "UNAUTHENTICATED")


@dataclass(frozen=True)
class Login:
    """A user of the MLflow server."""

    username: str
    password: str = field(repr=False)


def role_path(role: str) -> Path:
    return keys_folder() / f"{role}.mlflow.json"


def person_path(name: str) -> Path:
    return keys_folder() / "people" / f"{name}.mlflow.json"


def admin_path() -> Path:
    return keys_folder() / f"{ADMIN}.json"


def database_path() -> Path:
    """The server's own database of users and their permissions."""
    return home() / "mlflow-auth.db"


def settings_path() -> Path:
    """What the server is told about logins when it starts."""
    return home() / "mlflow-auth.ini"


def private_paths() -> list[Path]:
    """What nobody but the server's and the stages' starter may read."""
    fixed = (admin_path(), database_path(), settings_path())
    return [path for path in (*fixed, *sorted(person_path("*").parent.glob("*.mlflow.json"))) if path.exists()]


def read(path: Path) -> Login:
    """A login from its file.

    Raises:
        UsageError: the file is not there, can be read by others, or is not what it must be.
    """
    if not path.exists():
        raise UsageError(f"{path}: is not there; `countersign up --secured`, then `countersign roles mlflow` make it")
    found = credentials(path, "a login")
    if set(found) != {"username", "password"}:
        raise UsageError(f"{path}: expected a login: username and password")
    return Login(**found)


def ensure(path: Path, username: str) -> Login:
    """The login in a file; one with a random password where there is none yet."""
    if not path.exists():
        made = Login(username, secrets.token_urlsafe(PASSWORD_BYTES))
        write_whole(path, as_json(asdict(made)), mode=stat.S_IRUSR | stat.S_IWUSR)
    return read(path)


def at_server(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether MLflow is reached through a server, not by its database."""
    return environment.get(SERVER, "").startswith(("http://", "https://"))


def as_role(environment: Mapping[str, str], role: str) -> dict[str, str]:
    """An environment that logs in as a role's user, and as nobody else."""
    login = read(role_path(role))
    kept = {name: value for name, value in environment.items() if name not in OTHERS}
    return kept | {USERNAME: login.username, PASSWORD: login.password}


def own_role() -> str | None:
    """The role whose stage this process runs and that it is logged in as; None where it is none, or nobody is asked."""
    own = os.environ.get(ROLE_VARIABLE)
    return own if at_server() and own and os.environ.get(USERNAME) == own else None


def at_hand() -> list[str]:
    """The roles as which this process may act: its own, else all whose logins lie here; none where nobody is asked."""
    if own := own_role():
        return [own]
    return [role for role in dict.fromkeys(names.SIGNERS.values()) if at_server() and role_path(role).exists()]


@contextmanager
def acting_as(role: str) -> Iterator[None]:
    """This process's own requests to MLflow are a role's while the block runs. For a process that is logged in as that
    role anyway, or hands out the logins of all."""
    if own_role() == role:
        yield
        return
    variables = (USERNAME, PASSWORD, *OTHERS)
    before = {name: os.environ.get(name) for name in variables}
    wanted = as_role(os.environ, role)
    put({name: wanted.get(name) for name in variables})
    try:
        yield
    finally:
        put(before)


@contextmanager
def reading() -> Iterator[None]:
    """This process reads MLflow while the block runs: where it is a server that asks who is there, as any role whose
    login lies here, for each may read everything."""
    reader = next(iter(at_hand()), None)
    if reader is None:
        yield
        return
    with acting_as(reader):
        yield


def put(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def refusal(fault: Exception) -> str | None:
    """What MLflow said if it refused somebody what they asked for, in one line; None for any other fault."""
    if getattr(fault, "error_code", None) not in REFUSED:
        return None
    who = os.environ.get(USERNAME, "a caller without a login")
    said = " ".join(str(fault).split())[:300]
    return f"MLflow refused {who}: {said}; `countersign roles permissions` says who may do what"
