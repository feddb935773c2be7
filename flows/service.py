"""`countersign up`: Prefect and MLflow servers and the served deployments, until told to stop."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import httpx

from flows import servers
from tasks.domain.errors import CountersignError, UsageError
from tasks.home import write_whole

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
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    with ExitStack() as stack:
        started = start_all(stack, prefect_port, mlflow_port, secured)
        show(announce(stack, started))
        watch(started, stopping, draw)


def start_all(stack: ExitStack, prefect_port: int, mlflow_port: int, secured: bool) -> list[servers.Server]:
    """Servers first, then the worker that serves the deployments; each is stopped when the stack unwinds."""
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
    worker = servers.start_worker(started[0].url, started[1].url, secured)
    stack.callback(worker.stop)
    reconciler = servers.start_reconciler(started[0].url)
    stack.callback(reconciler.stop)
    return [*started, worker, reconciler]


def announce(stack: ExitStack, started: list[servers.Server]) -> dict[str, Any]:
    """Wait until the deployments are there, write where the servers are, and return it for the screen."""
    addresses: dict[str, Any] = {server.name: server.url for server in started[:2]} | {"pid": os.getpid()}
    served = wait_for_deployments(started)
    write_whole(servers.running_file(), json.dumps(addresses).encode())
    stack.callback(servers.running_file().unlink, missing_ok=True)
    return addresses | {"deployments": served}


def wait_for_deployments(started: list[servers.Server]) -> list[str]:
    """Names of the deployments once all of them are served."""
    prefect, _, worker, _ = started
    deadline = time.monotonic() + servers.START_SECONDS
    while time.monotonic() < deadline:
        if worker.process.poll() is not None:
            raise CountersignError(f"serving ended while starting; see {servers.log_path(worker.name)}")
        found = httpx.post(f"{prefect.url}/api/deployments/filter", json={}, timeout=10).json()
        if found and all(deployment["status"] == "READY" for deployment in found):
            return sorted(f"{deployment['entrypoint'].split(':')[-1]}/{deployment['name']}" for deployment in found)
        time.sleep(0.5)
    raise CountersignError(f"deployments were not served in time; see {servers.log_path(worker.name)}")


def watch(started: list[servers.Server], stopping: threading.Event, draw: Show) -> None:
    while not stopping.wait(ROUND_SECONDS):
        for server in started:
            if server.process.poll() is not None:
                raise CountersignError(f"{server.name} ended by itself; see {servers.log_path(server.name)}")
        draw(health(started))


def health(started: list[servers.Server]) -> dict[str, Any]:
    """Each server and whether it answers, and what the reconciler said last."""
    answers = {health: servers.healthy(health) for health in {server.health for server in started}}
    rows = [{"name": each.name, "url": each.url, "answers": answers[each.health]} for each in started]
    return {"servers": rows, "reconciler": servers.reconciled()}
