"""Promote: the gates decide; what they accept goes to shadow. Only a signed approval makes a champion."""

from typing import Any

from prefect import flow

from flows import shown
from tasks import candidates, decision, recovery
from tasks.domain import names
from tasks.progress import step
from tasks.recording import recorded


@flow(name="promote", log_prints=True)
def promote(model: str) -> dict[str, Any]:
    """Decide on a validated and backtested candidate and release it to shadow if it was accepted.

    Args:
        model: a registered candidate, MODEL/VERSION.
    """
    name, version = names.split_reference(model)
    with recovery.working_on(name):
        found = candidates.candidate(name, version)
        new = decision.is_due(found)
        if new:
            decide(found)
        verdict = found.decision()
        if verdict["accepted"] and verdict.get("tier") != "research":
            step("releasing to shadow")
            verdict["live"] = f"{names.live(name)}/{decision.release(found)}"
        candidates.describe(found)
        shown.verdict(verdict)
        return {"new": new} | verdict


def decide(found: candidates.Candidate) -> None:
    snapshot = found.snapshot()
    tags = {names.TAG_CANDIDATE: found.id}
    with recorded(found.model, names.DECIDE, snapshot.as_of, snapshot.key, tags) as record:
        step("applying the gates")
        decision.judge(found, record)
    decision.complete(found, record)
