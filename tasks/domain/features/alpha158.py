"""The 158 features of Qlib's Alpha158 (github.com/microsoft/qlib, qlib/contrib/data/loader.py, class Alpha158DL).

Names, order and definitions are those of pyqlib 0.9.7 with its default configuration: nine of the bar's shape, four
prices over the close, and 29 rolling ones over 5, 10, 20, 30 and 60 sessions.

Where a formula leaves room, Qlib's own answer is taken:
- Windows count the panel's sessions from an instrument's first bar on. A session without a bar is a missing value in
  the window, and so is a missing cell. Means, deviations, sums, extremes, quantiles, ranks, regressions and
  correlations skip missing values and divide by the count of the others; a deviation or a correlation of fewer than
  two values is missing. Counts of rises and falls divide by the window, a comparison with a missing value being false.
- IdxMax and IdxMin give the first position of several equal ones, counted from one at the oldest session; a missing
  value counts as the extreme one, as numpy's argmax has it.
- Ranks of ties are averages; quantiles are interpolated linearly.
- RSQR, CORR and CORD are missing where a deviation is at most 2e-5. CORR and CORD look at pairs, and here the
  deviations are those of the pairs, too, which differ from Qlib's only where one of the two values is missing.
- Bars are rounded to float32 first, and arithmetic between columns is done in float32; windows are summed in float64,
  and the features are rounded to float32 at the end. An infinite ratio of volumes counts as missing.
- Denominators get 1e-12 where Qlib adds it, other zero denominators give inf or NaN.

Qlib sums in a running window and carries the rounding of all earlier bars along. Here each window is put together
from smaller ones (`kernels`), so that a value does not depend on where the bars begin.

`vwap` is the bars' column of that name where there is one, and (open + high + low + close) / 4 otherwise.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from types import ModuleType

import numpy as np

from .bars import Bars, Block

PRICE_COLUMNS = ("open", "high", "low", "close")
COLUMNS = (*PRICE_COLUMNS, "volume")
WINDOWS = (5, 10, 20, 30, 60)
LONGEST_WINDOW = WINDOWS[-1]
COLUMNS_PER_BLOCK = 1024
SHAPES = ("KMID", "KLEN", "KMID2", "KUP", "KUP2", "KLOW", "KLOW2", "KSFT", "KSFT2")
PRICES = ("OPEN0", "HIGH0", "LOW0", "VWAP0")
ROLLING = (
    *("ROC", "MA", "STD", "BETA", "RSQR", "RESI", "MAX", "MIN", "QTLU", "QTLD", "RANK", "RSV", "IMAX", "IMIN", "IMXD"),
    *("CORR", "CORD", "CNTP", "CNTN", "CNTD", "SUMP", "SUMN", "SUMD", "VMA", "VSTD", "WVMA", "VSUMP", "VSUMN", "VSUMD"),
)
NAMES = (*SHAPES, *PRICES, *(f"{name}{window}" for name in ROLLING for window in WINDOWS))


def alpha158(bars: Bars, place: np.ndarray, out: np.ndarray, threads: int) -> None:
    """Write the features of row i of the bars into row `place[i]` of `out` (float32), none where that is -1.

    Every row asked for must have a bar of its instrument 60 or more sessions before.
    """
    kernels = compiled()
    base = columns(bars)
    planned = blocks(bars, place)
    width = max((block.width for block in planned), default=0)
    shares = [planned[first::threads] for first in range(threads)]

    def part(share: list[Block]) -> None:
        room = kernels.scratch(width)
        for block in share:
            kernels.fill(block, base, out, *room)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(part, shares))


def compiled() -> ModuleType:
    """The compiled loops. Compiling takes seconds, so only those who ask for these features pay for it."""
    from . import kernels

    return kernels


def blocks(bars: Bars, place: np.ndarray) -> list[Block]:
    """The bars asked for in parts that are small enough for a core's cache and large enough to fill its loops."""
    asked = np.flatnonzero(place >= 0)
    code, session = bars.code[asked], bars.session[asked]
    # Segments: an instrument's sessions, cut where they are longer than a block.
    start = np.flatnonzero(np.diff(code, prepend=-1))
    first = np.repeat(session[start], np.diff(start, append=len(asked)))
    piece = (session - first) // COLUMNS_PER_BLOCK
    begins = np.flatnonzero(np.diff(code, prepend=-1) | np.diff(piece, prepend=-1))
    ends = np.append(begins[1:], len(asked))
    origin = session[begins] - LONGEST_WINDOW
    length = session[ends - 1] - origin + 1
    number = np.cumsum(length) // COLUMNS_PER_BLOCK
    offset = np.cumsum(length) - length
    offset -= offset[np.searchsorted(number, number)]
    # The bars of each segment, from the longest window before its first bar on.
    stride = np.int64(len(bars.sessions) + LONGEST_WINDOW)
    lowest = np.searchsorted(bars.code * stride + bars.session, code[begins] * stride + origin)
    counts = asked[ends - 1] + 1 - lowest
    segment = np.repeat(np.arange(len(begins)), counts)
    rows = np.arange(len(segment)) - np.repeat(np.cumsum(counts) - counts, counts) + lowest[segment]
    column = bars.session[rows] - origin[segment] + offset[segment]
    which = np.repeat(np.arange(len(begins)), ends - begins)
    wanted = np.stack([asked, place[asked], session - origin[which] + offset[which]])
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    of_rows = np.append((np.cumsum(counts) - counts)[starts], len(rows))
    of_asked = np.append(begins[starts], len(asked))
    widths = np.diff(np.append((np.cumsum(length) - length)[starts], length.sum()))
    return [
        Block(rows[r:r_end], column[r:r_end], np.ascontiguousarray(wanted[:, w:w_end]), int(width))
        for (r, r_end), (w, w_end), width in zip(pairwise(of_rows), pairwise(of_asked), widths, strict=True)
    ]


def columns(bars: Bars) -> np.ndarray:
    """float32, 8 × rows: open, high, low, close, vwap, volume, its log, the log of its ratio to the session before.

    The logarithms are numpy's in float32, as they are in Qlib: another library's differ in the last bit.
    """
    base = np.empty((8, len(bars.code)), dtype="float32")
    for row, name in enumerate(PRICE_COLUMNS):
        base[row] = bars.values(name)
    base[4] = bars.values("vwap") if "vwap" in bars.given else sum(map(bars.values, PRICE_COLUMNS)) / 4
    base[5] = bars.values("volume")
    volume = base[5]
    with np.errstate(divide="ignore", invalid="ignore"):
        np.log(volume + np.float32(1), out=base[6])
        base[7] = np.nan
        follows = (np.diff(bars.code) == 0) & (np.diff(bars.session) == 1)
        base[7, 1:][follows] = np.log(volume[1:][follows] / volume[:-1][follows] + np.float32(1))
    base[6:][~np.isfinite(base[6:])] = np.nan
    return base
