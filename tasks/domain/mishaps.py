"""Mishaps: what feeds and markets do to bars. Names stay away, fields hold no numbers, prices jump or stand still.

Each is done to the newest bars, to a few names; a model must go on scoring all that it was not robbed of.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from tasks.domain import metrics, probes
from tasks.domain.errors import ModelFault

Model = Callable[[pd.DataFrame], pd.DataFrame]
Flags = npt.NDArray[np.bool_]
PRICES = ("open", "high", "low", "close")
FIELDS = (*PRICES, "volume")
SCORED = 126  # sessions that are scored of the newest bars
SPARE = 21  # sessions more, for what is taken away
MONTH, FORTNIGHT = 21, 10  # sessions
THIRD = 3


class Answer(NamedTuple):
    """`kept`: of the name that fares worst, the share of the scores that should be there and are finite. `agreement`:
    mean rank correlation of a session's scores with the ordinary ones, of the names that nothing was done to; NaN where
    there is none. `outside`: share of scores beyond twice the usual range. `words`: what is amiss first, if it is."""

    kept: float
    agreement: float
    outside: float
    words: str


class Mishap(NamedTuple):
    """What happens to one name from a session on, for so many sessions; `robs`: leaves bars without what a model may
    need, so that it need not score the name from then on. `does` gets the name's bars of that time and the close
    before."""

    title: str
    sessions: int | None
    robs: bool
    does: Callable[[pd.DataFrame, float], pd.DataFrame]


class Placed(NamedTuple):
    """A mishap, the name that it happens to and its first session."""

    mishap: Mishap
    name: str
    start: pd.Timestamp
    end: pd.Timestamp


class Panel(NamedTuple):
    """The newest bars, and what the model says of them when nothing is amiss. `usual`: lowest and highest score of all
    bars."""

    bars: pd.DataFrame
    scores: pd.DataFrame
    usual: tuple[float, float]

    @property
    def names(self) -> list[str]:
        """The names that are scored to the end, in order; all that ever are where none is."""
        last = self.scores.iloc[-1] if len(self.scores) else pd.Series(dtype=float)
        return sorted(map(str, last.index[np.isfinite(last)])) or sorted(map(str, self.scores.columns))


def warm_up(bars: pd.DataFrame, full: pd.DataFrame) -> int:
    """How many sessions go by before the model gives its first score."""
    sessions = np.sort(bars["timestamp"].unique())
    scored = full.index[full.notna().any(axis=1)]
    return int(np.searchsorted(sessions, scored[0].to_numpy())) if len(scored) else len(sessions)


def newest(bars: pd.DataFrame, sessions: int) -> pd.DataFrame:
    """The bars of the newest so many sessions."""
    known = np.sort(bars["timestamp"].unique())
    found: pd.DataFrame = bars[bars["timestamp"] >= known[-min(sessions, len(known))]].reset_index(drop=True)
    return found


def panel(score: Model, bars: pd.DataFrame, full: pd.DataFrame) -> Panel:
    """As many of the newest bars as give SCORED sessions scores. `full`: the scores of all bars.

    A model that fails on fewer bars is held to what it said of all.
    """
    part = newest(bars, warm_up(bars, full) + SPARE + SCORED)
    found = asked(score, part, "where it gets the newest bars only")
    scores = full[full.index >= part["timestamp"].min()] if isinstance(found, str) else found
    return Panel(part, scores, usual_range(full))


def usual_range(scores: pd.DataFrame) -> tuple[float, float]:
    values = scores.to_numpy(dtype=float)
    known = values[np.isfinite(values)]
    return (float(known.min()), float(known.max())) if len(known) else (np.nan, np.nan)


def outside(scores: pd.DataFrame, usual: tuple[float, float]) -> float:
    """Share of scores further from the middle of the usual range than its whole width; NaN without scores."""
    values = scores.to_numpy(dtype=float)
    given = values[~np.isnan(values)]
    middle, width = (usual[0] + usual[1]) / 2, usual[1] - usual[0]
    return float((np.abs(given - middle) > width).mean()) if len(given) else float("nan")


def asked(score: Model, bars: pd.DataFrame, when: str) -> pd.DataFrame | str:
    """The scores, or in one line why there are none. `when`: what was done to the bars, in words.

    Raises:
        ModelFault: the model's process has ended, so that nothing more can be asked.
    """
    try:
        return score(bars)
    except ModelFault as fault:
        raise ModelFault(f"{fault}, {when}") from None
    except Exception as fault:  # noqa: BLE001 - a black box may fail in any way; each is an answer, with its words
        return f"{type(fault).__name__}: {' '.join(str(fault).split())[:200]}"


def answering(score: Model, when: str) -> Model:
    """The model, with no scores at all where it fails."""

    def scores(bars: pd.DataFrame) -> pd.DataFrame:
        found = asked(score, bars, when)
        return pd.DataFrame() if isinstance(found, str) else found

    return scores


def every(score: Model, told: Panel) -> dict[str, Answer]:
    """All that may be amiss with bars, by name."""
    return {name: ask() for name, ask in questions(score, told).items()}


def questions(score: Model, told: Panel) -> dict[str, Callable[[], Answer]]:
    """The same, each to be asked when wanted."""
    return {
        "missing_names": lambda: missing_names(score, told),
        "missing_fields": lambda: happened(score, told, place(told, missing_fields(told.bars))),
        "extreme_bars": lambda: happened(score, told, place(told, extremes(told.bars))),
    }


def figures(found: dict[str, Answer]) -> dict[str, float]:
    """The answers as gates ask for them."""
    return {
        f"probe.{name}_{part}": float(getattr(answer, part))
        for name, answer in found.items()
        for part in ("kept", "agreement", "outside")
    }


def missing_names(score: Model, told: Panel) -> Answer:
    """Every third name is left out: the others must be scored all the same, in much the same order."""
    kept = [name for at, name in enumerate(told.names) if at % THIRD != 1]
    part = told.bars[told.bars["instrument"].isin(kept)]
    gone = f"where {len(told.names) - len(kept)} of {len(told.names)} names are left out"
    found = asked(score, part, gone)
    if isinstance(found, str):
        return failed(found, gone)
    wanted = expected(told, part, [])[kept]
    return compared(told, found, wanted, kept, lambda name: gone)


def extremes(bars: pd.DataFrame) -> list[Mishap]:
    """Extreme but possible bars: limit moves, a halt, flat prices, no volume."""
    found = [
        Mishap("a rise of 50 % in a session", None, False, lambda part, _: scaled(part, np.full(len(part), 1.5))),
        Mishap("a fall of 50 % in a session", None, False, lambda part, _: scaled(part, np.full(len(part), 0.5))),
        Mishap("a week of limit moves of 20 % down", None, False, lambda part, _: scaled(part, limit_moves(part, 0.8))),
        Mishap("a week of limit moves of 20 % up", None, False, lambda part, _: scaled(part, limit_moves(part, 1.2))),
        Mishap("a month of flat prices", MONTH, False, flat),
        Mishap("a halt of a month", MONTH, True, lambda part, _: part.iloc[:0]),
    ]
    if "volume" in bars:
        found.insert(0, Mishap("a month without volume", MONTH, False, lambda part, _: part.assign(volume=0.0)))
    return found


def missing_fields(bars: pd.DataFrame) -> list[Mishap]:
    """For each field, a fortnight in which a name's holds no number."""
    return [
        Mishap(f"a fortnight without {name}", FORTNIGHT, True, partial(emptied, name=name))
        for name in FIELDS
        if name in bars
    ]


def emptied(part: pd.DataFrame, close: float, name: str) -> pd.DataFrame:
    return part.assign(**{name: np.nan})


def scaled(part: pd.DataFrame, factor: npt.NDArray[np.float64]) -> pd.DataFrame:
    return part.assign(**{name: part[name] * factor for name in PRICES if name in part})


def limit_moves(part: pd.DataFrame, move: float) -> npt.NDArray[np.float64]:
    """Five in a row."""
    return np.asarray(move ** np.minimum(np.arange(len(part)) + 1.0, 5.0))


def flat(part: pd.DataFrame, close: float) -> pd.DataFrame:
    return part.assign(**{name: close for name in PRICES if name in part})


def place(told: Panel, mishaps: Sequence[Mishap]) -> list[Placed]:
    """Each to a name of its own where there are enough, one after the other in the first half of what is scored."""
    names, sessions = told.names, told.scores.index
    found = []
    for at, mishap in enumerate(mishaps):
        name = names[(at * len(names)) // len(mishaps) if len(names) >= len(mishaps) else at % len(names)]
        first = len(sessions) // 8 + (at * len(sessions)) // (3 * len(mishaps))
        last = len(sessions) if mishap.sessions is None else first + mishap.sessions
        found.append(Placed(mishap, name, sessions[first], sessions[min(last, len(sessions)) - 1]))
    return found


def altered(bars: pd.DataFrame, placed: Iterable[Placed]) -> pd.DataFrame:
    """The bars after all of it has happened."""
    for mishap, name, start, end in placed:
        own = bars["instrument"] == name
        inside = own & (bars["timestamp"] >= start) & (bars["timestamp"] <= end)
        before = bars.loc[own & (bars["timestamp"] < start)].sort_values("timestamp")["close"].dropna()
        other = mishap.does(bars[inside].sort_values("timestamp"), float(before.iloc[-1]) if len(before) else np.nan)
        bars = pd.concat([bars[~inside], other], ignore_index=True)
    return bars.sort_values(["instrument", "timestamp"], kind="stable", ignore_index=True)


def happened(score: Model, told: Panel, placed: list[Placed]) -> Answer:
    """Let it all happen at once; where a score is missed, find out by which of them."""
    answer = answered(score, told, placed)
    own = sum(answer.words.startswith(f"{each.name} has") for each in placed)  # 1: its name tells which it was
    if answer.words and len(placed) > 1 and own != 1:
        alone = (answered(score, told, [each]).words for each in placed)
        return answer._replace(words=next(filter(None, alone), answer.words))
    return answer


def answered(score: Model, told: Panel, placed: list[Placed]) -> Answer:
    bars = altered(told.bars, placed)
    titles = [f"{each.name} has {each.mishap.title} from {each.start.date()}" for each in placed]
    kinds = ", ".join(each.mishap.title for each in placed)
    when = f"where {titles[0]}" if len(titles) == 1 else f"where each of some names has one of these: {kinds}"
    found = asked(score, bars, when)
    if isinstance(found, str):
        return failed(found, when)
    own = {each.name: title for each, title in zip(placed, titles, strict=True)}
    said = f"where {titles[0]}" if len(titles) == 1 else "where other names' bars are amiss"
    others = [name for name in told.names if name not in own]
    wanted = expected(told, bars, placed)
    return compared(told, found, wanted, others, lambda name: f"where {own[name]}" if name in own else said)


def expected(told: Panel, bars: pd.DataFrame, placed: Iterable[Placed]) -> pd.DataFrame:
    """Which scores of the panel must be there: the ordinary ones, where there is a bar and the name was not robbed.

    Of a name that a complete mishap happened to only its time counts: what is rare must not be lost among the usual.
    """
    ordinary = told.scores
    present = bars.loc[bars["close"].notna(), ["timestamp", "instrument"]].assign(there=True)
    table = present.pivot(index="timestamp", columns="instrument", values="there")
    there = table.reindex(index=ordinary.index, columns=ordinary.columns).notna()
    wanted = there & finite(ordinary)
    for mishap, name, start, end in placed:
        if mishap.robs:
            wanted.loc[wanted.index >= start, name] = False
        else:
            first, last = wanted.index.searchsorted(start), wanted.index.searchsorted(end, side="right")
            inside = np.arange(len(wanted))
            wanted.loc[(inside < first) | (inside >= min(last, first + MONTH)), name] = False
    return wanted


def compared(
    told: Panel, found: pd.DataFrame, wanted: pd.DataFrame, others: list[str], why: Callable[[str], str]
) -> Answer:
    """The answer that scores amount to. `others`: names that nothing was done to; `why`: what was done, by name."""
    mine = found.reindex(index=wanted.index, columns=wanted.columns)
    given, sound = mine.notna(), finite(mine)
    must = wanted | (given & ~sound)  # an infinite score is none, wherever it stands
    if not must.to_numpy().any():
        must = given
    counts = must.sum()
    shares = ((must & sound).sum() / counts.where(counts > 0)).dropna()
    missed = must & ~sound
    words = ""
    if missed.to_numpy().any():
        first = missed.index[missed.any(axis=1)][0]
        name = str(missed.columns[missed.loc[first]][0])
        words = f"{name} has no finite score on {first.date()}, {why(name)}"
    same = metrics.rank_ic_series(told.scores[others], mine[others].where(sound[others])) if others else pd.Series()
    agreement = float(same.mean()) if len(same) else np.nan
    return Answer(float(shares.min()) if len(shares) else np.nan, agreement, outside(mine, told.usual), words)


def finite(scores: pd.DataFrame) -> pd.DataFrame:
    return scores.notna() & ~scores.isin([np.inf, -np.inf])


def failed(fault: str, when: str) -> Answer:
    return Answer(0.0, np.nan, np.nan, f"the model fails {when} ({fault})")


def extra_rows(score: Model, told: Panel) -> probes.Finding:
    """More of the future: a name, sessions between the others and after the last. The past must not change."""
    cut = told.scores.index[(len(told.scores) - 1) // 2]
    return probes.compare(told.scores.loc[:cut], answering(score, "where more bars follow")(enlarged(told.bars, cut)))


def enlarged(bars: pd.DataFrame, cut: pd.Timestamp) -> pd.DataFrame:
    """The bars, and after `cut` more of them: those of the first name once more under a new one, a session within the
    first gap, five after the last; at prices further off from name to name."""
    future = bars[bars["timestamp"] > cut]
    times = np.sort(future["timestamp"].unique())
    number, _ = pd.factorize(future["instrument"], sort=True)
    other = future.assign(**{name: future[name] * (1.01 + number / 50) for name in PRICES if name in bars})
    stranger = other[future["instrument"] == future["instrument"].min()].assign(instrument=probes.STRANGER)
    between = other[future["timestamp"] == times[0]].assign(timestamp=cut + (pd.Timestamp(times[0]) - cut) / 2)
    last = other[future["timestamp"] == times[-1]]
    after = [last.assign(timestamp=last["timestamp"] + pd.Timedelta(days=day)) for day in range(1, 6)]
    found: pd.DataFrame = pd.concat([bars, stranger, between, *after], ignore_index=True)
    return found


def denser(score: Model, told: Panel, count: int) -> probes.Finding:
    """Cut the newest bars off at `count` dates more."""
    cuts = probes.cut_dates(pd.DatetimeIndex(told.scores.index), count)
    return probes.truncation(answering(score, "where bars are cut off"), told.bars, told.scores, cuts)
