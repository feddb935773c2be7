"""A person starts a retrain in the Prefect UI: what was typed is what ran, and it ran to the end."""

import re
import sqlite3
from contextlib import closing

from playwright.sync_api import Page, expect

from tests.browser.conftest import TYPED, Service
from tests.support.patience import eventually

STAGES = ("collect", "train", "validate", "backtest", "promote")


def test_every_flow_is_served(service: Service) -> None:
    of_problem = {f"{flow}/sp500_alpha" for flow in ("retrain", "collect", "train")}
    of_models = {f"{flow}/any" for flow in ("validate", "backtest", "promote", "approval")}
    assert set(service.deployments) == of_problem | of_models


def test_the_typed_parameters_ran(service: Service, retrained: str) -> None:
    [run] = service.ask("flow_runs/filter", {"flow_runs": {"id": {"any_": [retrained]}}})
    assert run["name"] == "by-hand"
    assert run["parameters"] == TYPED
    assert run["state_type"] == "COMPLETED"


def test_every_stage_completed(service: Service, retrained: str) -> None:
    def states() -> dict[str, str]:
        stages = service.ask("task_runs/filter", {"flow_runs": {"id": {"any_": [retrained]}}})
        return {stage["name"]: stage["state_type"] for stage in stages}

    eventually(states, dict.fromkeys(STAGES, "COMPLETED"))


def test_each_flow_ends_with_a_table_and_links_its_run_in_mlflow_and_back(
    service: Service, retrained: str, page: Page
) -> None:
    left = service.ask("artifacts/filter", {"artifacts": {"key": {"exists_": True}}})
    assert {"rows", "training", "validate", "backtest", "verdict"} <= {each["key"] for each in left}
    assert [each["flow_run_id"] == retrained for each in left if each["key"] == "verdict"].count(True) == 1
    links = {each["description"]: each for each in left if each["key"] == "mlflow-run"}
    assert list(map(links.__contains__, ("collect", "train", "validate", "backtest", "decide"))) == 5 * [True]
    [address] = re.findall(r"\((http[^)]*)\)", links["validate"]["data"])
    assert address.startswith(service.mlflow)
    page.goto(address)
    back = page.get_by_role("link", name="Run in Prefect")
    expect(back).to_have_attribute("href", f"{service.prefect}/runs/flow-run/{links['validate']['flow_run_id']}")


def test_the_next_nights_are_planned(service: Service) -> None:
    planned = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}, "flows": {"name": {"any_": ["retrain"]}}}

    def hours() -> set[str]:
        return {run["expected_start_time"][11:16] for run in service.ask("flow_runs/filter", planned)}

    eventually(hours, {"22:30"}, seconds=120)


def test_what_prefect_shows_is_what_was_signed(service: Service, retrained: str) -> None:
    countersign = service.countersign
    title = "update artifact set description = {} where key = 'verdict'"
    assert countersign.json("reconcile", "sp500_alpha")["differences"] == []
    with closing(sqlite3.connect(countersign.home / "prefect" / "prefect.db", timeout=60)) as database:
        with database:
            database.execute(title.format("description || ' well done'"))
            database.execute("update deployment_schedule set active = 0")
        said = countersign.json("reconcile", "sp500_alpha", code=5)["differences"]
        with database:
            database.execute(title.format("replace(description, ' well done', '')"))
            database.execute("update deployment_schedule set active = 1")
    told = {each["what"].partition(" of run")[0] for each in said}
    off = "deployment retrain/sp500_alpha: schedule: Prefect has [], declared is ['30 22 * * 1-5']"
    assert told == {off, "table verdict"}


def test_one_version_resulted(service: Service, retrained: str) -> None:
    status = service.countersign.json("status")
    assert [(row["problem"], row["versions"]) for row in status["problems"]] == [("sp500_alpha", 1)]
    assert status["servers"]["mlflow"] == service.mlflow
