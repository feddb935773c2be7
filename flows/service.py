"""`countersign up`: Prefect and MLflow servers, the deployments and the workers of their pools, until told to stop;
`countersign worker`: the workers alone, for servers that run on another machine."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

from flows import pools, servers
from tasks import keys, logins
from tasks.domain import names
from tasks.domain.errors import CountersignError, UsageError
from tasks.home import KEYS_VARIABLE, write_whole

Show = Callable[[dict[str, Any]], None]
ROUND_SECONDS = 2


def up(prefect_port: int, mlflow_port: int, secured: bool, show: Show, draw: Show) -> None:
    """Start everything, show the addresses, draw how it is until Ctrl-C or SIGTERM, stop everything.

    Raises:
        UsageError: a port is in use, or another `up` runs on this state folder.
        CountersignError: a server did not start, or ended while it should run.
    """
    if (addresses := servers.running()) is not None:
        raise UsageError(f"already up: Prefect {addresses['prefect']}, MLflow {addresses['mlflow']}; use these")
    servers.require_free(prefect_port, "prefect")
    servers.require_free(mlflow_port, "mlflow")
    stopping = on_signal()
    with ExitStack() as stack:
        started = start_all(stack, prefect_port, mlflow_port, secured)
        show(announce(stack, started))
        watch(started, pools.elsewhere(), stopping, draw)


def work(roles: list[str], prefect_url: str, mlflow_url: str, show: Show, draw: Show) -> None:
    """Do the runs of some roles' pools, of servers that run elsewhere, until Ctrl-C or SIGTERM.

    Raises:
        UsageError: a role signs no stage, its key is not here, or a server does not answer.
        CountersignError: what works ended by itself.
    """
    prefect_url, mlflow_url = prefect_url.rstrip("/"), mlflow_url.rstrip("/")
    for role in roles:
        require_role(role)
    for name, health in (("Prefect", f"{prefect_url}/api/health"), ("MLflow", f"{mlflow_url}/health")):
        if not servers.healthy(health):
            raise UsageError(f"{name} {health}: does not answer; give the address at which it is reached from here")
    stopping = on_signal()
    with ExitStack() as stack:
        started = []
        reached = servers.reaching(prefect_url, mlflow_url, secured=True)
        known = logins.as_role({}, names.VALIDATOR) if logins.role_path(names.VALIDATOR).exists() else {}
        for server in start_workers(roles, reached, reached | known):
            stack.callback(server.stop)
            started.append(server)
        wait_for_worker(prefect_url, roles, started[0])
        show({"prefect": prefect_url, "mlflow": mlflow_url, "pools": roles})
        watch(started, [], stopping, draw)


def require_role(role: str) -> None:
    if role == pools.DESK or role not in pools.FLOWS:
        raise UsageError(
            f"{role!r}: signs no stage; expected some of {', '.join(sorted({*pools.FLOWS} - {pools.DESK}))}"
        )
    if not pools.is_here(role):
        raise UsageError(
            f"key {keys.path_of(role)}: is not here; put the {role}'s key there, or name its folder by {KEYS_VARIABLE}"
        )


def on_signal() -> threading.Event:
    """Set by Ctrl-C and SIGTERM."""
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    return stopping


def start_all(stack: ExitStack, prefect_port: int, mlflow_port: int, secured: bool) -> list[servers.Server]:
    """Servers first, then what works for them; each is stopped when the stack unwinds."""
    from tasks import evidence, ledger

    evidence.establish()
    ledger.make_tables(servers.database())  # before two processes try at once
    started = []
    for start in (lambda: servers.start_prefect(prefect_port), lambda: servers.start_mlflow(mlflow_port, secured)):
        server = start()
        stack.callback(server.stop)
        started.append(server)
    for server in started:
        servers.wait_until_healthy(server.name, server.health, server.process)
    here = pools.here()
    prefect, mlflow = (server.url for server in started)
    # What compares MLflow with what was signed asks its database, not a server in between.
    direct = servers.reaching(prefect, mlflow, secured=False)
    for server in start_workers(here, servers.reaching(prefect, mlflow, secured), direct):
        stack.callback(server.stop)
        started.append(server)
    return started


def start_workers(here: list[str], reached: Mapping[str, str], compared: Mapping[str, str]) -> Iterator[servers.Server]:
    """The worker of these pools and, beside the validator's, the reconciler: it signs with its key."""
    yield servers.start_worker(here, reached)
    if names.VALIDATOR in here:
        yield servers.start_reconciler(compared)


def announce(stack: ExitStack, started: list[servers.Server]) -> dict[str, Any]:
    """Declare the deployments, wait until they are served, write down where the servers are; returns it to show."""
    addresses: dict[str, Any] = {server.name: server.url for server in started[:2]} | {"pid": os.getpid()}
    served = servers.declare(started[0].url)
    wait_for_worker(started[0].url, pools.here(), started[2])
    write_whole(servers.running_file(), json.dumps(addresses).encode())
    stack.callback(servers.running_file().unlink, missing_ok=True)
    return addresses | {"deployments": served, "elsewhere": pools.elsewhere()}


def wait_for_worker(prefect_url: str, wanted: list[str], worker: servers.Server) -> None:
    """Wait until a worker polls all these pools."""
    deadline = time.monotonic() + servers.START_SECONDS
    while not all(servers.polled(prefect_url, pool) for pool in wanted):
        if worker.process.poll() is not None:
            raise CountersignError(f"serving ended while starting; see {servers.log_path(worker.name)}")
        if time.monotonic() > deadline:
            raise CountersignError(f"pools were not served in time; see {servers.log_path(worker.name)}")
        time.sleep(0.5)


def watch(started: list[servers.Server], others: list[str], stopping: threading.Event, draw: Show) -> None:
    while not stopping.wait(ROUND_SECONDS):
        for server in started:
            if server.process.poll() is not None:
                raise CountersignError(f"{server.name} ended by itself; see {servers.log_path(server.name)}")
        draw(health(started, others))


def health(started: list[servers.Server], others: list[str]) -> dict[str, Any]:
    """Each server and whether it answers, whether workers of other pools were heard of, and what the reconciler said
    last."""
    answers = {health: servers.healthy(health) for health in {server.health for server in started}}
    rows = [{"name": each.name, "url": each.url, "answers": answers[each.health]} for each in started]
    for pool in others:
        rows.append({"name": f"{pool}'s worker", "url": "elsewhere", "answers": servers.polled(started[0].url, pool)})
    return {"servers": rows, "reconciler": servers.reconciled()}
