"""Rules about when a bar says it was."""

import bisect

import numpy as np
import numpy.typing as npt

from tasks.domain.cleansing.panel import Mask, Panel, Whole, pairs
from tasks.domain.cleansing.rule import DAY, Change, Context, Found, nothing

HOUR = 3_600_000_000
MOST = 0.8  # share of an instrument's bars or days that fixes what is usual for it
LONGEST_SILENCE = 180 * DAY


def future_timestamp(panel: Panel, context: Context) -> Found:
    """A bar from after the moment of collection: it can't have happened yet."""
    return Found(panel.time > context.now)


def shifted_time(panel: Panel, context: Context) -> Found:
    """Stamps off by a time zone.

    Daily bars stand at midnight. One that does not, in an instrument where most do, was shifted; the nearest
    midnight is certain if it is a session that has no bar yet. For bars within the day, a whole day whose first
    and last bar are both off the usual ones by the same number of hours was shifted by that.
    """
    daily = panel.time % DAY == 0
    if daily.mean() >= MOST:
        return shifted_days(panel, context)
    return shifted_hours(panel)


def shifted_days(panel: Panel, context: Context) -> Found:
    odd = np.flatnonzero(panel.time % DAY != 0)
    nearest = (panel.time[odd] + DAY // 2) // DAY * DAY
    certain = context.calendar.is_session(nearest) if context.calendar else np.ones(len(odd), dtype=bool)
    certain &= ~has_bar(panel, panel.code[odd], nearest) & ~doubled(panel.code[odd], nearest)
    aside = nothing(panel)
    aside[odd[~certain]] = True
    return Found(aside, [Change(odd[certain], "timestamp", nearest[certain])])


def has_bar(panel: Panel, codes: npt.NDArray[np.int32], times: Whole) -> Mask:
    """Whether the panel holds a bar of an instrument at a time."""
    starts = panel.starts()
    present = panel.code[starts[:-1]]
    slots = np.searchsorted(present, codes)
    found = [
        at < end and panel.time[at] == time
        for slot, time in zip(slots.tolist(), times.tolist(), strict=True)
        for end in [int(starts[slot + 1])]
        for at in [int(starts[slot] + np.searchsorted(panel.time[starts[slot] : end], time))]
    ]
    return np.array(found, dtype=bool)


def doubled(codes: npt.NDArray[np.int32], times: Whole) -> Mask:
    """Which of the (code, time) pairs occur more than once."""
    keys = np.stack([codes.astype(np.int64), times])
    _, inverse, counts = np.unique(keys, axis=1, return_inverse=True, return_counts=True)
    return np.asarray(counts[inverse.ravel()] > 1)


def shifted_hours(panel: Panel) -> Found:
    """Days within an instrument whose bars are all moved by the same whole hours."""
    rows: list[Whole] = []
    times: list[Whole] = []
    for begin, end in pairs(panel.starts()):
        time = panel.time[begin:end]
        day = time // DAY
        edges = np.append(np.flatnonzero(np.append(True, day[1:] != day[:-1])), len(day))
        first, last = time[edges[:-1]] % DAY, time[edges[1:] - 1] % DAY
        usual = most_common(first), most_common(last)
        if ((first == usual[0]) & (last == usual[1])).mean() < MOST:
            continue
        shift = first - usual[0]
        moved = (shift != 0) & (shift == last - usual[1]) & (shift % HOUR == 0)
        for number in np.flatnonzero(moved).tolist():
            inside = np.arange(edges[number], edges[number + 1])
            rows.append(begin + inside)
            times.append(time[inside] - shift[number])
    if not rows:
        return Found(nothing(panel))
    return Found(nothing(panel), [Change(np.concatenate(rows), "timestamp", np.concatenate(times))])


def most_common(values: Whole) -> int:
    distinct, counts = np.unique(values, return_counts=True)
    return int(distinct[np.argmax(counts)])


def not_a_session(panel: Panel, context: Context) -> Found:
    """A bar on a day the exchange was shut: nothing traded there."""
    if context.calendar is None:
        return Found(nothing(panel))
    day = panel.time // DAY * DAY
    return Found(context.calendar.covers(day) & ~context.calendar.is_session(day))


def out_of_order(panel: Panel, _: Context) -> Found:
    """Bars delivered in another order than they happened are put in order, which changes no value.

    Of an instrument's rows in one part of a delivery, the fewest that must move for the rest to ascend are named. A
    part that runs from new to old is not out of order.
    """
    falls = (panel.before(panel.place) > panel.place) & (panel.before(panel.part) == panel.part)
    starts = panel.starts()
    rows: list[int] = []
    for begin, end in pairs(starts):
        drops = int(falls[begin:end].sum())
        if 0 < drops < (end - begin) / 2:
            for part in np.unique(panel.part[begin:end]):
                own = begin + np.flatnonzero(panel.part[begin:end] == part)
                rows += own[misplaced(panel.place[own].tolist())].tolist()
    found = np.array(rows, dtype=np.int64)
    return Found(nothing(panel), [Change(found, "row", panel.place[found].astype(np.int64))])


def misplaced(places: list[int]) -> list[int]:
    """Positions outside one longest ascending subsequence."""
    ends: list[int] = []
    holders: list[int] = []
    back: list[int] = []
    for position, place in enumerate(places):
        slot = bisect.bisect_left(ends, place)
        back.append(holders[slot - 1] if slot else -1)
        if slot == len(ends):
            ends.append(place)
            holders.append(position)
        else:
            ends[slot], holders[slot] = place, position
    kept: set[int] = set()
    position = holders[-1]
    while position >= 0:
        kept.add(position)
        position = back[position]
    return [position for position in range(len(places)) if position not in kept]


def ticker_reuse(panel: Panel, _: Context) -> Found:
    """A name silent for half a year may be another company afterwards, and nothing in the bars can tell: what came
    before the silence is set aside."""
    silence = panel.time - panel.before(panel.time) > LONGEST_SILENCE
    return Found(up_to_last(panel, silence))


def up_to_last(panel: Panel, breaks: Mask) -> Mask:
    """All rows of an instrument before the last of its breaks."""
    older = nothing(panel)
    places = np.flatnonzero(breaks)
    starts = panel.starts()
    begins = starts[np.searchsorted(starts, places, side="right") - 1]
    for begin, place in zip(begins.tolist(), places.tolist(), strict=True):
        older[begin:place] = True
    return older


def missing_sessions(panel: Panel, context: Context) -> tuple[Whole, Whole]:
    """Instrument codes and sessions between an instrument's first and last bar that have no bar. Nothing is put in
    their place."""
    if context.calendar is None or not len(panel):
        return np.array([], dtype=np.int64), np.array([], dtype=np.int64)
    place = context.calendar.place(panel.time // DAY * DAY)
    known = np.flatnonzero(place >= 0)
    place, code = place[known], panel.code[known]
    steps = np.where(code[1:] == code[:-1], place[1:] - place[:-1], 0)
    after = np.flatnonzero(steps > 1)
    counts = steps[after] - 1
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    gone = np.repeat(place[after] + 1, counts) + within
    return np.repeat(code[after], counts).astype(np.int64), context.calendar.sessions[gone]
