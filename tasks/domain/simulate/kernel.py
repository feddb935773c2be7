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


def inlined(function: Function) -> Function:
    """Compiled into its caller: only there the compiler knows that these arrays do not overlap, and uses it."""
    return cast("Function", numba.njit(inline="always", error_model="numpy")(function))


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


class State(NamedTuple):
    """Where all paths stand. Names × paths: `held`, `entry` and `since` (F9: price and bar), `order`, and whether it
    `leaves` by force (F13, F14). Paths: `cash`, `value` of it all, its `peak`, and whether a path is `halted` (F14),
    `ruined` (F17), `decides` at this close. Names: `weight` wanted, `ordered` by some path, `why`. Room for one name's
    `quantity`, `cost` and stop price `at`, and for one decision's `traded` sum and `scale`."""

    held: np.ndarray
    entry: np.ndarray
    since: np.ndarray
    order: np.ndarray
    leaves: np.ndarray
    cash: np.ndarray
    value: np.ndarray
    peak: np.ndarray
    halted: np.ndarray
    ruined: np.ndarray
    decides: np.ndarray
    weight: np.ndarray
    ordered: np.ndarray
    why: np.ndarray
    quantity: np.ndarray
    cost: np.ndarray
    at: np.ndarray
    traded: np.ndarray
    scale: np.ndarray


class Used(NamedTuple):
    """Which rules any path has, so that the others cost nothing."""

    accrual: bool
    stops: bool
    holding: bool
    impact: bool
    share: bool
    turnover: bool
    lots: bool


@compiled
def used_by(terms: Terms) -> Used:
    return Used(
        accrual=bool((terms.interest != 0.0).any() or (terms.borrow != 0.0).any()),
        stops=not (np.isnan(terms.stop_loss).all() and np.isnan(terms.take_profit).all()),
        holding=bool(np.isfinite(terms.holding_bars).any()),
        impact=bool((terms.impact > 0.0).any()),
        share=bool(np.isfinite(terms.volume_share).any()),
        turnover=bool(np.isfinite(terms.turnover_limit).any()),
        lots=bool((terms.lot > 0.0).any()),
    )


@compiled
def beginning(names: int, paths: int, terms: Terms) -> State:
    return State(
        np.zeros((names, paths)),
        np.zeros((names, paths)),
        np.zeros((names, paths)),
        np.zeros((names, paths)),
        np.zeros((names, paths), dtype=np.bool_),
        terms.capital.copy(),
        np.zeros(paths),
        terms.capital.copy(),
        np.zeros(paths, dtype=np.bool_),
        np.zeros(paths, dtype=np.bool_),
        np.zeros(paths, dtype=np.bool_),
        np.zeros(names),
        np.zeros(names, dtype=np.bool_),
        np.zeros(names, dtype=np.int64),
        np.zeros(paths),
        terms.rate.copy(),
        np.zeros(paths),
        np.zeros(paths),
        np.ones(paths),
    )


@compiled
def run(market: Market, targets: Targets, terms: Terms, room: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Equity at each bar's close, bars × paths, and the ledger, one row a fill, of a single path.

    All paths have the same targets, so they look at the same names: what is read of a bar serves them all, and the
    loops over paths (`v`) have no branches, so that the processor takes several at once. `room`: rows to begin the
    ledger with, for one path; None for any number of paths, and no ledger.
    """
    bars, names = market.cells.shape[:2]
    if room is None:  # decided when compiled: a single path pays for no loops over paths
        paths, ledger = len(terms.capital), np.empty((0, LEDGER_COLUMNS))
    else:
        paths, ledger = 1, np.empty((room, LEDGER_COLUMNS))
    fills = 0
    used, state, equity = used_by(terms), beginning(names, paths, terms), np.zeros((bars, paths))
    # The names that a path holds or has ordered, ascending: all others are left alone. The order makes a path's sums
    # the same whatever the paths beside it hold.
    active, known, count = np.zeros(names, dtype=np.int64), np.zeros(names, dtype=np.bool_), 0
    added = np.zeros(names, dtype=np.int64)
    for t in range(bars):
        cells, decision = market.cells[t], targets.decision[t]
        if used.accrual and t > 0:
            accrue(cells, market.days[t], terms, state, active[:count], room)
        ledger, fills = trade(t, cells, terms, used, state, active[:count], ledger, fills, room)
        if settle(terms, state, active[:count], decision >= 0, room) == 0:
            break
        equity[t] = state.value
        if decision >= 0:
            chosen = slice(targets.first[decision], targets.first[decision + 1])
            count = wanted(targets.name[chosen], targets.weight[chosen], state.weight, active, known, count, added)
        elif not used.holding and not state.halted.any():
            continue
        place(t, cells, terms, used, state, active[:count], room)
        kept = 0
        for j in active[:count]:
            known[j] = state.ordered[j]
            for v in range(len(state.cash)):
                known[j] |= state.held[j, v] != 0.0
            if known[j]:
                active[kept] = j
                kept += 1
        count = kept
    return equity, ledger[:fills]


@inlined
def accrue(cells: np.ndarray, days: float, terms: Terms, state: State, active: np.ndarray, room: int | None) -> None:
    """F15."""
    paths = len(state.cash) if room is None else 1
    short = state.traded
    short[:] = 0.0
    for j in active:
        for v in range(paths):
            short[v] -= min(state.held[j, v], 0.0) * cells[j, BEFORE]
    for v in range(paths):
        earned = state.cash[v] * terms.interest[v] - short[v] * terms.borrow[v]
        state.cash[v] += earned * days / YEAR_DAYS


@inlined
def trade(
    t: int,
    cells: np.ndarray,
    terms: Terms,
    used: Used,
    state: State,
    active: np.ndarray,
    ledger: np.ndarray,
    fills: int,
    room: int | None,
) -> tuple[np.ndarray, int]:
    """What happens within a bar: orders, then stops; and what the positions are worth after it."""
    paths = len(state.cash) if room is None else 1
    held, entry, since, order = state.held, state.entry, state.since, state.order
    cash, value, quantity, cost, at = state.cash, state.value, state.quantity, state.cost, state.at
    value[:] = 0.0
    for j in active:
        opened, close, average = cells[j, OPEN], cells[j, CLOSE], cells[j, AVERAGE]
        price = opened if opened == opened else close  # F6
        if state.ordered[j] and price == price:
            for v in range(paths):
                quantity[v] = order[j, v]
            if used.share:  # F7
                volume = cells[j, VOLUME]
                volume = volume if volume > 0.0 else 0.0
                for v in range(paths):
                    share = terms.volume_share[v]
                    most = np.inf if share == np.inf else share * volume
                    at[v] = 1.0 if abs(quantity[v]) > most else 0.0
                    quantity[v] = math.copysign(min(most, abs(quantity[v])), quantity[v])
                if used.lots:
                    for v in range(paths):
                        quantity[v] = in_lots(quantity[v], terms.lot[v]) if at[v] > 0.0 else quantity[v]
            if used.impact:
                for v in range(paths):
                    cost[v] = terms.rate[v] + terms.impact[v] * price_impact(quantity[v], average)
            for v in range(paths):
                amount = quantity[v]
                cash[v] -= amount * price + abs(amount) * price * cost[v]
            if used.stops or used.holding:  # F9
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
                ledger, fills = noted(ledger, fills, t, j, quantity[0], price, cost[0], state.why[j])
        else:
            quantity[:] = 0.0
        if used.stops and price == price and stopped(cells[j], held[j], entry[j], terms, quantity, at, room) > 0:
            for v in range(paths):
                amount = -held[j, v] if at[v] != 0.0 else 0.0
                rate = terms.rate[v] + terms.impact[v] * price_impact(amount, average)
                cash[v] -= amount * at[v] + abs(amount) * at[v] * rate
                held[j, v] += amount
                if room is not None:
                    lost = amount * (at[0] - entry[j, 0]) > 0.0
                    ledger, fills = noted(ledger, fills, t, j, amount, at[0], rate, STOP_LOSS if lost else TAKE_PROFIT)
        if state.ordered[j]:
            state.ordered[j], order[j, :] = False, 0.0
        mark = cells[j, MARK]  # F16
        for v in range(paths):
            value[v] += held[j, v] * mark
    return ledger, fills


@inlined
def stopped(
    cell: np.ndarray,
    held: np.ndarray,
    entry: np.ndarray,
    terms: Terms,
    filled: np.ndarray,
    at: np.ndarray,
    room: int | None,
) -> int:
    """F10, F11: the price at which each path's position in a name is stopped in this bar, 0 where it is not; returns
    how many are."""
    paths = len(held) if room is None else 1
    opened, close, high, low = cell[OPEN], cell[CLOSE], cell[HIGH], cell[LOW]
    ranged = opened == opened
    price = opened if ranged else close
    top = high if high == high else max(opened, close)
    bottom = low if low == low else min(opened, close)
    hits = 0
    for v in range(paths):
        side = 1.0 if held[v] > 0.0 else -1.0
        slack = TOLERANCE * entry[v]
        stop = side * entry[v] * (1.0 - side * terms.stop_loss[v])
        target = side * entry[v] * (1.0 + side * terms.take_profit[v])
        worst, best = side * (bottom if side > 0.0 else top), side * (top if side > 0.0 else bottom)
        found = side * target if ranged and best >= target - slack else 0.0
        found = side * stop if ranged and worst <= stop + slack else found
        first = side * price
        gap = first <= stop + slack or first >= target - slack
        found = price if gap else found
        seen = held[v] != 0.0 and (ranged or filled[v] == 0.0)
        at[v] = found if seen else 0.0
        hits += at[v] != 0.0
    return hits


@inlined
def settle(terms: Terms, state: State, active: np.ndarray, decision: bool, room: int | None) -> int:
    """The close of a bar: ruin, the drawdown stop, and who decides; returns how many paths are not ruined."""
    alive = 0
    paths = len(state.cash) if room is None else 1
    for v in range(paths):
        state.value[v] += state.cash[v]
        if state.value[v] <= 0.0:
            state.ruined[v] = True
        if state.ruined[v]:  # F17
            state.value[v], state.cash[v] = 0.0, 0.0
            for j in active:
                state.held[j, v] = 0.0
        alive += not state.ruined[v]
        state.peak[v] = max(state.peak[v], state.value[v])
        floor = (1.0 - terms.drawdown_stop[v]) * state.peak[v]
        state.halted[v] |= state.value[v] <= floor * (1.0 + TOLERANCE)  # F14
        state.decides[v] = decision and not state.halted[v] and not state.ruined[v]
    return alive


@compiled
def wanted(
    name: np.ndarray,
    given: np.ndarray,
    weight: np.ndarray,
    active: np.ndarray,
    known: np.ndarray,
    count: int,
    added: np.ndarray,
) -> int:
    """Lay out a decision's weights by name; its new names become active. Returns how many are."""
    news = 0
    for i in range(len(name)):
        j = name[i]
        weight[j] = given[i]
        if not known[j]:
            known[j], added[news] = True, j
            news += 1
    return merged(active, count, added, news)


@inlined
def place(
    t: int, cells: np.ndarray, terms: Terms, used: Used, state: State, active: np.ndarray, room: int | None
) -> None:
    """The orders of a close."""
    paths = len(state.cash) if room is None else 1
    held, order, leaves, value = state.held, state.order, state.leaves, state.value
    forced = used.holding or state.halted.any()
    state.traded[:] = 0.0
    for j in active:
        close = cells[j, CLOSE]
        if close != close:
            continue  # F2
        weight = state.weight[j]
        for v in range(paths):
            order[j, v] = weight * value[v] / close - held[j, v] if state.decides[v] else 0.0
        if forced:
            for v in range(paths):
                late = state.halted[v] or t - state.since[j, v] >= terms.holding_bars[v] - 1.0  # F13, F14
                leaves[j, v] = late and held[j, v] != 0.0
                order[j, v] = -held[j, v] if leaves[j, v] else order[j, v]
        if used.turnover:
            for v in range(paths):
                state.traded[v] += 0.0 if leaves[j, v] else abs(order[j, v]) * close
    if used.turnover:  # F3
        for v in range(paths):
            most = terms.turnover_limit[v] * value[v]
            state.scale[v] = most / state.traded[v] if state.traded[v] > most else 1.0
    for j in active:
        if used.turnover:
            for v in range(paths):
                order[j, v] = order[j, v] if leaves[j, v] else order[j, v] * state.scale[v]
        if used.lots:
            for v in range(paths):
                closes = order[j, v] == -held[j, v]
                order[j, v] = order[j, v] if closes else in_lots(order[j, v], terms.lot[v])
        asks, close = 0, cells[j, CLOSE]
        for v in range(paths):
            worth = abs(order[j, v]) * close
            order[j, v] = 0.0 if worth < SMALLEST_ORDER * value[v] and not leaves[j, v] else order[j, v]  # F5
            asks += order[j, v] != 0.0
        if room is not None:
            state.why[j] = DECISION if not leaves[j, 0] else DRAWDOWN_STOP if state.halted[0] else HOLDING_BARS
        state.ordered[j], state.weight[j] = asks > 0, 0.0


@compiled
def noted(
    ledger: np.ndarray, fills: int, t: int, j: int, quantity: float, price: float, rate: float, reason: int
) -> tuple[np.ndarray, int]:
    """The ledger with one more fill, if it is one, in a larger room where it is full."""
    if quantity == 0.0:
        return ledger, fills
    if fills == len(ledger):
        larger = np.empty((2 * fills, LEDGER_COLUMNS))
        larger[:fills] = ledger
        ledger = larger
    ledger[fills, 0], ledger[fills, 1], ledger[fills, 2] = t, j, quantity
    ledger[fills, 3], ledger[fills, 4], ledger[fills, 5] = price, abs(quantity) * price * rate, reason
    return ledger, fills + 1
