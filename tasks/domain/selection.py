"""Which trial becomes the candidate: start simple, and let complexity earn its place."""

import math
from typing import NamedTuple

from tasks.domain.complexity import TIERS


class Scored(NamedTuple):
    """A trial's purged walk-forward estimate: mean rank IC and its standard error over folds."""

    number: int
    family: str
    rank_ic: float
    standard_error: float


class Choice(NamedTuple):
    number: int
    reason: str


def one_standard_error(scored: list[Scored]) -> Choice:
    """A more complex tier wins only if its best trial beats the simpler winner by more than one standard error.

    Source: Breiman et al. (1984), section 3.4.3, applied between families; inside a tier the best estimate wins
    and ties go to the trial declared first.
    """
    tiers = sorted({TIERS[trial.family] for trial in scored})
    bests = [
        max((t for t in scored if TIERS[t.family] == tier), key=lambda t: (t.rank_ic, -t.number)) for tier in tiers
    ]
    winner, reason = bests[0], f"{bests[0].family} is the simplest family tried"
    for challenger in bests[1:]:
        gain = challenger.rank_ic - winner.rank_ic
        words = f"{challenger.family} gains {gain:+.4f} rank IC over {winner.family}"
        if gain > challenger.standard_error:
            winner, reason = challenger, f"{words}, more than its standard error {challenger.standard_error:.4f}"
        elif math.isnan(challenger.standard_error):
            reason = f"{words}, and one test window does not tell how sure that is"
        else:
            reason = f"{words}, not more than its standard error {challenger.standard_error:.4f}"
    return Choice(winner.number, f"{winner.family} chosen: {reason}")
