"""The deployments: every flow of every problem, served to the Prefect server; `retrain` on the problem's schedule."""

from typing import Any

from prefect import serve
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy

from flows.approval import approval
from flows.backtest import backtest
from flows.collect import collect
from flows.promote import promote
from flows.retrain import retrain
from flows.train import train
from flows.validate import validate
from tasks import accounts, logins
from tasks.configuration import load_problem, problem_names
from tasks.domain.problem import Problem

# A problem has one worker at a time; a second run waits its turn instead of failing on the lock.
ONE_AT_A_TIME = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE)


def deployments() -> list[Any]:
    """One `retrain`, `collect` and `train` a problem, and one `validate`, `backtest`, `promote` for any model."""
    waits = approval.to_deployment(name="any", tags=["countersign"])
    if accounts.load() is not None or logins.lie_here():
        # A flow served alone would run as the server's own user; `retrain` starts each stage as its role's.
        return [waits, *(retrain_of(load_problem(name)) for name in problem_names())]
    made = [deployment for name in problem_names() for deployment in of_problem(load_problem(name))]
    return [waits, *made] + [
        flow.to_deployment(name="any", tags=["countersign"]) for flow in (validate, backtest, promote)
    ]


def of_problem(problem: Problem) -> list[Any]:
    return [retrain_of(problem), *(bound(problem, flow.to_deployment(**common(problem))) for flow in (collect, train))]


def retrain_of(problem: Problem) -> Any:
    return bound(problem, retrain.to_deployment(cron=problem.schedule, description=problem.title, **common(problem)))


def bound(problem: Problem, made: Any) -> Any:
    """A deployment is of one problem, whose limit and tags it has, so its form offers no other; its families are those
    that the problem lists. Prefect's own way to say so (`freeze`) is lost when it reads the flow's signature after."""
    fields = made._parameter_openapi_schema.properties
    fields["problem"]["enum"] = [problem.name]
    if "families" in fields:
        listed, _ = fields["families"]["anyOf"]
        listed["items"]["enum"] = list(dict.fromkeys(each.family for each in problem.families))
    return made


def common(problem: Problem) -> dict[str, Any]:
    return {
        "name": problem.name,
        "tags": ["countersign", f"problem:{problem.name}"],
        "parameters": {"problem": problem.name},
        "concurrency_limit": ONE_AT_A_TIME,
    }


def main() -> None:
    serve(*deployments(), print_starting_message=False)


if __name__ == "__main__":
    main()
