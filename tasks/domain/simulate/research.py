"""The research engine: a compiled pass over the bars, and many such passes over the same bars at once."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from tasks.domain.simulate.contract import AVERAGE_BARS, REASONS, Prices, Result, check_weights, fills_table
from tasks.domain.strategy import Strategy

if TYPE_CHECKING:
    from tasks.domain.simulate.kernel import Market, Targets, Terms

Floats = npt.NDArray[np.float64]
DAY = np.timedelta64(1, "D")
TILE = 64  # paths computed together


def simulate(weights: pd.DataFrame, prices: Prices, strategy: Strategy) -> Result:
    """Replay target weights under docs/fills.md.

    Args:
        weights: decision sessions × instruments, signed fractions of equity.
        prices: the market; its close index is the calendar.
        strategy: capital (currency), costs, risk, and the limits that the weights must respect.

    Raises:
        ValueError: the weights do not fit the prices or the limits (see `check_weights`).
    """
    check_weights(weights, prices, strategy)
    market, targets = market_of(prices, strategy.costs.impact_bp > 0), targets_of(weights, prices)
    run, terms, room = compiled().run, terms_of([strategy]), 2 * len(targets.name) + 1
    equity, ledger, fills = run(market, targets, terms, room)
    if fills > room:
        equity, ledger, fills = run(market, targets, terms, fills)
    return Result(pd.Series(equity[:, 0], index=prices.calendar, name="equity"), _fills(ledger[:fills], prices))


def sweep(paths: Sequence[tuple[pd.DataFrame, Strategy]], prices: Prices, threads: int = 2) -> Floats:
    """Equity of many strategies over the same bars, paths × bars; each to the last bit as `simulate` would give it.

    Args:
        paths: target weights and strategy of each. Paths with the very same table of weights are computed together,
            which makes each of them many times faster.
        prices: as for `simulate`.
        threads: how many tiles of paths run at once.
    """
    tables = {id(weights): weights for weights, _ in paths}
    # What is checked depends on these alone, and takes longer than a path.
    distinct = {(id(weights), each.gross_limit, each.name_limit, each.needs_volume): each for weights, each in paths}
    for (key, *_), strategy in distinct.items():
        check_weights(tables[key], prices, strategy)
    market, run = market_of(prices, any(strategy.costs.impact_bp > 0 for _, strategy in paths)), compiled().run
    targets = {key: targets_of(weights, prices) for key, weights in tables.items()}
    alike = {key: [n for n, (weights, _) in enumerate(paths) if id(weights) == key] for key in tables}
    tiles = [(key, rows[at : at + TILE]) for key, rows in alike.items() for at in range(0, len(rows), TILE)]
    equity = np.empty((len(paths), len(prices.calendar)))

    def fill(tile: tuple[int, list[int]]) -> None:
        key, rows = tile
        equity[rows] = run(market, targets[key], terms_of([paths[row][1] for row in rows]), None)[0].T

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(fill, tiles))
    return equity


def compiled() -> ModuleType:
    """The kernel; imported when first asked for, as numba takes its time."""
    from tasks.domain.simulate import kernel

    return kernel


def prepare() -> None:
    """Compile what `simulate` and `sweep` would compile at their first call, unless it is there from an earlier one."""
    close = pd.DataFrame({"A": [1.0, 1.0]}, pd.to_datetime(["2000-01-03", "2000-01-04"]))
    weights, prices = close.iloc[:1] * 0.0, Prices(close)
    simulate(weights, prices, Strategy())
    sweep([(weights, Strategy())], prices)


def market_of(prices: Prices, averages: bool) -> "Market":
    """Bars as the kernel reads them; `averages` of volumes only where something is made of them."""
    kernel = compiled()
    cells = np.full((*prices.close.shape, kernel.CELLS), np.nan)
    for name, frame in prices.fields():
        cells[:, :, getattr(kernel, name.upper())] = frame.to_numpy(dtype=float)
    # A name without any close so far cannot be held, so its mark of 0 never counts; NaN would spread.
    cells[:, :, kernel.MARK] = prices.close.ffill().fillna(0.0).to_numpy(dtype=float)
    cells[1:, :, kernel.BEFORE] = cells[:-1, :, kernel.MARK]
    if averages and prices.volume is not None:
        cells[:, :, kernel.AVERAGE] = prices.volume.rolling(AVERAGE_BARS, min_periods=1).mean().shift().to_numpy(float)
    stamps = prices.calendar.to_numpy()
    market: Market = kernel.Market(cells, np.diff(stamps, prepend=stamps[:1]) / DAY)
    return market


def targets_of(weights: pd.DataFrame, prices: Prices) -> "Targets":
    place = prices.close.columns.get_indexer(weights.columns)
    ascending = np.argsort(place)
    values = weights.to_numpy(dtype=float)[:, ascending]
    rows, columns = np.nonzero(values)
    decision = np.full(len(prices.calendar), -1, dtype=np.int64)
    decision[prices.calendar.get_indexer(weights.index)] = np.arange(len(weights))
    first = np.searchsorted(rows, np.arange(len(weights) + 1))
    name = place[ascending][columns].astype(np.int64)
    targets: Targets = compiled().Targets(decision, first, name, values[rows, columns])
    return targets


def terms_of(strategies: Sequence[Strategy]) -> "Terms":
    rows = [_row(strategy) for strategy in strategies]
    terms: Terms = compiled().Terms(*np.ascontiguousarray(np.array(rows, dtype=float).T))
    return terms


def _row(strategy: Strategy) -> tuple[float, ...]:
    """A strategy's numbers in the order of `kernel.Terms`."""
    costs, risk = strategy.costs, strategy.risk
    return (
        strategy.capital,
        (costs.commission_bp + costs.half_spread_bp) / 1e4,
        costs.impact_bp / 1e4,
        costs.interest_rate,
        costs.borrow_rate,
        _or(risk.stop_loss, np.nan),
        _or(risk.take_profit, np.nan),
        _or(risk.holding_bars, np.inf),
        _or(risk.drawdown_stop, np.nan),
        _or(risk.turnover_limit, np.inf),
        _or(risk.volume_share, np.inf),
        _or(risk.lot, 0.0),
    )


def _or(given: float | None, otherwise: float) -> float:
    return otherwise if given is None else float(given)


def _fills(ledger: Floats, prices: Prices) -> pd.DataFrame:
    """The kernel goes through a bar by name, a name's order before its stop, so rule F19 is kept."""
    bar, name, reason = (ledger[:, column].astype(np.intp) for column in (0, 1, 5))
    words = pd.array(prices.close.columns.to_numpy(dtype=object), dtype="str")
    reasons = pd.array(REASONS, dtype="str").take(reason)
    return fills_table(prices.calendar[bar], words.take(name), ledger[:, 2], ledger[:, 3], ledger[:, 4], reasons)
