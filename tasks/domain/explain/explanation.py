"""All that is said of a fitted model: what moves it, how surely, how, and why today's names stand where they stand."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tasks.domain.explain.contributions import (
    Contributions,
    Files,
    contributions,
    in_log_odds,
    is_exact,
    most_rows,
    scores_of,
    spread,
    windows_of,
    with_history,
)
from tasks.domain.explain.dependence import ROWS, Dependence, partial_dependence
from tasks.domain.explain.importance import Stability, over_folds, shares, stability
from tasks.domain.explain.reasons import Standing, percentiles, reasons
from tasks.domain.families.trial import Trial
from tasks.domain.inference.catalogue import load
from tasks.domain.inference.predictor import Predictor

CURVES, ENDS = 6, 3


class Table(NamedTuple):
    """Feature rows in order of time, of the development part: `x` (rows × features) with `names`, `previous`: row of
    the same instrument's bar before, `timestamp` and `instrument` of each row."""

    x: np.ndarray
    names: Sequence[str]
    previous: np.ndarray
    timestamp: np.ndarray
    instrument: np.ndarray


class Explanation(NamedTuple):
    """`explained`: contributions to the scores of a sample of rows, whose features are `values`. `importance`: shares
    of the final fit; `stability`: of the folds' fits, None without any. `exact`: or sampled; `log_odds`: the
    contributions' scale. `session`: the last one; `standings`: its names at both ends, highest score first."""

    names: list[str]
    explained: Contributions
    values: np.ndarray
    importance: np.ndarray
    stability: Stability | None
    dependence: list[Dependence]
    session: np.datetime64
    standings: list[Standing]
    exact: bool
    log_odds: bool


def explain(trial: Trial, files: Files, table: Table, fold_files: Sequence[Files], seed: int) -> Explanation:
    """Explain a trial's final fit.

    Args:
        files: of the final fit. fold_files: of the fits on the folds' training rows, for stability; may be empty.
        seed: of the rows explained and of the order in which features are exchanged.
    """
    predictor = load(trial.family, files)
    able = with_history(predictor.steps, table.previous)
    rows = spread(able, most_rows(trial), seed)
    found = contributions(trial, files, table.x, table.previous, rows, able, seed)
    importance = shares(found.values)
    by_fold = over_folds(trial, fold_files, table.x, table.previous, rows, able, seed)
    curves = spread(able, ROWS, seed)
    strongest = np.argsort(-importance, kind="stable")[:CURVES]
    return Explanation(
        list(table.names),
        found,
        table.x[rows],
        importance,
        stability(by_fold) if len(by_fold) else None,
        [partial_dependence(predictor, table.x, table.previous, curves, at, table.names[at]) for at in strongest],
        table.timestamp[-1],
        standings(trial, files, predictor, table, able, seed),
        is_exact(trial),
        in_log_odds(trial),
    )


def standings(
    trial: Trial, files: Files, predictor: Predictor, table: Table, able: np.ndarray, seed: int
) -> list[Standing]:
    """The names with the highest and the lowest scores of the last session, and what moves them."""
    session = np.flatnonzero(table.timestamp == table.timestamp[-1])
    scored = session[np.isin(session, able)]
    if not len(scored):
        return []
    scores = scores_of(predictor, windows_of(table.x, table.previous, scored, predictor.steps))
    best_first = np.argsort(-scores, kind="stable")
    places = np.arange(len(scored))
    shown = places[(places < ENDS) | (places >= len(scored) - ENDS)]
    ends = scored[best_first[shown]]
    moved = contributions(trial, files, table.x, table.previous, ends, able, seed).values
    standing = percentiles(table.x[session])[np.searchsorted(session, ends)]
    return [
        Standing(
            str(table.instrument[row]),
            float(scores[best_first[place]]),
            int(place) + 1,
            len(scored),
            reasons(table.names, standing[at], moved[at]),
        )
        for at, (place, row) in enumerate(zip(shown, ends, strict=True))
    ]
