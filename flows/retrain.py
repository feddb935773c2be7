"""Retrain: the whole first line, each stage in a process of its own under its own key."""

import os
from datetime import date
from typing import Any
from uuid import uuid4

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.context import TaskRunContext

from flows.process import PARENT_TASK, Job, launch
from tasks import configuration, evidence, recovery
from tasks.progress import send
from tasks.recording import RETRAIN_ID


@flow(name="retrain", log_prints=True)
def retrain(problem: str, as_of: date | None = None, data: str | None = None, force: bool = False) -> dict[str, Any]:
    """Collect, train, validate, backtest and decide for a problem.

    Args:
        problem: a name in problems/, or the path of a problem file.
        as_of: the last session to take in; by default the newest delivered.
        data: a CSV or Parquet file to use in place of the problem's own source.
        force: train again even if nothing is new.
    """
    name = configuration.load_problem(problem).name
    os.environ.setdefault(RETRAIN_ID, uuid4().hex)
    with recovery.working_on(name) as lock:
        evidence.establish()
        snapshot = stage("collect", name, lock, problem=problem, data=data, as_of=as_of)
        trained = stage("train", name, lock, problem=problem, snapshot=snapshot["snapshot"], force=force)
        model = trained["model"]
        validated = stage("validate", name, lock, model=model)
        traded = stage("backtest", name, lock, model=model)
        verdict = stage("promote", name, lock, model=model)
    new = trained["new"] or validated["new"] or traded["new"] or verdict["new"]
    return {"problem": name, "collected": snapshot, "trained": trained, "verdict": verdict, "new": new}


def stage(name: str, of: str, lock: int, **parameters: Any) -> dict[str, Any]:
    return run_stage.with_options(task_run_name=name)(Job(name, parameters, of), lock)


@task(cache_policy=NO_CACHE)
def run_stage(job: Job, lock: int) -> dict[str, Any]:
    """Run one stage's flow in its own process, as a child of this run; it shares the lock and ends with us."""
    context = TaskRunContext.get()
    parent = {PARENT_TASK: str(context.task_run.id)} if context else {}
    send({"step": "starting", "stage": job.flow})
    shared = parent | {recovery.HELD_BY_PARENT: str(lock)}
    try:
        result = launch(job, lambda said: send(said | {"stage": job.flow}), shared, pass_fds=[lock])
    except BaseException:
        recovery.close_orphans(job.problem)
        raise
    send({"step": "done" if result["new"] else "nothing new", "stage": job.flow, "ended": True})
    return result
