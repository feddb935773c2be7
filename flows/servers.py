"""The Prefect and MLflow servers: found if they run, started where they are needed, stopped with their starter."""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from tasks import logins
from tasks.domain import names
from tasks.domain.errors import CountersignError, UsageError
from tasks.domain.permissions import NONE
from tasks.home import (
    CHECKOUT,
    MLFLOW_PAGES,
    ROLE_FOLDERS,
    home,
    logs_folder,
    records,
    tracking_uri,
    write_whole,
)

HOST = "127.0.0.1"
START_SECONDS = 120
# Checking a password is made slow on purpose; with one worker, a change of it still counts at once.
REMEMBER_SECONDS = 60
RECONCILED = "reconciler.json"


class Server(NamedTuple):
    """A server of ours: `process` guards it and ends it when its standard input closes."""

    name: str
    url: str
    health: str
    process: "subprocess.Popen[bytes]"

    def stop(self) -> None:
        if self.process.stdin:
            self.process.stdin.close()
        self.process.wait(timeout=30)


def running_file() -> Path:
    """Written by `countersign up`: the addresses of its servers."""
    return home() / "up.json"


def running() -> dict[str, str] | None:
    """Addresses of the servers that `up` runs, if it does and they answer."""
    try:
        addresses = json.loads(running_file().read_text())
    except (OSError, ValueError):
        return None
    return addresses if healthy(addresses["prefect"] + "/api/health") else None


def healthy(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def wait_until_healthy(name: str, url: str, process: "subprocess.Popen[bytes] | None" = None) -> None:
    """Wait for a server to answer.

    Raises:
        CountersignError: it ended, or did not answer in time.
    """
    deadline = time.monotonic() + START_SECONDS
    while not healthy(url):
        if process is not None and process.poll() is not None:
            raise CountersignError(f"{name} server ended while starting; see {log_path(name)}")
        if time.monotonic() > deadline:
            raise CountersignError(f"{name} server did not answer within {START_SECONDS} s; see {log_path(name)}")
        time.sleep(0.1)


def log_path(name: str) -> Path:
    return logs_folder() / f"{name}.log"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def require_free(port: int, name: str) -> None:
    """Raises UsageError if somebody listens on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise UsageError(
                f"port {port}: in use, so the {name} server cannot start; stop its user or give --{name}-port"
            ) from None


def start(name: str, command: list[str], url: str, health: str, extra: dict[str, str]) -> Server:
    log_path(name).parent.mkdir(parents=True, exist_ok=True)
    with log_path(name).open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.guard", sys.executable, "-m", *command],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=os.environ | extra,
            cwd=CHECKOUT,
        )
    return Server(name, url, url + health, process)


def start_prefect(port: int) -> Server:
    url = f"http://{HOST}:{port}"
    app = ["uvicorn", "prefect.server.api.server:create_app", "--factory", "--log-level", "warning"]
    extra = {"PREFECT_API_URL": url + "/api", "PREFECT_SERVER_API_PORT": str(port), "PREFECT_LOGGING_LEVEL": "WARNING"}
    return start("prefect", [*app, "--host", HOST, "--port", str(port)], url, "/api/health", extra)


def start_mlflow(port: int, secured: bool = False) -> Server:
    """MLflow's pages; `secured`: it asks who is there, and lets them do only what they were granted."""
    url = f"http://{HOST}:{port}"
    command = ["mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    command += ["--artifacts-destination", str(home() / "artifacts")]
    # By the environment: a command line can be read by every user, and the address may hold a password.
    extra = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_BACKEND_STORE_URI": database()}
    if secured:
        command += ["--app-name", "basic-auth"]
        extra |= lock()
    return start("mlflow", command, url, "/health", extra)


def database() -> str:
    """Where a server of ours keeps MLflow's records, also where the environment leads to the server itself."""
    return records(home()) if logins.at_server() else tracking_uri(home())


def lock() -> dict[str, str]:
    """What a secured server needs: files that its user alone can read, and secrets in its environment alone."""
    admin, users = logins.ensure(logins.admin_path(), logins.ADMIN), logins.database_path()
    users.touch(mode=0o600)
    settings = {
        "default_permission": NONE,
        "database_uri": f"sqlite:///{users}".replace("%", "%%"),
        "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
        "auth_cache_ttl_seconds": REMEMBER_SECONDS,
    }
    lines = ["[mlflow]", *(f"{name} = {value}" for name, value in settings.items()), ""]
    write_whole(logins.settings_path(), "\n".join(lines).encode(), mode=0o600)
    return {
        "MLFLOW_AUTH_CONFIG_PATH": str(logins.settings_path()),
        "MLFLOW_AUTH_ADMIN_USERNAME": admin.username,
        "MLFLOW_AUTH_ADMIN_PASSWORD": admin.password,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_urlsafe(32),
    }


def reaching(prefect_url: str, mlflow_url: str, secured: bool) -> dict[str, str]:
    """The environment of what works for the servers: MLflow is reached through its server where that is `secured`, or
    else by its database."""
    found = {"PREFECT_API_URL": prefect_url + "/api", MLFLOW_PAGES: mlflow_url}
    return found | ({logins.SERVER: mlflow_url} if secured else {})


def start_worker(pools: Sequence[str], reached: Mapping[str, str]) -> Server:
    """The process that does the pools' runs; it has no page of its own, so its health is the server's."""
    # People wait for what they started, and Prefect waits 10 s by itself. Each look is a write to Prefect's database;
    # where that is SQLite, too many of them make it answer others that it is busy.
    extra = dict(reached) | {"PREFECT_WORKER_QUERY_SECONDS": "5", "PREFECT_WORKER_HEARTBEAT_SECONDS": "15"}
    return start(
        "worker", ["flows.worker", *pools], reached["PREFECT_API_URL"].removesuffix("/api"), "/api/health", extra
    )


def start_reconciler(reached: Mapping[str, str]) -> Server:
    url = reached["PREFECT_API_URL"].removesuffix("/api")
    return start("reconciler", ["flows.reconciler"], url, "/api/health", dict(reached))


def declare(prefect_url: str) -> list[str]:
    """Tell a Prefect server all pools and deployments; in a process of its own, for it imports every flow.

    Raises:
        CountersignError: that failed.
    """
    with log_path("deployments").open("ab") as log:
        done = subprocess.run(
            [sys.executable, "-m", "flows.deployments"],
            stdout=subprocess.PIPE,
            stderr=log,
            env=os.environ | {"PREFECT_API_URL": prefect_url + "/api"},
            cwd=CHECKOUT,
            check=False,
        )
    if done.returncode:
        raise CountersignError(f"the deployments could not be declared; see {log_path('deployments')}")
    return list(json.loads(done.stdout.splitlines()[-1]))


def polled(prefect_url: str, pool: str) -> bool:
    """Whether a worker of the pool was heard of lately."""
    try:
        found = httpx.post(f"{prefect_url}/api/work_pools/{pool}/workers/filter", json={}, timeout=10)
    except httpx.HTTPError:
        return False
    return found.status_code == 200 and any(worker["status"] == "ONLINE" for worker in found.json())


def reconciled() -> dict[str, Any]:
    """What the reconciler said last: when, which versions wait for people, what differs; empty before that."""
    told = [dict(json.loads(path.read_bytes())) for path in reconciler_files() if path.exists()]
    return max(told, key=lambda each: str(each["at"]), default={})


def reconciler_file() -> Path:
    return logs_folder() / RECONCILED


def reconciler_files() -> list[Path]:
    """Wherever a reconciler of this state folder may have told what it saw."""
    return [home() / "logs" / RECONCILED, home() / ROLE_FOLDERS / names.VALIDATOR / "logs" / RECONCILED]


@contextmanager
def prefect_api() -> Iterator[None]:
    """A real Prefect server for the block, its address in PREFECT_API_URL: the one named there, the one that `up`
    runs, or one of our own on a free port that may still be starting (processes of ours wait for it).

    Prefect's ephemeral server is never used: it can lose task records at exit.
    """
    if os.environ.get("PREFECT_API_URL"):
        yield
        return
    if (addresses := running()) is not None:
        os.environ["PREFECT_API_URL"] = addresses["prefect"] + "/api"
        os.environ[MLFLOW_PAGES] = addresses["mlflow"]
        yield
        return
    server = start_prefect(free_port())
    os.environ["PREFECT_API_URL"] = server.url + "/api"
    try:
        yield
    finally:
        del os.environ["PREFECT_API_URL"]
        server.stop()
