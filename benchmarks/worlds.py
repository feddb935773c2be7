"""Synthetic markets, and what training makes of them: its own search, choice and fit, without Prefect and MLflow."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from tasks.configuration import load_policy, load_problem
from tasks.domain import evaluation, statistics
from tasks.domain.families.catalogue import fit
from tasks.domain.families.trial import Trial, grid
from tasks.domain.features.engine import compute
from tasks.domain.gates import Policy
from tasks.domain.inference.catalogue import load
from tasks.domain.labels import reach
from tasks.domain.problem import Problem
from tasks.domain.selection import Scored, one_standard_error

SECTORS = 5
WINDOW = 21  # sessions whose return is the signal
LAGS = 12  # returns that a model of noise looks at
HORIZON = 5

Model = Callable[[pd.DataFrame], pd.DataFrame]


class Size(NamedTuple):
    names: int
    sessions: int


LARGE, SMALL = Size(100, 2520), Size(30, 1500)


class Trained(NamedTuple):
    """A candidate as its trainer hands it over: session Sharpe ratios of all `trials`, and what cross-validation says
    of the chosen one."""

    model: Model
    trials: list[float]
    rank_ic: float
    error: float


class World(NamedTuple):
    """`bars`: long; `signal`: what drives the next returns, sessions × names, known at the close."""

    bars: pd.DataFrame
    signal: pd.DataFrame


def world(seed: int, rank_ic: float = 0.0, size: Size = LARGE) -> World:
    """A market of stocks; with a `rank_ic`, a name's last month moves its next returns by so much.

    Returns are Student (5 degrees) around a drift of strength × the signal's cross-sectional score; a drift that lasts
    the horizon of h sessions has a correlation of strength × √h with the return over it.
    """
    rng = np.random.default_rng(seed)
    count, sessions = size
    strength = rank_ic / np.sqrt(HORIZON)
    sector = rng.integers(0, SECTORS, count)
    shocks = rng.standard_t(5, (sessions, count)) / np.sqrt(5 / 3)
    common = rng.standard_t(5, sessions) / np.sqrt(5 / 3)
    groups = rng.standard_t(5, (sessions, SECTORS)) / np.sqrt(5 / 3)
    level, own = 0.0, 0.012 * np.exp(0.3 * rng.normal(size=count))
    moves, past = np.zeros((sessions, count)), np.zeros((WINDOW, count))
    signal = np.zeros((sessions, count))
    for t in range(sessions):
        level = 0.97 * level + 0.12 * rng.normal()  # log volatility
        drift = strength * own * signal[t - 1] if t else 0.0
        noise = own * shocks[t] + 0.008 * common[t] + 0.006 * groups[t][sector]
        moves[t] = drift * np.exp(level) + np.exp(level) * noise
        past[t % WINDOW] = moves[t]
        summed = past.sum(axis=0)
        signal[t] = (summed - summed.mean()) / summed.std()
    close = 50 * np.exp(np.cumsum(moves, axis=0))
    opened = np.vstack([close[:1], close[:-1]]) * np.exp(0.002 * rng.normal(size=close.shape))
    high = np.maximum(opened, close) * np.exp(0.003 * np.abs(rng.normal(size=close.shape)))
    low = np.minimum(opened, close) * np.exp(-0.003 * np.abs(rng.normal(size=close.shape)))
    volume = np.exp(13 + 0.4 * rng.normal(size=close.shape))
    calendar = pd.bdate_range("2010-01-01", periods=sessions)
    names = [f"N{number:03}" for number in range(count)]
    alive = np.ones(close.shape, dtype=bool)
    for name in rng.choice(count, 2, replace=False):
        alive[rng.integers(sessions // 2, sessions) :, name] = False
    alive &= rng.random(close.shape) > 0.001
    tables = {"open": opened, "high": high, "low": low, "close": close, "volume": volume}
    long = pd.DataFrame({field: values[alive] for field, values in tables.items()})
    at, name = np.nonzero(alive)
    long.insert(0, "timestamp", calendar[at])
    long.insert(1, "instrument", pd.array(np.array(names, dtype=object)[name], dtype="str"))
    bars = long.sort_values(["instrument", "timestamp"], ignore_index=True)
    return World(bars, pd.DataFrame(np.where(alive, signal, np.nan), calendar, names))


def table(bars: pd.DataFrame) -> pd.DataFrame:
    return bars.pivot(index="timestamp", columns="instrument", values="close")


@cache
def setting() -> tuple[Problem, Policy]:
    """The shipped problem with its linear family, and the shipped policy."""
    problem = load_problem("sp500_alpha")
    return problem.model_copy(update={"families": problem.families[:1]}), load_policy(problem.policy)


def searched(bars: pd.DataFrame, start: pd.Timestamp) -> Trained:
    """What training makes of the development part."""
    problem, _ = setting()
    known = evaluation.panel(bars[bars["timestamp"] < start], problem)
    trials = [trial for family in problem.families for trial in grid(family)]
    found = [evaluation.evaluate(trial, known, problem) for trial in trials]
    scored = [
        Scored(number, trial.family, each.rank_ic, each.standard_error)
        for number, (trial, each) in enumerate(zip(trials, found, strict=True))
    ]
    chosen = one_standard_error(scored).number
    files = fit(trials[chosen], known.sample(np.ones(len(known.y), dtype=bool)), problem.seed)
    best = found[chosen]
    ratios = [each.session_sharpe_ratio for each in found]
    return Trained(box(trials[chosen], files), ratios, best.rank_ic, best.standard_error)


def box(trial: Trial, files: dict[str, bytes]) -> Model:
    predictor, features = load(trial.family, files), setting()[0].features

    def score(bars: pd.DataFrame) -> pd.DataFrame:
        rows = compute(features, bars)
        table = pd.DataFrame(
            {"timestamp": rows.timestamp, "instrument": rows.instrument, "score": predictor(rows.x, rows.previous)}
        )
        return table.pivot(index="timestamp", columns="instrument", values="score")

    return score


def lockbox_start(bars: pd.DataFrame) -> pd.Timestamp:
    sessions = np.sort(bars["timestamp"].unique())
    return pd.Timestamp(sessions[int(len(sessions) * (1 - setting()[0].lockbox_fraction))])


def lagged(close: pd.DataFrame) -> np.ndarray:
    """Past returns of each name, lags × sessions × names, 0 where unknown."""
    moved = np.log(close).diff()
    return np.stack([moved.shift(lag).fillna(0.0).to_numpy() for lag in range(LAGS)])


def weighted(known: np.ndarray, weights: np.ndarray, close: pd.DataFrame) -> pd.DataFrame:
    """A model of noise: past returns at weights drawn at random, as causal as a fitted one and as worthless."""
    return pd.DataFrame(np.tensordot(weights, known, 1), close.index, close.columns).where(close.notna())


def promised(ranks: pd.Series) -> tuple[float, float]:
    """Mean and standard error of a rank IC by session."""
    values = ranks.to_numpy(dtype=float)
    return float(values.mean()), statistics.mean_error(values, np.arange(len(values)), reach(HORIZON))
