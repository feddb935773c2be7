"""Cells that hold text where a number must be: what they can mean, and which meaning is certain."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from tasks.domain.cleansing.panel import Floats, Whole
from tasks.domain.numbers import readings

NEAR = np.log(30.0)  # two readings of a text differ by a thousand, so one at most is this near to its neighbours


class Cells(NamedTuple):
    """Unreadable cells (m,): place of the row, column, text."""

    place: Whole
    column: list[str]
    text: list[str]


def read(cells: Cells, fields: Mapping[str, Floats], instrument: Whole) -> Floats:
    """The certain value of each cell, NaN where there is none; `fields` (n,) and `instrument` (n,) by place.

    A decimal comma or a thousands separator is certain where the text can be read in one way only ("12,5",
    "1,234,567"), or where one of its readings alone is near the other prices of the bar or, for want of those, near
    what the instrument's column usually holds.
    """
    meanings = [
        readings(text) if column in fields else () for column, text in zip(cells.column, cells.text, strict=True)
    ]
    values = np.array([options[0] if len(options) == 1 else np.nan for options in meanings])
    known = {name: column.copy() for name, column in fields.items()}
    for name in set(cells.column) & set(known):
        own = np.array([column == name for column in cells.column])
        known[name][cells.place[own]] = values[own]
    for at, options in enumerate(meanings):
        if len(options) > 1:
            near = reference(known, instrument, int(cells.place[at]), cells.column[at])
            fitting = [value for value in options if value > 0 and abs(np.log(value) - near) < NEAR]
            values[at] = fitting[0] if len(fitting) == 1 else np.nan
    return values


def reference(known: Mapping[str, Floats], instrument: Whole, place: int, column: str) -> float:
    """Log of what the cell should be near to, NaN if nothing tells."""
    if column != "volume":
        row = np.array([values[place] for name, values in known.items() if name != "volume"])
        row = row[row > 0]
        if len(row):
            return float(np.log(np.median(row)))
    own = known[column][instrument == instrument[place]]
    own = own[own > 0]
    return float(np.log(np.median(own))) if len(own) else float("nan")
