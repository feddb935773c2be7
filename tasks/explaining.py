"""What the train stage tells people of the model it chose: the card with its pictures."""

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks import lake
from tasks.card import Card, Data, Skill, purpose, write_card
from tasks.domain import metrics
from tasks.domain.complexity import TIERS, word
from tasks.domain.evaluation import Panel, Score, forecast_rows, score_table, scored_folds, traded
from tasks.domain.explain import diagnosis
from tasks.domain.explain.contributions import gives_probability
from tasks.domain.explain.explanation import Table, explain
from tasks.domain.labels import reach
from tasks.domain.problem import Problem
from tasks.domain.selection import Choice
from tasks.domain.states import market_states
from tasks.home import code_sha256, lock_sha256
from tasks.plots_model import Tried
from tasks.recording import Record
from tasks.searching import Outcome, obedient
from tasks.snapshots import Snapshot

SESSIONS_A_YEAR = 252


@task(cache_policy=NO_CACHE)
def explain_model(
    problem: Problem,
    snapshot: Snapshot,
    known: Panel,
    outcomes: Sequence[Outcome],
    choice: Choice,
    files: dict[str, bytes],
    record: Record,
) -> None:
    """Write the model card of the chosen trial, fitted to `files`, and its pictures."""
    chosen = outcomes[choice.number]
    # A process that went on with a killed search has the figures of the trials before it, not their forecasts.
    scores = chosen.scores or list(scored_folds(obedient(problem, known, chosen.trial), known, problem))
    rows, predicted = one_path(scores, known)
    table = score_table(known, rows, predicted)
    rank_ic = metrics.rank_ic_series(table, known.labels.reindex(table.index))
    stamps, ahead = known.keys["timestamp"].to_numpy(), reach(problem.horizon)
    names = known.keys["instrument"].to_numpy(dtype=object)
    whole = Table(known.x, known.columns, known.previous, stamps, names)
    probable = gives_probability(chosen.trial)
    happened = np.where(np.isnan(known.y[rows]), np.nan, known.y[rows] > 0)
    write_card(
        Card(
            purpose(problem),
            data_of(problem, snapshot, known),
            [tried(each, each is chosen) for each in outcomes],
            choice.reason,
            Skill(
                *diagnosis.mean_rank_ic(rank_ic, ahead),
                chosen.estimate.session_sharpe_ratio * SESSIONS_A_YEAR**0.5,
            ),
            diagnosis.by_state(rank_ic, market_states(known.prices.close), ahead),
            explain(chosen.trial, files, whole, [score.files for score in scores], problem.seed),
            diagnosis.calibration(traded(known, rows, predicted), labels_of(known, rows), stamps[rows], ahead),
            diagnosis.reliability(predicted, happened, stamps[rows], ahead) if probable else None,
            facts(problem, snapshot, chosen),
        ),
        record.folder,
    )


def one_path(scores: Sequence[Score], known: Panel) -> tuple[np.ndarray, np.ndarray]:
    """Rows and out-of-fold forecasts of the first path, in which no row occurs twice."""
    forecasts = forecast_rows(scores, known)
    first = forecasts[forecasts["path"] == forecasts["path"].min()]
    return first["row"].to_numpy(), first["predicted"].to_numpy()


def labels_of(known: Panel, rows: np.ndarray) -> np.ndarray:
    """Forward returns of the rows."""
    sessions = known.labels.index.get_indexer(pd.Index(known.keys["timestamp"].to_numpy()[rows]))
    names = known.labels.columns.get_indexer(pd.Index(known.keys["instrument"].to_numpy()[rows]))
    return np.asarray(known.labels.to_numpy()[sessions, names])


def data_of(problem: Problem, snapshot: Snapshot, known: Panel) -> Data:
    sessions = known.sessions
    first, last = str(sessions[0].date()), str(sessions[-1].date())
    digest = snapshot.digest(lake.DEVELOPMENT)
    instruments = known.keys["instrument"].nunique()
    return Data(instruments, len(sessions), len(known.y), first, last, digest, problem.lockbox_fraction)


def tried(outcome: Outcome, chosen: bool) -> Tried:
    trial, estimate = outcome.trial, outcome.estimate
    told = ", ".join(f"{name} {value}" for name, value in trial.parameters.items() if name != "form")
    fit_seconds = outcome.seconds / max(len(outcome.ended.rank_ic), 1)
    return Tried(
        trial.family,
        TIERS[trial.family],
        word(trial.family),
        told,
        estimate.rank_ic,
        estimate.standard_error,
        fit_seconds,
        chosen,
    )


def facts(problem: Problem, snapshot: Snapshot, chosen: Outcome) -> dict[str, str]:
    """What is needed to make the model again."""
    return {
        "parameters": json.dumps(chosen.trial.parameters),
        "seed": str(problem.seed),
        "snapshot": snapshot.key,
        "problem": problem.sha256,
        "code": code_sha256(),
        "lock": lock_sha256(),
    }
