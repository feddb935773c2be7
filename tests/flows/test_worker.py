"""A role's worker on a machine of its own: what the others may ask of it, and that only its machine can sign.

Here both machines are this one: another checkout, another folder of keys, and, where users can be separated, another
user. They share the state folder, as machines do by a network's file system, and the addresses of the servers.
"""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil
import pytest
import yaml

from flows.servers import free_port
from tasks import logins
from tasks.domain import names
from tasks.home import HOME_VARIABLE, KEYS_VARIABLE, exclusive
from tests.support.accounts import USERS, cannot_separate, identity, separated
from tests.support.checkout import copied
from tests.support.command import Countersign
from tests.support.market import market
from tests.support.patience import eventually

# The servers, a provisioning, two runs of the chain, waits for Prefect, beside other tests.
pytestmark = pytest.mark.timeout(1200)
LONG = 300
REASON = cannot_separate()


class Desk(NamedTuple):
    """Where `up` runs, without the validator's key; `theirs`: the other machine's checkout and keys."""

    countersign: Countersign
    prefect: str
    theirs: Path
    retrained: dict[str, Any]

    def ask(self, path: str, content: dict[str, Any]) -> Any:
        """A question to Prefect, asked again while its database is busy, as its own clients do."""
        deadline = time.monotonic() + LONG
        while True:
            answer = httpx.post(f"{self.prefect}/api/{path}", json=content, timeout=60)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
                return answer.raise_for_status().json()
            time.sleep(1)

    def run(self, deployment: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """A run that somebody starts by Prefect's own interface; how it ended."""
        flow, name = deployment.split("/")
        found = httpx.get(f"{self.prefect}/api/deployments/name/{flow}/{name}", timeout=60).raise_for_status().json()
        asked = {"parameters": parameters, "state": {"type": "SCHEDULED"}, "enforce_parameter_schema": False}
        run = self.ask(f"deployments/{found['id']}/create_flow_run", asked)["id"]
        deadline = time.monotonic() + LONG
        while time.monotonic() < deadline:
            told = httpx.get(f"{self.prefect}/api/flow_runs/{run}", timeout=60).raise_for_status().json()
            if told["state_type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
                return dict(told)
            time.sleep(1)
        raise AssertionError(f"{deployment} did not end: {told['state']}")


def listed(countersign: Countersign, theirs: Path) -> Path:
    """Make keys at both places, and the list of whose they are."""
    here = countersign.home / "keys"
    made = {role: here / f"{role}.pem" for role in ("steward", "trainer", "approver")}
    made["validator"] = theirs / "keys" / "validator.pem"
    people = []
    for role, path in made.items():
        public = countersign("roles", "key", path).split()[-1]
        people.append({"name": f"{role}-one", "roles": [{"role": role}], "keys": [{"public": public}]})
    file = countersign.home.parent / "roles.yaml"
    file.write_text(yaml.safe_dump({"people": people}))
    return file


def ended(process: "subprocess.Popen[str]") -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    folder = Path(tempfile.mkdtemp(prefix="countersign-worker-"))
    folder.chmod(0o755)
    running: list[subprocess.Popen[str]] = []
    patch = pytest.MonkeyPatch()
    try:
        fields = yaml.safe_load(market(folder, "planted", signal=0.004).read_text())
        ours, theirs = copied(folder / "ours", fields), folder / "theirs"
        copied(theirs / "checkout", fields)
        extra = {"COUNTERSIGN_ROLES": str(folder / "roles.yaml")}
        countersign = Countersign(folder / "state", extra=extra, checkout=ours, fresh=True)
        listed(countersign, theirs)
        if REASON is None:
            patch.setenv("COUNTERSIGN_ACCESS", str(separated(folder)))
            countersign("access", "apply")
        ports = free_port(), free_port()
        refused = countersign("roles", "sync", code=2)
        assert "or take it away where the validator works on another machine" in " ".join(refused.split())
        for left in (countersign.home / "keys").glob("validator.*"):
            left.unlink()
        countersign("roles", "sync")
        running.append(
            countersign.start("up", "--secured", "--prefect-port", ports[0], "--mlflow-port", ports[1], "--json")
        )
        assert running[0].stdout is not None
        up = json.loads(running[0].stdout.readline())
        assert up["elsewhere"] == ["validator"]
        countersign("roles", "mlflow", "--url", up["mlflow"], "planted")
        running.append(worker(countersign, theirs, up))
        served = Countersign(countersign.home, extra=extra | {logins.SERVER: up["mlflow"]}, checkout=ours, fresh=True)
        retrained = served.json("retrain", "planted")
        yield Desk(served, up["prefect"], theirs, retrained)
        for process in reversed(running):
            ended(process)
    finally:
        for process in running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        patch.undo()
        shutil.rmtree(folder)


def worker(countersign: Countersign, theirs: Path, up: dict[str, Any]) -> "subprocess.Popen[str]":
    """The other machine: it gets the owner's public key and its own login, and works as the validator's user."""
    keys = theirs / "keys"
    shutil.copy(countersign.home / "keys" / "owner.pub", keys)
    (countersign.home / "keys" / "validator.mlflow.json").rename(keys / "validator.mlflow.json")
    who = {} if REASON else identity("validator")
    if who:
        for path in (keys, *keys.iterdir()):
            os.chown(path, who["user"], who["group"])
    environment = countersign.environment | {KEYS_VARIABLE: str(keys), HOME_VARIABLE: str(countersign.home)}
    servers = ("--prefect", up["prefect"], "--mlflow", up["mlflow"])
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "worker", "validator", *servers, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=theirs / "checkout",
        env=environment | ({"HOME": str(keys)} if who else {}),
        start_new_session=True,
        **who,
    )
    assert process.stdout is not None
    said = process.stdout.readline()
    assert said, process.communicate()
    assert json.loads(said)["pools"] == ["validator"]
    return process


def test_what_the_validator_signs_is_done_where_its_key_is(desk: Desk) -> None:
    verdict = desk.retrained["verdict"]
    assert verdict["accepted"], verdict["summary"]
    assert not list((desk.countersign.home / "keys").glob("validator.*"))
    ran = {run["name"]: run for run in desk.ask("flow_runs/filter", {})}
    flows = {flow["id"]: flow["name"] for flow in desk.ask("flows/filter", {})}
    by = {flows[run["flow_id"]]: run["work_pool_name"] for run in ran.values() if run["state_type"] == "COMPLETED"}
    assert by == {"retrain": None, "collect": None, "train": None} | dict.fromkeys(
        ("validate", "backtest", "promote"), "validator"
    )
    assert desk.countersign.json("history", "planted")["events"]


def test_it_all_verifies_and_waits_for_the_approver(desk: Desk) -> None:
    told = json.loads((desk.countersign.home / "keys" / "people" / "approver-one.mlflow.json").read_text())
    logged_in = {logins.USERNAME: told["username"], logins.PASSWORD: told["password"]}
    verified = replace(desk.countersign, extra=dict(desk.countersign.extra) | logged_in).json("verify", "planted/1")
    assert verified["faults"] == []
    assert "waits for 1 of 1 approvals" in verified["standing"]


@pytest.mark.skipif(REASON is not None, reason=REASON or "")
def test_each_role_s_files_are_its_user_s(desk: Desk) -> None:
    for stage in names.STAGES:
        folder = desk.countersign.home / "artifacts" / "planted" / stage
        found = {path.stat().st_uid for path in folder.rglob("*")}
        assert found == {USERS[names.SIGNERS[stage]]}, stage


def test_a_run_that_somebody_cancels_ends_with_all_it_started(desk: Desk) -> None:
    path = f"{desk.prefect}/api/deployments/name/retrain/planted"
    deployment = httpx.get(path, timeout=60).raise_for_status().json()["id"]
    asked = {"parameters": {"problem": "planted", "force": True}, "state": {"type": "SCHEDULED"}}
    run = desk.ask(f"deployments/{deployment}/create_flow_run", asked)["id"]

    def state() -> str:
        return str(httpx.get(f"{desk.prefect}/api/flow_runs/{run}", timeout=60).raise_for_status().json()["state_type"])

    eventually(state, "RUNNING", LONG)
    desk.ask(f"flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})
    eventually(state, "CANCELLED", LONG)
    eventually(lambda: stages(desk.countersign.home), [], LONG)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME_VARIABLE, str(desk.countersign.home))
        with exclusive("planted", wait=True):  # held until the last of its processes is gone
            pass


def stages(home: Path) -> list[str]:
    """Processes of flows that work on a state folder."""
    found = [each.info for each in psutil.process_iter(["cmdline", "environ"])]
    ours = [each for each in found if (each["environ"] or {}).get(HOME_VARIABLE) == str(home)]
    started = [["-m", "flows.process"], ["-m", "flows.nursery"]]
    return [each["cmdline"][3] for each in ours if each["cmdline"][1:3] in started]


def test_who_owns_prefect_can_ask_for_work_but_not_say_what_it_is(desk: Desk, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    code = f"open({str(mark)!r}, 'w').close()"
    evil = tmp_path / "evil.py"
    evil.write_text(f"from prefect import flow\n{code}\n\n\n@flow\ndef validate(model: str):\n    {code}\n")
    tmp_path.chmod(0o755)
    variables = {"command": f"touch {mark}", "env": {"PYTHONSTARTUP": str(evil), "PYTHONPATH": str(tmp_path)}}
    template = {
        "job_configuration": {"command": "{{ command }}", "env": "{{ env }}"},
        "variables": {"type": "object", "properties": {"command": {"type": "string"}, "env": {"type": "object"}}},
    }
    with sqlite3.connect(desk.countersign.home / "prefect" / "prefect.db", timeout=60) as database:
        database.execute("UPDATE work_pool SET base_job_template = ?", [json.dumps(template)])
        steps = [{"prefect.deployments.steps.run_shell_script": {"script": f"touch {mark}"}}]
        changed = ("entrypoint", "path", "pull_steps", "infra_overrides")
        values = [f"{evil}:validate", str(tmp_path), json.dumps(steps), json.dumps(variables)]
        database.execute(f"UPDATE deployment SET {', '.join(f'{each} = ?' for each in changed)}", values)
    time.sleep(20)  # the worker hears of the pool with its heartbeat
    run = desk.run("validate/any", {"model": "planted/1"})
    assert run["state_type"] == "COMPLETED", run["state"]
    assert not mark.exists()


def test_a_pool_does_its_own_flows_only(desk: Desk) -> None:
    with sqlite3.connect(desk.countersign.home / "prefect" / "prefect.db", timeout=60) as database:
        [[theirs]] = database.execute(
            "SELECT q.id FROM work_queue q JOIN work_pool p ON p.id = q.work_pool_id WHERE p.name = 'validator'"
        )
        database.execute("UPDATE deployment SET work_queue_id = ? WHERE name = 'planted'", [theirs])
    run = desk.run("train/planted", {"problem": "planted"})
    assert run["state_type"] == "CRASHED"
    assert "train: is not done in pool validator" in run["state"]["message"]
