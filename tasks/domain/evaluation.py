"""How good is a configuration on data it has not seen: purged splits of the development part."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from tasks.domain import metrics
from tasks.domain.bars import wide
from tasks.domain.errors import UsageError
from tasks.domain.families.catalogue import fit
from tasks.domain.families.sample import Sample, side_by_side
from tasks.domain.families.trial import Trial
from tasks.domain.features.engine import Own, compute
from tasks.domain.inference.catalogue import load
from tasks.domain.labelling import target
from tasks.domain.labels import forward_return, reach
from tasks.domain.problem import Problem
from tasks.domain.simulate.contract import Prices
from tasks.domain.simulate.portfolio import target_weights
from tasks.domain.simulate.research import simulate
from tasks.domain.splits import Fold, refuse_overlap, split
from tasks.domain.trading import prices_of
from tasks.domain.uniqueness import average_uniqueness


class Panel(NamedTuple):
    """Training rows. `keys`: timestamp and instrument of each; `x`: rows × features; `y`: the label that is learned,
    NaN where unknown; `labels`: forward returns, sessions × instruments, what every score is judged against whatever
    was learned; `prices` of the same sessions; `previous`: row of the same instrument's bar before, −1 if none;
    `weight`: of each row in fitting, 0 without a label, None = all equal; `side`: of each row, which a meta-labelled
    score is to be multiplied by, None for other labels."""

    keys: pd.DataFrame
    x: np.ndarray
    y: np.ndarray
    columns: list[str]
    labels: pd.DataFrame
    prices: Prices
    previous: np.ndarray
    weight: np.ndarray | None = None
    side: np.ndarray | None = None

    @property
    def sessions(self) -> pd.DatetimeIndex:
        return pd.DatetimeIndex(np.sort(self.keys["timestamp"].unique()))

    def until(self, session: pd.Timestamp) -> "Panel":
        """The rows up to a session; labels and prices stay as they are."""
        rows = (self.keys["timestamp"] <= session).to_numpy()
        sample = self.sample(rows)
        return self._replace(
            keys=self.keys[rows].reset_index(drop=True),
            x=sample.x,
            y=sample.y,
            previous=sample.previous,
            weight=None if self.weight is None else self.weight[rows],
            side=None if self.side is None else self.side[rows],
        )

    def sample(self, rows: np.ndarray) -> Sample:
        """The rows where `rows` is true, their weights brought to mean 1; rows left out are nobody's previous one.

        `x` is copied only if the rows do not lie side by side, as those before a session do.
        """
        place = np.full(len(rows) + 1, -1)
        place[:-1][rows] = np.arange(rows.sum())
        y, weight = self.y[rows], None
        if self.weight is not None:
            weight = self.weight[rows] / self.weight[rows][~np.isnan(y)].mean()
        return Sample(self.x[side_by_side(rows)], y, weight, place[self.previous[rows]])


class Score(NamedTuple):
    """A fold's out-of-fold forecasts.

    `rows`: numbers of the panel's rows in its test sessions; `predicted`: what the family says of each, in the terms
    of the label (for calibration and error analysis); `rank_ic`: of each test session, against forward returns;
    `files`: the parameters that the forecasts were made with.
    """

    fold: Fold
    rows: np.ndarray
    predicted: np.ndarray
    rank_ic: pd.Series
    files: dict[str, bytes]

    @property
    def mean(self) -> float:
        """Mean rank IC of the test sessions, 0 where there is none."""
        return float(np.nan_to_num(self.rank_ic.mean()))


class Estimate(NamedTuple):
    """Out-of-fold figures of one trial.

    `path_rank_ic`: of each path; where there is one path only (walk-forward), of each of its test windows.
    `group_rank_ic`: of each tested group of sessions, over all fits that were judged on it. `session_sharpe_ratio`:
    net of costs, not annualised, mean over paths. `returns`: net, from session to session, mean over paths; None where
    they were not kept.
    """

    path_rank_ic: list[float]
    group_rank_ic: list[float]
    session_sharpe_ratio: float
    returns: pd.Series | None = None

    @property
    def rank_ic(self) -> float:
        return float(np.mean(self.path_rank_ic))

    @property
    def standard_error(self) -> float:
        """Standard error of the mean rank IC, from the spread of groups, not of paths.

        Paths cover the same sessions with the same labels, and more of them bring no new data: their spread over the
        square root of their number would go to zero. Groups are disjoint in time, so their number is what there is to
        average over. It's still somewhat too small, as fits of different folds share training data, and no unbiased
        estimate exists (Bengio & Grandvalet 2004, "No unbiased estimator of the variance of K-fold cross-validation").
        NaN with one group.
        """
        groups = len(self.group_rank_ic)
        return float(np.std(self.group_rank_ic, ddof=1) / np.sqrt(groups)) if groups > 1 else float("nan")


def panel(bars: pd.DataFrame, problem: Problem, own: Mapping[str, Own] | None = None) -> Panel:
    """Features and labels of bars; rows without their whole history are left out, as in scoring.

    `own`: the functions of the problem's feature file.
    """
    rows = compute(problem.features, bars, own=own)
    keys = pd.DataFrame({"timestamp": rows.timestamp, "instrument": pd.array(rows.instrument, dtype="str")})
    close = wide(bars, "close")
    learned = target(problem.label, close, problem.horizon)
    at = (close.index.get_indexer(pd.Index(keys["timestamp"])), close.columns.get_indexer(pd.Index(keys["instrument"])))
    return Panel(
        keys,
        rows.x,
        learned.y.to_numpy()[at],
        rows.names,
        forward_return(close, problem.horizon),
        prices_of(bars),
        rows.previous,
        row_weights(learned.end, at) if problem.weights == "uniqueness" else None,
        None if learned.side is None else learned.side.to_numpy()[at],
    )


def row_weights(end: pd.DataFrame, at: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Uniqueness of the rows `at` (session and instrument numbers), among these rows; 0 without a label."""
    trained = np.full(end.shape, -1)
    trained[at] = end.to_numpy()[at]
    weights: np.ndarray = np.nan_to_num(average_uniqueness(pd.DataFrame(trained)).to_numpy()[at])
    return weights


def folds(known: Panel, problem: Problem) -> Iterator[Fold]:
    return split(known.sessions, problem.splits, reach(problem.horizon))


def evaluate(trial: Trial, known: Panel, problem: Problem) -> Estimate:
    """Fit on each fold's training sessions, score its test sessions, and judge only those scores."""
    return estimate(list(scored_folds(trial, known, problem)), known, problem)


def scored_folds(trial: Trial, known: Panel, problem: Problem) -> Iterator[Score]:
    """Each fold's scores, fitted when asked for: who has seen enough of a trial stops asking.

    Raises:
        UsageError: a label crosses a split, or a fold has no labelled row to train on.
    """
    for fold in folds(known, problem):
        refuse_overlap(fold.train, fold.test, reach(problem.horizon), pd.DatetimeIndex(known.labels.index))
        rows, predicted, files = out_of_fold(trial, known, fold, problem.seed)
        table = score_table(known, rows, predicted)
        yield Score(fold, rows, predicted, metrics.rank_ic_series(table, known.labels.reindex(table.index)), files)


def out_of_fold(trial: Trial, known: Panel, fold: Fold, seed: int) -> tuple[np.ndarray, np.ndarray, dict[str, bytes]]:
    """Numbers of the rows in a fold's test sessions, what a fit on its training sessions predicts for them, and the
    parameters of that fit."""
    stamps = known.keys["timestamp"]
    train, test = stamps.isin(fold.train).to_numpy(), stamps.isin(fold.test).to_numpy()
    if np.isnan(known.y[train]).all():
        raise UsageError(
            f"no label is known from {fold.train[0].date()} to {fold.train[-1].date()}, the sessions of a fold's "
            "training; bring more data or shorten the label's volatility_sessions"
        )
    files = fit(trial, known.sample(train), seed)
    predictor = load(trial.family, files)
    asked = with_history(test, known.previous, predictor.steps)
    sample = known.sample(asked)
    return np.flatnonzero(test), predictor(sample.x, sample.previous)[test[asked]], files


def with_history(rows: np.ndarray, previous: np.ndarray, steps: int) -> np.ndarray:
    """The chosen rows and the `steps` − 1 rows before each: past features, which any score may use."""
    needed, front = rows.copy(), np.flatnonzero(rows)
    for _ in range(steps - 1):
        front = previous[front]
        front = front[front >= 0]
        needed[front] = True
    return needed


def traded(known: Panel, rows: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Forecasts as they are traded: as they are, or for meta-labels the side so much backed."""
    return predicted if known.side is None else np.asarray(known.side[rows] * predicted)


def score_table(known: Panel, rows: np.ndarray, predicted: np.ndarray) -> pd.DataFrame:
    """Scores to trade, sessions × instruments: what is predicted, or for meta-labels the side so much backed."""
    scored = known.keys.iloc[rows].assign(score=traded(known, rows, predicted))
    return scored.pivot(index="timestamp", columns="instrument", values="score").reindex(columns=known.labels.columns)


def estimate(scored: Sequence[Score], known: Panel, problem: Problem) -> Estimate:
    """The figures of all folds of one trial."""
    by_session = pd.concat(
        [
            pd.DataFrame({"group": fold.group, "path": fold.path, "rank_ic": rank_ic.reindex(fold.test).to_numpy()})
            for fold, _, _, rank_ic, _ in scored
        ]
    )
    by_group = by_session.groupby("group")["rank_ic"].mean().tolist()
    by_path = by_session.groupby("path")["rank_ic"].mean().tolist()
    returns = [session_returns(scores, known.prices, problem) for scores in path_scores(scored, known)]
    ratio = float(np.mean([np.nan_to_num(metrics.sharpe_ratio(path, periods=1)) for path in returns]))
    return Estimate(by_path if len(by_path) > 1 else by_group, by_group, ratio, pd.concat(returns, axis=1).mean(axis=1))


def path_scores(scored: Sequence[Score], known: Panel) -> list[pd.DataFrame]:
    """Each path's whole history of scores to trade, sessions × instruments."""
    forecasts = forecast_rows(scored, known)
    return [
        score_table(known, rows["row"].to_numpy(), rows["predicted"].to_numpy())
        for _, rows in forecasts.groupby("path")
    ]


def forecast_rows(scored: Sequence[Score], known: Panel) -> pd.DataFrame:
    """All out-of-fold forecasts of a trial: `row` of the panel, `path`, `predicted`, in order of path, then row."""
    stamps = pd.DatetimeIndex(known.keys["timestamp"])
    found = [
        pd.DataFrame({"row": rows, "path": fold.path[fold.test.get_indexer(stamps[rows])], "predicted": predicted})
        for fold, rows, predicted, *_ in scored
    ]
    return pd.concat(found).sort_values(["path", "row"], ignore_index=True)


def session_returns(scores: pd.DataFrame, prices: Prices, problem: Problem) -> pd.Series:
    """Returns from session to session of trading the scores, net of costs."""
    part = prices.where(prices.close.index >= scores.index[0])
    equity = simulate(target_weights(scores, problem.strategy, prices.close), part, problem.strategy).equity
    return metrics.simple_returns(equity)
