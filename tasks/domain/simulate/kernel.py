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
    `name[i]`, i from `first[d]` to `first[d + 1]`."""

    decision: np.ndarray
    first: np.ndarray
    name: np.ndarray
    weight: np.ndarray


class Terms(NamedTuple):
    """Costs and risk as numbers: inf for a limit and NaN for a stop that is not set, 0 for no lot and no holding time.

    `rate`, `impact`: fractions of notional; `interest`, `borrow`: a year.
    """

    capital: float
    rate: float
    impact: float
    interest: float
    borrow: float
    stop_loss: float
    take_profit: float
    holding_bars: int
    drawdown_stop: float
    turnover_limit: float
    volume_share: float
    lot: float


def compiled(function: Function) -> Function:
    return cast("Function", numba.njit(nogil=True, error_model="numpy", cache=True)(function))


@compiled
def in_lots(quantity: float, lot: float) -> float:
    """F4."""
    if lot <= 0.0:
        return quantity
    whole = math.floor(abs(quantity) / lot + TOLERANCE) * lot
    return whole if quantity > 0 else -whole


@compiled
def cost_of(quantity: float, price: float, average: float, terms: Terms) -> float:
    """F8."""
    cost = terms.rate
    if terms.impact > 0.0:
        cost += terms.impact * (math.sqrt(abs(quantity) / average) if average > 0.0 else 1.0)
    return abs(quantity) * price * cost


@compiled
def exit_price(
    held: float, entry: float, opened: float, high: float, low: float, close: float, fresh: bool, terms: Terms
) -> tuple[float, int]:
    """Where a position is stopped in this bar and why (F10, F11); NaN where it is not."""
    side = 1.0 if held > 0 else -1.0
    stop = side * entry * (1.0 - side * terms.stop_loss)
    target = side * entry * (1.0 + side * terms.take_profit)
    slack = TOLERANCE * entry
    if opened != opened:
        if fresh:
            return np.nan, STOP_LOSS
        if side * close <= stop + slack:
            return close, STOP_LOSS
        if side * close >= target - slack:
            return close, TAKE_PROFIT
        return np.nan, STOP_LOSS
    if side * opened <= stop + slack:
        return opened, STOP_LOSS
    if side * opened >= target - slack:
        return opened, TAKE_PROFIT
    top = high if high == high else max(opened, close)
    bottom = low if low == low else min(opened, close)
    worst, best = (bottom, top) if side > 0 else (top, bottom)
    if side * worst <= stop + slack:
        return side * stop, STOP_LOSS
    if side * best >= target - slack:
        return side * target, TAKE_PROFIT
    return np.nan, STOP_LOSS


@compiled
def run(market: Market, targets: Targets, terms: Terms, record: bool) -> tuple[np.ndarray, np.ndarray]:
    """Equity at each bar's close and, if `record`, the ledger: one row of `LEDGER_COLUMNS` a fill."""
    cells = market.cells
    bars, names = cells.shape[:2]
    equity = np.zeros(bars)
    ledger, fills = np.empty((1024 if record else 0, LEDGER_COLUMNS)), 0
    held, entry, order, weight = np.zeros(names), np.zeros(names), np.zeros(names), np.zeros(names)
    since, why = np.zeros(names, dtype=np.int64), np.zeros(names, dtype=np.int64)
    # The names that are held or ordered: all others are left alone.
    active, known, count = np.zeros(names, dtype=np.int64), np.zeros(names, dtype=np.bool_), 0
    cash, peak, halted = terms.capital, terms.capital, False
    stops = terms.stop_loss == terms.stop_loss or terms.take_profit == terms.take_profit
    accrues = terms.interest != 0.0 or terms.borrow != 0.0
    for t in range(bars):
        if accrues and t > 0:  # F15
            short = 0.0
            for k in range(count):
                j = active[k]
                short -= min(held[j], 0.0) * cells[t, j, BEFORE]
            cash += (cash * terms.interest - short * terms.borrow) * market.days[t] / YEAR_DAYS
        value = 0.0
        for k in range(count):
            j = active[k]
            opened, close = cells[t, j, OPEN], cells[t, j, CLOSE]
            price = opened if opened == opened else close  # F6
            fresh = False
            for step in range(2):
                quantity, reason = 0.0, 0
                if price != price:
                    pass
                elif step == 0 and order[j] != 0.0:
                    quantity, reason = order[j], why[j]
                    if terms.volume_share < np.inf:  # F7
                        most = terms.volume_share * cells[t, j, VOLUME]
                        if not most > 0.0:
                            quantity = 0.0
                        elif abs(quantity) > most:
                            quantity = in_lots(math.copysign(most, quantity), terms.lot)
                elif step == 1 and stops and held[j] != 0.0:
                    at, reason = exit_price(
                        held[j], entry[j], opened, cells[t, j, HIGH], cells[t, j, LOW], close, fresh, terms
                    )
                    if at == at:
                        price, quantity = at, -held[j]
                if quantity == 0.0:
                    continue
                cost = cost_of(quantity, price, cells[t, j, AVERAGE], terms)
                cash -= quantity * price + cost
                before = held[j]
                after = before + quantity
                if before == 0.0 or before * after < 0.0:  # F9
                    entry[j], since[j] = price, t
                elif abs(after) > abs(before):
                    entry[j] = (abs(before) * entry[j] + abs(quantity) * price) / abs(after)
                held[j] = after
                fresh = True
                if record:
                    if fills == len(ledger):
                        larger = np.empty((2 * fills, LEDGER_COLUMNS))
                        larger[:fills] = ledger
                        ledger = larger
                    ledger[fills, 0], ledger[fills, 1], ledger[fills, 2] = t, j, quantity
                    ledger[fills, 3], ledger[fills, 4], ledger[fills, 5] = price, cost, reason
                    fills += 1
            order[j] = 0.0
            value += held[j] * cells[t, j, MARK]  # F16
        value += cash
        if value <= 0.0:  # F17
            break
        equity[t] = value
        peak = max(peak, value)
        halted = halted or value <= (1.0 - terms.drawdown_stop) * peak * (1.0 + TOLERANCE)  # F14
        decision = -1 if halted else targets.decision[t]
        if decision >= 0:
            for i in range(targets.first[decision], targets.first[decision + 1]):
                j = targets.name[i]
                weight[j] = targets.weight[i]
                if not known[j]:
                    known[j], active[count] = True, j
                    count += 1
        traded = 0.0
        for k in range(count):
            j = active[k]
            close = cells[t, j, CLOSE]
            why[j] = DECISION
            if close != close:
                continue  # F2
            due = terms.holding_bars > 0 and t - since[j] >= terms.holding_bars - 1
            if held[j] != 0.0 and (halted or due):  # F13, F14
                order[j], why[j] = -held[j], DRAWDOWN_STOP if halted else HOLDING_BARS
            elif decision >= 0:
                order[j] = weight[j] * value / close - held[j]
                traded += abs(order[j]) * close
        scale = min(1.0, terms.turnover_limit * value / traded) if traded > 0.0 else 1.0  # F3
        kept = 0
        for k in range(count):
            j = active[k]
            weight[j] = 0.0
            if order[j] != 0.0 and why[j] == DECISION:
                if scale < 1.0:
                    order[j] *= scale
                if order[j] != -held[j]:
                    order[j] = in_lots(order[j], terms.lot)
                if abs(order[j]) * cells[t, j, CLOSE] < SMALLEST_ORDER * value:  # F5
                    order[j] = 0.0
            if held[j] != 0.0 or order[j] != 0.0:
                active[kept] = j
                kept += 1
            else:
                known[j] = False
        count = kept
    return equity, ledger[:fills]
