"""The compiled loop of the research engine: one pass over the bars, touching only what is held or ordered.

Rules by their number in docs/fills.md. Compiled once per machine: numba keeps the result beside Python's own compiled
files, or below the state folder where the program runs from there.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numba
import numpy as np

from tasks.domain.simulate.contract import SMALLEST_ORDER, TOLERANCE, YEAR_DAYS

Function = TypeVar("Function", bound=Callable[..., Any])
DECISION, STOP_LOSS, TAKE_PROFIT, HOLDING_BARS, DRAWDOWN_STOP = range(5)
LEDGER_COLUMNS = 6  # bar, name, signed quantity, price, cost, reason


# The cells of a bar: eight numbers, a line of the processor's cache, so that a position costs one look into memory.
# MARK: the last known close; BEFORE: the mark of the bar before; AVERAGE: of the volumes of the bars before (F8).
OPEN, HIGH, LOW, CLOSE, MARK, BEFORE, VOLUME, AVERAGE = range(8)
CELLS = 8


class Market(NamedTuple):
    """`cells`: bars × names × `CELLS`, float64, NaN where not known; `days`: calendar days since the bar before."""

    cells: np.ndarray
    days: np.ndarray


class Targets(NamedTuple):
    """Decisions without their zeros. `decision`: of each bar, its number or -1; decision d asks for `weight[i]` of name
    `name[i]`, ascending, i from `first[d]` to `first[d + 1]`."""

    decision: np.ndarray
    first: np.ndarray
    name: np.ndarray
    weight: np.ndarray


class Terms(NamedTuple):
    """Costs and risk of each path, as float64 arrays of one length: inf for a limit or a time and NaN for a stop that
    is not set, 0 for no lot. `rate`, `impact`: fractions of notional; `interest`, `borrow`: a year."""

    capital: np.ndarray
    rate: np.ndarray
    impact: np.ndarray
    interest: np.ndarray
    borrow: np.ndarray
    stop_loss: np.ndarray
    take_profit: np.ndarray
    holding_bars: np.ndarray
    drawdown_stop: np.ndarray
    turnover_limit: np.ndarray
    volume_share: np.ndarray
    lot: np.ndarray


def compiled(function: Function) -> Function:
    return cast("Function", numba.njit(nogil=True, error_model="numpy", cache=True)(function))


@compiled
def in_lots(quantity: float, lot: float) -> float:
    """F4."""
    whole = math.floor(abs(quantity) / lot + TOLERANCE) * lot
    return quantity if lot <= 0.0 else math.copysign(whole, quantity)


@compiled
def left(held: float, quantity: float) -> float:
    """What a fill leaves; rounding is nothing (F5)."""
    after = held + quantity
    return 0.0 if abs(after) < SMALLEST_ORDER * abs(quantity) else after


@compiled
def price_impact(quantity: float, average: float) -> float:
    """F8."""
    return math.sqrt(abs(quantity) / average) if average > 0.0 else 1.0


@compiled
def merged(active: np.ndarray, count: int, added: np.ndarray, news: int) -> int:
    """Put `news` ascending numbers into the ascending first `count` of `active`; returns how many there are then."""
    last, place, whole = count - 1, count + news - 1, count + news
    while news > 0:
        if last >= 0 and active[last] > added[news - 1]:
            active[place] = active[last]
            last -= 1
        else:
            active[place] = added[news - 1]
            news -= 1
        place -= 1
    return whole


@compiled
def run(market: Market, targets: Targets, terms: Terms, room: int | None) -> tuple[np.ndarray, np.ndarray, int]:
    """Equity at each bar's close, bars × paths; of a single path the ledger, one row a fill, and how many there were.

    All paths have the same targets, so they look at the same names: what is read of a bar serves them all, and the
    loops over paths (`v`) have no branches, so that the processor takes several at once. `room`: rows of the ledger of
    one path, the rest of a longer one being lost; None for any number of paths, and no ledger.

    It is one function because numba counts references wherever arrays are handed on: cut into its steps, it takes fifty
    times as long on the bars of a single name.
    """
    cells = market.cells
    bars, names = cells.shape[:2]
    if room is None:  # decided when compiled: a single path pays for no loops over paths
        paths, ledger = len(terms.capital), np.empty((0, LEDGER_COLUMNS))
    else:
        paths, ledger = 1, np.empty((room, LEDGER_COLUMNS))
    fills = 0
    equity = np.zeros((bars, paths))
    held, entry, order = np.zeros((names, paths)), np.zeros((names, paths)), np.zeros((names, paths))
    since, leaves = np.zeros((names, paths)), np.zeros((names, paths), dtype=np.bool_)
    weight, ordered, why = np.zeros(names), np.zeros(names, dtype=np.bool_), np.zeros(names, dtype=np.int64)
    # The names that a path holds or has ordered, ascending: all others are left alone. The order makes a path's sums
    # the same whatever the paths beside it hold.
    active, known, count = np.zeros(names, dtype=np.int64), np.zeros(names, dtype=np.bool_), 0
    added = np.zeros(names, dtype=np.int64)
    cash, peak, value = terms.capital.copy(), terms.capital.copy(), np.zeros(paths)
    halted, ruined, decides = np.zeros(paths, np.bool_), np.zeros(paths, np.bool_), np.zeros(paths, np.bool_)
    quantity, cost, at = np.zeros(paths), terms.rate.copy(), np.zeros(paths)
    traded, scale, short = np.zeros(paths), np.ones(paths), np.zeros(paths)
    stops = not (np.isnan(terms.stop_loss).all() and np.isnan(terms.take_profit).all())
    timed, impact = np.isfinite(terms.holding_bars).any(), (terms.impact > 0.0).any()
    shared, limited = np.isfinite(terms.volume_share).any(), np.isfinite(terms.turnover_limit).any()
    lots, accrues = (terms.lot > 0.0).any(), (terms.interest != 0.0).any() or (terms.borrow != 0.0).any()
    for t in range(bars):
        if accrues and t > 0:  # F15
            short[:] = 0.0
            for k in range(count):
                j = active[k]
                for v in range(paths):
                    short[v] -= min(held[j, v], 0.0) * cells[t, j, BEFORE]
            for v in range(paths):
                earned = cash[v] * terms.interest[v] - short[v] * terms.borrow[v]
                cash[v] += earned * market.days[t] / YEAR_DAYS
        value[:] = 0.0
        for k in range(count):
            j = active[k]
            opened, close, average = cells[t, j, OPEN], cells[t, j, CLOSE], cells[t, j, AVERAGE]
            price = opened if opened == opened else close  # F6
            if ordered[j] and price == price:
                for v in range(paths):
                    quantity[v] = order[j, v]
                if shared:  # F7
                    volume = cells[t, j, VOLUME]
                    volume = volume if volume > 0.0 else 0.0
                    for v in range(paths):
                        share = terms.volume_share[v]
                        most = np.inf if share == np.inf else share * volume
                        at[v] = 1.0 if abs(quantity[v]) > most else 0.0
                        quantity[v] = math.copysign(min(most, abs(quantity[v])), quantity[v])
                    if lots:
                        for v in range(paths):
                            quantity[v] = in_lots(quantity[v], terms.lot[v]) if at[v] > 0.0 else quantity[v]
                if impact:
                    for v in range(paths):
                        cost[v] = terms.rate[v] + terms.impact[v] * price_impact(quantity[v], average)
                for v in range(paths):
                    amount = quantity[v]
                    cash[v] -= amount * price + abs(amount) * price * cost[v]
                if stops or timed:  # F9
                    for v in range(paths):
                        before, after = held[j, v], left(held[j, v], quantity[v])
                        opens = quantity[v] != 0.0 and (before == 0.0 or before * after < 0.0)
                        mean = (abs(before) * entry[j, v] + abs(quantity[v]) * price) / abs(after)
                        mean = mean if abs(after) > abs(before) else entry[j, v]
                        entry[j, v] = price if opens else mean
                        since[j, v] = t if opens else since[j, v]
                for v in range(paths):
                    held[j, v] = left(held[j, v], quantity[v])
                if room is not None:
                    fills = noted(ledger, fills, t, j, quantity[0], price, cost[0], why[j])
            else:
                quantity[:] = 0.0
            if stops and price == price:  # F10, F11
                high, low = cells[t, j, HIGH], cells[t, j, LOW]
                top = high if high == high else max(opened, close)
                bottom = low if low == low else min(opened, close)
                ranged = opened == opened
                hits = 0
                for v in range(paths):
                    side = 1.0 if held[j, v] > 0.0 else -1.0
                    slack = TOLERANCE * entry[j, v]
                    stop = side * entry[j, v] * (1.0 - side * terms.stop_loss[v])
                    target = side * entry[j, v] * (1.0 + side * terms.take_profit[v])
                    worst, best = side * (bottom if side > 0.0 else top), side * (top if side > 0.0 else bottom)
                    found = side * target if ranged and best >= target - slack else 0.0
                    found = side * stop if ranged and worst <= stop + slack else found
                    first = side * price
                    gap = first <= stop + slack or first >= target - slack
                    found = price if gap else found
                    seen = held[j, v] != 0.0 and (ranged or quantity[v] == 0.0)
                    at[v] = found if seen else 0.0
                    hits += at[v] != 0.0
                if hits > 0:
                    for v in range(paths):
                        amount = -held[j, v] if at[v] != 0.0 else 0.0
                        rate = terms.rate[v] + terms.impact[v] * price_impact(amount, average)
                        cash[v] -= amount * at[v] + abs(amount) * at[v] * rate
                        held[j, v] += amount
                        if room is not None:
                            reason = STOP_LOSS if amount * (at[0] - entry[j, 0]) > 0.0 else TAKE_PROFIT
                            fills = noted(ledger, fills, t, j, amount, at[0], rate, reason)
            if ordered[j]:
                ordered[j], order[j, :] = False, 0.0
            mark = cells[t, j, MARK]  # F16
            for v in range(paths):
                value[v] += held[j, v] * mark
        decision = targets.decision[t]
        alive = 0
        for v in range(paths):
            value[v] += cash[v]
            if value[v] <= 0.0:
                ruined[v] = True
            if ruined[v]:  # F17
                value[v], cash[v] = 0.0, 0.0
                for k in range(count):
                    held[active[k], v] = 0.0
            alive += not ruined[v]
            equity[t, v] = value[v]
            peak[v] = max(peak[v], value[v])
            halted[v] |= value[v] <= (1.0 - terms.drawdown_stop[v]) * peak[v] * (1.0 + TOLERANCE)  # F14
            decides[v] = decision >= 0 and not halted[v] and not ruined[v]
        if alive == 0:
            break
        forced = timed or halted.any()
        if decision >= 0:
            news = 0
            for i in range(targets.first[decision], targets.first[decision + 1]):
                j = targets.name[i]
                weight[j] = targets.weight[i]
                if not known[j]:
                    known[j], added[news] = True, j
                    news += 1
            count = merged(active, count, added, news)
        elif not forced:
            continue
        traded[:] = 0.0
        for k in range(count):
            j = active[k]
            close = cells[t, j, CLOSE]
            if close != close:
                continue  # F2
            for v in range(paths):
                order[j, v] = weight[j] * value[v] / close - held[j, v] if decides[v] else 0.0
            if forced:
                for v in range(paths):
                    late = halted[v] or t - since[j, v] >= terms.holding_bars[v] - 1.0  # F13, F14
                    leaves[j, v] = late and held[j, v] != 0.0
                    order[j, v] = -held[j, v] if leaves[j, v] else order[j, v]
            if limited:
                for v in range(paths):
                    traded[v] += 0.0 if leaves[j, v] else abs(order[j, v]) * close
        if limited:  # F3
            for v in range(paths):
                most = terms.turnover_limit[v] * value[v]
                scale[v] = most / traded[v] if traded[v] > most else 1.0
        kept = 0
        for k in range(count):
            j = active[k]
            close = cells[t, j, CLOSE]
            if limited:
                for v in range(paths):
                    order[j, v] = order[j, v] if leaves[j, v] else order[j, v] * scale[v]
            if lots:
                for v in range(paths):
                    closes = order[j, v] == -held[j, v]
                    order[j, v] = order[j, v] if closes else in_lots(order[j, v], terms.lot[v])
            uses, asks = 0, 0
            for v in range(paths):
                small = abs(order[j, v]) * close < SMALLEST_ORDER * value[v] and not leaves[j, v]  # F5
                order[j, v] = 0.0 if small else order[j, v]
                asks += order[j, v] != 0.0
                uses += held[j, v] != 0.0
            if room is not None:
                why[j] = DECISION if not leaves[j, 0] else DRAWDOWN_STOP if halted[0] else HOLDING_BARS
            ordered[j], weight[j] = asks > 0, 0.0
            known[j] = asks + uses > 0
            if known[j]:
                active[kept] = j
                kept += 1
        count = kept
    return equity, ledger, fills


@compiled
def noted(
    ledger: np.ndarray, fills: int, t: int, j: int, quantity: float, price: float, rate: float, reason: int
) -> int:
    """Write a fill into the ledger, if it is one and there is room for it; returns how many there have been."""
    if quantity == 0.0:
        return fills
    if fills < len(ledger):
        ledger[fills, 0], ledger[fills, 1], ledger[fills, 2] = t, j, quantity
        ledger[fills, 3], ledger[fills, 4], ledger[fills, 5] = price, abs(quantity) * price * rate, reason
    return fills + 1
