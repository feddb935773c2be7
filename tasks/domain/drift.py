"""Drift: does a snapshot still look like the one before?

A snapshot is first reduced to its `Profile`, a few numbers for each session, which is kept with the snapshot: two
snapshots are compared without reading the older one again.

What a snapshot says about time that the one before already covered needs no statistics: rows, sessions and names that
are gone, and values that were restated, are counted against fixed limits.

Sessions that are new are judged by the break at the seam. For each watched series x (say the logarithm of the number
of names) and each place t,

    D(t) = mean of x over the w sessions from t on − mean of x over the 20 sessions before t,     w ≤ 20,

so that slow changes, which markets are full of, cancel out. The same D is taken at every place of the older snapshot.
Its own past breaks, with all their volatility clustering, say how large a break must be to be worth a warning. How far
it would have to go for the stated error rate can't be read off: the rate is smaller than one in the number of
independent windows. Beyond the 90 % quantile u of |D| the tail is therefore continued as an exponential one whose mean
excess b is only known from k independent clusters of breaks. The chance that a new break exceeds x is then
0.1 · (1 + (x − u) / (k b))^−k, the predictive distribution of an exponential law learnt from k values: few clusters
give a heavy tail and wide limits by themselves. A bootstrap or a rank test would not do: neither can give a limit
beyond the largest break ever seen, and a new one exceeds that far more often than the error rate allows.

`ERROR_RATE` is the chance that a collection without any break gets at least one warning from these comparisons. It is
shared out evenly among them (Bonferroni), so it holds whatever their dependence. The price is power: a doubled
spread is certain to be found only where the past was calmer than large stocks are; a tenth of the names is.
"""

import json
import math
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from tasks.domain.errors import VerificationFailed

ERROR_RATE = 0.01
BASELINE = 20
TAIL = 0.1
GROSS = 0.5
NOTICEABLE = 0.001
SLICE = 1_000_000
# Returns are counted in bins that are 10 % wide and, around zero, half a basis point.
UNIT, STEP, BINS = 5e-4, 0.1, 201

# The columns of a profile as JSON holds them.
SESSIONS = {
    "session": pl.String,
    "rows": pl.Int64,
    "names": pl.Int64,
    "missing": pl.Float64,
    "centre": pl.Float64,
    "spread": pl.Float64,
    "still": pl.Float64,
}
INSTRUMENTS = {"instrument": pl.String, "rows": pl.Int64, "first": pl.String, "last": pl.String}

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class Profile(NamedTuple):
    """A snapshot of bars in short.

    sessions: one row a date: `session` Date, `rows`, `names` (different instruments), `missing` (share of absent
        values), `centre` (median log return since the bar before), `spread` (mean distance of log returns from it),
        `still` (share of returns that are exactly zero); the last three are null where there is no return.
    instruments: one row an instrument: `instrument`, `rows`, `first`, `last` (dates).
    returns: how many log returns fall into each of the bins around `middles()`.
    """

    sessions: pl.DataFrame
    instruments: pl.DataFrame
    returns: Integers

    @property
    def rows(self) -> int:
        return int(self.sessions["rows"].sum())


class Finding(NamedTuple):
    """One comparison: `figure` against `limit` (same unit), and what it means in a sentence."""

    name: str
    figure: float
    limit: float
    passed: bool
    severity: Literal["critical", "warning"]
    words: str


class Watched(NamedTuple):
    """A series of one number a session. A break below about 6 × `grain` is never worth a warning."""

    name: str
    title: str
    of: Callable[[pl.DataFrame], Floats]
    grain: float
    told: Callable[[float], str]


def middles() -> Floats:
    """The middle of each bin of returns."""
    return np.asarray(UNIT * np.sinh(STEP * (np.arange(BINS) - BINS // 2)))


def edges() -> Floats:
    """The limits of the bins of returns; the outermost bins also hold all that lies beyond."""
    return np.asarray(UNIT * np.sinh(STEP * (np.arange(BINS + 1) - BINS / 2)))


class Piece(NamedTuple):
    """Some rows of bars in key order: the place of the first, then one value a row.

    `day` since 1970, `begins` where an instrument's first bar is, `fresh` where its first bar of a day is, `move` the
    log return since the bar before (NaN for an instrument's first), `rows` the rows themselves.
    """

    start: int
    rows: pl.DataFrame
    day: npt.NDArray[np.int32]
    begins: npt.NDArray[np.bool_]
    fresh: npt.NDArray[np.bool_]
    move: Floats


def pieces(bars: pl.DataFrame, size: int = SLICE) -> Iterator[Piece]:
    """Walk over bars in key order; piece by piece, since a whole shifted column would cost as much as the table."""
    instrument, day = pl.col("instrument"), pl.col("timestamp").dt.date()
    for start in range(0, bars.height, size):
        overlap = min(start, 1)
        rows = bars.slice(start - overlap, size + overlap)
        derived = rows.select(
            day=day.to_physical(),
            begins=instrument.ne_missing(instrument.shift()),
            fresh=instrument.ne_missing(instrument.shift()) | day.ne_missing(day.shift()),
            move=pl.col("close").log().diff(),
        ).slice(overlap)
        begins = derived["begins"].to_numpy().copy()
        begins[0] |= start == 0
        move = derived["move"].to_numpy().astype("float64")
        move[begins] = np.nan
        fresh = derived["fresh"].to_numpy() | begins
        yield Piece(start, rows.slice(overlap), derived["day"].to_numpy(), begins, fresh, move)


def profile(bars: pl.DataFrame) -> Profile:
    """The profile of bars in key order (instrument, timestamp), without missing keys; `close` is needed."""
    days = dates(bars["timestamp"]).alias("session")
    numbers, count = days.to_physical().to_numpy(), len(days)
    values = [name for name, kind in bars.schema.items() if kind.is_numeric()]
    rows, names, missing, still = (np.zeros(count, dtype=np.int64) for _ in range(4))
    moves = np.zeros((count, BINS), dtype=np.int64)
    starts: list[int] = []
    for piece in pieces(bars):
        at = place(piece.day, numbers)
        rows += np.bincount(at, minlength=count)
        names += np.bincount(at[piece.fresh], minlength=count)
        for name in values:
            present = piece.rows[name].is_not_nan().fill_null(False)
            if not present.all():
                missing += np.bincount(at[~present.to_numpy()], minlength=count)
        known = np.isfinite(piece.move)
        move, when = piece.move[known], at[known]
        still += np.bincount(when[move == 0], minlength=count)
        moves += np.bincount(when * BINS + bins(move), minlength=count * BINS).reshape(count, BINS)
        starts += (np.flatnonzero(piece.begins) + piece.start).tolist()
    share = {"missing": missing / np.maximum(rows * len(values), 1)}
    sessions = pl.DataFrame({"session": days, "rows": rows, "names": names} | share | shape(moves, still))
    return Profile(sessions.fill_nan(None), of_instruments(bars, starts), moves.sum(axis=0))


def dates(times: pl.Series) -> pl.Series:
    """The different dates, in order; slice by slice, as a column of all dates is not needed."""
    some = [times.slice(start, SLICE).dt.date().unique() for start in range(0, max(len(times), 1), SLICE)]
    return pl.concat(some).unique().sort()


def place(day: npt.NDArray[np.int32], days: npt.NDArray[np.int32]) -> Integers:
    """Which of the sorted `days` each day is; all of them are among these."""
    seats = np.zeros(int(days[-1]) - int(days[0]) + 1, dtype=np.int64)
    seats[days - days[0]] = np.arange(len(days))
    return np.asarray(seats[day - days[0]])


def bins(move: Floats) -> Integers:
    """The bin of each return."""
    half = BINS // 2
    return np.asarray(np.clip(np.rint(np.arcsinh(move / UNIT) / STEP), -half, half), dtype=np.int64) + half


def shape(moves: Integers, still: Integers) -> dict[str, Floats]:
    """Centre, spread and share of unmoved prices of each session, from its counts of returns by bin.

    With fewer than five returns a session has no middle worth the name; its spread is the distance from zero then.
    """
    total = moves.sum(axis=1).astype("float64")
    total[total == 0] = np.nan
    below = moves.cumsum(axis=1)
    middle = (below >= total[:, None] / 2).argmax(axis=1)
    each = np.arange(len(moves))
    inside = (total / 2 - (below[each, middle] - moves[each, middle])) / np.maximum(moves[each, middle], 1)
    centre = edges()[middle] + inside * np.diff(edges())[middle]
    reference = np.where(total < 5, 0.0, centre)
    spread = (moves * np.abs(middles() - reference[:, None])).sum(axis=1) / total
    return {"centre": centre + 0 * total, "spread": spread, "still": still / total}


def of_instruments(bars: pl.DataFrame, starts: list[int]) -> pl.DataFrame:
    """Rows, first and last date of each instrument, whose rows begin at `starts`."""
    begin = pl.Series(starts, dtype=pl.Int64)
    end = pl.Series([*starts, bars.height][1:] if starts else [], dtype=pl.Int64)
    found = pl.DataFrame(
        {
            "instrument": bars["instrument"].gather(begin).cast(pl.String),
            "rows": end - begin,
            "first": bars["timestamp"].gather(begin).dt.date(),
            "last": bars["timestamp"].gather(end - 1).dt.date(),
        }
    )
    return found.group_by("instrument").agg(pl.sum("rows"), pl.min("first"), pl.max("last")).sort("instrument")


def to_text(told: Profile) -> str:
    """A profile as JSON; `from_text` reads it back."""
    tables = {
        name: table.with_columns(pl.col(pl.Date).cast(pl.String)).to_dict(as_series=False)
        for name, table in (("sessions", told.sessions), ("instruments", told.instruments))
    }
    return json.dumps(tables | {"returns": told.returns.tolist()})


def from_text(text: str | bytes) -> Profile:
    """The profile that `to_text` wrote.

    Raises:
        VerificationFailed: the text is something else.
    """
    try:
        read = json.loads(text)
        sessions = pl.DataFrame(read["sessions"], schema=SESSIONS).with_columns(pl.col("session").str.to_date())
        instruments = pl.DataFrame(read["instruments"], schema=INSTRUMENTS)
        returns = np.asarray(read["returns"], dtype=np.int64)
        if returns.shape != (BINS,):
            raise ValueError(f"{returns.shape} bins of returns, expected {BINS}")
        return Profile(sessions, instruments.with_columns(pl.col("first", "last").str.to_date()), returns)
    except (ValueError, TypeError, KeyError, pl.exceptions.PolarsError) as fault:
        raise VerificationFailed(f"profile of the previous snapshot: cannot be read ({fault!r})"[:300]) from None


def logarithm(values: pl.Series, least: float = 1e-6) -> Floats:
    return np.asarray(np.log(np.maximum(values.cast(pl.Float64).fill_null(np.nan).to_numpy(), least)))


def plain(values: pl.Series) -> Floats:
    return np.asarray(values.cast(pl.Float64).fill_null(np.nan).to_numpy())


def as_factor(change: float) -> str:
    return f"{100 * math.expm1(change):+.1f} %"


def as_share(change: float) -> str:
    return f"{100 * change:+.2f} percentage points"


WATCHED = (
    Watched("names", "Instruments a session", lambda s: logarithm(s["names"]), 4e-3, as_factor),
    Watched("rows", "Rows an instrument and session", lambda s: logarithm(s["rows"] / s["names"]), 4e-3, as_factor),
    Watched("missing", "Share of missing values", lambda s: plain(s["missing"]), 2e-3, as_share),
    Watched("centre", "Median return of a session", lambda s: plain(s["centre"]), 1e-5, as_share),
    Watched("spread", "Spread of returns within a session", lambda s: logarithm(s["spread"]), 2e-2, as_factor),
    Watched("still", "Share of unmoved prices", lambda s: plain(s["still"]), 5e-3, as_share),
)


def drift(previous: Profile, current: Profile, restated: float = 0.0, error_rate: float = ERROR_RATE) -> list[Finding]:
    """Compare a snapshot with the one before.

    Args:
        previous: the profile kept with the snapshot before.
        current: the profile of the new one.
        restated: share of the rows common to both (same instrument and time) whose values differ.
        error_rate: chance of at least one warning about new sessions where nothing has broken.
    """
    return [*history(previous, current, restated), *breaks(previous, current, error_rate)]


def history(previous: Profile, current: Profile, restated: float) -> list[Finding]:
    """What became of the sessions, rows and instruments that were there before."""
    both = previous.sessions.select("session", before="rows").join(
        current.sessions.select("session", after="rows"), on="session", how="left"
    )
    lost = both.select((pl.col("before") - pl.col("after").fill_null(0)).clip(0)).sum().item()
    gone = previous.instruments.join(current.instruments, on="instrument", how="anti")
    sessions = max(len(both), 1)
    shares = (
        ("rows_gone", lost / max(previous.rows, 1), NOTICEABLE, "of the rows held before are gone"),
        ("sessions_gone", both["after"].null_count() / sessions, 0.0, "of the sessions held before are gone"),
        ("instruments_gone", len(gone) / max(len(previous.instruments), 1), 0.0, "of the instruments are gone"),
        ("restated", restated, NOTICEABLE, "of the rows held before have other values now"),
    )
    return [of_share(name, share, limit, words) for name, share, limit, words in shares]


def of_share(name: str, share: float, noticeable: float, words: str) -> Finding:
    """A share that should be next to nothing: a warning when noticeable, critical when gross (more than half)."""
    gross = share > GROSS
    limit = GROSS if gross else noticeable
    sentence = f"{100 * share:.3g} % {words}; up to {100 * noticeable:g} % passes, more than {100 * GROSS:g} % is gross"
    return Finding(name, share, limit, share <= noticeable, "critical" if gross else "warning", sentence)


def breaks(previous: Profile, current: Profile, error_rate: float) -> list[Finding]:
    """Whether what is new breaks with what came before, series by series."""
    last = previous.sessions["session"].max()
    new = current.sessions if last is None else current.sessions.filter(pl.col("session") > last)
    joined = pl.concat([previous.sessions, new])
    return [
        judged(watched, watched.of(joined), len(previous.sessions), error_rate / len(WATCHED)) for watched in WATCHED
    ]


def judged(watched: Watched, series: Floats, held: int, chance: float) -> Finding:
    """The largest break in the sessions from number `held` on, against a limit with this chance of a false alarm."""
    known = np.isfinite(series)
    old, series = int(known[:held].sum()), series[known]
    window = min(len(series) - old, BASELINE)
    if window < 1 or old < 3 * (BASELINE + window):
        words = f"{watched.title}: not judged, {len(series) - old} new sessions after {old}; too few"
        return Finding(f"break_{watched.name}", 0.0, math.inf, True, "warning", words)
    past = jumps(series[:old], window)
    usual = float(np.median(past))
    fresh = jumps(series[old - BASELINE :], window)[::window] - usual
    limit = tail_limit(np.abs(past - usual), chance / len(fresh), watched.grain, window)
    figure = float(fresh[np.abs(fresh).argmax()])
    passed = abs(figure) <= limit
    bound = watched.told(math.copysign(limit, figure))
    words = (
        f"{watched.title}: moved by {watched.told(figure)} between {BASELINE} sessions and the {window} after them; "
        f"{'within' if passed else 'beyond'} the limit of {bound} learnt from {old} sessions"
    )
    return Finding(f"break_{watched.name}", figure, limit, passed, "warning", words)


def jumps(series: Floats, window: int) -> Floats:
    """D at every place with BASELINE values before it and `window` from it on."""
    sums = np.concatenate([[0.0], np.cumsum(series - series.mean())])
    places = np.arange(BASELINE, len(series) - window + 1)
    after = (sums[places + window] - sums[places]) / window
    return np.asarray(after - (sums[places] - sums[places - BASELINE]) / BASELINE)


def tail_limit(past: Floats, chance: float, grain: float, window: int) -> float:
    """What a new |D| exceeds with this chance, learnt from past ones in order of time (see the module's text)."""
    threshold = float(np.quantile(past, 1 - TAIL))
    places = np.flatnonzero(past > threshold + 1e-12)
    clusters = 1 + int((np.diff(places) > BASELINE + window).sum()) if len(places) else len(past) // (BASELINE + window)
    excess = float(np.mean(past[places] - threshold)) if len(places) else 0.0
    reach = clusters * ((TAIL / chance) ** (1 / clusters) - 1) if chance < TAIL else 0.0
    return threshold + max(excess, grain) * reach
