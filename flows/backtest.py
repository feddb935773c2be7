"""Backtest: one candidate's scores traded on the lockbox by two engines."""

import json
from typing import Any

from prefect import flow

from flows import shown
from tasks import backtesting, candidates, recovery
from tasks.cases import log_inputs, open_case, refuse
from tasks.domain import names
from tasks.domain.errors import ModelFault
from tasks.progress import step
from tasks.recording import Record, recorded

SHOWN = ("figures", "years", "sensitivity", "engines_differ")  # of the report; those made before had fewer


@flow(name="backtest", log_prints=True)
def backtest(model: str) -> dict[str, Any]:
    """Trade a candidate's scores on the lockbox, net of costs.

    Args:
        model: a registered candidate, MODEL/VERSION.
    """
    name, version = names.split_reference(model)
    with recovery.working_on(name):
        found = candidates.candidate(name, version)
        new = not found.is_done(names.BACKTEST)
        if new:
            trade_lockbox(found)
        candidates.describe(found)
        told = json.loads(found.file(names.BACKTEST, names.BACKTEST_REPORT))
        shown.figures(names.BACKTEST, model, told.get("figures", {}))
        return {"model": model, "new": new} | {part: told.get(part, {}) for part in SHOWN}


def trade_lockbox(found: candidates.Candidate) -> None:
    snapshot = found.snapshot()
    tags = {names.TAG_CANDIDATE: found.id}
    with recorded(found.model, names.BACKTEST, snapshot.as_of, snapshot.key, tags) as record:
        log_inputs(found, record)
        try:
            trade(found, record)
        except ModelFault as fault:
            refuse(found, fault, {}, record)
    backtesting.complete(found, record)


def trade(found: candidates.Candidate, record: Record) -> None:
    step("verifying signatures, scoring")
    case = open_case(found)
    again = backtesting.started_anew(case)
    step("trading with two engines")
    traded = backtesting.run_engines(case)
    third = backtesting.ask_third(case, traded)
    step("trading at other costs and later")
    others = backtesting.other_ways(case, traded)
    step("looking at it from all sides")
    told = backtesting.look(case, traded, others)
    step("walking the retraining forward")
    forward = backtesting.walk_forward(case)
    step("writing figures and the tear sheet")
    backtesting.report(case, told, forward, third, again, record)
