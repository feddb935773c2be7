"""Rules about a stretch of bars: repeated ones, columns that changed places, one series under several names."""

import numpy as np

from tasks.domain.cleansing.panel import PRICES, Mask, Panel, Whole, pairs
from tasks.domain.cleansing.rule import Change, Context, Found, nothing

NEIGHBOURS = 125  # bars on either side that tell how often prices repeat; it changes with tick sizes and decades
SURE = 1e-5  # repeats expected by chance in a whole instrument, below which a run of them is none


def stale_run(panel: Panel, _: Context) -> Found:
    """The bar before delivered again: a feed that stands still.

    Four equal prices with a real range between them and an equal volume do not happen twice. Where the volume is
    unknown or differs, the range must span at least 25 of the instrument's price steps. A flat bar or a close alone
    does repeat by chance; a run of them is stale where the share of repeats around it makes it less likely
    than one in a hundred thousand. Flat bars without volume are a vendor's way to say that nothing traded; they stay.
    """
    repeated = nothing(panel)
    repeated[1:] = ~panel.is_first[1:]
    for name in PRICES:
        if name in panel.fields:
            repeated[1:] &= panel.fields[name][1:] == panel.fields[name][:-1]
    if not repeated.any():
        return Found(repeated)
    stale = nothing(panel)
    if panel.has_range:
        stale = repeated & (same_volume(panel) | wide(panel, repeated)) & (panel.fields["high"] > panel.fields["low"])
    flat = repeated & ~stale
    if "volume" in panel.fields:
        flat &= panel.fields["volume"] != 0
    return Found(stale | unlikely_runs(panel, flat))


def same_volume(panel: Panel) -> Mask:
    if "volume" not in panel.fields:
        return nothing(panel)
    return np.asarray(panel.fields["volume"] == panel.before(panel.fields["volume"]))


def wide(panel: Panel, rows: Mask) -> Mask:
    """Which of the rows span at least 25 of the price steps seen around them."""
    result = nothing(panel)
    for place in np.flatnonzero(rows).tolist():
        around = slice(max(0, place - 10), place + 11)
        seen = np.unique(np.concatenate([panel.fields[name][around] for name in PRICES]))
        step = float(np.diff(seen).min()) if len(seen) > 1 else np.inf
        result[place] = panel.fields["high"][place] - panel.fields["low"][place] >= 25 * step
    return result


def unlikely_runs(panel: Panel, repeated: Mask) -> Mask:
    """Rows of runs of repeats that are too long for chance, given how often bars around them repeat."""
    unlikely = nothing(panel)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], repeated, [False]]).astype(np.int8)))
    starts = panel.starts()
    for first, end in edges.reshape(-1, 2).tolist():
        slot = int(np.searchsorted(starts, first, side="right")) - 1
        begin, stop = int(starts[slot]), int(starts[slot + 1])
        around = repeated[max(begin, first - NEIGHBOURS) : min(stop, end + NEIGHBOURS)]
        share = (int(around.sum()) - (end - first) + 1) / len(around)
        unlikely[first:end] = (stop - begin) * share ** (end - first) < SURE
    return unlikely


def swapped_open_close(panel: Panel, _: Context) -> Found:
    """Open and close in each other's column, all through an instrument's rows in one part of a delivery.

    Between the last close and the next open lies a night, between the last open and the next close two days and a
    night, so the first step is the smaller one on most bars. Where it is the larger one over twenty bars or more, by
    far more than chance would do, the columns changed places. One bar alone can't show that.
    """
    if not panel.has_range:
        return Found(nothing(panel))
    opened, closed = np.log(panel.fields["open"]), np.log(panel.close)
    night, days = np.abs(opened - panel.before(closed)), np.abs(closed - panel.before(opened))
    against = np.where(panel.before(panel.part) == panel.part, np.sign(days - night), np.nan)
    rows: list[Whole] = []
    for begin, end in pairs(panel.starts()):
        for part in np.unique(panel.part[begin:end]).tolist():
            own = begin + np.flatnonzero(panel.part[begin:end] == part)
            votes = against[own][~np.isnan(against[own])]
            if len(votes) >= 20 and votes.sum() < -3 * np.sqrt(len(votes)):
                rows.append(own)
    found = np.concatenate([np.array([], dtype=np.int64), *rows])
    opens, closes = panel.fields["open"][found], panel.close[found]
    return Found(nothing(panel), [Change(found, "open", closes), Change(found, "close", opens)])


SHARED_RUN = 10  # bars in a row that two names must have in common
SAMPLE = 8  # every 8th session is looked at first


def several_names(panel: Panel, _: Context) -> Found:
    """The same bars under several names: at most one of them can be right.

    Where one name's bars go on without a break on both sides of the shared stretch and the other's jump, the one that
    jumps carries the wrong bars. Otherwise nothing says which name is right, and the stretch is set aside in all.
    """
    aside = nothing(panel)
    for one, other in suspects(panel):
        left, right = panel.span(one), panel.span(other)
        shared = shared_rows(panel, left, right)
        if len(shared) == 0:
            continue
        broken = [breaks(panel, rows) for rows in shared.T]
        for rows, own, others in zip(shared.T, broken, reversed(broken), strict=True):
            if own or not others:
                aside[rows] = True
    return Found(aside)


def suspects(panel: Panel) -> list[tuple[int, int]]:
    """Pairs of instrument codes with equal closes (and volumes) on several of the sampled sessions."""
    day = panel.time // 1_000_000
    sampled = np.flatnonzero((day // 86_400) % SAMPLE == 0)
    marks = [panel.fields[name][sampled].view(np.int64) for name in ("close", "volume") if name in panel.fields]
    key = panel.time[sampled] * np.int64(1_000_003)
    with np.errstate(over="ignore"):
        for mark in marks:
            key = (key ^ mark) * np.int64(6364136223846793005) + (mark >> np.int64(29))
    order = np.argsort(key, kind="stable")
    same = np.flatnonzero(key[order][1:] == key[order][:-1])
    first, second = panel.code[sampled[order[same]]], panel.code[sampled[order[same + 1]]]
    found, counts = np.unique(
        np.stack([np.minimum(first, second), np.maximum(first, second)]), axis=1, return_counts=True
    )
    return [
        (int(one), int(other)) for (one, other), count in zip(found.T, counts, strict=True) if one != other and count
    ]


def shared_rows(panel: Panel, left: slice, right: slice) -> Whole:
    """Rows (k, 2) where both instruments hold the same bar, in runs of at least `SHARED_RUN` that move."""
    times, one, other = np.intersect1d(panel.time[left], panel.time[right], assume_unique=True, return_indices=True)
    equal = np.ones(len(times), dtype=bool)
    for values in panel.fields.values():
        equal &= values[left][one] == values[right][other]
    edges = np.flatnonzero(np.diff(np.concatenate([[False], equal, [False]]).astype(np.int8))).reshape(-1, 2)
    closes = panel.close[left][one]
    runs = [
        np.arange(first, end)
        for first, end in edges.tolist()
        if end - first >= SHARED_RUN and len(np.unique(closes[first:end])) > SHARED_RUN / 2
    ]
    if not runs:
        return np.empty((0, 2), dtype=np.int64)
    places = np.concatenate(runs)
    return np.stack([left.start + one[places], right.start + other[places]], axis=1)


def breaks(panel: Panel, rows: Whole) -> bool:
    """Whether an instrument jumps where the shared rows begin or end, by more than its bars ordinarily move."""
    inside = panel.span(int(panel.code[rows[0]]))
    close = panel.close
    moves = np.abs(np.diff(np.log(close[rows])))
    far = max(10 * float(np.median(moves)), 0.05)
    before, after = rows[0] - 1, rows[-1] + 1
    jumps = [np.log(close[rows[0]] / close[before])] if before >= inside.start else []
    jumps += [np.log(close[after] / close[rows[-1]])] if after < inside.stop else []
    return any(abs(float(jump)) > far for jump in jumps)
