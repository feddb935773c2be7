"""Validate: a sceptic's look at one candidate, in its own process, under the validator's key."""

from typing import Any

from prefect import flow

from tasks import candidates, champions, ledger, looks, recovery, validation, yardsticks
from tasks.cases import log_inputs, open_case
from tasks.checks import SCORES, check, suite_digests
from tasks.domain import names
from tasks.progress import step
from tasks.recording import recorded


@flow(name="validate", log_prints=True)
def validate(model: str) -> dict[str, Any]:
    """Probe a candidate as a black box and measure it on the lockbox that its training never had.

    Args:
        model: a registered candidate, MODEL/VERSION.
    """
    name, version = ledger.split_reference(model)
    with recovery.working_on(name):
        found = candidates.candidate(name, version)
        new = not found.is_done(names.VALIDATE)
        if new:
            examine(found)
        candidates.describe(found)
        return {"model": model, "new": new, "figures": found.figures(names.VALIDATE)}


def examine(found: candidates.Candidate) -> None:
    snapshot = found.snapshot()
    tags = {names.TAG_CANDIDATE: found.id}
    with recorded(found.model, names.VALIDATE, snapshot.as_of, snapshot.key, tags) as record:
        step("verifying signatures, loading the model")
        earlier = looks.record(found)
        case = open_case(found)
        log_inputs(case, record)
        step("checking the scores")
        check(case.published(), SCORES, record.folder)
        step("probing for look-ahead")
        probed, rescaled = validation.probe(case), validation.rescale(case)
        step("timing the scoring of a session")
        timed = validation.time_scoring(case)
        step("measuring on the lockbox")
        measured = validation.measure(case, validation.every_trial(case), earlier)
        step("measuring what it rests on and how it lasts")
        marked, tables = yardsticks.mark(case, record)
        step("comparing with the champion")
        compared = champions.compare(case)
        figures = rescaled | timed | marked | measured | compared.figures
        validation.report(case, probed, figures, tables | compared.told, record)
    validation.complete(case, compared.files | suite_digests((SCORES,)), record)
