"""The compiled loops of `alpha158`: one pass per instrument over blocks of its sessions.

Every window of 10, 20, 30 and 60 is put together from two smaller ones that stand side by side. That takes as few
steps as a running sum, and each value is made of its own window alone, by the same steps wherever the bars begin.
Nothing is compiled to disk: such a cache is code that would be loaded unchecked.
"""

import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np

Function = TypeVar("Function", bound=Callable[..., Any])

SPAN = 60  # the longest window: how far before a block its sessions are read
BLOCK = 512  # sessions; the scratch of a block fits into a core's cache
LEVELS = 5
WINDOWS = (5, 10, 20, 30, 60)
# Window w is window OLDER[w] as it stood LAG[w] sessions before, and window NEWER[w] beside it, LAG[w] long.
OLDER, NEWER, LAG = (0, 0, 1, 1, 3), (0, 0, 1, 2, 3), (0, 5, 10, 20, 30)
FLAT = 2e-5  # a deviation up to this counts as none
TINY = np.float32(1e-12)
ONE, TWO = np.float32(1), np.float32(2)

TABLE, STACK = numba.float64[:, ::1], numba.float64[:, :, ::1]
INT = numba.int64
PLACES, BASE, OUT, LINE = numba.int64[::1], numba.float32[:, ::1], numba.float32[:, :], numba.float32[:]

# Rows of an instrument's series, laid out by session: its bars, what is made of them, and from UP on what is only
# summed: rises, falls and moves of close and of volume, whether they are known, whether the close rose or fell.
CLOSE, HIGH, LOW, VOLUME, LOG_VOLUME, LOG_RATIO, RATIO, TURNED = range(8)
UP, DOWN, MOVE, MOVES, VOLUME_UP, VOLUME_DOWN, VOLUME_MOVE, VOLUME_MOVES, ROSE, FELL = range(8, 18)
SERIES = 18
# What is held of each window, windows × these × sessions; the first of a group's rows.
SUMS, OF_CLOSE, OF_VOLUME, OF_TURNED, TOP, BOTTOM, CUTS, BELOW, LEVEL_PAIRS, CHANGE_PAIRS, SLOPED = (
    *(0, 10, 13, 16),
    *(19, 22, 25, 27),
    *(29, 35, 41),
)
HELD = 46
ROLLING = 13  # the first rolling feature's column


def compiled(*types: Any, returns: Any = numba.void) -> Callable[[Function], Function]:
    """Compile at once for these types of arguments, to code that runs without the interpreter's lock."""
    return cast("Callable[[Function], Function]", numba.njit(returns(*types), nogil=True, error_model="numpy"))


@compiled(TABLE, INT, STACK, INT)
def sums(x: np.ndarray, row: int, out: np.ndarray, at: int) -> None:
    """Sum of each window; `out`: windows × sessions."""
    count = x.shape[1]
    for t in range(4, count):
        out[0, at, t] = ((x[row, t - 4] + x[row, t - 3]) + (x[row, t - 2] + x[row, t - 1])) + x[row, t]
    for w in range(1, LEVELS):
        lag = LAG[w]
        for t in range(lag, count):
            out[w, at, t] = out[OLDER[w], at, t - lag] + out[NEWER[w], at, t]


@compiled(TABLE, INT, STACK, INT)
def moments(x: np.ndarray, row: int, out: np.ndarray, at: int) -> None:
    """Count, mean and sum of squared deviations of each window without missing values; `out`: windows × 3 × sessions.

    Two windows merge by the formula of Chan, Golub and LeVeque (1979), which gives exactly 0 for equal values.
    """
    length = x.shape[1]
    for t in range(4, length):
        count, total, squares = 0.0, 0.0, 0.0
        for k in range(5):
            value = x[row, t - k]
            count += 1.0 if value == value else 0.0
            total += value if value == value else 0.0
        mean = total / max(count, 1.0)
        for k in range(5):
            apart = x[row, t - k] - mean
            squares += apart * apart if apart == apart else 0.0
        out[0, at, t], out[0, at + 1, t], out[0, at + 2, t] = count, mean, squares
    for w in range(1, LEVELS):
        lag = LAG[w]
        older, newer = OLDER[w], NEWER[w]
        for t in range(lag, length):
            n, m = out[older, at, t - lag], out[newer, at, t]
            both = n + m
            share = m / max(both, 1.0)
            apart = out[newer, at + 1, t] - out[older, at + 1, t - lag]
            out[w, at, t] = both
            out[w, at + 1, t] = out[older, at + 1, t - lag] + apart * share
            out[w, at + 2, t] = out[older, at + 2, t - lag] + out[newer, at + 2, t] + apart * apart * n * share


@compiled(TABLE, INT, INT, STACK, INT)
def pairs(x: np.ndarray, one: int, other: int, out: np.ndarray, at: int) -> None:
    """Of each window's pairs without a missing value: count, both means, both sums of squared deviations and the sum
    of their products; `out`: windows × 6 × sessions."""
    length = x.shape[1]
    for t in range(4, length):
        count, total_x, total_y, xx, yy, xy = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for k in range(5):
            a, b = x[one, t - k], x[other, t - k]
            known = a == a and b == b
            count += 1.0 if known else 0.0
            total_x += a if known else 0.0
            total_y += b if known else 0.0
        mean_x, mean_y = total_x / max(count, 1.0), total_y / max(count, 1.0)
        for k in range(5):
            a, b = x[one, t - k] - mean_x, x[other, t - k] - mean_y
            known = a == a and b == b
            xx += a * a if known else 0.0
            yy += b * b if known else 0.0
            xy += a * b if known else 0.0
        out[0, at, t], out[0, at + 1, t], out[0, at + 2, t] = count, mean_x, mean_y
        out[0, at + 3, t], out[0, at + 4, t], out[0, at + 5, t] = xx, yy, xy
    for w in range(1, LEVELS):
        lag = LAG[w]
        older, newer = OLDER[w], NEWER[w]
        for t in range(lag, length):
            s = t - lag
            n, m = out[older, at, s], out[newer, at, t]
            both = n + m
            share = m / max(both, 1.0)
            a, b = out[newer, at + 1, t] - out[older, at + 1, s], out[newer, at + 2, t] - out[older, at + 2, s]
            out[w, at, t] = both
            out[w, at + 1, t] = out[older, at + 1, s] + a * share
            out[w, at + 2, t] = out[older, at + 2, s] + b * share
            out[w, at + 3, t] = out[older, at + 3, s] + out[newer, at + 3, t] + a * a * n * share
            out[w, at + 4, t] = out[older, at + 4, s] + out[newer, at + 4, t] + b * b * n * share
            out[w, at + 5, t] = out[older, at + 5, s] + out[newer, at + 5, t] + a * b * n * share


@compiled(TABLE, INT, STACK, INT)
def trends(x: np.ndarray, row: int, out: np.ndarray, at: int) -> None:
    """Sums for the line through each window; `out`: windows × 5 × sessions.

    With k the sessions before the newest one, over the values that are not missing: count, Σk, Σk², Σx and Σkx.
    """
    length = x.shape[1]
    for t in range(4, length):
        count, first, second, total, product = 0.0, 0.0, 0.0, 0.0, 0.0
        for k in range(5):
            value = x[row, t - k]
            known = 1.0 if value == value else 0.0
            held = value if value == value else 0.0
            count += known
            first += known * k
            second += known * k * k
            total += held
            product += held * k
        out[0, at, t], out[0, at + 1, t], out[0, at + 2, t] = count, first, second
        out[0, at + 3, t], out[0, at + 4, t] = total, product
    for w in range(1, LEVELS):
        lag = LAG[w]
        older, newer = OLDER[w], NEWER[w]
        for t in range(lag, length):
            s = t - lag
            out[w, at, t] = out[older, at, s] + out[newer, at, t]
            out[w, at + 1, t] = out[older, at + 1, s] + out[newer, at + 1, t] + lag * out[older, at, s]
            moved = 2 * lag * out[older, at + 1, s] + lag * lag * out[older, at, s]
            out[w, at + 2, t] = out[older, at + 2, s] + out[newer, at + 2, t] + moved
            out[w, at + 3, t] = out[older, at + 3, s] + out[newer, at + 3, t]
            out[w, at + 4, t] = out[older, at + 4, s] + out[newer, at + 4, t] + lag * out[older, at + 3, s]


@compiled(TABLE, INT, STACK, INT)
def peaks(x: np.ndarray, row: int, out: np.ndarray, at: int) -> None:
    """Largest value of each window and where the first largest is; `out`: windows × 3 × sessions.

    The largest skips missing values (-inf if there is no other); for the place a missing value counts as +inf, and
    the place is given in sessions before the newest one, after the value it was chosen by.
    """
    length = x.shape[1]
    for t in range(4, length):
        largest, chosen, place = -np.inf, -np.inf, 4.0
        for k in range(4, -1, -1):
            value = x[row, t - k]
            largest = value if value > largest else largest
            value = value if value == value else np.inf
            if value > chosen:
                chosen, place = value, float(k)
        out[0, at, t], out[0, at + 1, t], out[0, at + 2, t] = largest, chosen, place
    for w in range(1, LEVELS):
        lag = LAG[w]
        older, newer = OLDER[w], NEWER[w]
        for t in range(lag, length):
            s = t - lag
            later = out[newer, at + 1, t] > out[older, at + 1, s]
            out[w, at, t] = max(out[older, at, s], out[newer, at, t])
            out[w, at + 1, t] = out[newer, at + 1, t] if later else out[older, at + 1, s]
            out[w, at + 2, t] = out[newer, at + 2, t] if later else out[older, at + 2, s] + lag


@compiled(TABLE, INT, STACK, INT)
def ranks(x: np.ndarray, row: int, out: np.ndarray, at: int) -> None:
    """How many values of each window are smaller than its newest, and how many equal it; windows × 2 × sessions."""
    length = x.shape[1]
    smaller, equal = np.zeros(length), np.zeros(length)
    begun = 0
    for w in range(LEVELS):
        for k in range(begun, WINDOWS[w]):
            for t in range(SPAN, length):
                smaller[t] += 1.0 if x[row, t - k] < x[row, t] else 0.0
                equal[t] += 1.0 if x[row, t - k] == x[row, t] else 0.0
        begun = WINDOWS[w]
        for t in range(SPAN, length):
            out[w, at, t], out[w, at + 1, t] = smaller[t], equal[t]


@compiled(TABLE, INT, STACK, INT)
def quantiles(x: np.ndarray, row: int, out: np.ndarray, at: int) -> None:
    """80 % and 20 % quantile of each window, interpolated linearly; `out`: windows × 2 × sessions.

    A window's values are held sorted: the one that leaves gives its place to the one that comes.
    """
    held = np.empty(SPAN + 1)
    for w in range(LEVELS):
        window = WINDOWS[w]
        count = 0
        for t in range(SPAN + 1 - window, x.shape[1]):
            value = x[row, t]
            gone = x[row, t - window] if t > SPAN else np.nan
            slot = count
            if gone == gone:
                slot = 0
                while held[slot] != gone:
                    slot += 1
            elif value == value:
                count += 1
            if value == value:
                while slot + 1 < count and held[slot + 1] < value:
                    held[slot] = held[slot + 1]
                    slot += 1
                while slot > 0 and held[slot - 1] > value:
                    held[slot] = held[slot - 1]
                    slot -= 1
                held[slot] = value
            elif gone == gone:
                count -= 1
                for k in range(slot, count):
                    held[k] = held[k + 1]
            for q in range(2):
                place = (0.8 if q == 0 else 0.2) * (count - 1)
                low = int(place)
                if count == 0:
                    out[w, at + q, t] = np.nan
                elif low == place:
                    out[w, at + q, t] = held[low]
                else:
                    out[w, at + q, t] = held[low] + (held[low + 1] - held[low]) * (place - low)


@compiled(BASE, INT, LINE)
def shape(base: np.ndarray, row: int, out: np.ndarray) -> None:
    """The features of one bar; all steps in float32."""
    opened, high, low, close, vwap = base[0, row], base[1, row], base[2, row], base[3, row], base[4, row]
    # A missing open is the greater and the lesser one, as in numpy's maximum and minimum.
    top = close if close >= opened else opened
    bottom = close if close <= opened else opened
    spread = high - low + TINY
    out[0] = (close - opened) / opened
    out[1] = (high - low) / opened
    out[2] = (close - opened) / spread
    out[3] = (high - top) / opened
    out[4] = (high - top) / spread
    out[5] = (bottom - low) / opened
    out[6] = (bottom - low) / spread
    out[7] = (TWO * close - high - low) / opened
    out[8] = (TWO * close - high - low) / spread
    out[9] = opened / close
    out[10] = high / close
    out[11] = low / close
    out[12] = vwap / close


@compiled(numba.float64, numba.float64, returns=numba.float64)
def deviation(count: float, squares: float) -> float:
    """Sample standard deviation from a count and a sum of squared deviations."""
    return math.sqrt(squares / (count - 1)) if count > 1 else np.nan


@compiled(INT, TABLE, STACK, LINE)
def lines(t: int, x: np.ndarray, held: np.ndarray, out: np.ndarray) -> None:
    """ROC, MA, STD and the line through the closes: BETA, RSQR, RESI."""
    close = x[CLOSE, t]
    for w in range(LEVELS):
        count, mean, squares = held[w, OF_CLOSE, t], held[w, OF_CLOSE + 1, t], held[w, OF_CLOSE + 2, t]
        k, kk, total = held[w, SLOPED + 1, t], held[w, SLOPED + 2, t], held[w, SLOPED + 3, t]
        at = ROLLING + w
        out[at] = x[CLOSE, t - WINDOWS[w]] / close
        out[at + 5] = mean / close
        std = deviation(count, squares)
        out[at + 10] = std / close
        # k counts backwards, so a rising line has a falling product.
        product = k * total - count * held[w, SLOPED + 4, t]
        width = count * kk - k * k
        slope = product / width
        out[at + 15] = slope / close
        r = product / math.sqrt(width * (count * squares))
        out[at + 20] = np.nan if std <= FLAT else r * r
        out[at + 25] = (close - (total / count + slope * (k / count))) / close


@compiled(INT, TABLE, STACK, LINE)
def orders(t: int, x: np.ndarray, held: np.ndarray, out: np.ndarray) -> None:
    """MAX, MIN, QTLU, QTLD, RANK, RSV, IMAX, IMIN, IMXD."""
    close = x[CLOSE, t]
    for w in range(LEVELS):
        window = WINDOWS[w]
        top, bottom = held[w, TOP, t], -held[w, BOTTOM, t]
        first_top, first_bottom = window - held[w, TOP + 2, t], window - held[w, BOTTOM + 2, t]
        if top == -np.inf:
            top, first_top = np.nan, np.nan
        if bottom == np.inf:
            bottom, first_bottom = np.nan, np.nan
        place = held[w, BELOW, t] + (held[w, BELOW + 1, t] + 1) / 2
        at = ROLLING + 30 + w
        out[at] = top / close
        out[at + 5] = bottom / close
        out[at + 10] = held[w, CUTS, t] / close
        out[at + 15] = held[w, CUTS + 1, t] / close
        out[at + 20] = place / held[w, OF_CLOSE, t] if close == close else np.nan
        out[at + 25] = (close - bottom) / (top - bottom + 1e-12)
        out[at + 30] = first_top / window
        out[at + 35] = first_bottom / window
        out[at + 40] = (first_top - first_bottom) / window


@compiled(INT, INT, STACK, INT, returns=numba.float64)
def correlation(t: int, w: int, held: np.ndarray, at: int) -> float:
    count, xx, yy = held[w, at, t], held[w, at + 3, t], held[w, at + 4, t]
    flat = count < 2 or deviation(count, xx) <= FLAT or deviation(count, yy) <= FLAT
    return np.nan if flat else held[w, at + 5, t] / math.sqrt(xx * yy)


@compiled(INT, STACK, INT, LINE, INT)
def moves(t: int, held: np.ndarray, at: int, out: np.ndarray, column: int) -> None:
    """Rises, falls and their difference over all moves, from the sums of the four that begin at `at`."""
    for w in range(LEVELS):
        up, down = held[w, at, t], held[w, at + 1, t]
        moved = held[w, at + 2, t] + 1e-12 if held[w, at + 3, t] > 0 else np.nan
        out[column + w] = up / moved
        out[column + w + 5] = down / moved
        out[column + w + 10] = (up - down) / moved


@compiled(INT, TABLE, STACK, LINE)
def flows(t: int, x: np.ndarray, held: np.ndarray, out: np.ndarray) -> None:
    """CORR, CORD, CNTP, CNTN, CNTD, SUMP, SUMN, SUMD, VMA, VSTD, WVMA, VSUMP, VSUMN, VSUMD."""
    volume = float(np.float32(x[VOLUME, t]) + TINY)
    for w in range(LEVELS):
        at = ROLLING + 75 + w
        out[at] = correlation(t, w, held, LEVEL_PAIRS)
        out[at + 5] = correlation(t, w, held, CHANGE_PAIRS)
        rose, fell = held[w, SUMS + ROSE - UP, t] / WINDOWS[w], held[w, SUMS + FELL - UP, t] / WINDOWS[w]
        out[at + 10] = rose
        out[at + 15] = fell
        out[at + 20] = rose - fell
        count = held[w, OF_VOLUME, t]
        out[at + 40] = held[w, OF_VOLUME + 1, t] / volume if count > 0 else np.nan
        out[at + 45] = deviation(count, held[w, OF_VOLUME + 2, t]) / volume
        spread = deviation(held[w, OF_TURNED, t], held[w, OF_TURNED + 2, t])
        out[at + 50] = spread / (held[w, OF_TURNED + 1, t] + 1e-12)
    moves(t, held, SUMS, out, ROLLING + 100)
    moves(t, held, SUMS + VOLUME_UP - UP, out, ROLLING + 130)


@compiled(PLACES, BASE, INT, INT, INT, TABLE)
def lay_out(session: np.ndarray, base: np.ndarray, first: int, last: int, origin: int, x: np.ndarray) -> None:
    """Put rows first … last - 1 into the columns of their sessions, `origin` being column 0; NaN elsewhere."""
    for kind in range(SERIES):
        for t in range(x.shape[1]):
            x[kind, t] = np.nan
    for row in range(first, last):
        t = session[row] - origin
        x[CLOSE, t] = base[3, row]
        x[HIGH, t] = base[1, row]
        x[LOW, t] = -base[2, row]
        x[VOLUME, t] = base[5, row]
        x[LOG_VOLUME, t] = base[6, row]
        x[LOG_RATIO, t] = base[7, row]


@compiled(TABLE)
def changes(x: np.ndarray) -> None:
    """What changed from the session before; differences and ratios in float32."""
    zero = np.float32(0)
    for t in range(1, x.shape[1]):
        close, earlier = np.float32(x[CLOSE, t]), np.float32(x[CLOSE, t - 1])
        volume, less = np.float32(x[VOLUME, t]), np.float32(x[VOLUME, t - 1])
        ratio = close / earlier
        x[RATIO, t] = ratio
        x[TURNED, t] = abs(ratio - ONE) * volume
        x[ROSE, t] = 1.0 if close > earlier else 0.0
        x[FELL, t] = 1.0 if close < earlier else 0.0
        for at in (UP, VOLUME_UP):
            move = close - earlier if at == UP else volume - less
            x[at, t] = move if move > zero else zero
            x[at + 1, t] = -move if move < zero else zero
            x[at + 2, t] = abs(move) if move == move else zero
            x[at + 3, t] = 1.0 if move == move else 0.0


@compiled(TABLE, STACK)
def hold(x: np.ndarray, held: np.ndarray) -> None:
    """All that is held of the windows of one instrument's block."""
    for kind in range(UP, SERIES):
        sums(x, kind, held, SUMS + kind - UP)
    moments(x, CLOSE, held, OF_CLOSE)
    moments(x, VOLUME, held, OF_VOLUME)
    moments(x, TURNED, held, OF_TURNED)
    peaks(x, HIGH, held, TOP)
    peaks(x, LOW, held, BOTTOM)
    quantiles(x, CLOSE, held, CUTS)
    ranks(x, CLOSE, held, BELOW)
    pairs(x, CLOSE, LOG_VOLUME, held, LEVEL_PAIRS)
    pairs(x, RATIO, LOG_RATIO, held, CHANGE_PAIRS)
    trends(x, CLOSE, held, SLOPED)


@compiled(INT, INT, PLACES, PLACES, BASE, PLACES, OUT, TABLE, STACK)
def fill(
    first: int,
    last: int,
    begins: np.ndarray,
    session: np.ndarray,
    base: np.ndarray,
    place: np.ndarray,
    out: np.ndarray,
    x: np.ndarray,
    held: np.ndarray,
) -> None:
    """Features of the instruments first … last - 1, row i of the bars into row `place[i]` of `out`, if that is not -1.

    `begins`, `session`: as in `bars.Bars`; `base`: as `alpha158.columns` gives it; `x`, `held`: see `scratch`. Every
    row asked for must have a bar of its instrument `SPAN` or more sessions before.
    """
    for instrument in range(first, last):
        begin, stop = begins[instrument], begins[instrument + 1]
        row = begin
        while row < stop:
            if place[row] < 0:
                row += 1
                continue
            origin = session[row] - SPAN
            oldest = row
            while oldest > begin and session[oldest - 1] >= origin:
                oldest -= 1
            end = row
            while end < stop and session[end] < origin + x.shape[1]:
                end += 1
            lay_out(session, base, oldest, end, origin, x)
            changes(x)
            hold(x, held)
            for one in range(row, end):
                if place[one] >= 0:
                    t, line = session[one] - origin, out[place[one]]
                    shape(base, one, line)
                    lines(t, x, held, line)
                    orders(t, x, held, line)
                    flows(t, x, held, line)
            row = end


def scratch(sessions: int) -> tuple[np.ndarray, np.ndarray]:
    """Room for blocks of up to `sessions` sessions: series × sessions, and windows × held × sessions."""
    size = SPAN + min(sessions, BLOCK)
    return np.zeros((SERIES, size)), np.zeros((LEVELS, HELD, size))
