"""How firmly scores stand, and what they amount to: noise, inputs in disorder, and a tree that a person can read."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from tasks.domain import metrics, mishaps
from tasks.domain.complexity import TIERS, word
from tasks.domain.scenarios.market import Market
from tasks.domain.scenarios.worlds import Base

Floats = npt.NDArray[np.float64]
NOISE = 5e-4  # standard deviation of what each bar's prices are multiplied by: half the spread of a liquid stock
STRETCH, YEAR = 504, 252  # newest sessions that are explained; look-back of the longest quantity
DEPTH, LEAF = 4, 50  # of the tree that imitates a model, and the rows that each leaf of it needs
FEWEST_NAMES, FEWEST_ROWS = 3, 400  # below which ranks of a session, or a tree, tell nothing
MATTERS, TOLD = 0.1, 3  # share of importance that is worth a word, and how many are said
ROUNDING = 1e-12
SLOPE = 0.05  # of ranks on ranks, below which a sign says nothing
# Of names for which a quantity is high, for which it is low, and what it is.
WORDS = {
    "return_1": ("rose in the last session", "fell in the last session", "the last session's return"),
    "return_5": ("rose over the last week", "fell over the last week", "the last week's return"),
    "return_21": ("rose over the last month", "fell over the last month", "the last month's return"),
    "return_63": ("rose over the last quarter", "fell over the last quarter", "the last quarter's return"),
    "return_252": ("rose over the last year", "fell over the last year", "the last year's return"),
    "volatility_21": ("moved much over the last month", "moved little over the last month", "the last month's moves"),
    "volume_ratio": ("were traded more than usual", "were traded less than usual", "the last week's volume"),
}


class Explained(NamedTuple):
    """`fidelity`: R² of the tree's ranks on sessions that it was not fitted to, mean over the two halves; `importance`:
    of each quantity, shares of one; `stability`: rank correlation of those shares between the halves; `direction`: rank
    correlation of the scores with each quantity."""

    fidelity: float
    importance: dict[str, float]
    stability: float
    direction: dict[str, float]

    @property
    def concentration(self) -> float:
        """The largest share of importance."""
        return max(self.importance.values(), default=np.nan)


def noise_agreement(score: mishaps.Model, told: mishaps.Panel, seed: int) -> float:
    """Mean rank correlation of a session's scores with those of bars whose prices are off by NOISE; 0 where the model
    fails on them, NaN where there is nothing to compare."""
    rng = np.random.default_rng(seed)
    factor = 1.0 + NOISE * rng.normal(size=len(told.bars))
    noisy = told.bars.assign(**{name: told.bars[name] * factor for name in mishaps.PRICES if name in told.bars})
    return agreement(told.scores, mishaps.asked(score, noisy, "where prices are off by a little"))


def agreement(ordinary: pd.DataFrame, found: pd.DataFrame | str) -> float:
    """Mean rank correlation, session by session; 0 where there are no scores to compare with."""
    if isinstance(found, str):
        return 0.0
    other = found.reindex(index=ordinary.index, columns=ordinary.columns).astype(float)
    series = metrics.rank_ic_series(ordinary.where(np.isfinite(ordinary)), other.where(np.isfinite(other)))
    return float(series.mean()) if len(series) else float("nan")


def inputs(score: mishaps.Model, base: Base) -> dict[str, float]:
    """How much each input column matters: 1 less the rank correlation of scores with those of bars in which its history
    stands in another order. Of closes it is the returns that are put in another order.

    An input that the model does not read is 0.
    """
    calendar = base.market.calendar
    order = np.random.default_rng(base.seed).permutation(len(calendar))
    ordinary = base.scores.loc[calendar[base.since :]]

    def moved(fields: Sequence[str]) -> float:
        other = disordered(base.market, order, fields)
        when = f"where the history of {', '.join(fields)} is in another order"
        return 1.0 - agreement(ordinary, mishaps.asked(score, other.bars(), when))

    others = [name for name in base.market.fields() if name != "close"]
    # Most models that read closes read nothing else, which one question tells.
    read = bool(others) and abs(moved(others)) > ROUNDING
    return {"close": moved(["close"])} | {name: moved([name]) if read else 0.0 for name in others}


def disordered(market: Market, order: npt.NDArray[np.intp], fields: Sequence[str]) -> Market:
    """The market with the history of some input columns in another order."""
    volume = market.volume
    return market._replace(
        moves=market.moves[order] if "close" in fields else market.moves,
        shapes={name: shape[order] if name in fields else shape for name, shape in market.shapes.items()},
        volume=volume[order] if volume is not None and "volume" in fields else volume,
    )


def quantities(close: pd.DataFrame, volume: pd.DataFrame | None) -> dict[str, pd.DataFrame]:
    """What a person may know of a name, sessions × names: returns over 1, 5, 21, 63 and 252 sessions, volatility of 21,
    the last week's volume over the last quarter's."""
    level = pd.DataFrame(np.log(close)).ffill(limit=5)
    found = {f"return_{back}": level.diff(back) for back in (1, 5, 21, 63, YEAR)}
    found["volatility_21"] = level.diff().rolling(21).std()
    if volume is not None:
        found["volume_ratio"] = volume.rolling(5, min_periods=1).mean() / volume.rolling(63, min_periods=21).mean()
    return found


def explain(scores: pd.DataFrame, close: pd.DataFrame, volume: pd.DataFrame | None) -> Explained | None:
    """Imitate a model by a shallow tree over simple quantities, all as ranks within the session.

    A surrogate in the sense of Craven & Shavlik (1996), "Extracting tree-structured representations of trained
    networks". Args are sessions × names; only the newest STRETCH scored sessions are looked at. None where there are
    too few of them, or too few names.
    """
    rows, target, names = table(scores, close, volume)
    if len(target) < FEWEST_ROWS or scores.shape[1] < FEWEST_NAMES:
        return None
    from sklearn.tree import DecisionTreeRegressor

    middle = len(target) // 2
    halves = (slice(0, middle), slice(middle, len(target)))
    trees = [
        DecisionTreeRegressor(max_depth=DEPTH, min_samples_leaf=LEAF, random_state=0).fit(rows[half], target[half])
        for half in halves
    ]
    scored = [
        float(tree.score(rows[other], target[other])) for tree, other in zip(trees, reversed(halves), strict=True)
    ]
    shares = np.array([tree.feature_importances_ for tree in trees])
    direction = [correlation(rows[:, at], target) for at in range(len(names))]
    ranked = pd.DataFrame(shares.T).rank().to_numpy()
    return Explained(
        float(np.mean(scored)),
        dict(zip(names, shares.mean(axis=0).tolist(), strict=True)),
        correlation(ranked[:, 0], ranked[:, 1]),
        dict(zip(names, direction, strict=True)),
    )


def table(
    scores: pd.DataFrame,
    close: pd.DataFrame,
    volume: pd.DataFrame | None,
    more: Mapping[str, pd.DataFrame] | None = None,
) -> tuple[Floats, Floats, list[str]]:
    """Ranks within the session, centred, of each quantity (rows × quantities) and of the score, oldest session first;
    rows with all of them only."""
    recent = scores.iloc[-STRETCH:]
    begin = max(close.index.searchsorted(recent.index[0]) - YEAR, 0) if len(recent) else 0
    known = quantities(close.iloc[begin:], None if volume is None else volume.iloc[begin:])
    known |= {} if more is None else {name: each.iloc[begin:] for name, each in more.items()}
    ranked = [centred(each.reindex(index=recent.index, columns=recent.columns)) for each in (recent, *known.values())]
    flat = np.stack([each.ravel() for each in ranked])
    whole = np.isfinite(flat).all(axis=0)
    return flat[1:, whole].T, flat[0, whole], list(known)


def centred(values: pd.DataFrame) -> Floats:
    """Ranks within each session, shares of its names less their mean."""
    ranked = values.where(np.isfinite(values.astype(float))).rank(axis=1, pct=True)
    found: Floats = ranked.sub(ranked.mean(axis=1), axis=0).to_numpy()
    return found


def correlation(a: Floats, b: Floats) -> float:
    return float(np.corrcoef(a, b)[0, 1]) if metrics.varies(a) and metrics.varies(b) else float("nan")


def in_words(told: Explained | None) -> str:
    """What a model mostly does, for a trader."""
    if told is None:
        return "There are too few names or sessions to say in words what it does."
    leading = sorted(told.importance, key=lambda name: -told.importance[name])[:TOLD]
    said = [phrase(name, told.direction[name]) for name in leading if told.importance[name] >= MATTERS]
    share = f"{max(told.fidelity, 0.0):.0%} of how it ranks"
    tree = f"a tree of depth {DEPTH} over {len(told.importance)} simple quantities repeats {share}"
    if told.fidelity < 0.3 or not said:
        return f"No few words say what it does: {tree}, on sessions that the tree was not fitted to."
    names = " and that ".join(said)
    return f"It mostly prefers names that {names}; {tree}, on sessions that the tree was not fitted to."


def phrase(name: str, direction: float) -> str:
    high, low, what = WORDS[name]
    if not abs(direction) >= SLOPE:
        return f"{what} sets apart, though not simply by being high or low"
    return f"{high if direction > 0 else low} (rank correlation {direction:+.2f})"


def sense(scores: pd.DataFrame, close: pd.DataFrame, monotone: Mapping[str, int]) -> dict[str, float]:
    """Slopes of the score on the features that the problem wants monotone, all of them and the simple quantities
    together, in ranks within the session; only those whose name says what they are (`return_N`, `return_FROM_TO`,
    `volatility_N`)."""
    more = {name: values for name in monotone if (values := by_name(name, close)) is not None}
    if not more:
        return {}
    rows, target, names = table(scores, close, None, more)
    if len(target) < FEWEST_ROWS:
        return {}
    slopes = np.linalg.lstsq(rows, target, rcond=None)[0]
    return {name: float(slopes[names.index(name)]) for name in more}


def by_name(name: str, close: pd.DataFrame) -> pd.DataFrame | None:
    """A feature that is called by what it measures; None where the name is another one."""
    level = pd.DataFrame(np.log(close)).ffill(limit=5)
    if found := re.fullmatch(r"return_(\d+)(?:_(\d+))?", name):
        return level.shift(int(found[2] or 0)) - level.shift(int(found[1]))
    if found := re.fullmatch(r"volatility_(\d+)", name):
        return level.diff().rolling(max(int(found[1]), 2)).std()
    return None


def against_sense(slopes: Mapping[str, float], monotone: Mapping[str, int]) -> list[str]:
    """The features whose slope has clearly the wrong sign."""
    return [name for name, slope in slopes.items() if monotone[name] * slope < -SLOPE]


def justified(trials: Sequence[Mapping[str, Any]], chosen: int) -> tuple[float, str]:
    """Whether the chosen trial's complexity earned its place, recomputed from the signed trials: 1 where no simpler
    family's best estimate lies within one standard error of it, or it is of the simplest kind; else 0.

    Source: Breiman et al. (1984), section 3.4.3. Says why in words.
    """
    mine = trials[chosen]
    family, tier = str(mine["family"]), TIERS[mine["family"]]
    if tier == min(TIERS.values()):
        return 1.0, f"{family} is of the simplest kind"
    simpler = [
        trial
        for trial in trials
        if TIERS[trial["family"]] < tier and not trial["pruned"] and np.isfinite(trial["train.rank_ic"])
    ]
    if not simpler:
        return 0.0, f"{family} is of {word(family)} complexity, and nothing simpler was tried"
    rival = max(simpler, key=lambda trial: float(trial["train.rank_ic"]))
    gain, error = mine["train.rank_ic"] - rival["train.rank_ic"], mine["train.rank_ic_standard_error"]
    words = f"{family} gains {gain:+.4f} rank IC over {rival['family']}, the best of what is simpler"
    if not np.isfinite(error):
        return 0.0, f"{words}, and one test window does not tell how sure that is"
    if gain > error:
        return 1.0, f"{words}, more than its standard error {error:.4f}"
    return 0.0, f"{words}, not more than its standard error {error:.4f}"
