"""How large positions are: what each chosen name gets, and what limits cut off."""

import numpy as np
import pandas as pd

from tasks.domain.simulate.contract import sectors_of
from tasks.domain.simulate.past import Floats, Past
from tasks.domain.strategy import Strategy

LEAST = 20  # returns that say how much a name moves


def sized(past: Past, longs: list[int], shorts: list[int], names: pd.Index, strategy: Strategy) -> Floats:
    """Weights of the chosen names, 0 for all others. A score that is not there is NaN.

    Each side gets half of `gross_limit`, or longs get all of it where there are no shorts; what `name_limit` cuts off
    stays in cash, and so does what the other limits and `target_volatility` cut off after it.
    """
    side = np.zeros(len(names))
    if not longs and not shorts:
        return side
    side[longs], side[shorts] = 1.0, -1.0
    budget = strategy.gross_limit / (2 if longs and shorts else 1)
    if strategy.sizing == "minimum_variance":
        weights = minimum_variance(past, side, budget, strategy.name_limit)
    else:
        weights = in_proportion(side, strengths(past, strategy), budget, strategy.name_limit)
    return calmed(past, limited(weights, names, strategy), strategy)


def strengths(past: Past, strategy: Strategy) -> Floats:
    """What names are sized in proportion to."""
    match strategy.sizing:
        case "score":
            distance: Floats = np.abs(past.score - np.nanmedian(past.score))
            return distance if np.nanmax(distance) > 0 else np.ones(len(distance))
        case "inverse_volatility":
            return 1 / volatility(past)
        case _:
            return np.ones(len(past.score))


def in_proportion(side: Floats, strength: Floats, budget: float, most: float) -> Floats:
    """Each side's budget in proportion to strength; in equal parts where a whole side has none."""
    weights = np.zeros(len(side))
    for sign in (1.0, -1.0):
        chosen = side == sign
        part = strength[chosen]
        part = part if part.sum() > 0 else np.ones(len(part))
        weights[chosen] = sign * np.minimum(budget * part / part.sum(), most) if len(part) else 0.0
    return weights


def minimum_variance(past: Past, side: Floats, budget: float, most: float) -> Floats:
    """The book of least variance in which each side has its budget, or as much of it as its names may hold.

    Covariances are shrunk (Ledoit & Wolf 2004), as names may be more than sessions. Source: Markowitz (1952).
    """
    # An import of 1.5 s that only this sizing needs.
    from skfolio.moments import LedoitWolf
    from skfolio.optimization import MeanRisk
    from skfolio.prior import EmpiricalPrior

    weights = np.zeros(len(side))
    chosen = np.flatnonzero(side)
    long, short = (min(budget, most * int((side == sign).sum())) for sign in (1.0, -1.0))
    model = MeanRisk(
        prior_estimator=EmpiricalPrior(covariance_estimator=LedoitWolf()),
        min_weights=np.where(side[chosen] > 0, 0.0, -most),
        max_weights=np.where(side[chosen] > 0, most, 0.0),
        budget=long - short,
        groups=[["long" if sign > 0 else "short" for sign in side[chosen]]],
        linear_constraints=[f"long == {long!r}"] if long and short else None,
    )
    found = model.fit(moves(past)[:, chosen]).weights_
    # A solver's weights may be beyond a bound by its tolerance.
    weights[chosen] = np.clip(found, np.where(side[chosen] > 0, 0.0, -most), np.where(side[chosen] > 0, most, 0.0))
    return weights * shrink(float(np.abs(weights).sum()), long + short)


def limited(weights: Floats, names: pd.Index, strategy: Strategy) -> Floats:
    """Cut down what is too much in one sector, then the larger side where the net is too much: neither can push
    another limit over, because nothing grows."""
    held = weights.copy()
    if strategy.sector_limit is not None:
        for members in sectors_of(names, strategy.sectors):
            held[members] *= shrink(np.abs(held[members]).sum(), strategy.sector_limit)
    if strategy.net_limit is not None and abs(held.sum()) > strategy.net_limit:
        larger = held * held.sum() > 0
        held[larger] *= 1 - (abs(held.sum()) - strategy.net_limit) / abs(held[larger].sum())
    return held


def calmed(past: Past, weights: Floats, strategy: Strategy) -> Floats:
    """Scaled down to the volatility that is aimed at; never up, which `gross_limit` is for."""
    if strategy.target_volatility is None:
        return weights
    yearly = float((moves(past) @ weights).std(ddof=1)) * np.sqrt(past.periods)
    return weights * shrink(yearly, strategy.target_volatility)


def volatility(past: Past) -> Floats:
    """Sample standard deviation of each name's known returns from bar to bar; NaN with fewer than 20, or none but 0."""
    returns = changes(past)
    spread = np.full(len(past.score), np.nan)
    told = np.isfinite(returns).sum(axis=0) >= LEAST
    spread[told] = np.nanstd(returns[:, told], axis=0, ddof=1)
    return np.where(spread > 0, spread, np.nan)


def moves(past: Past) -> Floats:
    """Returns from bar to bar, bars × names; a bar that is missing did not move."""
    moved: Floats = np.nan_to_num(changes(past))
    return moved


def changes(past: Past) -> Floats:
    found: Floats = past.close[1:] / past.close[:-1] - 1
    return found


def shrink(size: float, most: float) -> float:
    return min(1.0, most / size) if size > 0 else 1.0
