"""Retrain: the whole first line, each stage in a process of its own under its own key."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date
from typing import Any
from uuid import uuid4

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.context import TaskRunContext

from flows import nursery, pools, shown
from flows.handover import Elsewhere
from flows.process import Job, Relay, Worker, wait_until_known
from tasks import configuration, evidence, recovery
from tasks.domain import names
from tasks.domain.hyperparameters import Count, FamilyName
from tasks.home import RETRAIN_ID
from tasks.progress import send

ORDER = ("collect", "train", "validate", "backtest", "promote")


@flow(name="retrain", log_prints=True)
def retrain(
    problem: str,
    as_of: date | None = None,
    data: str | None = None,
    force: bool = False,
    families: list[FamilyName] | None = None,
    trials: Count | None = None,
) -> dict[str, Any]:
    """Collect, train, validate, backtest and decide for a problem.

    Args:
        problem: a name in problems/, or the path of a problem file.
        as_of: the last session to take in; by default the newest delivered.
        data: a CSV or Parquet file to use in place of the problem's own source.
        force: train again even if nothing is new.
        families: only these of the problem's families; by default all of them.
        trials: the most configurations to try of each family; by default as many as the problem says.
    """
    name = configuration.load_problem(problem).name
    with relay(name) as stages:
        snapshot = run_stage(stages, "collect", problem=problem, data=data, as_of=as_of)
        asked = {"problem": problem, "force": force, "families": families, "trials": trials}
        trained = run_stage(stages, "train", snapshot=snapshot["snapshot"], **asked)
        model, folder = trained["model"], evidence.candidate_folder(name, trained["candidate"])
        if not evidence.is_signed(folder, names.VALIDATE):
            run_stage(stages, "validate", model=model)
        if not evidence.is_signed(folder, names.BACKTEST):
            run_stage(stages, "backtest", model=model)
        verdict = run_stage(stages, "promote", model=model)
    shown.verdict(verdict)
    return {"problem": name, "collected": snapshot, "trained": trained, "verdict": verdict, "new": verdict["new"]}


@contextmanager
def relay(problem: str) -> Iterator[Relay]:
    """The stages' processes, while this one holds the problem; what a dead one leaves open is closed at the end."""
    os.environ.setdefault(RETRAIN_ID, uuid4().hex)
    with recovery.working_on(problem) as lock:
        evidence.establish()
        held = {recovery.HELD_BY_PARENT: lock}

        def start(flow: str) -> Worker | Elsewhere:
            here = pools.is_here(pools.of(flow))
            if not here:
                return Elsewhere(flow, problem, lock)
            return Worker(flow, problem, held=held, begin=nursery.begin())

        with closing(Relay(ORDER, start)) as stages:
            try:
                yield stages
            except BaseException:
                recovery.close_orphans(problem)
                raise


def run_stage(stages: Relay, name: str, **parameters: Any) -> dict[str, Any]:
    return stage.with_options(task_run_name=name)(stages, name, parameters)


@task(cache_policy=NO_CACHE)
def stage(stages: Relay, name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Run one stage's flow in its own process, as a child of this run."""
    context = TaskRunContext.get()
    job = Job(parameters, wait_until_known(str(context.task_run.id)) if context else None)
    send({"step": "starting", "stage": name})
    result = stages.take(name).run(job, lambda said: send(said | {"stage": name}))
    send({"step": "done" if result["new"] else "nothing new", "stage": name, "ended": True})
    return result
