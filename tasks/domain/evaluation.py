"""How good is a configuration on data it has not seen: purged walk-forward over the development part."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from tasks.domain import metrics
from tasks.domain.bars import wide
from tasks.domain.families import Trial, fit
from tasks.domain.features.engine import compute
from tasks.domain.inference import FAMILIES
from tasks.domain.labels import forward_return, reach, session_rank
from tasks.domain.problem import Problem
from tasks.domain.simulate.contract import Prices
from tasks.domain.simulate.portfolio import target_weights
from tasks.domain.simulate.research import simulate
from tasks.domain.splits import Fold, walk_forward
from tasks.domain.trading import prices_of


class Panel(NamedTuple):
    """Training rows. `keys`: timestamp and instrument of each; `x`: rows × features; `y`: session-ranked label,
    NaN where unknown; `labels`: forward returns, sessions × instruments; `prices` of the same sessions."""

    keys: pd.DataFrame
    x: np.ndarray
    y: np.ndarray
    columns: list[str]
    labels: pd.DataFrame
    prices: Prices

    @property
    def sessions(self) -> pd.DatetimeIndex:
        return pd.DatetimeIndex(np.sort(self.keys["timestamp"].unique()))


class Estimate(NamedTuple):
    """Out-of-fold figures of one trial; `session_sharpe_ratio` is net of costs and not annualised."""

    fold_rank_ic: list[float]
    session_sharpe_ratio: float

    @property
    def rank_ic(self) -> float:
        return float(np.mean(self.fold_rank_ic))

    @property
    def standard_error(self) -> float:
        return float(np.std(self.fold_rank_ic, ddof=1) / np.sqrt(len(self.fold_rank_ic)))


def panel(bars: pd.DataFrame, problem: Problem) -> Panel:
    """Features and labels of bars; rows without their whole history are left out, as in scoring."""
    rows = compute([problem.features], bars)
    keys = pd.DataFrame({"timestamp": rows.timestamp, "instrument": rows.instrument})
    close = wide(bars, "close")
    labels = forward_return(close, problem.horizon)
    ranked = session_rank(labels)
    sessions = close.index.get_indexer(pd.Index(keys["timestamp"]))
    names = close.columns.get_indexer(pd.Index(keys["instrument"]))
    return Panel(keys, rows.x, ranked.to_numpy()[sessions, names], rows.names, labels, prices_of(bars))


def folds(known: Panel, problem: Problem) -> Iterator[Fold]:
    return walk_forward(known.sessions, problem.splits.folds, reach(problem.horizon))


def evaluate(trial: Trial, known: Panel, problem: Problem) -> Estimate:
    """Fit on each fold's past, score its future, and judge only those scores."""
    scores, fold_rank_ic = [], []
    for fold in folds(known, problem):
        score = out_of_fold(trial, known, fold, problem.seed)
        scores.append(score)
        fold_rank_ic.append(float(metrics.rank_ic_series(score, known.labels.reindex(score.index)).mean()))
    return Estimate(fold_rank_ic, session_sharpe_ratio(pd.concat(scores), known.prices, problem))


def out_of_fold(trial: Trial, known: Panel, fold: Fold, seed: int) -> pd.DataFrame:
    """Scores of a fold's test sessions, sessions × instruments."""
    stamps = known.keys["timestamp"]
    train = (stamps <= fold.train[-1]).to_numpy() & ~np.isnan(known.y)
    test = stamps.isin(fold.test).to_numpy()
    predictor = FAMILIES[trial.family](fit(trial, known.x[train], known.y[train], seed))
    scored = known.keys[test].assign(score=predictor(known.x[test]))
    return scored.pivot(index="timestamp", columns="instrument", values="score").reindex(columns=known.labels.columns)


def session_sharpe_ratio(scores: pd.DataFrame, prices: Prices, problem: Problem) -> float:
    """Sharpe ratio per session of trading the scores, net of costs; 0 where nothing was traded."""
    inside = prices.close.index >= scores.index[0]
    part = Prices(prices.close[inside], None if prices.open is None else prices.open[inside])
    equity = simulate(target_weights(scores, problem.strategy), part, problem.strategy).equity
    ratio = metrics.sharpe_ratio(equity.pct_change().dropna(), periods=1)
    return float(np.nan_to_num(ratio))
