"""Train: from the current snapshot to one signed, registered candidate."""

import tempfile
from pathlib import Path
from typing import Any

from prefect import flow

from flows import shown
from tasks import candidates, configuration, evidence, explaining, recovery, rolling, searching, snapshots, training
from tasks.checks import FEATURES, check, suite_digests
from tasks.domain import names
from tasks.domain.hyperparameters import Count, FamilyName
from tasks.progress import step
from tasks.recording import recorded


@flow(name="train", log_prints=True)
def train(
    problem: str,
    snapshot: str | None = None,
    force: bool = False,
    families: list[FamilyName] | None = None,
    trials: Count | None = None,
) -> dict[str, Any]:
    """Try every configuration of a problem on its development data and register the simplest good one.

    Args:
        problem: a name in problems/, or the path of a problem file.
        snapshot: the key of a snapshot; by default the current one.
        force: train again even if this very candidate exists.
        families: only these of the problem's families; by default all of them.
        trials: the most configurations to try of each family; by default as many as the problem says.
    """
    definition = configuration.load_problem(problem).narrowed(families, trials)
    with recovery.working_on(definition.name):
        evidence.establish()
        order = training.commission(definition, snapshots.current(definition.name, snapshot), force)
        new = not order.is_trained
        if new:
            candidate_of(order)
        step("registering")
        version = training.register(order)
        found = candidates.candidate(definition.name, version)
        candidates.describe(found)
        told = found.told()
        shown.counts(shown.TRAINING, found.reference, told)
        return told | {"new": new}


def candidate_of(order: training.Commission) -> None:
    tags = {names.TAG_CANDIDATE: order.candidate, names.TAG_KIND: "training"}
    snapshot = order.snapshot
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch) / names.MODEL
        with recorded(order.problem.name, names.TRAIN, snapshot.as_of, snapshot.key, tags) as record:
            step("freezing the problem")
            training.freeze_problem(order, record)
            step("computing features")
            known = training.load(order)
            step("checking the features")
            check(training.inputs(known), FEATURES, record.folder)
            outcomes = searching.search(order.problem, snapshot, order.candidate, known, record)
            choice = searching.choose(order.problem, known, outcomes)
            step("fitting the chosen configuration")
            rolling.walk_forward(order.problem, known, outcomes, record)
            trial = outcomes[choice.number].trial
            files = training.fit_chosen(order, known, trial)
            source = training.save(order, known, trial, files, record, model)
            step("explaining the model")
            explaining.explain_model(order.problem, snapshot, known, outcomes, choice, files, record)
            training.document(order, outcomes, choice, record)
        training.complete(order, record, source, model, suite_digests((FEATURES,)))
