"""Probes: questions put to a black box (bars → scores) that a causal, deterministic model answers the same.

None of them knows how the model was made; each returns figures and, where it fails, the first date that matters.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

CUTS = 5
STRANGER = "X"  # the new names begin with
EARLIER = pd.Timedelta(weeks=520)
Model = Callable[[pd.DataFrame], pd.DataFrame]


class Finding(NamedTuple):
    """`gap`: largest absolute difference of a score that should be the same; NaN against a number is infinite. `order`:
    largest share of a session's names whose rank is another one, as scores that differ by next to nothing put names in
    order all the same. `first`: session on which something differs, `name`: of an instrument whose score does then."""

    gap: float
    first: pd.Timestamp | None
    order: float = 0.0
    name: str | None = None

    @property
    def words(self) -> str:
        if self.first is None:
            return "scores are the same"
        ranks = f", and {self.order:.0%} of the ranks of a session" if self.order else ""
        whose = f"of {self.name} on" if self.name else "of"
        return f"the score {whose} {self.first.date()} changes (by up to {self.gap:.3g}){ranks}"


def every(
    score: Model, bars: pd.DataFrame, full: pd.DataFrame, judged: pd.DatetimeIndex, seed: int
) -> dict[str, Finding]:
    """All questions that have the same scores for an answer, by name."""
    return {name: ask() for name, ask in questions(score, bars, full, judged, seed).items()}


def questions(
    score: Model, bars: pd.DataFrame, full: pd.DataFrame, judged: pd.DatetimeIndex, seed: int
) -> dict[str, Callable[[], Finding]]:
    """The same, each to be asked when wanted.

    Args:
        full: scores of all bars. judged: sessions from which dates to cut at are taken. seed: of the disturbances.
    """
    cuts = cut_dates(judged, CUTS)
    return {
        "truncation": lambda: truncation(score, bars, full, cuts),
        "perturbation": lambda: perturbation(score, bars, full, cuts, seed),
        "repetition": lambda: repetition(score, bars, full),
        "renaming": lambda: renaming(score, bars, full),
        "displacement": lambda: displacement(score, bars, full),
    }


def figures(found: Mapping[str, Finding]) -> dict[str, float]:
    """The findings as gates ask for them."""
    gaps = {f"probe.{name}_gap": finding.gap for name, finding in found.items()}
    return gaps | {f"probe.{name}_order": finding.order for name, finding in found.items()}


def compare(reference: pd.DataFrame, other: pd.DataFrame) -> Finding:
    """Compare two wide score tables on the sessions and instruments of `reference`."""
    a = reference.to_numpy()
    b = other.reindex(index=reference.index, columns=reference.columns).to_numpy()
    gaps = np.abs(a - b)
    one_sided = np.isnan(a) != np.isnan(b)
    gaps = np.where(one_sided, np.inf, np.nan_to_num(gaps, nan=0.0))
    rows = np.flatnonzero((gaps > 0).any(axis=1))
    if len(rows) == 0:
        return Finding(0.0, None)
    moved = ranks(a[rows]) != ranks(b[rows])
    scored = np.isfinite(a[rows]) | np.isfinite(b[rows])
    order = float((moved.sum(axis=1) / scored.sum(axis=1)).max())
    name = str(reference.columns[int(np.argmax(gaps[rows[0]] > 0))])
    return Finding(float(gaps.max()), reference.index[rows[0]], order, name)


def ranks(scores: np.ndarray) -> np.ndarray:
    """In each session, ties sharing theirs; 0 without a score."""
    return np.asarray(pd.DataFrame(scores).rank(axis=1).fillna(0.0))


def cut_dates(sessions: pd.DatetimeIndex, count: int) -> list[pd.Timestamp]:
    """`count` sessions spread evenly, the last one left out because nothing follows it."""
    places = np.linspace(0, len(sessions) - 2, count).round().astype(int)
    return [sessions[place] for place in sorted(set(places.tolist()))]


def truncation(score: Model, bars: pd.DataFrame, full: pd.DataFrame, cuts: list[pd.Timestamp]) -> Finding:
    """Cut the future off and ask again: the past must not change."""
    return worst(compare(full.loc[:cut], score(bars[bars["timestamp"] <= cut])) for cut in cuts)


def perturbation(score: Model, bars: pd.DataFrame, full: pd.DataFrame, cuts: list[pd.Timestamp], seed: int) -> Finding:
    """Disturb the future (other prices, missing bars) and ask again: the past must not change."""
    rng = np.random.default_rng(seed)
    return worst(compare(full.loc[:cut], score(disturbed(bars, cut, rng))) for cut in cuts)


def disturbed(bars: pd.DataFrame, cut: pd.Timestamp, rng: np.random.Generator) -> pd.DataFrame:
    """The bars with every price after `cut` multiplied at random and a tenth of those bars removed."""
    future = (bars["timestamp"] > cut).to_numpy()
    other = bars.copy()
    for name in ("open", "high", "low", "close", "volume"):
        if name in other:
            noise = np.exp(rng.normal(0.0, 0.5, future.sum()))
            other.loc[future, name] = other.loc[future, name].to_numpy() * noise
    removed = np.zeros(len(bars), dtype=bool)
    removed[future] = rng.random(future.sum()) < 0.1
    return other[~removed]


def repetition(score: Model, bars: pd.DataFrame, full: pd.DataFrame) -> Finding:
    """Ask the same question twice, the second time with the rows in another order."""
    return compare(full, score(bars.iloc[::-1]))


def renaming(score: Model, bars: pd.DataFrame, full: pd.DataFrame) -> Finding:
    """Call every instrument something else, in another order: who looks scores up by name finds none."""
    order = sorted(bars["instrument"].unique(), reverse=True)
    other = {name: f"{STRANGER}{number:06d}" for number, name in enumerate(order)}
    found = score(bars.assign(instrument=bars["instrument"].map(other).astype("str")))
    return compare(full, found.rename(columns={new: old for old, new in other.items()}))


def displacement(score: Model, bars: pd.DataFrame, full: pd.DataFrame) -> Finding:
    """Let everything have happened ten years earlier, on the same days of the week: who looks scores up by date finds
    none."""
    found = score(bars.assign(timestamp=bars["timestamp"] - EARLIER))
    return compare(full, found.set_axis(found.index + EARLIER))


def rescaling(score: Model, bars: pd.DataFrame, full: pd.DataFrame) -> float:
    """Share of scores that are not the same when each instrument's prices are twice, four times … or half as high, as
    after splits: returns are what they were.

    Prices are multiplied by powers of two, which rounds nothing; "the same" is within a millionth of the spread of all
    scores, as logarithms round all the same. NaN where there are no scores.
    """
    order = sorted(bars["instrument"].unique())
    factor = bars["instrument"].map({name: 2.0 ** (number % 7 - 3) for number, name in enumerate(order)})
    prices = {name: bars[name] * factor for name in ("open", "high", "low", "close") if name in bars}
    a = full.to_numpy(dtype=float)
    b = score(bars.assign(**prices)).reindex(index=full.index, columns=full.columns).to_numpy(dtype=float)
    scored = np.isfinite(a) | np.isfinite(b)
    if not scored.any():
        return float("nan")
    apart = ~(np.abs(a - b) <= 1e-6 * np.nanstd(a)) & scored
    return float(apart.sum() / scored.sum())


def worst(findings: Iterable[Finding]) -> Finding:
    """The largest gap and change of order of several findings, and the earliest date of any."""
    every = list(findings)
    dated = [(finding.first, finding.name) for finding in every if finding.first is not None]
    gap, order = (max(getattr(finding, name) for finding in every) for name in ("gap", "order"))
    first, name = min(dated, key=lambda each: each[0]) if dated else (None, None)
    return Finding(gap, first, order, name)
