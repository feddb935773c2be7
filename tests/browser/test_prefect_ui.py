"""A person starts a retrain in the Prefect UI: what was typed is what ran, and it ran to the end."""

from tests.browser.conftest import TYPED, Service, eventually

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


def test_one_version_resulted(service: Service, retrained: str) -> None:
    status = service.countersign.json("status")
    assert [(row["problem"], row["versions"]) for row in status["problems"]] == [("sp500_alpha", 1)]
    assert status["servers"]["mlflow"] == service.mlflow
