"""Rules about a bar's level: far off what came before and after.

A true large move survives because it leaves traces that an error does not: the price stays, or travelled there within
the bar, or much more was traded than usual.
"""

import numpy as np
import polars as pl

from tasks.domain.cleansing.fields import body
from tasks.domain.cleansing.panel import PRICES, Floats, Mask, Panel, Whole
from tasks.domain.cleansing.rule import DAY, Change, Context, Found, nothing
from tasks.domain.cleansing.timing import up_to_last

NOISE = 8.0  # how many usual moves a level may be off the expected one and still be the same
LONGEST_SCALED = 60  # bars; a longer stretch on another level is a split or a change of unit for good


def wrong_scale(panel: Panel, _: Context) -> Found:
    """Bars ten, a hundred or a thousand times too high or low: a shifted decimal point, or pence for pounds.

    No price does that and comes back. The factor is certain when both neighbours of the stretch agree with it to
    within the ordinary noise; dividing by it is then right, unless the error also rounded the digits away.
    """
    level = np.log(panel.close)
    jump = level - panel.before(level)
    noise = np.minimum(NOISE * panel.usual_move(), 0.5)
    decades = np.round(jump / np.log(10.0))
    breaks = np.flatnonzero((decades != 0) & (np.abs(jump - decades * np.log(10.0)) < noise) & (np.abs(decades) <= 3))
    rows, exponents = stretches(panel, breaks, decades)
    if not len(rows):
        return Found(nothing(panel))
    factor = 10.0**exponents
    present = [name for name in PRICES if name in panel.fields]
    mended = {name: nearest_decimal(panel.fields[name][rows], factor) for name in present}
    whole = np.logical_and.reduce([np.abs(np.log(panel.fields[name] / panel.close)[rows]) < 1 for name in present])
    cents = np.logical_and.reduce([is_cents(panel.fields[name][rows]) for name in present]) & (exponents < 0)
    sure = whole & ~cents
    aside = nothing(panel)
    aside[rows[~sure]] = True
    return Found(aside, [Change(rows[sure], name, values[sure]) for name, values in mended.items()])


def is_cents(values: Floats) -> Mask:
    """Values without a digit behind the second: what is left of a price that was divided and rounded."""
    return np.asarray(np.abs(values * 100 - np.round(values * 100)) < 1e-6)


def nearest_decimal(values: Floats, factor: Floats) -> Floats:
    """values / factor without the digits that binary division adds."""
    divided = values / factor
    rounded = np.round(divided, 8)
    return np.where(np.abs(rounded - divided) <= 1e-12 * np.abs(divided), rounded, divided)


def stretches(panel: Panel, breaks: Whole, decades: Floats) -> tuple[Whole, Floats]:
    """Rows between a jump by a power of ten and the jump back, with the power; at either end of an instrument one
    jump is enough if the stretch is a single bar."""
    rows: list[Whole] = []
    exponents: list[Floats] = []
    used: set[int] = set()
    for place, following in zip(breaks.tolist(), np.append(breaks, -1)[1:].tolist(), strict=True):
        if place in used:
            continue
        span = panel.span(int(panel.code[place]))
        begin, end = span.start, span.stop
        back = following if begin < following < end and decades[following] == -decades[place] else -1
        if 0 < back - place <= LONGEST_SCALED:
            bars, exponent = np.arange(place, back), decades[place]
            used.add(back)
        elif place == end - 1:
            bars, exponent = np.array([place]), decades[place]
        elif place == begin + 1:
            bars, exponent = np.array([begin]), -decades[place]
        else:
            continue
        rows.append(bars)
        exponents.append(np.full(len(bars), exponent))
    if not rows:
        return np.array([], dtype=np.int64), np.array([])
    return np.concatenate(rows), np.concatenate(exponents)


def reverting_spike(panel: Panel, _: Context) -> Found:
    """One bar far off two neighbours that agree with each other: a misprint, not a move.

    Where bars tell their range, the bar must lie wholly above or wholly below both neighbours' ranges, six usual
    moves and 3 % away from them, with no more than five times the usual volume: a true move that comes back travels
    through the prices between, or makes everybody trade. A close alone can't
    show that; banks fell by a fifth and recovered on two sessions of January 2009, so such a spike must be half as
    much again (or a third lost), eight usual moves, and come back within a fifth of itself.
    """
    level = np.log(panel.close)
    jump, back = level - panel.before(level), level - panel.after(level)
    usual = panel.usual_move()
    there_and_back = np.abs(jump - back) < 0.2 * np.abs(jump)
    far = np.maximum(8 * usual, np.log(1.5))
    spike = (np.abs(jump) > far) & (np.abs(back) > far) & (jump * back > 0) & there_and_back
    if panel.has_range:
        spike = (gapped(panel, spike, far) | island(panel, jump, back, usual)) & is_quiet(panel, 5)
        spike |= (np.minimum(np.abs(jump), np.abs(back)) > np.log(5)) & (jump * back > 0)
    return Found(spike)


def island(panel: Panel, jump: Floats, back: Floats, usual: Floats) -> Mask:
    high, low = np.log(panel.fields["high"]), np.log(panel.fields["low"])
    above = low - np.maximum(panel.before(high), panel.after(high))
    below = np.minimum(panel.before(low), panel.after(low)) - high
    away = np.maximum(above, below)
    return np.asarray((away > np.maximum(6 * usual, 0.03)) & (np.abs(jump - back) < 0.5 * np.abs(jump)))


def gapped(panel: Panel, spike: Mask, far: Floats) -> Mask:
    """Spikes of the close that the next open does not know of."""
    gap = np.log(panel.close) - panel.after(np.log(panel.fields["open"]))
    return np.asarray(spike & (np.abs(gap) > 0.8 * far))


def stray_extreme(panel: Panel, context: Context) -> Found:
    """A high or a low far beyond open, close and both neighbouring bars: one bad print within the bar.

    Flash crashes print such lows for real, but all names then swing widely, and trade heavily. So a session in which
    the ordinary name's range is more than twice as wide as usual is left alone, and so is a bar with three times the
    usual volume.
    """
    if not panel.has_range:
        return Found(nothing(panel))
    stray = nothing(panel)
    for rows in panel.slices():
        stray[rows] = far_shadow(panel.take(rows))
    places = np.flatnonzero(stray)
    turbulent = turbulent_sessions(panel, stray)
    stray[places[np.isin(panel.time[places], turbulent)]] = False
    return Found(stray)


def turbulent_sessions(panel: Panel, stray: Mask) -> Whole:
    """Times of strays at which the median of the other names' ranges is more than twice what it is at most times."""
    times = np.unique(panel.time[stray])
    if not len(times):
        return times
    width = np.log(panel.fields["high"] / panel.fields["low"]) / panel.usual_move()
    usual = typical(width[np.isfinite(width)])
    others = np.isin(panel.time, times) & ~stray
    each = pl.DataFrame({"time": panel.time[others], "width": width[others]}).group_by("time").agg(pl.median("width"))
    return np.asarray(each.filter(pl.col("width") > 2 * usual)["time"].to_numpy())


def far_shadow(panel: Panel) -> Mask:
    high, low = np.log(panel.fields["high"]), np.log(panel.fields["low"])
    top, bottom = (np.log(values) for values in body(panel))
    up = high - np.fmax(top, np.fmax(panel.before(high), panel.after(high)))
    down = np.fmin(bottom, np.fmin(panel.before(low), panel.after(low))) - low
    far = np.maximum(8 * panel.usual_move(), np.log(1.15))
    return np.asarray((np.maximum(up, down) > far) & (is_quiet(panel, 3) | is_calming(panel)))


def is_quiet(panel: Panel, times: float) -> Mask:
    """Bars without unusual trading: at most `times` the volume of the bar before or of the median bar.

    The bar after does not count: a true move goes on being traded.
    """
    if "volume" not in panel.fields:
        return ~nothing(panel)
    volume = panel.fields["volume"]
    usual = np.fmax(panel.before(volume), panel.per_instrument(typical, volume))
    return np.asarray(volume <= times * usual)


def is_calming(panel: Panel) -> Mask:
    """Bars with no more trading than the bar after."""
    if "volume" not in panel.fields:
        return nothing(panel)
    return np.asarray(panel.fields["volume"] <= panel.after(panel.fields["volume"]))


RATIOS = np.array([2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50, 100, 1.5])
LOG_RATIOS = np.log(np.concatenate([RATIOS, 1 / RATIOS]))
LONGEST_PAUSE = 10 * DAY  # bars further apart may differ by a real move
HUGE = np.log(2.9)  # hardly any true move is, so one of the signs of a calm day is enough
WINDOW = 20  # bars on either side that say what is ordinary


def unadjusted_split(panel: Panel, _: Context) -> Found:
    """A price that opens at a simple fraction (or multiple) of the last close and stays there on an ordinary day: a
    split or reverse split that the older bars were not adjusted for.

    The true crashes that come near such a fraction trade many times the usual amount of money within a wide range; a
    split does neither. Without volumes that can't be seen, and only a price cut to a third or tripled counts. All bars
    before the last split are set aside: they are on another scale, and only the corporate action tells the factor.
    """
    opened = np.log(panel.fields["open"]) if panel.has_range else np.log(panel.close)
    gap = opened - panel.before(np.log(panel.close))
    follows = panel.time - panel.before(panel.time) <= LONGEST_PAUSE
    candidates = np.flatnonzero((np.abs(gap) > np.log(1.4)) & follows)
    breaks = nothing(panel)
    for place in candidates.tolist():
        breaks[place] = is_split(panel, place, float(gap[place]))
    return Found(up_to_last(panel, breaks))


def is_split(panel: Panel, place: int, gap: float) -> bool:
    span = panel.span(int(panel.code[place]))
    first, end = max(span.start, place - WINDOW), min(span.stop, place + WINDOW)
    if place - first < 5 or end - place < 5 or ("volume" not in panel.fields and abs(gap) <= HUGE):
        return False
    near, at = panel.take(slice(first, end)), place - first
    level = np.log(near.close)
    noise = 6 * typical(np.abs(np.diff(level[:at])))
    if np.min(np.abs(LOG_RATIOS - gap)) > min(max(noise, 0.01), 0.1 if abs(gap) > HUGE else 0.05):
        return False
    stays = abs(typical(level[at : at + 5]) - typical(level[at - 5 : at]) - gap) < 0.25
    calm = ordinary_range(near, at, float(panel.usual_move()[place]))
    return ordinary_trading(near, at) and ((stays or calm) if abs(gap) > HUGE else (stays and calm))


def ordinary_range(near: Panel, at: int, usual_move: float) -> bool:
    if not near.has_range:
        return True
    width = np.log(near.fields["high"] / near.fields["low"])
    return bool(width[at] <= 3 * max(typical(width[:at]), usual_move))


def ordinary_trading(near: Panel, at: int) -> bool:
    """Whether the money traded on the day and afterwards is like that before."""
    if "volume" not in near.fields:
        return True
    money = near.fields["volume"] * near.close
    before, after = typical(money[:at]), typical(money[at:])
    return bool(0 < money[at] <= 4 * max(before, after) and max(before, after) <= 8 * min(before, after))


def typical(values: Floats) -> float:
    return float(np.median(values))
