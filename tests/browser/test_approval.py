"""A person retrains by Prefect's form, sees the version wait for approval, though the servers are killed meanwhile,
signs, and finds the champion in MLflow and the report on the disk."""

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import httpx
import pytest
import yaml
from playwright.sync_api import Browser, Page, expect
from prefect.client.orchestration import get_client
from prefect.client.schemas.responses import SetStateStatus
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.servers import free_port
from tests.browser.conftest import RUN_MS, Shoot, wait_for_end, working_on
from tests.support.checkout import copied
from tests.support.command import Countersign
from tests.support.market import market
from tests.support.patience import eventually

# Two starts of all servers, a whole retrain, and four waits for Prefect's worker, beside other tests.
pytestmark = pytest.mark.timeout(1500)
NAMED = "planted"
LONG = 300  # seconds that Prefect's worker may take to pick a run up on a busy machine


class Room(NamedTuple):
    """A checkout whose only problem has a signal to find, its servers' ports, and what `up` runs as."""

    countersign: Countersign
    ports: tuple[int, int]

    @property
    def prefect(self) -> str:
        return f"http://127.0.0.1:{self.ports[0]}"

    @property
    def mlflow(self) -> str:
        return f"http://127.0.0.1:{self.ports[1]}"

    def up(self) -> Any:
        """Start `countersign up` and wait until it says that all is served."""
        process = self.countersign.start(
            "up", "--prefect-port", self.ports[0], "--mlflow-port", self.ports[1], "--json"
        )
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said, process.communicate()
        assert "approval/any" in json.loads(said)["deployments"]
        return process

    def waits(self) -> list[dict[str, Any]]:
        found = httpx.post(f"{self.prefect}/api/flow_runs/filter", json={}, timeout=30).raise_for_status().json()
        return [run for run in found if run["name"] == f"wait-{NAMED}-1"]


@pytest.fixture(scope="module")
def room(page: Page, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    folder = tmp_path_factory.mktemp("room")
    fields = yaml.safe_load(market(folder, NAMED, signal=0.004).read_text())
    checkout = copied(folder / "checkout", fields)
    made = Room(Countersign(folder / "state", checkout=checkout), (free_port(), free_port()))
    process = made.up()
    try:
        retrain_by_form(page, made)
        eventually(lambda: [run["state_name"] for run in made.waits()], ["Suspended"], seconds=LONG)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        wait_for_end(made.countersign.home, seconds=30)
        process = made.up()
        yield made
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    finally:
        for left in working_on(made.countersign.home):
            left.kill()


def retrain_by_form(page: Page, room: Room) -> None:
    page.goto(f"{room.prefect}/deployments")
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name="retrain", exact=True))
    row.get_by_role("link", name=NAMED).click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("link", name="Custom run").click()
    page.get_by_role("textbox").first.fill("by-hand")
    page.get_by_role("button", name="Submit").click()
    page.get_by_role("link", name="by-hand").click()
    expect(page.get_by_role("banner")).to_contain_text(re.compile("Completed|Failed|Crashed"), timeout=RUN_MS)
    expect(page.get_by_role("banner")).to_contain_text("Completed")


def test_the_wait_outlives_the_servers_and_an_unsigned_answer_ends_nothing(
    room: Room, page: Page, shoot: Shoot
) -> None:
    [run] = room.waits()
    assert run["state_name"] == "Suspended"
    page.goto(f"{room.prefect}/runs/flow-run/{run['id']}")
    page.get_by_role("button", name="Resume").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("waits for 1 of 1 approvals")).to_be_visible()
    expect(dialog.get_by_text("Why it passed")).to_be_visible()
    shoot(page, "prefect-approval")
    answer = {"decision": "I have signed", "person": "mallory", "comment": "trust me"}
    # Prefect's own client asks again where its server's database was busy.
    with temporary_settings({PREFECT_API_URL: f"{room.prefect}/api"}), get_client(sync_client=True) as api:
        assert api.resume_flow_run(UUID(run["id"]), run_input=answer).status == SetStateStatus.ACCEPT
    eventually(
        lambda: room.waits()[0]["state_id"] != run["state_id"] and room.waits()[0]["state_name"], "Suspended", LONG
    )
    assert "waits for 1 of 1" in room.countersign.json("verify", f"{NAMED}/1")["standing"]


def test_a_signature_makes_it_champion_and_ends_the_wait(room: Room, page: Page, shoot: Shoot) -> None:
    key = room.countersign.home / "keys" / "approver.pem"
    arguments = ("--role", "approver", "--key", key, "--comment", "read and understood")
    signed = room.countersign.json("approve", f"{NAMED}/1", *arguments)
    assert signed["champion"] == 1
    eventually(lambda: room.waits()[0]["state_name"], "Completed", seconds=LONG)
    page.goto(f"{room.mlflow}/#/models")
    page.get_by_role("link", name=f"{NAMED}.live", exact=True).click()
    expect(page.get_by_text("@ champion")).to_be_visible()
    shoot(page, "mlflow-champion")


def test_the_report_can_be_read(room: Room, browser: Browser) -> None:
    told = room.countersign.json("report", f"{NAMED}/1")
    page = browser.new_page()
    page.goto(Path(told["page"]).as_uri())
    expect(page.locator(".badge")).to_contain_text("ACCEPTED")
    expect(page.get_by_role("heading", name="What would hurt it")).to_be_visible()
    page.close()
