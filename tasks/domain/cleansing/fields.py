"""Rules that need one bar and nothing else."""

import numpy as np

from tasks.domain.cleansing.panel import PRICES, Floats, Panel
from tasks.domain.cleansing.rule import Change, Context, Found, nothing

SLACK = 1e-4  # vendors round prices to cents or to four digits; a share of the close that rounding may take


def missing_field(panel: Panel, _: Context) -> Found:
    """A bar without one of its fields: the value can't be known from the bar itself."""
    gone = nothing(panel)
    for values in panel.fields.values():
        gone |= np.isnan(values)
    return Found(gone)


def impossible_price(panel: Panel, _: Context) -> Found:
    """A price at or below zero, or infinite: none of the instruments handled here can trade there."""
    wrong = nothing(panel)
    for name in PRICES:
        if name in panel.fields:
            wrong |= (panel.fields[name] <= 0) | np.isinf(panel.fields[name])
    return Found(wrong)


def impossible_volume(panel: Panel, _: Context) -> Found:
    """A volume below zero or infinite; or none at all while the price moved within the bar, which takes a trade.

    A flat bar without volume is left: nothing traded, and the vendor repeated the last price.
    """
    if "volume" not in panel.fields:
        return Found(nothing(panel))
    volume = panel.fields["volume"]
    wrong = (volume < 0) | np.isinf(volume)
    if panel.has_range:
        wrong |= (volume == 0) & (panel.fields["high"] > panel.fields["low"])
    return Found(wrong)


def swapped_high_low(panel: Panel, _: Context) -> Found:
    """High below low, and exchanging the two makes the whole bar consistent: the columns were swapped."""
    if not panel.has_range:
        return Found(nothing(panel))
    high, low = panel.fields["high"], panel.fields["low"]
    top, bottom = body(panel)
    rows = np.flatnonzero((high < low) & (low >= top) & (high <= bottom))
    return Found(nothing(panel), [Change(rows, "high", low[rows]), Change(rows, "low", high[rows])])


def inconsistent_range(panel: Panel, _: Context) -> Found:
    """Open or close outside low–high by more than rounding: one of the four is wrong, and which is unknown."""
    if not panel.has_range:
        return Found(nothing(panel))
    high, low = panel.fields["high"], panel.fields["low"]
    top, bottom = body(panel)
    slack = SLACK * panel.close
    return Found((high + slack < top) | (low - slack > bottom) | (high + slack < low))


def body(panel: Panel) -> tuple[Floats, Floats]:
    """The higher and the lower of open and close."""
    opened, closed = panel.fields["open"], panel.close
    return np.maximum(opened, closed), np.minimum(opened, closed)
