"""Which bars of the future a score rests on: by halving, the input column, the name and how far ahead it lies."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from tasks.domain import probes

FIELDS = ("close", "open", "high", "low", "volume")
MOST = 1.5  # what numbers of the future are multiplied by


class Blamed(NamedTuple):
    """Bars that a score looks at: `session` of the first of them. None: no single one does it alone."""

    column: str | None
    name: str | None
    session: pd.Timestamp | None


def blame(score: probes.Model, bars: pd.DataFrame, full: pd.DataFrame, cut: pd.Timestamp) -> Blamed:
    """What of the bars after `cut` the scores up to it depend on. `full`: the scores of all bars.

    A score may rest on numbers together only (a rank among others, their sum); then the search stops before.
    """
    reference = full.loc[:cut]
    names = sorted(map(str, bars["instrument"].unique()))
    sessions = np.sort(bars.loc[bars["timestamp"] > cut, "timestamp"].unique())
    # Names move by different factors, or a model that compares them with one another would not notice.
    own = bars["instrument"].map({name: 1 + (MOST - 1) * (at + 1) / len(names) for at, name in enumerate(names)})

    def matters(column: str, of: Sequence[str], until: int) -> bool:
        inside = (bars["timestamp"] > cut) & (bars["timestamp"] <= sessions[until]) & bars["instrument"].isin(of)
        other = bars.assign(**{column: bars[column].where(~inside, bars[column] * own)})
        return probes.compare(reference, score(other)).gap > 0

    last = len(sessions) - 1
    column = next((each for each in FIELDS if each in bars and last >= 0 and matters(each, names, last)), None)
    if column is None:
        return Blamed(None, None, None)
    name = halved(names, lambda part: matters(column, part, last))
    return Blamed(column, name, pd.Timestamp(sessions[earliest(last, lambda until: matters(column, names, until))]))


def halved(names: Sequence[str], matters: Callable[[Sequence[str]], bool]) -> str | None:
    """One name that matters on its own; None where only several together do."""
    while len(names) > 1:
        halves = names[: len(names) // 2], names[len(names) // 2 :]
        chosen = next((half for half in halves if matters(half)), None)
        if chosen is None:
            return None
        names = chosen
    return names[0]


def earliest(last: int, matters: Callable[[int], bool]) -> int:
    """The lowest number up to `last` from which on it matters."""
    low, high = 0, last
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if matters(middle) else (middle + 1, high)
    return low


def first_cut(
    score: probes.Model, bars: pd.DataFrame, full: pd.DataFrame, cuts: Sequence[pd.Timestamp]
) -> pd.Timestamp | None:
    """The first of the dates at which cutting the bars off changes a score before it."""
    return next((cut for cut in cuts if probes.truncation(score, bars, full, [cut]).gap > 0), None)


def told(
    score: probes.Model,
    bars: pd.DataFrame,
    full: pd.DataFrame,
    finding: probes.Finding,
    cuts: Sequence[pd.Timestamp],
) -> str:
    """A finding about the future in words, with what it rests on where something differs.

    Args:
        full: scores of all bars. cuts: dates at which the future was cut off or disturbed.
    """
    if finding.first is None:
        return finding.words
    cut = first_cut(score, bars, full, cuts)
    return words(finding, blame(score, bars, full, cuts[0] if cut is None else cut))


def words(finding: probes.Finding, found: Blamed) -> str:
    if found.column is None or found.session is None:
        return f"{finding.words}; no number of the bars after it does it alone: whether they follow at all does"
    whose = f"of {found.name}" if found.name else "of several names together"
    return f"{finding.words}; it rests on the {found.column} {whose}, the first time on that of {found.session.date()}"
