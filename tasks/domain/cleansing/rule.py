"""What a rule is, and what it may find."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.domain.cleansing.panel import Mask, Panel, Whole

DAY = 86_400_000_000  # microseconds


class Change(NamedTuple):
    """Values put right: rows of the panel, the column (`timestamp` in microseconds), and the right values."""

    rows: Whole
    column: str
    after: npt.NDArray[np.generic]


class Found(NamedTuple):
    """What one rule found: rows to set aside, and values to put right where the right one is certain."""

    aside: Mask
    changes: Sequence[Change] = ()


class Calendar(NamedTuple):
    """When the exchange is open: `sessions` are midnights in microseconds since 1970, ascending, without gaps
    between the first and the last."""

    sessions: Whole

    def place(self, days: Whole) -> Whole:
        """Which session each midnight is, counted from 0; -1 where the exchange was shut."""
        first = int(self.sessions[0]) // DAY
        table = np.full(int(self.sessions[-1]) // DAY - first + 1, -1, dtype=np.int64)
        table[self.sessions // DAY - first] = np.arange(len(self.sessions))
        day = days // DAY - first
        inside = (day >= 0) & (day < len(table))
        return np.where(inside, table[np.where(inside, day, 0)], -1)

    def is_session(self, days: Whole) -> Mask:
        return np.asarray(self.place(days) >= 0)

    def covers(self, days: Whole) -> Mask:
        return np.asarray((days >= self.sessions[0]) & (days <= self.sessions[-1]))


class Context(NamedTuple):
    """What a rule may know besides the bars: the exchange calendar if there is one, and the moment of collection in
    microseconds since 1970."""

    calendar: Calendar | None
    now: int


class Rule(NamedTuple):
    """A rule by name and version. `alone` rules look at one instrument at a time."""

    id: str
    version: int
    reason: str
    find: Callable[[Panel, Context], Found]
    alone: bool = True

    @property
    def reasoning(self) -> str:
        """Why the rule is right, from its docstring."""
        return " ".join((self.find.__doc__ or "").split())


def nothing(panel: Panel) -> Mask:
    return np.zeros(len(panel), dtype=bool)
