"""Validate: a sceptic's look at one candidate, in its own process, under the validator's key."""

from collections.abc import Sequence
from typing import Any

from prefect import flow

from flows import shown
from tasks import candidates, champions, looks, recovery, stress, validation, yardsticks
from tasks.cases import log_inputs, materials, open_case, refuse
from tasks.checks import SCORES, check, suite_digests
from tasks.clock import Clock
from tasks.domain import names
from tasks.domain.errors import DataRefused, ModelFault
from tasks.domain.spending import Look
from tasks.progress import step
from tasks.recording import Record, recorded


@flow(name="validate", log_prints=True)
def validate(model: str) -> dict[str, Any]:
    """Probe a candidate as a black box and measure it on the lockbox that its training never had.

    Args:
        model: a registered candidate, MODEL/VERSION.
    """
    name, version = names.split_reference(model)
    with recovery.working_on(name):
        found = candidates.candidate(name, version)
        new = not found.is_done(names.VALIDATE)
        if new:
            examine(found)
        candidates.describe(found)
        figures = found.figures(names.VALIDATE)
        shown.figures(names.VALIDATE, model, figures)
        return {"model": model, "new": new, "figures": figures}


def examine(found: candidates.Candidate) -> None:
    snapshot = found.snapshot()
    tags = {names.TAG_CANDIDATE: found.id}
    with recorded(found.model, names.VALIDATE, snapshot.as_of, snapshot.key, tags) as record:
        log_inputs(found, record)
        step("verifying signatures, loading the model")
        earlier = looks.record(found)
        try:
            judged_with = judge(found, earlier, record)
        except (ModelFault, DataRefused) as fault:
            judged_with = materials(found)
            refuse(found, fault, {names.FAULTS: 1.0}, record)
    validation.complete(found, judged_with, record)


def judge(found: candidates.Candidate, earlier: Sequence[Look], record: Record) -> dict[str, str]:
    """Everything that its scores tell; returns digests of what that took."""
    case, clock = open_case(found), Clock()
    step("checking the scores")
    check(case.published(), SCORES, record.folder)
    step("probing for look-ahead")
    probed, rescaled = validation.probe(case, clock), validation.rescale(case, clock)
    step("mishaps and scenarios")
    stressed = stress.stress(case, probed, clock, record)
    step("timing the scoring of a session")
    timed = clock("latency", lambda: validation.time_scoring(case))
    step("measuring on the lockbox")
    measured = clock("lockbox", lambda: validation.measure(case, validation.every_trial(case), earlier))
    step("measuring what it rests on and how it lasts")
    marked, tables = clock("yardsticks", lambda: yardsticks.mark(case, record))
    step("comparing with the champion")
    compared = clock("champion", lambda: champions.compare(case))
    figures = rescaled | timed | marked | measured | compared.figures | stressed.figures
    told = tables | compared.told | stressed.told
    validation.report(case, stressed.findings, figures, told, clock, record)
    return case.materials | compared.files | suite_digests((SCORES,))
