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

import numpy as np

from .bars import Bars

COLUMNS = ("open", "high", "low", "close", "volume")
OPTIONAL = ("vwap",)
WINDOWS = (5, 10, 20, 30, 60)
LONGEST_WINDOW = WINDOWS[-1]
SHAPES = ("KMID", "KLEN", "KMID2", "KUP", "KUP2", "KLOW", "KLOW2", "KSFT", "KSFT2")
PRICES = ("OPEN0", "HIGH0", "LOW0", "VWAP0")
ROLLING = (
    *("ROC", "MA", "STD", "BETA", "RSQR", "RESI", "MAX", "MIN", "QTLU", "QTLD", "RANK", "RSV", "IMAX", "IMIN", "IMXD"),
    *("CORR", "CORD", "CNTP", "CNTN", "CNTD", "SUMP", "SUMN", "SUMD", "VMA", "VSTD", "WVMA", "VSUMP", "VSUMN", "VSUMD"),
)
NAMES = (*SHAPES, *PRICES, *(f"{name}{window}" for name in ROLLING for window in WINDOWS))


def alpha158(bars: Bars, place: np.ndarray, out: np.ndarray, threads: int) -> None:
    """Write the features of row i of the bars into row `place[i]` of `out` (float32), none where that is -1."""
    # Compiling takes seconds, so only those who ask for these features pay for it.
    from .kernels import fill, scratch

    asked = bars.session[place >= 0]
    if not asked.size:
        return
    base = columns(bars)
    sessions = int(asked.max() - asked.min()) + 1
    count = len(bars.names)
    bounds = np.linspace(0, count, max(1, min(4 * threads, count)) + 1).astype(int)

    def part(first: int, last: int) -> None:
        fill(first, last, bars.begins, bars.session, base, place, out, *scratch(sessions))

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(part, bounds[:-1].tolist(), bounds[1:].tolist()))


def columns(bars: Bars) -> np.ndarray:
    """float32, 8 × rows: open, high, low, close, vwap, volume, log volume and log ratio of volume to the session before.

    The logarithms are numpy's in float32, as they are in Qlib: another library's differ in the last bit.
    """
    table = bars.table
    base = np.empty((8, len(table)), dtype="float32")
    for row, name in enumerate(("open", "high", "low", "close")):
        base[row] = table[name]
    vwap = "vwap" if "vwap" in table else None
    base[4] = table["vwap"] if vwap else table[["open", "high", "low", "close"]].sum(axis=1, skipna=False) / 4
    volume = base[5]
    volume[:] = table["volume"]
    with np.errstate(divide="ignore", invalid="ignore"):
        np.log(volume + np.float32(1), out=base[6])
        base[7] = np.nan
        follows = (np.diff(bars.code) == 0) & (np.diff(bars.session) == 1)
        base[7, 1:][follows] = np.log(volume[1:][follows] / volume[:-1][follows] + np.float32(1))
    base[6:][~np.isfinite(base[6:])] = np.nan
    return base
