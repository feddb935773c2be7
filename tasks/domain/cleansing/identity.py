"""Rules about whose bar it is: the instrument's name, and bars delivered more than once."""

import numpy as np
import numpy.typing as npt

from tasks.domain.cleansing.panel import Mask, Panel, Whole
from tasks.domain.cleansing.rule import Context, Found, nothing


def one_spelling(names: list[str], rows: list[int]) -> dict[str, str]:
    """The spelling each name is to have: of those that differ in case and space only, the one with most rows.

    Case and surrounding or doubled space carry no meaning of their own; that they may tell two instruments apart after
    all is for the caller to see, who knows the bars.
    """
    groups: dict[str, list[tuple[int, str]]] = {}
    for name, count in zip(names, rows, strict=True):
        groups.setdefault("".join(name.split()).casefold(), []).append((count, name))
    spelled = {}
    for variants in groups.values():
        best = min(variants, key=lambda variant: (-variant[0], variant[1] != variant[1].upper(), variant[1]))[1]
        for _, name in variants:
            spelled[name] = " ".join(best.split())
    return spelled


def same_key(panel: Panel) -> Mask:
    """Rows that share instrument and time with another row."""
    equal = (panel.code[1:] == panel.code[:-1]) & (panel.time[1:] == panel.time[:-1])
    return np.asarray(np.append(False, equal) | np.append(equal, False), dtype=bool)


def exact_duplicates(panel: Panel) -> Mask:
    """Rows that repeat an earlier delivered row in every field."""
    rows = np.flatnonzero(same_key(panel))
    if not len(rows):
        return nothing(panel)
    columns = [panel.code[rows].astype(np.float64), *(panel.fields[name][rows] for name in sorted(panel.fields))]
    key = [panel.time[rows], *(np.nan_to_num(column, nan=-1.7e308) for column in columns)]
    order = np.lexsort([panel.place[rows], *reversed(key)])
    repeats = np.ones(len(rows) - 1, dtype=bool)
    for column in key:
        repeats &= column[order][1:] == column[order][:-1]
    found = nothing(panel)
    found[rows[order[1:][repeats]]] = True
    return found


def restated(panel: Panel, _: Context) -> Found:
    """A bar that a later collection delivered with other values: the vendor corrected it, and the newest counts."""
    return Found(older_in_group(panel))


def older_in_group(panel: Panel) -> Mask:
    older = nothing(panel)
    rows = np.flatnonzero(same_key(panel))
    if len(rows):
        newest = np.maximum.reduceat(panel.batch[rows], group_starts(panel, rows))
        older[rows] = panel.batch[rows] < np.repeat(newest, group_sizes(panel, rows))
    return older


def group_starts(panel: Panel, rows: Whole) -> Whole:
    fresh = (np.diff(panel.code[rows]) != 0) | (np.diff(panel.time[rows]) != 0)
    return np.append(0, np.flatnonzero(fresh) + 1)


def group_sizes(panel: Panel, rows: Whole) -> npt.NDArray[np.int64]:
    return np.diff(np.append(group_starts(panel, rows), len(rows)))


def conflicting_duplicate(panel: Panel, _: Context) -> Found:
    """Two different bars for one instrument and time in one collection: nothing says which is true, so both are set
    aside."""
    return Found(same_key(panel))
