"""The deployments: every flow of every problem, in the pool of the role that signs it; `retrain` on the problem's
schedule. `python -m flows.deployments` declares them to the Prefect server and prints their names."""

import json
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy

from flows import pools
from flows.approval import approval
from flows.backtest import backtest
from flows.collect import collect
from flows.promote import promote
from flows.retrain import retrain
from flows.train import train
from flows.validate import validate
from tasks.configuration import load_problem, problem_names
from tasks.domain.problem import Problem

# A problem has one worker at a time; a second run waits its turn instead of failing on the lock.
ONE_AT_A_TIME = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE)


def deployments() -> list[Any]:
    """One `retrain`, `collect` and `train` a problem, and one `validate`, `backtest`, `promote` and `approval` for any
    model."""
    made = [deployment for name in problem_names() for deployment in of_problem(load_problem(name))]
    return made + [
        flow.to_deployment(name=pools.ANY, tags=["countersign"], work_pool_name=pools.of(flow.name))
        for flow in (validate, backtest, promote, approval)
    ]


def of_problem(problem: Problem) -> list[Any]:
    scheduled = retrain.to_deployment(cron=problem.schedule, description=problem.title, **common(retrain, problem))
    others = (flow.to_deployment(**common(flow, problem)) for flow in (collect, train))
    return [bound(problem, made) for made in (scheduled, *others)]


def bound(problem: Problem, made: Any) -> Any:
    """A deployment is of one problem, whose limit and tags it has, so its form offers no other; its families are those
    that the problem lists. Prefect's own way to say so (`freeze`) is lost when it reads the flow's signature after."""
    fields = made._parameter_openapi_schema.properties
    fields["problem"]["enum"] = [problem.name]
    if "families" in fields:
        listed, _ = fields["families"]["anyOf"]
        listed["items"]["enum"] = list(dict.fromkeys(each.family for each in problem.families))
    return made


def common(flow: Any, problem: Problem) -> dict[str, Any]:
    return {
        "name": problem.name,
        "tags": ["countersign", f"problem:{problem.name}"],
        "parameters": {"problem": problem.name},
        "concurrency_limit": ONE_AT_A_TIME,
        "work_pool_name": pools.of(flow.name),
    }


def declare(api: SyncPrefectClient) -> list[str]:
    """Make the pools and the deployments what is declared here; returns the deployments' names."""
    for pool in pools.FLOWS:
        told = f"Runs that the {pool} signs." if pool != pools.DESK else "Runs that start others and sign nothing."
        wanted = WorkPoolCreate(name=pool, type=pools.TYPE, description=told, base_job_template=pools.TEMPLATE)
        api.create_work_pool(wanted, overwrite=True)
    made = deployments()
    for deployment in made:
        deployment.apply()
    return sorted(f"{deployment.flow_name}/{deployment.name}" for deployment in made)


def main() -> None:
    with get_client(sync_client=True) as api:
        print(json.dumps(declare(api)))


if __name__ == "__main__":
    main()
