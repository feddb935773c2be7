"""A case for the validator: a candidate, its model as a black box, and the bars to judge it on."""

from typing import NamedTuple

import pandas as pd
import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks import evidence, lake, models
from tasks.candidates import Candidate
from tasks.domain import accuracy, names
from tasks.domain.bars import wide
from tasks.domain.errors import CountersignError, ModelFault
from tasks.domain.labels import forward_return
from tasks.domain.problem import Problem
from tasks.home import as_json, write_whole
from tasks.recording import Record


class Case(NamedTuple):
    """All that the validator works on, every part compared with its signature before use.

    `bars`: development and lockbox, long; `start`: first session of the lockbox; `score`: the black box; `walls`: what
    holds it in; `lockbox`: its scores there with the labels; `materials`: digests of all that was used.
    """

    candidate: Candidate
    problem: Problem
    bars: pd.DataFrame
    start: pd.Timestamp
    score: models.Score
    walls: list[str]
    scores: pd.DataFrame
    lockbox: accuracy.Lockbox
    materials: dict[str, str]

    def published(self) -> pl.DataFrame:
        """The scores on the lockbox as a desk would get them: timestamp, instrument, score."""
        inside = pl.from_pandas(
            self.scores[self.scores.index >= self.start].rename_axis(index="timestamp").reset_index()
        )
        long = inside.unpivot(index="timestamp", variable_name="instrument", value_name="score")
        scored = long.with_columns(pl.col("score").fill_nan(None)).drop_nulls()
        return scored.select("timestamp", "instrument", "score").sort("instrument", "timestamp")

    def inside(self, scores: pd.DataFrame) -> accuracy.Lockbox:
        """Other scores on the same lockbox."""
        return on_lockbox(scores, self.bars, self.problem.horizon, self.start)


@task(cache_policy=NO_CACHE)
def open_case(found: Candidate) -> Case:
    """Check the steward's and the trainer's signatures, hash the model, load it, score all bars once.

    Raises:
        ModelFault: the model misbehaves, or has nothing to say about the lockbox.
    """
    problem, signed = found.problem(), found.signed_model()
    score = models.load(found.model, found.version, signed)  # while the bars are read
    development, lockbox = (found.snapshot().read(part) for part in (lake.DEVELOPMENT, lake.LOCKBOX))
    bars = pd.concat([development, lockbox], ignore_index=True)
    start = lockbox["timestamp"].min()
    scores = score(bars)
    box = on_lockbox(scores, bars, problem.horizon, start)
    if box.scores.isna().all(axis=None):
        raise ModelFault("the model gives no score on the lockbox")
    return Case(found, problem, bars, start, score, score.walls, scores, box, materials(found))


@task(cache_policy=NO_CACHE)
def refuse(found: Candidate, fault: CountersignError, figures: accuracy.Figures, record: Record) -> None:
    """Write the stage's report on a model that can't be judged: why, and what figures there are without its scores."""
    print(f"refused: {fault}")
    content = {"model": found.reference, "candidate": found.id, names.FAULT: str(fault), "figures": figures}
    write_whole(record.folder / names.REPORTS[record.stage], as_json(content))
    record.run.figures(figures)


def log_inputs(found: Candidate, record: Record) -> None:
    """The tables judged on, as datasets of the run."""
    tables = found.snapshot().manifest["tables"]
    for part in (lake.DEVELOPMENT, lake.LOCKBOX):
        record.run.input(part, tables[part]["version"], tables[part]["sha256"], context=part)


def on_lockbox(scores: pd.DataFrame, bars: pd.DataFrame, horizon: int, start: pd.Timestamp) -> accuracy.Lockbox:
    close = wide(bars, "close")
    return accuracy.inside(scores, close, forward_return(close, horizon), start)


def materials(found: Candidate) -> dict[str, str]:
    """Digests of all that a case is made of: the snapshot's parts, the frozen problem, the model's files."""
    snapshot = found.snapshot()
    trained = evidence.read_statement(found.folder, names.TRAIN).products
    frozen = f"{names.TRAIN}/{names.PROBLEM_FILE}"
    return {
        names.DEVELOPMENT: snapshot.digest(lake.DEVELOPMENT),
        names.LOCKBOX: snapshot.digest(lake.LOCKBOX),
        frozen: trained[frozen],
    } | found.signed_model()
