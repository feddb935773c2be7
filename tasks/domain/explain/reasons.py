"""Why a name stands where it stands today, in words a trader can check against a screen."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from tasks.domain.feature_words import describe, standing

MOST = 4


class Reason(NamedTuple):
    """A feature that moves a score: what it is, where its value stands among the session's names, by how much."""

    feature: str
    words: str
    contribution: float


class Standing(NamedTuple):
    """One name of a session: its score, its place by score (1 = highest) among `of` names, and what moves it most."""

    instrument: str
    score: float
    place: int
    of: int
    reasons: list[Reason]

    @property
    def pushing(self) -> list[Reason]:
        """What moves it to the end of the session's order that it stands at."""
        return [reason for reason in self.reasons if (reason.contribution > 0) == self.is_high]

    @property
    def holding(self) -> list[Reason]:
        """What holds against that."""
        return [reason for reason in self.reasons if (reason.contribution > 0) != self.is_high]

    @property
    def is_high(self) -> bool:
        return self.place <= (self.of + 1) / 2

    @property
    def sentence(self) -> str:
        """In plain text: "AAA stands 1st of 20 because: 21-session return among the lowest tenth (+0.012)"."""
        words = f"{self.instrument} stands {ordinal(self.place)} of {self.of}"
        words += f" because: {told(self.pushing)}" if self.pushing else ", for many small reasons"
        return words + (f"; against it: {told(self.holding)}" if self.holding else "")


def reasons(names: Sequence[str], percentiles: np.ndarray, contributions: np.ndarray) -> list[Reason]:
    """The features that move one score most, strongest first; none that do not move it.

    Args:
        percentiles: of the row's values among its session's names, 0 lowest to 1 highest, NaN where missing.
        contributions: of the row's features to its score.
    """
    strongest = np.argsort(-np.abs(contributions), kind="stable")[:MOST]
    return [
        Reason(names[at], f"{describe(names[at])} {standing(float(percentiles[at]))}", float(contributions[at]))
        for at in strongest
        if contributions[at] != 0
    ]


def percentiles(x: np.ndarray) -> np.ndarray:
    """Where each value stands among its column's (one session's rows in): 0 lowest, 1 highest, ties in between."""
    frame = pd.DataFrame(x)
    below = frame.rank() - 1
    return np.asarray(below / (frame.notna().sum() - 1).clip(lower=1))


def told(reasons: Sequence[Reason]) -> str:
    return ", ".join(f"{reason.words} ({reason.contribution:+.2g})" for reason in reasons)


def ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
