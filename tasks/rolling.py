"""The retraining itself, walked forward: what would have been chosen and fitted then, scoring what came next.

One fitted model's history says nothing of the next retraining. So at each test window of the walk-forward splits the
choice is made anew, of what had been judged by then, fitted on the window's training sessions, and its scores are kept.
No trial is made for it: all were recorded by the search.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd
import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.domain import names
from tasks.domain.evaluation import Estimate, Panel, folds, out_of_fold, score_table
from tasks.domain.labels import reach
from tasks.domain.problem import Problem
from tasks.domain.search import blind
from tasks.domain.splits import Fold
from tasks.domain.targets import WalkForward
from tasks.home import as_json, write_whole
from tasks.progress import step
from tasks.recording import Record
from tasks.searching import Outcome, choose, obedient


class Step(NamedTuple):
    """`told`: what was chosen, why, from when to when it was trained and scored; `scores`: sessions × instruments."""

    told: dict[str, Any]
    scores: pd.DataFrame


@task(cache_policy=NO_CACHE)
def walk_forward(problem: Problem, known: Panel, outcomes: Sequence[Outcome], record: Record) -> None:
    """Write the steps and their scores; nothing where splits are not in order of time, as then no choice is."""
    if not isinstance(problem.splits, WalkForward):
        return
    steps = walked(problem, known, outcomes)
    write_whole(record.folder / names.WALK_FORWARD, as_json({"steps": [each.told for each in steps]}))
    long(pd.concat([each.scores for each in steps])).write_parquet(record.folder / names.WALK_FORWARD_SCORES)


def walked(problem: Problem, known: Panel, outcomes: Sequence[Outcome]) -> list[Step]:
    """From the second window on: before the first one nothing was judged that a choice could rest on."""
    windows, found = list(folds(known, problem)), []
    for number in range(1, len(windows)):
        step("walking forward", number - 1, len(windows) - 1)
        window, seen = shifted(windows, number, reach(problem.horizon)), by_then(problem, outcomes, number)
        choice = choose(problem, known.until(window.train[-1]), seen)
        trial = obedient(problem, known, seen[choice.number].trial)
        rows, predicted, _ = out_of_fold(trial, known, window, problem.seed)
        told = {
            "trial": seen[choice.number].key,
            "family": trial.family,
            "parameters": seen[choice.number].trial.parameters,
            "reason": choice.reason,
            "trained": [str(window.train[0]), str(window.train[-1])],
            "scored": [str(window.test[0]), str(window.test[-1])],
        }
        found.append(Step(told, score_table(known, rows, predicted)))
    return found


def shifted(windows: Sequence[Fold], number: int, sessions: int) -> Fold:
    """A window from when the last label of the one before is known; until then the model before is still in use."""
    following = windows[number + 1].test[:sessions] if number + 1 < len(windows) else windows[number].test[:0]
    return windows[number]._replace(test=windows[number].test[sessions:].append(following))


def by_then(problem: Problem, outcomes: Sequence[Outcome], windows: int) -> list[Outcome]:
    """The outcomes as they were known after so many windows.

    Of a family that is searched only the first trials, whose parameters were drawn before any result was known: later
    ones were proposed for what they would earn in windows still to come. A trial given up before counts as such.
    """
    family = {family.family: family for family in problem.families}
    met: dict[str, int] = {}
    found = []
    for outcome in outcomes:
        name = outcome.trial.family
        met[name] = met.get(name, 0) + 1
        if met[name] > blind(family[name]):
            continue
        judged = outcome.ended.rank_ic[:windows]
        ended = outcome.ended._replace(pruned=len(judged) < windows)
        found.append(outcome._replace(ended=ended, estimate=Estimate(judged, judged, float("nan"))))
    return found


def long(scores: pd.DataFrame) -> pl.DataFrame:
    """timestamp, instrument, score: those that there are, by instrument and time."""
    wide = pl.from_pandas(scores.rename_axis(index="timestamp").reset_index())
    told = wide.unpivot(index="timestamp", variable_name="instrument", value_name="score")
    return told.with_columns(pl.col("score").fill_nan(None)).drop_nulls().sort("instrument", "timestamp")
