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
from tasks.domain.labels import forward_return
from tasks.domain.problem import Problem
from tasks.recording import Record


class Case(NamedTuple):
    """All that the validator works on, every part compared with its signature before use.

    `bars`: development and lockbox, long; `start`: first session of the lockbox; `score`: the black box;
    `lockbox`: its scores there with the labels; `materials`: digests of all that was used.
    """

    candidate: Candidate
    problem: Problem
    bars: pd.DataFrame
    start: pd.Timestamp
    score: models.Score
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
    """Check the steward's and the trainer's signatures, hash the model, load it, score all bars once."""
    problem, signed = found.problem(), found.signed_model()
    development, lockbox = (found.snapshot().read(part) for part in (lake.DEVELOPMENT, lake.LOCKBOX))
    bars = pd.concat([development, lockbox], ignore_index=True)
    start = lockbox["timestamp"].min()
    score = models.load(found.model, found.version, signed)
    scores = score(bars)
    box = on_lockbox(scores, bars, problem.horizon, start)
    return Case(found, problem, bars, start, score, scores, box, materials(found) | signed)


def log_inputs(case: Case, record: Record) -> None:
    """The tables judged on, as datasets of the run."""
    tables = case.candidate.snapshot().manifest["tables"]
    for part in (lake.DEVELOPMENT, lake.LOCKBOX):
        record.run.input(part, tables[part]["version"], tables[part]["sha256"], context=part)


def on_lockbox(scores: pd.DataFrame, bars: pd.DataFrame, horizon: int, start: pd.Timestamp) -> accuracy.Lockbox:
    close = wide(bars, "close")
    return accuracy.inside(scores, close, forward_return(close, horizon), start)


def materials(found: Candidate) -> dict[str, str]:
    """Digests of the snapshot's parts and of the frozen problem."""
    snapshot = found.snapshot()
    trained = evidence.read_statement(found.folder, names.TRAIN).products
    frozen = f"{names.TRAIN}/{names.PROBLEM_FILE}"
    return {
        names.DEVELOPMENT: snapshot.digest(lake.DEVELOPMENT),
        names.LOCKBOX: snapshot.digest(lake.LOCKBOX),
        frozen: trained[frozen],
    }
