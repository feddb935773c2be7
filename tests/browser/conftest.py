"""A real `countersign up`, a real Chromium, and one retrain started by hand through Prefect's form."""

import json
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil
import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from flows.servers import free_port
from tests.support.command import Countersign

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
QUIET = ("no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking")
# Without a GPU the graph on a run's page would keep one core busy that the run itself needs.
QUIETER = ("disable-component-update", "disable-sync", "disable-3d-apis")
HERE = "http://127.0.0.1:"
# MLflow greets a new browser with a dialog and a chat panel; these say that both were seen.
SEEN = ("_mlflow_model_registry_promo_modal_dismissed_v1", "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1")
WAIT_MS, RUN_MS = 30_000, 500_000

TYPED = {"problem": "sp500_alpha", "as_of": "2015-12-31", "data": None, "force": True, "families": None, "trials": None}

Shoot = Callable[..., None]


class Service(NamedTuple):
    """What `countersign up` said, and the command line on the same state folder."""

    prefect: str
    mlflow: str
    deployments: list[str]
    countersign: Countersign

    def ask(self, path: str, content: dict[str, Any]) -> Any:
        """A question to Prefect's API."""
        return httpx.post(f"{self.prefect}/api/{path}", json=content, timeout=WAIT_MS / 1000).raise_for_status().json()


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(CHROMIUM)} is installed")
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        arguments = [f"--{name}" for name in QUIET + QUIETER]
        started = playwright.chromium.launch(executable_path=program, args=arguments)
        yield started
        started.close()


@pytest.fixture(scope="package")
def service(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """`countersign up` on a fresh state folder, ended as by Ctrl-C, with nothing left behind."""
    countersign = Countersign(tmp_path_factory.mktemp("up") / "state")
    process = countersign.start("up", "--prefect-port", free_port(), "--mlflow-port", free_port(), "--json")
    assert process.stdout is not None
    try:
        said = process.stdout.readline()
        assert said, process.communicate()
        up = json.loads(said)
        yield Service(up["prefect"], up["mlflow"], up["deployments"], countersign)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert wait_for_end(countersign.home) == []
    finally:
        for left in working_on(countersign.home):
            left.kill()


def wait_for_end(folder: Path, seconds: float = 10) -> list[psutil.Process]:
    """Processes that still work on a state folder after a while."""
    _, alive = psutil.wait_procs(working_on(folder), timeout=seconds)
    return alive


def working_on(folder: Path) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if home_of(process) == str(folder)]


def home_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get("COUNTERSIGN_HOME")
    except psutil.Error:
        return None


@pytest.fixture(scope="package")
def page(browser: Browser) -> Iterator[Page]:
    """A page of a new visitor who reaches nothing but this machine."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    context.set_default_timeout(WAIT_MS)
    context.route(lambda url: not url.startswith(HERE), lambda route: route.abort())
    context.add_init_script("".join(f"localStorage.setItem('{name}', 'true');" for name in SEEN))
    yield context.new_page()
    context.close()


@pytest.fixture(scope="package")
def shoot(tmp_path_factory: pytest.TempPathFactory) -> Shoot:
    """Take a picture, with some places hidden; COUNTERSIGN_SCREENSHOTS=docs/screenshots makes those of docs/."""
    named = os.environ.get("COUNTERSIGN_SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")

    def take(page: Page, name: str, *hidden: Locator) -> None:
        page.screenshot(path=folder / f"{name}.png", animations="disabled", mask=list(hidden), mask_color="white")

    return take


@pytest.fixture(scope="package")
def retrained(page: Page, service: Service, shoot: Shoot) -> str:
    """The id of a retrain that a person started through Prefect's form and watched until it ended."""
    open_form(page, service)
    fill_form(page)
    shoot(page, "prefect-form")
    page.get_by_role("button", name="Submit").click()
    page.get_by_role("link", name="by-hand").click()
    header = page.get_by_role("banner")
    expect(header).to_contain_text(re.compile("Completed|Failed|Crashed|Cancelled"), timeout=RUN_MS)
    expect(header).to_contain_text("Completed")
    return page.url.rpartition("/")[2]


def open_form(page: Page, service: Service) -> None:
    page.goto(f"{service.prefect}/deployments")
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name="retrain", exact=True))
    row.get_by_role("link", name="sp500_alpha").click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("link", name="Custom run").click()


def fill_form(page: Page) -> None:
    expect(page.get_by_role("group").get_by_role("button", name="sp500_alpha")).to_be_visible()
    page.get_by_role("button", name="date", exact=True).click()
    page.get_by_text("Select date").click()
    page.locator("input[type=date]").fill("2015-12-31")
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_text("Dec 31st, 2015")).to_be_visible()
    page.get_by_role("switch").click()
    expect(page.get_by_role("switch")).to_be_checked()
    page.get_by_role("textbox").first.fill("by-hand")
