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
OPEN, HIGH, LOW, CLOSE, VOLUME, AVERAGE = range(6)
LETTERS = 8  # written at once


class Market(NamedTuple):
    """Bars × names, float64, NaN where not known; a field that is not there, or of no use, is one line of NaN.

    `average`: of the volumes of the bars before (F8). `given`: 1 for a field that is there, else 0. `stamp`: of each
    bar, `day` a day.
    """

    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray
    average: np.ndarray
    given: np.ndarray
    stamp: np.ndarray
    day: float


class Targets(NamedTuple):
    """`decision`: of each bar, its row of `weight` or -1; `column`: of each name, its column there or -1."""

    decision: np.ndarray
    column: np.ndarray
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


class Ledger(NamedTuple):
    """Fills by column; `name`, `side` (1 buys) and `reason` are numbers of words."""

    stamp: np.ndarray
    name: np.ndarray
    side: np.ndarray
    reason: np.ndarray
    quantity: np.ndarray
    price: np.ndarray
    notional: np.ndarray
    cost: np.ndarray


def compiled(function: Function) -> Function:
    return cast("Function", numba.njit(nogil=True, error_model="numpy", cache=True)(function))


@compiled
def worthwhile(order: float, close: float, least: float) -> float:
    """F5."""
    return 0.0 if abs(order) * close < least else order


@compiled
def turned(order: float, close: float) -> float:
    """F3."""
    return abs(order) * close


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
def bits_of(number: float) -> Any:
    return np.float64(number).view(np.int64)


@compiled
def number_of(bits: int) -> Any:
    return np.int64(bits).view(np.float64)


@compiled
def anew(quantity: float, before: float, after: float) -> bool:
    """Whether a fill begins a position (F9, F13)."""
    return quantity != 0.0 and (before == 0.0 or before * after < 0.0)


@compiled
def over(since: float, t: int, holding_bars: float) -> bool:
    """F13."""
    return t - since >= holding_bars - 1.0


@compiled
def booked(quantity: float, price: float, rate: float) -> tuple[float, float, float, float]:
    """A fill as the ledger has it: quantity, price, notional, cost."""
    return abs(quantity), price, abs(quantity) * price, abs(quantity) * price * rate


@compiled
def run(market: Market, targets: Targets, terms: Terms, ledger: Ledger | None) -> tuple[np.ndarray, int]:
    """Equity at each bar's close, bars × paths, and how many fills a single path had.

    All paths have the same targets, so they look at the same names: what is read of a bar serves them all, and the
    loops over paths (`v`) have no branches, so that the processor takes several at once. An order is kept as what it
    is made of and computed when it fills: of a path and a name little more than the quantity held is read and written.
    `ledger`: room for the fills of one path, the rest of them being lost; None for any number of paths.

    It is one function, and hands on numbers only, because numba counts references wherever arrays are handed on, or
    reached by way of a tuple: cut into its steps, it takes fifty times as long on the bars of a single name.
    """
    opens, highs, lows, closes, volumes, averages, given, stamps, day = market
    decisions, columns, weights = targets
    capital, rate, impact, interest, borrow, stop_loss, take_profit = terms[:7]
    holding_bars, drawdown_stop, turnover_limit, volume_share, lot = terms[7:]
    bars, names = len(stamps), len(columns)
    if ledger is None:  # decided when compiled: a single path pays for no loops over paths
        paths = len(capital)
    else:
        paths = 1
        whens, whos, buys, whys, quantities, prices, notionals, costs = ledger
    fills = 0
    equity = np.zeros((bars, paths))
    held, entry, since = np.zeros((names, paths)), np.zeros((names, paths)), np.zeros((names, paths))
    # The names that a path holds or has ordered, ascending: all others are left alone. The order makes a path's sums
    # the same whatever the paths beside it hold.
    active, count = np.zeros(names, dtype=np.int64), 0
    ordered, busy = np.zeros(names, dtype=np.bool_), np.zeros(names, dtype=np.bool_)
    # Of a name's latest decision: the weight and the close; and its last known close.
    weight, basis, mark = np.zeros(names), np.zeros(names), np.zeros(names)
    # No path holds more of a name than `bulk`, none has a stop or target between `floor` and `ceiling`, so that most
    # bars need no look at each path; inf where that has to be found anew. It is found among the bits of the numbers:
    # they have the numbers' own order where none is negative, and the processor compares several at once.
    bulk, floor, ceiling = np.full(names, np.inf), np.full(names, np.inf), np.zeros(names)
    cash, peak, value = capital.copy(), capital.copy(), np.zeros(paths)
    halted, ruined, decides = np.zeros(paths, np.bool_), np.zeros(paths, np.bool_), np.zeros(paths, np.bool_)
    quantity, leaves, cost, at = np.zeros(paths), np.zeros(paths, np.bool_), rate.copy(), np.zeros(paths)
    # Of the latest decision: equity, the smallest order, what part of an order is given (none if the path decides not).
    size, least, scale, largest = np.zeros(paths), np.zeros(paths), np.zeros(paths), 0.0
    traded, short = np.zeros(paths), np.zeros(paths)
    stops = not (np.isnan(stop_loss).all() and np.isnan(take_profit).all())
    timed, impacts = np.isfinite(holding_bars).any(), (impact > 0.0).any()
    shared, limited = np.isfinite(volume_share).any(), np.isfinite(turnover_limit).any()
    lots, accrues, forced = (lot > 0.0).any(), (interest != 0.0).any() or (borrow != 0.0).any(), timed
    plain, ample = not lots and not impacts, True
    scarce, tight, near = np.inf, np.inf, np.inf
    for v in range(paths):
        scarce = min(scarce, volume_share[v])
        tight = stop_loss[v] if stop_loss[v] < tight else tight
        near = take_profit[v] if take_profit[v] < near else near
    for t in range(bars):
        if accrues and t > 0:  # F15
            short[:] = 0.0
            for k in range(count):
                j = active[k]
                for v in range(paths):
                    short[v] -= min(held[j, v], 0.0) * mark[j]
            days = (stamps[t] - stamps[t - 1]) / day
            for v in range(paths):
                earned = cash[v] * interest[v] - short[v] * borrow[v]
                cash[v] += earned * days / YEAR_DAYS
        value[:] = 0.0
        for k in range(count):
            j = active[k]
            opened, close = opens[t * given[OPEN], j], closes[t, j]
            price = opened if opened == opened else close  # F6
            ranged, filled = opened == opened, ordered[j] and price == price
            ordered[j], watched, wanted, decided = False, False, weight[j], basis[j]
            if stops:
                high, low = highs[t * given[HIGH], j], lows[t * given[LOW], j]
                top = high if high == high else max(opened, close)
                bottom = low if low == low else min(opened, close)
                watched = not (floor[j] < min(bottom, price) and max(top, price) < ceiling[j])
            mark[j] = close if close == close else mark[j]  # F16
            if shared and filled:
                volume = volumes[t * given[VOLUME], j]
                volume = volume if volume > 0.0 else 0.0
                if bulk[j] == np.inf:
                    most_bits = bits_of(0.0)
                    for v in range(paths):
                        most_bits = max(most_bits, bits_of(abs(held[j, v])))
                    bulk[j] = number_of(most_bits)
                ample = (bulk[j] + abs(wanted) * largest / decided) * (1.0 + TOLERANCE) <= scarce * volume
            if ledger is None and filled and wanted == 0.0 and plain and ample and not forced and not watched:
                any_bits = bits_of(0.0)
                for v in range(paths):  # all of the below that there is for a name that is only left
                    order = worthwhile(-held[j, v] * scale[v], decided, least[v])
                    notional = order * price
                    cash[v] -= notional + abs(notional) * cost[v]
                    after = left(held[j, v], order)
                    held[j, v] = after
                    value[v] += after * mark[j]
                    any_bits |= bits_of(after)
                busy[j] = any_bits != 0
                continue
            if filled:
                for v in range(paths):  # F2, F3
                    order = (wanted * size[v] / decided - held[j, v]) * scale[v]
                    quantity[v] = worthwhile(order, decided, least[v])
                if lots:
                    for v in range(paths):
                        order = (wanted * size[v] / decided - held[j, v]) * scale[v]
                        order = order if order == -held[j, v] else in_lots(order, lot[v])
                        quantity[v] = worthwhile(order, decided, least[v])
                if forced:  # F13, F14
                    for v in range(paths):
                        leaves[v] = held[j, v] != 0.0 and (halted[v] or over(since[j, v], t - 1, holding_bars[v]))
                        quantity[v] = -held[j, v] if leaves[v] else quantity[v]
                if not ample:  # F7
                    for v in range(paths):
                        most = np.inf if volume_share[v] == np.inf else volume_share[v] * volume
                        at[v] = 1.0 if abs(quantity[v]) > most else 0.0
                        quantity[v] = math.copysign(min(most, abs(quantity[v])), quantity[v])
                    if lots:
                        for v in range(paths):
                            quantity[v] = in_lots(quantity[v], lot[v]) if at[v] > 0.0 else quantity[v]
                if impacts:
                    average = averages[t * given[AVERAGE], j]
                    for v in range(paths):
                        cost[v] = rate[v] + impact[v] * price_impact(quantity[v], average)
                if wanted != 0.0:  # else positions only become smaller
                    bulk[j], floor[j] = np.inf, np.inf
                    if stops:  # F9
                        for v in range(paths):
                            before, after = held[j, v], left(held[j, v], quantity[v])
                            mean = (abs(before) * entry[j, v] + abs(quantity[v]) * price) / abs(after)
                            mean = mean if abs(after) > abs(before) else entry[j, v]
                            entry[j, v] = price if anew(quantity[v], before, after) else mean
                    if timed:
                        for v in range(paths):
                            begins = anew(quantity[v], held[j, v], left(held[j, v], quantity[v]))
                            since[j, v] = t if begins else since[j, v]
                for v in range(paths):
                    notional = quantity[v] * price
                    cash[v] -= notional + abs(notional) * cost[v]
                    held[j, v] = left(held[j, v], quantity[v])
                busy[j] = True
                if ledger is not None and quantity[0] != 0.0:
                    if fills < len(whens):
                        why = DECISION if not (forced and leaves[0]) else DRAWDOWN_STOP if halted[0] else HOLDING_BARS
                        whens[fills], whos[fills], buys[fills], whys[fills] = stamps[t], j, quantity[0] > 0.0, why
                        figures = booked(quantity[0], price, cost[0])
                        quantities[fills], prices[fills], notionals[fills], costs[fills] = figures
                    fills += 1
            if stops and busy[j] and price == price:  # F10, F11
                if floor[j] == np.inf:
                    longs, shorts, least_bits, most_bits = 0, 0, bits_of(np.inf), bits_of(0.0)
                    for v in range(paths):
                        longs += held[j, v] > 0.0
                        shorts += held[j, v] < 0.0
                        entered = bits_of(entry[j, v])
                        least_bits = min(least_bits, entered if held[j, v] != 0.0 else bits_of(np.inf))
                        most_bits = max(most_bits, entered if held[j, v] != 0.0 else bits_of(0.0))
                    lowest, highest = number_of(least_bits), number_of(most_bits)
                    down = tight if shorts == 0 else near if longs == 0 else min(tight, near)
                    up = near if shorts == 0 else tight if longs == 0 else min(tight, near)
                    floor[j] = highest * (1.0 - down + 2.0 * TOLERANCE) if longs + shorts > 0 else 0.0
                    ceiling[j] = lowest * (1.0 + up - 2.0 * TOLERANCE) if longs + shorts > 0 else np.inf
                hits = 0
                if not (floor[j] < min(bottom, price) and max(top, price) < ceiling[j]):
                    for v in range(paths):
                        side = 1.0 if held[j, v] > 0.0 else -1.0
                        slack = TOLERANCE * entry[j, v]
                        stop = side * entry[j, v] * (1.0 - side * stop_loss[v])
                        target = side * entry[j, v] * (1.0 + side * take_profit[v])
                        worst, best = side * (bottom if side > 0.0 else top), side * (top if side > 0.0 else bottom)
                        found = side * target if ranged and best >= target - slack else 0.0
                        found = side * stop if ranged and worst <= stop + slack else found
                        first = side * price
                        gap = first <= stop + slack or first >= target - slack
                        found = price if gap else found
                        seen = held[j, v] != 0.0 and (ranged or not filled or quantity[v] == 0.0)
                        at[v] = found if seen else 0.0
                        hits += at[v] != 0.0
                if hits > 0:
                    floor[j], average = np.inf, averages[t * given[AVERAGE], j]
                    for v in range(paths):
                        amount = -held[j, v] if at[v] != 0.0 else 0.0
                        paid = rate[v] + impact[v] * price_impact(amount, average)
                        cash[v] -= amount * at[v] + abs(amount) * at[v] * paid
                        held[j, v] += amount
                        if ledger is not None:
                            if fills < len(whens):
                                why = STOP_LOSS if amount * (at[0] - entry[j, 0]) > 0.0 else TAKE_PROFIT
                                whens[fills], whos[fills], buys[fills], whys[fills] = stamps[t], j, amount > 0.0, why
                                figures = booked(amount, at[0], paid)
                                quantities[fills], prices[fills], notionals[fills], costs[fills] = figures
                            fills += 1
            if busy[j]:
                any_bits = bits_of(0.0)
                for v in range(paths):
                    value[v] += held[j, v] * mark[j]
                    any_bits |= bits_of(held[j, v])
                busy[j] = any_bits != 0
        decision, alive = decisions[t], 0
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
            halted[v] |= value[v] <= (1.0 - drawdown_stop[v]) * peak[v] * (1.0 + TOLERANCE)  # F14
            decides[v] = decision >= 0 and not halted[v] and not ruined[v]
        if alive == 0:
            break
        forced = timed or halted.any()
        if decision >= 0:
            count = 0
            for j in range(names):
                weight[j] = weights[decision, columns[j]] if columns[j] >= 0 else 0.0
                active[count] = j
                count += (weight[j] != 0.0) | busy[j]
        elif not forced:
            continue
        traded[:] = 0.0
        for k in range(count):
            j, asks = active[k], 0
            close = closes[t, j]
            ordered[j] = close == close  # F2
            if not ordered[j]:
                continue
            mark[j], basis[j] = close, close
            if decision < 0:
                for v in range(paths):
                    late = halted[v] or over(since[j, v], t, holding_bars[v])
                    asks += late and held[j, v] != 0.0
                ordered[j], weight[j] = asks > 0, 0.0
            elif limited and forced:
                for v in range(paths):
                    late = halted[v] or over(since[j, v], t, holding_bars[v])
                    order = weight[j] * value[v] / close - held[j, v]
                    traded[v] += 0.0 if late and held[j, v] != 0.0 else turned(order, close)
            elif limited and weight[j] == 0.0:
                for v in range(paths):
                    traded[v] += turned(held[j, v], close)
            elif limited:
                for v in range(paths):
                    traded[v] += turned(weight[j] * value[v] / close - held[j, v], close)
        largest = value.max()
        for v in range(paths):
            size[v], least[v] = value[v], SMALLEST_ORDER * value[v]
            most = turnover_limit[v] * value[v]  # F3
            scale[v] = 0.0 if not decides[v] else most / traded[v] if traded[v] > most else 1.0
    return equity, fills


@compiled
def spelled(numbers: np.ndarray, sizes: np.ndarray, letters: np.ndarray, offsets: np.ndarray, text: np.ndarray) -> None:
    """The words of these numbers one after the other, and where each begins; `text` has room for a longest word more.

    `sizes` and `letters`: of each word, in bytes, and `LETTERS` of them in a number. A word is written with what fills
    its last number up, and the next one over that, so that all are written alike.
    """
    end = 0
    for i in range(len(numbers)):
        word = numbers[i]
        offsets[i] = end
        for k in range(letters.shape[1]):
            packed, place = letters[word, k], np.uint64(end + LETTERS * k)
            for n in range(np.uint64(LETTERS)):
                text[place + np.uint64(n)] = np.uint8(packed >> np.uint64(LETTERS * n) & np.uint64(255))
        end += sizes[word]
    offsets[len(numbers)] = end
