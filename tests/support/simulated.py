"""Small and random markets, weights and strategies for the tests of the engines."""

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from tasks.domain.simulate.contract import Prices, Result
from tasks.domain.strategy import Costs, Risk, Strategy

NO = float("nan")


def table(rows: dict[str, list[float]], sessions: list[int] | None = None) -> pd.DataFrame:
    """Columns by instrument; rows are the given session numbers, or all from 0."""
    length = len(next(iter(rows.values())))
    calendar = pd.bdate_range("2024-01-01", periods=40)
    return pd.DataFrame(rows, index=calendar[sessions if sessions is not None else list(range(length))])


def random_market(seed: int, sessions: int, names: int, gaps: float, fields: int, tick: float) -> Prices:
    """Walks of 8 % a session with missing bars, halts, listings and delistings; opens have gaps of their own.

    `fields`: 0 for closes alone, 1 with opens, 2 with opens, highs, lows and volumes, some of them 0 or missing.
    `tick`: prices are multiples of it, so that they meet levels exactly; 0 for none.
    """
    rng = np.random.default_rng(seed)
    shape = sessions, names
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.08, shape), axis=0))
    opening = close * np.exp(rng.normal(0, 0.02, shape))
    up, down = rng.exponential(0.03, (2, *shape)) * close
    if tick:
        close, opening = (np.maximum(np.round(each / tick), 1) * tick for each in (close, opening))
        up, down = np.round(up / tick) * tick, np.round(down / tick) * tick
    high = np.maximum(opening, close) + up
    low = np.maximum(np.minimum(opening, close) - down, tick or 1e-3)
    number = np.arange(sessions)[:, None]
    listed = np.where(rng.random(names) < gaps, rng.integers(0, sessions, names), 0)
    delisted = np.where(rng.random(names) < gaps, rng.integers(1, sessions + 1, names), sessions)
    alive = (number >= listed) & (number < delisted)

    def holed(values: np.ndarray) -> pd.DataFrame:
        kept = np.where(alive & (rng.random(shape) >= gaps), values, NO)
        return pd.DataFrame(kept, pd.bdate_range("2020-01-01", periods=sessions), [f"N{i}" for i in range(names)])

    closes, opens = holed(close), holed(opening)
    if fields == 0:
        return Prices(closes)
    if fields == 1:
        return Prices(closes, opens)
    volume = np.where(rng.random(shape) < gaps / 2, 0.0, np.round(rng.lognormal(8, 1, shape)))
    return Prices(closes, opens, holed(high), holed(low), holed(volume))


def random_weights(seed: int, prices: Prices, every: int, gross: float) -> pd.DataFrame:
    """Signed weights at the gross limit, about a third of them 0."""
    rng = np.random.default_rng(seed + 1)
    raw = rng.normal(size=prices.close.iloc[::every].shape) * (rng.random(prices.close.shape[1]) < 0.7)
    total = np.abs(raw).sum(axis=1, keepdims=True)
    scaled = gross * np.divide(raw, total, out=np.zeros_like(raw), where=total > 0)
    return pd.DataFrame(scaled, prices.close.index[::every], prices.close.columns)


def random_strategy(seed: int, gross: float, volume: bool) -> Strategy:
    """Costs and risk rules, each there or not."""
    rng = np.random.default_rng(seed + 2)

    def maybe(value: float) -> float | None:
        return value if rng.random() < 0.5 else None

    costs = Costs(
        commission_bp=float(rng.choice([0.0, 4.0, 50.0])),
        half_spread_bp=float(rng.choice([0.0, 6.0])),
        impact_bp=float(rng.choice([0.0, 30.0])) if volume else 0.0,
        interest_rate=float(rng.choice([0.0, 0.05, -0.01])),
        borrow_rate=float(rng.choice([0.0, 0.1])),
    )
    risk = Risk(
        stop_loss=maybe(float(rng.choice([0.02, 0.1, 0.25]))),
        take_profit=maybe(float(rng.choice([0.03, 0.1, 1.5]))),
        holding_bars=None if rng.random() < 0.6 else int(rng.integers(1, 8)),
        drawdown_stop=maybe(float(rng.choice([0.1, 0.3]))),
        turnover_limit=maybe(float(rng.choice([0.2, 0.7]))),
        volume_share=maybe(float(rng.choice([0.05, 1.0]))) if volume else None,
        lot=maybe(float(rng.choice([0.1, 1.0, 100.0]))),
    )
    return Strategy(costs=costs, risk=risk, gross_limit=gross, name_limit=gross, capital=1e6)


def apart(one: Result, two: Result, capital: float) -> str:
    """Where two results first differ, in words; empty where equity is within 0.01 bp and fills are the same."""
    keys = ["timestamp", "instrument", "side", "reason"]
    if len(one.fills) != len(two.fills) or not one.fills[keys].equals(two.fills[keys]):
        return f"fills:\n{one.fills}\n{two.fills}"
    for column in ("quantity", "price", "cost"):
        if not np.allclose(one.fills[column], two.fills[column], rtol=1e-7, atol=1e-6):
            return f"fills differ in {column}"
    allowed = 1e-6 * two.equity + 1e-9 * capital
    wrong = (one.equity - two.equity).abs() > allowed
    return f"equity: {one.equity[wrong]} and {two.equity[wrong]}" if wrong.any() else ""


markets = st.builds(
    random_market,
    seed=st.integers(0, 10**6),
    sessions=st.integers(1, 40),
    names=st.integers(1, 6),
    gaps=st.sampled_from([0.0, 0.1, 0.4]),
    fields=st.integers(0, 2),
    tick=st.sampled_from([0.0, 0.5, 10.0]),
)
