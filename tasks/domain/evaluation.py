"""How good is a configuration on data it has not seen: purged walk-forward over the development part."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from tasks.domain import metrics
from tasks.domain.bars import wide
from tasks.domain.families.catalogue import fit
from tasks.domain.families.sample import Sample
from tasks.domain.families.trial import Trial
from tasks.domain.features.engine import compute
from tasks.domain.inference.catalogue import load
from tasks.domain.labels import forward_return, reach, session_rank
from tasks.domain.problem import Problem
from tasks.domain.simulate.contract import Prices
from tasks.domain.simulate.portfolio import target_weights
from tasks.domain.simulate.research import simulate
from tasks.domain.splits import Fold, walk_forward
from tasks.domain.trading import prices_of


class Panel(NamedTuple):
    """Training rows. `keys`: timestamp and instrument of each; `x`: rows × features; `y`: session-ranked label,
    NaN where unknown; `labels`: forward returns, sessions × instruments; `prices` of the same sessions; `previous`: row
    of the same instrument's bar before, -1 if none."""

    keys: pd.DataFrame
    x: np.ndarray
    y: np.ndarray
    columns: list[str]
    labels: pd.DataFrame
    prices: Prices
    previous: np.ndarray

    @property
    def sessions(self) -> pd.DatetimeIndex:
        return pd.DatetimeIndex(np.sort(self.keys["timestamp"].unique()))

    def sample(self, rows: np.ndarray) -> Sample:
        """The rows where `rows` is true; rows left out are nobody's previous one."""
        place = np.full(len(rows) + 1, -1)
        place[:-1][rows] = np.arange(rows.sum())
        return Sample(self.x[rows], self.y[rows], None, place[self.previous[rows]])


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
    keys = pd.DataFrame({"timestamp": rows.timestamp, "instrument": pd.array(rows.instrument, dtype="str")})
    close = wide(bars, "close")
    labels = forward_return(close, problem.horizon)
    ranked = session_rank(labels)
    sessions = close.index.get_indexer(pd.Index(keys["timestamp"]))
    names = close.columns.get_indexer(pd.Index(keys["instrument"]))
    y = ranked.to_numpy()[sessions, names]
    return Panel(keys, rows.x, y, rows.names, labels, prices_of(bars), rows.previous)


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
    predictor = load(trial.family, fit(trial, known.sample((stamps <= fold.train[-1]).to_numpy()), seed))
    test = stamps.isin(fold.test).to_numpy()
    # A score may look back at older features, so it is given all rows up to the fold's end.
    asked = known.sample((stamps <= fold.test[-1]).to_numpy() if predictor.steps > 1 else test)
    scores = predictor(asked.x, asked.previous)[-int(test.sum()) :]
    scored = known.keys[test].assign(score=scores)
    return scored.pivot(index="timestamp", columns="instrument", values="score").reindex(columns=known.labels.columns)


def session_sharpe_ratio(scores: pd.DataFrame, prices: Prices, problem: Problem) -> float:
    """Sharpe ratio per session of trading the scores, net of costs; 0 where nothing was traded."""
    inside = prices.close.index >= scores.index[0]
    part = Prices(prices.close[inside], None if prices.open is None else prices.open[inside])
    equity = simulate(target_weights(scores, problem.strategy), part, problem.strategy).equity
    ratio = metrics.sharpe_ratio(equity.pct_change().dropna(), periods=1)
    return float(np.nan_to_num(ratio))
