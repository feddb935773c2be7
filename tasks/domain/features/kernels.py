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

from .bars import Block

Function = TypeVar("Function", bound=Callable[..., Any])

SPAN = 60  # the longest window: how far before a block its sessions are read
LEVELS = 5
WINDOWS = (5, 10, 20, 30, 60)
# Window w is window OLDER[w] as it stood LAG[w] sessions before, and window NEWER[w] beside it, LAG[w] long.
OLDER, NEWER, LAG = (0, 0, 1, 1, 3), (0, 0, 1, 2, 3), (0, 5, 10, 20, 30)
FLAT = 2e-5  # a deviation up to this counts as none
TINY = np.float32(1e-12)
ONE, TWO = np.float32(1), np.float32(2)

TABLE, STACK = numba.float64[:, ::1], numba.float64[:, :, ::1]
INT = numba.int64
PLACES, ROWS = numba.int64[::1], numba.int64[:, ::1]
BASE, OUT = numba.float32[:, ::1], numba.float32[:, :]

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
    # The wrapper for callers in C is left out: it is a seventh of the time of compiling.
    options = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
    return cast("Callable[[Function], Function]", numba.njit(returns(*types), **options))


@compiled(TABLE, INT, INT, STACK, INT)
def sums(x: np.ndarray, first: int, last: int, out: np.ndarray, at: int) -> None:
    """Sums of each window of the rows first … last - 1."""
    length = x.shape[1]
    for row in range(first, last):
        for t in range(4, length):
            out[0, at, t] = ((x[row, t - 4] + x[row, t - 3]) + (x[row, t - 2] + x[row, t - 1])) + x[row, t]
        for w in range(1, LEVELS):
            lag = LAG[w]
            for t in range(lag, length):
                out[w, at, t] = out[OLDER[w], at, t - lag] + out[NEWER[w], at, t]
        at += 1


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


@compiled(ROWS, TABLE, INT, INT, INT, INT, STACK, INT)
def ranks(rows: np.ndarray, x: np.ndarray, row: int, w: int, begun: int, window: int, out: np.ndarray, at: int) -> None:
    """How many values of window `w` are smaller than its newest, and how many equal it.

    The window before it, of `begun` sessions, is done. Only the columns asked for are looked at: rows[2].
    """
    for i in range(rows.shape[1]):
        t = rows[2, i]
        newest = x[row, t]
        smaller, equal = 0, 0
        for k in range(begun, window):
            smaller += 1 if x[row, t - k] < newest else 0
            equal += 1 if x[row, t - k] == newest else 0
        out[w, at, t] = smaller + (out[w - 1, at, t] if w > 0 else 0.0)
        out[w, at + 1, t] = equal + (out[w - 1, at + 1, t] if w > 0 else 0.0)


@compiled(numba.float64[::1], numba.float64, returns=numba.float64)
def between(held: np.ndarray, place: float) -> float:
    """The value at a place between two sorted ones."""
    low = int(place)
    value: float = held[low] if low == place else held[low] + (held[low + 1] - held[low]) * (place - low)
    return value


@compiled(ROWS, TABLE, INT, INT, INT, STACK, INT)
def quantiles(rows: np.ndarray, x: np.ndarray, row: int, w: int, window: int, out: np.ndarray, at: int) -> None:
    """80 % and 20 % quantile of window `w` in the columns asked for, rows[2], interpolated linearly.

    The window's values are held sorted: the one that leaves gives its place to the one that comes.
    """
    held = np.empty(window + 1)
    count, last = 0, -window
    for i in range(rows.shape[1]):
        t = rows[2, i]
        begin = last + 1
        if t - last >= window:
            begin, count = t - window + 1, 0
        full = last if count > 0 else t
        for s in range(begin, t + 1):
            value = x[row, s]
            gone = x[row, s - window] if s > full else np.nan
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
        last = t
        if count > 0:
            out[w, at, t] = between(held, 0.8 * (count - 1))
            out[w, at + 1, t] = between(held, 0.2 * (count - 1))


@compiled(ROWS, BASE, OUT)
def shapes(rows: np.ndarray, base: np.ndarray, out: np.ndarray) -> None:
    """The features of one bar; all steps in float32."""
    for i in range(rows.shape[1]):
        row, line = rows[0, i], rows[1, i]
        opened, high, low, close, vwap = base[0, row], base[1, row], base[2, row], base[3, row], base[4, row]
        # A missing open is the greater and the lesser one, as in numpy's maximum and minimum.
        top = close if close >= opened else opened
        bottom = close if close <= opened else opened
        spread = high - low + TINY
        out[line, 0] = (close - opened) / opened
        out[line, 1] = (high - low) / opened
        out[line, 2] = (close - opened) / spread
        out[line, 3] = (high - top) / opened
        out[line, 4] = (high - top) / spread
        out[line, 5] = (bottom - low) / opened
        out[line, 6] = (bottom - low) / spread
        out[line, 7] = (TWO * close - high - low) / opened
        out[line, 8] = (TWO * close - high - low) / spread
        out[line, 9] = opened / close
        out[line, 10] = high / close
        out[line, 11] = low / close
        out[line, 12] = vwap / close


@compiled(numba.float64, numba.float64, returns=numba.float64)
def deviation(count: float, squares: float) -> float:
    """Sample standard deviation from a count and a sum of squared deviations."""
    return math.sqrt(squares / (count - 1)) if count > 1 else np.nan


@compiled(ROWS, TABLE, STACK, OUT)
def lines(rows: np.ndarray, x: np.ndarray, held: np.ndarray, out: np.ndarray) -> None:
    """ROC, MA, STD and the line through the closes: BETA, RSQR, RESI."""
    for i in range(rows.shape[1]):
        line, t = rows[1, i], rows[2, i]
        close = x[CLOSE, t]
        for w in range(LEVELS):
            count, mean, squares = held[w, OF_CLOSE, t], held[w, OF_CLOSE + 1, t], held[w, OF_CLOSE + 2, t]
            k, kk, total = held[w, SLOPED + 1, t], held[w, SLOPED + 2, t], held[w, SLOPED + 3, t]
            at = ROLLING + w
            out[line, at] = x[CLOSE, t - WINDOWS[w]] / close
            out[line, at + 5] = mean / close
            std = deviation(count, squares)
            out[line, at + 10] = std / close
            # k counts backwards, so a rising line has a falling product.
            product = k * total - count * held[w, SLOPED + 4, t]
            width = count * kk - k * k
            slope = product / width
            out[line, at + 15] = slope / close
            r = product / math.sqrt(width * (count * squares))
            out[line, at + 20] = np.nan if std <= FLAT else r * r
            out[line, at + 25] = (close - (total / count + slope * (k / count))) / close


@compiled(ROWS, TABLE, STACK, OUT)
def orders(rows: np.ndarray, x: np.ndarray, held: np.ndarray, out: np.ndarray) -> None:
    """MAX, MIN, QTLU, QTLD, RANK, RSV, IMAX, IMIN, IMXD."""
    for i in range(rows.shape[1]):
        line, t = rows[1, i], rows[2, i]
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
            out[line, at] = top / close
            out[line, at + 5] = bottom / close
            out[line, at + 10] = held[w, CUTS, t] / close
            out[line, at + 15] = held[w, CUTS + 1, t] / close
            out[line, at + 20] = place / held[w, OF_CLOSE, t] if close == close else np.nan
            out[line, at + 25] = (close - bottom) / (top - bottom + 1e-12)
            out[line, at + 30] = first_top / window
            out[line, at + 35] = first_bottom / window
            out[line, at + 40] = (first_top - first_bottom) / window


@compiled(INT, INT, STACK, INT, returns=numba.float64)
def correlation(t: int, w: int, held: np.ndarray, at: int) -> float:
    count, xx, yy = held[w, at, t], held[w, at + 3, t], held[w, at + 4, t]
    flat = count < 2 or deviation(count, xx) <= FLAT or deviation(count, yy) <= FLAT
    return np.nan if flat else held[w, at + 5, t] / math.sqrt(xx * yy)


@compiled(ROWS, TABLE, STACK, OUT)
def flows(rows: np.ndarray, x: np.ndarray, held: np.ndarray, out: np.ndarray) -> None:
    """CORR, CORD, CNTP, CNTN, CNTD, SUMP, SUMN, SUMD, VMA, VSTD, WVMA, VSUMP, VSUMN, VSUMD."""
    for i in range(rows.shape[1]):
        line, t = rows[1, i], rows[2, i]
        volume = float(np.float32(x[VOLUME, t]) + TINY)
        for w in range(LEVELS):
            at = ROLLING + 75 + w
            out[line, at] = correlation(t, w, held, LEVEL_PAIRS)
            out[line, at + 5] = correlation(t, w, held, CHANGE_PAIRS)
            rose, fell = held[w, SUMS + ROSE - UP, t] / WINDOWS[w], held[w, SUMS + FELL - UP, t] / WINDOWS[w]
            out[line, at + 10] = rose
            out[line, at + 15] = fell
            out[line, at + 20] = rose - fell
            count = held[w, OF_VOLUME, t]
            out[line, at + 40] = held[w, OF_VOLUME + 1, t] / volume if count > 0 else np.nan
            out[line, at + 45] = deviation(count, held[w, OF_VOLUME + 2, t]) / volume
            spread = deviation(held[w, OF_TURNED, t], held[w, OF_TURNED + 2, t])
            out[line, at + 50] = spread / (held[w, OF_TURNED + 1, t] + 1e-12)
            for kind in range(2):  # of close, of volume
                begin, to = SUMS + 4 * kind, at + 25 + 30 * kind
                up, down = held[w, begin, t], held[w, begin + 1, t]
                moved = held[w, begin + 2, t] + 1e-12 if held[w, begin + 3, t] > 0 else np.nan
                out[line, to] = up / moved
                out[line, to + 5] = down / moved
                out[line, to + 10] = (up - down) / moved


@compiled(PLACES, PLACES, BASE, TABLE)
def lay_out(rows: np.ndarray, column: np.ndarray, base: np.ndarray, x: np.ndarray) -> None:
    """Put bars `rows` into the columns of their sessions, NaN elsewhere, and what changed from the session before.

    Differences and ratios are those of float32.
    """
    zero = np.float32(0)
    for kind in range(UP):
        for t in range(x.shape[1]):
            x[kind, t] = np.nan
    for i in range(len(rows)):
        row, t = rows[i], column[i]
        x[CLOSE, t] = base[3, row]
        x[HIGH, t] = base[1, row]
        x[LOW, t] = -base[2, row]
        x[VOLUME, t] = base[5, row]
        x[LOG_VOLUME, t] = base[6, row]
        x[LOG_RATIO, t] = base[7, row]
    for t in range(1, x.shape[1]):
        close, earlier = np.float32(x[CLOSE, t]), np.float32(x[CLOSE, t - 1])
        volume, less = np.float32(x[VOLUME, t]), np.float32(x[VOLUME, t - 1])
        ratio = close / earlier
        x[RATIO, t] = ratio
        x[TURNED, t] = abs(ratio - ONE) * volume
        x[ROSE, t] = 1.0 if close > earlier else 0.0
        x[FELL, t] = 1.0 if close < earlier else 0.0
        for kind in range(2):  # of close, of volume
            move = close - earlier if kind == 0 else volume - less
            at = UP + 4 * kind
            x[at, t] = move if move > zero else zero
            x[at + 1, t] = -move if move < zero else zero
            x[at + 2, t] = abs(move) if move == move else zero
            x[at + 3, t] = 1.0 if move == move else 0.0


def fill(block: Block, base: np.ndarray, out: np.ndarray, x: np.ndarray, held: np.ndarray) -> None:
    """Write the features of a block's bars into `out`.

    `base`: as `alpha158.columns` gives it; `x`, `held`: room for the block, see `scratch`.
    """
    lay_out(block.rows, block.column, base, x)
    sums(x, UP, SERIES, held, SUMS)
    moments(x, CLOSE, held, OF_CLOSE)
    moments(x, VOLUME, held, OF_VOLUME)
    moments(x, TURNED, held, OF_TURNED)
    peaks(x, HIGH, held, TOP)
    peaks(x, LOW, held, BOTTOM)
    for w, window in enumerate(WINDOWS):
        quantiles(block.asked, x, CLOSE, w, window, held, CUTS)
        ranks(block.asked, x, CLOSE, w, WINDOWS[w - 1] if w else 0, window, held, BELOW)
    pairs(x, CLOSE, LOG_VOLUME, held, LEVEL_PAIRS)
    pairs(x, RATIO, LOG_RATIO, held, CHANGE_PAIRS)
    trends(x, CLOSE, held, SLOPED)
    shapes(block.asked, base, out)
    lines(block.asked, x, held, out)
    orders(block.asked, x, held, out)
    flows(block.asked, x, held, out)


def scratch(columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Room for a block: series × columns, and windows × held × columns."""
    return np.zeros((SERIES, columns)), np.zeros((LEVELS, HELD, columns))
