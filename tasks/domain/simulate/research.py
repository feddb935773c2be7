"""The research engine: a compiled pass over the bars, and many such passes over the same bars at once."""

import itertools
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from tasks.domain.simulate.contract import AVERAGE_BARS, REASONS, Prices, Result, check_weights
from tasks.domain.strategy import Strategy

if TYPE_CHECKING:
    from tasks.domain.simulate.kernel import Ledger, Market, Targets, Terms

Floats = npt.NDArray[np.float64]
DAY = np.timedelta64(1, "D")
TILE = 128  # paths computed together
BARS, NAMES = 256, 128  # copied at once, so that both sides stay in the processor's cache


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
    market, targets = market_of(prices, [strategy]), targets_of(weights, prices)
    run, terms, room = compiled().run, terms_of([strategy]), 2 * int(np.count_nonzero(targets.weight)) + 1
    ledger = ledger_of(room)
    equity, fills = run(market, targets, terms, ledger)
    if fills > room:
        ledger = ledger_of(fills)
        run(market, targets, terms, ledger)
    return Result(pd.Series(equity[:, 0], index=prices.calendar, name="equity"), _fills(ledger, fills, prices))


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
    distinct = {
        (id(weights), each.gross_limit, each.name_limit, each.net_limit, each.sector_limit, each.needs_volume): each
        for weights, each in paths
    }
    for (key, *_), strategy in distinct.items():
        check_weights(tables[key], prices, strategy)
    market, run = market_of(prices, [strategy for _, strategy in paths]), compiled().run
    targets = {key: targets_of(weights, prices) for key, weights in tables.items()}
    alike = {key: [n for n, (weights, _) in enumerate(paths) if id(weights) == key] for key in tables}
    tile = min(TILE, -(-len(paths) // threads))
    tiles = [(key, rows[at : at + tile]) for key, rows in alike.items() for at in range(0, len(rows), tile)]
    equity = np.empty((len(paths), len(prices.calendar)))

    def fill(part: tuple[int, list[int]]) -> None:
        key, rows = part
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


def market_of(prices: Prices, strategies: Sequence[Strategy]) -> "Market":
    """Bars as the kernel reads them, of the fields that one of the strategies makes something of."""
    risks = [strategy.risk for strategy in strategies]
    stops = any(risk.stop_loss is not None or risk.take_profit is not None for risk in risks)
    shared = any(risk.volume_share is not None for risk in risks)
    needed = {"open": True, "high": stops, "low": stops, "close": True, "volume": shared}
    tables = {name: table for name, table in prices.fields() if needed[name]}
    if prices.volume is not None and any(strategy.costs.impact_bp > 0 for strategy in strategies):
        tables["average"] = prices.volume.rolling(AVERAGE_BARS, min_periods=1).mean().shift()
    unknown, stamps = np.full((1, prices.close.shape[1]), np.nan), prices.calendar.asi8.view()
    unknown.flags.writeable = stamps.flags.writeable = False  # as tables are: the kernel is compiled for one kind
    fields = ("open", "high", "low", "close", "volume", "average")
    lines = [by_bar(tables[field]) if field in tables else unknown for field in fields]
    given = np.array([field in tables for field in fields], dtype=np.int64)
    day = float(DAY / np.timedelta64(1, prices.calendar.unit))
    market: Market = compiled().Market(*lines, given, stamps, day)
    return market


def by_bar(table: pd.DataFrame) -> Floats:
    """The numbers of a table, a bar's beside each other, for reading only."""
    values = table.to_numpy(dtype=float)
    if values.flags.c_contiguous:
        lines = values.view()
    else:
        lines = np.empty(values.shape)
        for bar, name in itertools.product(range(0, len(values), BARS), range(0, values.shape[1], NAMES)):
            block = slice(bar, bar + BARS), slice(name, name + NAMES)
            lines[block] = values[block]
    lines.flags.writeable = False
    return lines


def targets_of(weights: pd.DataFrame, prices: Prices) -> "Targets":
    decision = np.full(len(prices.calendar), -1, dtype=np.int64)
    decision[prices.calendar.searchsorted(weights.index)] = np.arange(len(weights))
    column = weights.columns.get_indexer(prices.close.columns).astype(np.int64)
    targets: Targets = compiled().Targets(decision, column, by_bar(weights))
    return targets


def ledger_of(room: int) -> "Ledger":
    """Room for so many fills; in few pieces, as the system hands out large ones faster."""
    codes, figures = np.empty((3, room), dtype=np.int32), np.empty((5, room))
    ledger: Ledger = compiled().Ledger(figures[4].view(np.int64), *codes, *figures[:4])
    return ledger


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


def _fills(ledger: "Ledger", fills: int, prices: Prices) -> pd.DataFrame:
    """The kernel goes through a bar by name, a name's order before its stop, so rule F19 is kept."""
    stamp, name, side, reason, quantity, price, notional, cost = (column[:fills] for column in ledger)
    return pd.DataFrame(
        {
            "timestamp": pd.DatetimeIndex(stamp, dtype=prices.calendar.dtype),
            "instrument": _words(name, prices.close.columns),
            "side": _words(side, ("sell", "buy")),
            "quantity": quantity,
            "price": price,
            "notional": notional,
            "cost": cost,
            "reason": _words(reason, REASONS),
        },
        copy=False,
    )


def _words(numbers: npt.NDArray[np.int32], words: Iterable[object]) -> Any:
    """A column of text by its numbers, as pandas has it, in a third of the time that its own `take` needs."""
    kernel = compiled()
    encoded = [str(word).encode() for word in words]
    sizes = np.array([len(word) for word in encoded], dtype=np.int64)
    longest = -(-int(sizes.max(initial=1)) // kernel.LETTERS) * kernel.LETTERS
    letters = np.frombuffer(b"".join(word.ljust(longest, b"\0") for word in encoded), dtype=np.uint64)
    offsets = pa.allocate_buffer(8 * (len(numbers) + 1))
    text = pa.allocate_buffer(len(numbers) * longest + longest)
    room = np.frombuffer(offsets, dtype=np.int64), np.frombuffer(text, dtype=np.uint8)
    kernel.spelled(numbers, sizes, letters.reshape(len(encoded), longest // kernel.LETTERS), *room)
    return pd.array(pa.LargeStringArray.from_buffers(len(numbers), offsets, text), dtype="str")
