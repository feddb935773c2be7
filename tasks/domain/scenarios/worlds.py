"""Worlds: what each scenario makes of the newest bars. What a model sees and what is traded may differ: a late feed
changes the first, never the second."""

import zlib
from functools import singledispatch
from typing import NamedTuple

import numpy as np
import pandas as pd

from tasks.domain import sensitivity
from tasks.domain.metrics import varies
from tasks.domain.scenarios import plan
from tasks.domain.scenarios.market import Floats, Market
from tasks.domain.simulate.contract import Prices
from tasks.domain.simulate.resampling import stationary_order
from tasks.domain.strategy import Strategy

PERSISTENCE = 0.995  # most that a session's variance keeps of the one before
EVENT = 4  # what happens once, happens after this part (a quarter) of the sessions that are traded


class Base(NamedTuple):
    """What worlds are made of. `bars`, `prices`: the market as it was; `scores`: of those bars; `since`: number of the
    first session that is traded; `seed`: of the draws."""

    market: Market
    bars: pd.DataFrame
    prices: Prices
    scores: pd.DataFrame
    since: int
    strategy: Strategy
    seed: int

    @property
    def event(self) -> int:
        return self.since + (len(self.market.calendar) - self.since) // EVENT


class World(NamedTuple):
    """`seen`: the bars as the model gets them, long; `prices`: as they are traded; `robbed`: names that lack bars, and
    need not be scored."""

    seen: pd.DataFrame
    prices: Prices
    strategy: Strategy
    robbed: tuple[str, ...] = ()


@singledispatch
def world(scenario: plan.Asked, base: Base) -> World:
    """The world of one scenario; the same base, the same world.

    Raises:
        TypeError: a scenario of the market's history, of which nothing is made.
    """
    raise TypeError(f"nothing is made of a {type(scenario).__name__}")


def random(scenario: plan.Asked, base: Base) -> np.random.Generator:
    """Depends on the scenario's name, so that one more or less leaves the others as they are."""
    return np.random.default_rng([base.seed, zlib.crc32(scenario.name.encode())])


def as_it_was(base: Base) -> World:
    return World(base.bars, base.prices, base.strategy)


def of(market: Market, base: Base) -> World:
    return World(market.bars(), market.prices(), base.strategy)


def moved(base: Base, later: Floats) -> World:
    """Other returns (sessions that are traded × names), the history before them as it was."""
    return of(base.market._replace(moves=np.vstack([base.market.moves[: base.since], later])), base)


@world.register
def _(scenario: plan.Ordinary, base: Base) -> World:
    return as_it_was(base)


@world.register
def _(scenario: plan.Bootstrap, base: Base) -> World:
    order = stationary_order(len(base.market.calendar), scenario.block, random(scenario, base))
    return of(base.market.drawn(order), base)


@world.register
def _(scenario: plan.Garch, base: Base) -> World:
    """Filtered historical simulation (Barone-Adesi, Giannopoulos & Vosper 1999), with the common return's volatility:
    whole sessions are drawn, so what names have in common and of their own stays together."""
    moves, since = base.market.moves[1:], base.since
    mean, common = moves.mean(axis=0), moves.mean(axis=1)
    fitted = garch(common)
    shocks = (moves - mean) / fitted.path[:, np.newaxis]
    shock = (common - common.mean()) / fitted.path
    drawn = random(scenario, base).integers(0, len(moves), len(base.market.calendar) - since)
    variance = scenario.start**2 * fitted.usual
    later = np.empty((len(drawn), moves.shape[1]))
    for at, number in enumerate(drawn):
        later[at] = mean + shocks[number] * np.sqrt(variance)
        variance = fitted.omega + (fitted.alpha * shock[number] ** 2 + fitted.beta) * variance
    return moved(base, later)


class Garched(NamedTuple):
    """σ²(t) = omega + alpha ε²(t − 1) + beta σ²(t − 1). `path`: σ of each session; `usual`: mean of σ²."""

    omega: float
    alpha: float
    beta: float
    path: Floats
    usual: float


def garch(returns: Floats) -> Garched:
    """GARCH(1,1) with Student errors (Bollerslev 1987), by maximum likelihood; constant where returns do not vary.

    Persistence is held below 1, as a short history can suggest variance that grows without end.
    """
    scale = float(returns.std())
    if not varies(returns) or scale == 0:
        return Garched(0.0, 0.0, 1.0, np.ones(len(returns)), 1.0)
    from arch import arch_model

    model = arch_model(returns / scale, dist="t", rescale=False)
    fitted = model.fit(disp="off", show_warning=False)
    alpha, beta = float(fitted.params["alpha[1]"]), float(fitted.params["beta[1]"])
    held = min(1.0, PERSISTENCE / max(alpha + beta, 1e-12))
    path = scale * np.asarray(fitted.conditional_volatility, dtype=float)
    usual = float((path**2).mean())
    omega = usual * (1 - held * (alpha + beta))
    return Garched(omega, held * alpha, held * beta, path, usual)


@world.register
def _(scenario: plan.Correlation, base: Base) -> World:
    """Standardised returns are put together anew of what all have in common and what is each one's own: √ρ of the
    first and √(1 − ρ) of the second, which makes ρ the correlation of any two."""
    later = base.market.moves[base.since :]
    mean, spread = later.mean(axis=0), later.std(axis=0)
    scores = np.divide(later - mean, spread, out=np.zeros_like(later), where=spread > 0)
    common = standardised(scores.mean(axis=1))
    own = standardised(scores - np.outer(common, common @ scores / len(common)))
    rho = scenario.correlation
    return moved(base, mean + spread * (np.sqrt(rho) * common[:, np.newaxis] + np.sqrt(1 - rho) * own))


def standardised(values: Floats) -> Floats:
    spread = values.std(axis=0)
    found: Floats = np.divide(values - values.mean(axis=0), spread, out=np.zeros_like(values), where=spread > 1e-12)
    return found


@world.register
def _(scenario: plan.Volatility, base: Base) -> World:
    later = base.market.moves[base.since :]
    mean = later.mean(axis=0)
    return moved(base, mean + scenario.factor * (later - mean))


@world.register
def _(scenario: plan.Liquidity, base: Base) -> World:
    volume, dry = base.market.volume, as_it_was(base)
    if volume is not None:
        less = np.vstack([volume[: base.since], volume[base.since :] / scenario.factor])
        dry = of(base.market._replace(volume=less), base)
    return dry._replace(strategy=sensitivity.at_costs(base.strategy, scenario.factor))


@world.register
def _(scenario: plan.Late, base: Base) -> World:
    """A late bar stands under the date at which it arrives, so that a model takes old news for new."""
    calendar, late = base.market.calendar, chosen(scenario.share, base)
    bars, delay = base.bars, scenario.sessions * np.asarray(base.bars["instrument"].isin(late))
    place = calendar.get_indexer(pd.Index(bars["timestamp"])) + delay
    arrived = place < len(calendar)
    seen = bars[arrived].assign(timestamp=calendar.take(place[arrived]))
    return as_it_was(base)._replace(seen=seen.reset_index(drop=True))


@world.register
def _(scenario: plan.Outage, base: Base) -> World:
    gone = chosen(scenario.share, base)
    bars, missed = base.bars, base.market.calendar[base.event : base.event + scenario.sessions]
    seen = bars[~(bars["instrument"].isin(gone) & bars["timestamp"].isin(missed))].reset_index(drop=True)
    # Where no bar of anyone's arrives, those sessions are not there at all, and no name has a gap.
    robbed = tuple(gone) if len(gone) < len(base.market.names) else ()
    return as_it_was(base)._replace(seen=seen, robbed=robbed)


def chosen(share: float, base: Base) -> list[str]:
    """Every so many-th name, a `share` of them, one at least."""
    names = list(map(str, base.market.names))
    count = max(1, round(share * len(names)))
    return [names[(at * len(names)) // count] for at in range(count)]


@world.register
def _(scenario: plan.Crash, base: Base) -> World:
    moves = base.market.moves.copy()
    moves[base.event, favourite(base)] += np.log1p(-scenario.fall)
    return of(base.market._replace(moves=moves), base)


def favourite(base: Base) -> int:
    """Number of the name with the highest score a week of sessions before the event, so that it is likely to be held
    by then; of the first name where none is scored."""
    score = base.scores.reindex(index=base.market.calendar, columns=base.market.names).iloc[max(base.event - 5, 0)]
    known = np.where(np.isfinite(score.to_numpy(dtype=float)), score.to_numpy(dtype=float), -np.inf)
    return int(known.argmax())


@world.register
def _(scenario: plan.BadTick, base: Base) -> World:
    bars, number = base.bars, favourite(base)
    wrong = (bars["timestamp"] == base.market.calendar[base.event]) & (bars["instrument"] == base.market.names[number])
    fields = [name for name in ("close", "high" if scenario.factor > 1 else "low") if name in bars]
    factor = np.where(wrong, scenario.factor, 1.0)
    return as_it_was(base)._replace(seen=bars.assign(**{name: bars[name] * factor for name in fields}))
