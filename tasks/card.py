"""The model card: one page by which a trader can tell what a model does, how good it is, and when not to use it.

After Mitchell et al. (2019), "Model cards for model reporting". A section whose content is missing says so.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from tasks import plots_model
from tasks.domain.complexity import FAMILY_WORDS
from tasks.domain.explain.diagnosis import Calibration, Reliability
from tasks.domain.explain.explanation import Explanation
from tasks.domain.explain.reasons import Reason, Standing, ordinal
from tasks.domain.feature_words import describe
from tasks.domain.problem import Problem
from tasks.home import write_whole
from tasks.pages import assembled, bullets, picture, section, table, text
from tasks.plots_model import Tried

PAGE = "model_card.html"
SURE = 2  # standard errors from zero at which a figure is called different from zero


class Purpose(NamedTuple):
    """What the problem asks for. `tasks`: what the model is to do; `limits`: what its owner rules out; `constraints`:
    what any model of the problem must keep to."""

    title: str
    tasks: str
    universe: str
    horizon: int
    capital: float
    success: str
    owner: str
    reviewer: str = ""
    limits: Sequence[str] = ()
    constraints: Sequence[str] = ()


class Data(NamedTuple):
    """What it learned from. `first`, `last`: sessions; `digest`: of the snapshot's development part."""

    instruments: int
    sessions: int
    rows: int
    first: str
    last: str
    digest: str
    lockbox_fraction: float


class Skill(NamedTuple):
    """Out-of-fold figures of the chosen trial; the error is that of all sessions (`diagnosis.mean_rank_ic`);
    `sharpe_ratio` is annual and net of costs."""

    rank_ic: float
    standard_error: float
    sharpe_ratio: float


class Card(NamedTuple):
    """All that the page says. Only the purpose must be known; `reason`: why this trial was chosen; `by_state`,
    `calibration`, `reliability`: as `diagnosis` makes them; `facts`: what is needed to make the model again."""

    purpose: Purpose
    data: Data | None = None
    trials: Sequence[Tried] = ()
    reason: str = ""
    skill: Skill | None = None
    by_state: pd.DataFrame | None = None
    explanation: Explanation | None = None
    calibration: Calibration | None = None
    reliability: Reliability | None = None
    facts: Mapping[str, str] = {}


def purpose(problem: Problem) -> Purpose:
    """As much as a problem says."""
    strategy, costs = problem.strategy, problem.strategy.costs
    every = strategy.rebalance_sessions
    rhythm = f"every {every} sessions" if isinstance(every, int) else every
    tasks = (
        f"After each session's close it ranks the names by what they are expected to return over {problem.horizon} "
        f"sessions from the next close on, compared with one another. The strategy it is made for buys the top "
        f"{strategy.long_fraction:.0%} and sells the bottom {strategy.short_fraction:.0%}, {rhythm}."
    )
    constraints = (
        f"gross exposure at most {strategy.gross_limit:g} times equity",
        f"one name at most {strategy.name_limit:.0%} of equity",
        f"costs of {costs.commission_bp + costs.half_spread_bp:g} bp of traded notional are taken off in all figures",
    )
    return Purpose(
        problem.title,
        tasks,
        problem.universe,
        problem.horizon,
        strategy.capital,
        problem.success.sentence,
        problem.owner,
        problem.reviewer,
        constraints=(*constraints, *(f"{each.figure} {each.threshold}: {each.why}" for each in problem.criteria())),
    )


def write_card(content: Card, folder: Path) -> list[Path]:
    """Write the page and each of its pictures into `folder`; returns the files."""
    drawn = pictures(content)
    files = {PAGE: page(content, drawn).encode()} | drawn
    for name, given in files.items():
        write_whole(folder / name, given)
    return [folder / name for name in files]


def pictures(card: Card) -> dict[str, bytes]:
    """The page's pictures as PNG bytes, by file name; one for each thing that is known."""
    found: dict[str, bytes] = {}
    if any(trial.chosen for trial in card.trials):
        found["complexity.png"] = plots_model.complexity(card.trials)
    if card.by_state is not None and len(card.by_state):
        found["states.png"] = plots_model.states(card.by_state)
    if card.explanation is not None:
        found |= explained_pictures(card.explanation)
    if card.calibration is not None:
        found["calibration.png"] = plots_model.calibration(card.calibration.groups, card.purpose.horizon)
    if card.reliability is not None and len(card.reliability.bins):
        found["reliability.png"] = plots_model.reliability(card.reliability)
    return found


def explained_pictures(told: Explanation) -> dict[str, bytes]:
    words = [describe(name) for name in told.names]
    mean, deviation = shares(told)
    curves = told.dependence
    return {
        "importance.png": plots_model.importance(words, mean, deviation),
        "contributions.png": plots_model.contributions(words, told.values, told.explained.values, unit(told)),
        "dependence.png": plots_model.dependence([describe(curve.feature) for curve in curves], curves),
    }


def shares(told: Explanation) -> tuple[np.ndarray, np.ndarray | None]:
    """Shares of importance and their deviation: over the folds' fits where there are any, else of the final fit."""
    if told.stability is None:
        return told.importance, None
    return told.stability.mean, told.stability.deviation


def unit(told: Explanation) -> str:
    return "log odds" if told.log_odds else "score"


def page(card: Card, drawn: Mapping[str, bytes]) -> str:
    """The page; `drawn` are its pictures by file name."""
    shown = {name: picture(name, content) for name, content in drawn.items()}
    title = f"Model card: {card.purpose.title}"
    return assembled(
        title,
        [
            f"<h1>{escape(title)}</h1>",
            in_short(card),
            section("What it does", does(card)),
            section("What it must not be used for", bullets(misuses(card))),
            section("What it learned from", data(card.data)),
            section("How good it is", skill(card.skill, len(card.trials))),
            section("Which family, and why", families(card) + shown.get("complexity.png", "")),
            section("When it fails", fails(card.by_state) + shown.get("states.png", "")),
            section("Do the scores mean what they say", meaning(card, shown)),
            section("What moves it", moves(card.explanation, shown)),
            section("Why these names today", today(card.explanation)),
            section("Rules and responsibility", responsibility(card.purpose)),
            section("How to make it again", facts(card.facts)),
        ],
    )


def missing(what: str) -> str:
    return text(f"Not known: {what}.", "bad")


def in_short(card: Card) -> str:
    """The page in three lines."""
    chosen = next((trial for trial in card.trials if trial.chosen), None)
    lines = []
    if chosen is not None:
        words = FAMILY_WORDS.get(chosen.family, chosen.family)
        lines.append(f"The model is {words}; of {chosen.complexity} complexity.")
    lines.append(verdict(card.skill) if card.skill else "How good it is has not been measured.")
    if card.by_state is not None and len(card.by_state):
        worst = card.by_state.loc[card.by_state["rank_ic"].idxmin()]
        lines.append(f"It was at its worst {when(worst)}: rank IC {with_error(worst)}.")
    return f'<div class="account">{bullets(lines)}</div>'


def verdict(found: Skill) -> str:
    """How good, in words that do not flatter."""
    figure = f"rank IC {found.rank_ic:+.4f} ± {found.standard_error:.4f}"
    if not np.isfinite(found.standard_error):
        return f"Out of fold it has {figure}; how sure that is cannot be told."
    if abs(found.rank_ic) <= SURE * found.standard_error:
        return f"Out of fold its skill is not different from zero: {figure}."
    if found.rank_ic < 0:
        return f"Out of fold it is worse than guessing: {figure}."
    return f"Out of fold it does better than guessing: {figure}."


def does(card: Card) -> str:
    told = card.explanation
    looks = missing("what it looks at; no explanation was handed in")
    if told is not None:
        mean, _ = shares(told)
        first = [describe(told.names[at]) for at in np.argsort(-mean, kind="stable")[:3]]
        looks = text(f"It looks at {len(told.names)} features of each name, above all: {'; '.join(first)}.")
    return text(card.purpose.tasks) + looks


def misuses(card: Card) -> list[str]:
    asked = card.purpose
    until = f", and on sessions long after {card.data.last} without training it again" if card.data else ""
    return [
        f"Other names than these: {asked.universe}{until}.",
        f"Other horizons than {asked.horizon} sessions, and bars of any other length than one session.",
        f"More capital than {asked.capital:,.0f}: costs were taken as proportional, and no capacity was measured.",
        "Price targets or sizes of bets: scores only put the names of one session in order.",
        "Any trade before validation, backtest and approval have been signed: this page was written before them.",
        *asked.limits,
    ]


def data(found: Data | None) -> str:
    if found is None:
        return missing("the data; training handed in nothing about it")
    kept_back = f"the newest {found.lockbox_fraction:.0%} of sessions (lockbox): never seen here"
    return table(
        [],
        [
            [("instruments", ""), (f"{found.instruments:,}", "")],
            [("sessions", ""), (f"{found.sessions:,}, from {found.first} to {found.last}", "")],
            [("rows with features", ""), (f"{found.rows:,}", "")],
            [("kept back", ""), (kept_back, "")],
            [("snapshot", ""), (found.digest, "code")],
        ],
    )


def skill(found: Skill | None, trials: int) -> str:
    if found is None:
        return missing("how good it is; no out-of-fold figures were handed in")
    low, high = (found.rank_ic + sign * SURE * found.standard_error for sign in (-1, 1))
    lines = [
        f"With certainty of about 95 %, the rank IC lies between {low:+.4f} and {high:+.4f}. It is the correlation of "
        "the order of scores with the order of later returns: 0 is guessing, 1 is perfect.",
        f"Of two names, the one with the higher score did better in about {pairs_in_order(found.rank_ic):.1f} of 100 "
        "cases.",
        f"Traded as the strategy says, net of costs: Sharpe ratio {found.sharpe_ratio:+.2f} a year.",
    ]
    if trials > 1:
        lines.append(f"It was chosen from {trials} trials on these same sessions, which flatters it a little.")
    return text(verdict(found), "" if found.rank_ic > SURE * found.standard_error else "bad") + bullets(lines)


def pairs_in_order(rank_ic: float) -> float:
    """Per cent of pairs in the right order at a Spearman correlation, for jointly normal scores and returns.

    1/2 + arcsin(r) / π with r = 2 sin(π ρ / 6) (Kruskal 1958, "Ordinal measures of association", section 5).
    """
    return 100 * (0.5 + math.asin(2 * math.sin(math.pi * rank_ic / 6)) / math.pi)


def families(card: Card) -> str:
    if not card.trials:
        return missing("which families were tried; no trials were handed in")
    reason = text(f"{card.reason}.") if card.reason else missing("why this one was chosen")
    bests = {}
    for trial in sorted(card.trials, key=lambda trial: (trial.chosen, trial.rank_ic), reverse=True):
        bests.setdefault(trial.family, trial)
    counts = pd.Series([trial.family for trial in card.trials]).value_counts()
    lines = (
        [
            (f"{best.family} (chosen)" if best.chosen else best.family, "good" if best.chosen else ""),
            (best.complexity, ""),
            (f"{counts[best.family]}", "number"),
            (best.parameters, ""),
            (f"{best.rank_ic:+.4f} ± {best.standard_error:.4f}", "number"),
            ("–" if best.fit_seconds is None else f"{best.fit_seconds:.1f}", "number"),
        ]
        for best in sorted(bests.values(), key=lambda trial: trial.tier)
    )
    head = ["family", "complexity", "trials", "best parameters", "rank IC ± standard error", "fit, seconds"]
    note = text("± over folds, by which trials were compared.", "quiet")
    return reason + table(head, lines) + note


def fails(states: pd.DataFrame | None) -> str:
    if states is None or not len(states):
        return missing("when it fails; no out-of-fold figures by year and state of the market were handed in")
    worst = states.loc[states["rank_ic"].idxmin()]
    below = [when(row) for _, row in states.iterrows() if row["rank_ic"] < -SURE * row["standard_error"]]
    words = f"Worst {when(worst)}: rank IC {with_error(worst)}."
    sure = f" Clearly below zero {'; '.join(below)}." if below else " Nowhere is it clearly below zero."
    lines = (
        [
            (when(row), "bad" if at == worst.name else ""),
            (f"{row['sessions']:,}", "number"),
            (with_error(row), "number"),
        ]
        for at, row in states[states["kind"] != "year"].iterrows()
    )
    return text(words + sure) + table(["state of the market", "sessions", "rank IC ± standard error"], lines)


def with_error(row: pd.Series) -> str:
    return f"{row['rank_ic']:+.4f} ± {row['standard_error']:.4f}"


def when(row: pd.Series) -> str:
    """A line of `by_state` in words."""
    if row["kind"] == "year":
        return f"in {row['state']}"
    if row["kind"] == "volatility":
        return f"with {row['state']} volatility over the last quarter"
    if row["kind"] == "market":
        return f"after a quarter of a {row['state']} market"
    return f"when {row['kind']} is {row['state']}"


def meaning(card: Card, shown: Mapping[str, str]) -> str:
    if card.calibration is None:
        return missing("whether they do; no out-of-fold forecasts were handed in")
    gain, error = card.calibration.gain, card.calibration.standard_error
    sure = "more" if gain > SURE * error else "not clearly more"
    words = (
        f"Names of the highest fifth earned {1e4 * gain:+.1f} bp compared with names of the lowest, over "
        f"{card.purpose.horizon} sessions and before costs: {sure} than nothing (± {1e4 * error:.1f})."
    )
    return text(words) + shown.get("calibration.png", "") + probabilities(card.reliability, shown)


def probabilities(found: Reliability | None, shown: Mapping[str, str]) -> str:
    """Of a classifier only: other families give no probabilities."""
    if found is None:
        return ""
    gain = 1 - found.brier / found.brier_of_base_rate if found.brier_of_base_rate else math.nan
    words = (
        f"Its probabilities have a Brier score (mean squared error) of {found.brier:.4f}; always saying the base rate "
        f"would have {found.brier_of_base_rate:.4f}, so they explain {100 * gain:+.2f} % of what happened."
    )
    return text(words) + shown.get("reliability.png", "")


def moves(told: Explanation | None, shown: Mapping[str, str]) -> str:
    if told is None:
        return missing("what moves it; no explanation was handed in")
    how = "exact" if told.exact else "sampled"
    words = (
        f"Contributions of the features to each score (Shapley values, {how}) on {len(told.values)} rows spread over "
        f"all sessions; together with a base of {round(told.explained.base, 4) + 0.0:g} they make up the {unit(told)}."
    )
    return (
        text(words)
        + text(steadiness(told))
        + "".join(shown.get(f"{name}.png", "") for name in ("importance", "contributions", "dependence"))
        + text("Shaded: where 80 % of single rows run, each brought to the same level. All panels have one scale.")
    )


def steadiness(told: Explanation) -> str:
    """Whether fits on other years would look at the same features, in words."""
    if told.stability is None:
        return "Whether fits on other sessions look at the same features is not known: no fold's fit was handed in."
    agreement = told.stability.rank_correlation
    if not np.isfinite(agreement):
        return "Whether fits on other sessions look at the same features cannot be told from these fits."
    level = "agree" if agreement >= 0.8 else "agree in part" if agreement >= 0.5 else "do not agree"
    return (
        f"Fits on different folds {level} on what matters: their ranks of importance have a mean correlation of "
        f"{agreement:.2f} (1 = the same, 0 = unrelated)."
    )


def today(told: Explanation | None) -> str:
    if told is None or not told.standings:
        return missing("why; no session's scores were handed in")
    ends = (
        ("Highest scores", [one for one in told.standings if one.is_high]),
        ("Lowest scores", [one for one in told.standings if not one.is_high][::-1]),
    )
    session = str(told.session)[:10]
    note = f"Session of {session}, the last of the development part. Beside each: what it adds to the {unit(told)}."
    columns = (f"<div><h3>{title}</h3>{''.join(standing(one) for one in names)}</div>" for title, names in ends)
    return text(note) + f'<div class="columns">{"".join(columns)}</div>'


def standing(one: Standing) -> str:
    because = "because" if one.pushing else "for many small reasons"
    first = f"<p><b>{escape(one.instrument)}</b> stands {ordinal(one.place)} of {one.of} {because}"
    against = '<p class="quiet">against it</p>' + listed(one.holding) if one.holding else ""
    return f"{first}</p>{listed(one.pushing)}{against}"


def listed(reasons: Sequence[Reason]) -> str:
    return table([], ([(one.words, ""), (f"{one.contribution:+.2g}", "number")] for one in reasons))


def responsibility(asked: Purpose) -> str:
    lines = [
        [("owner", ""), (asked.owner, "")],
        [("reviewer", ""), (asked.reviewer or "nobody named", "" if asked.reviewer else "bad")],
        [("it succeeds if", ""), (asked.success, "")],
        *([("it must keep to", ""), (line, "")] for line in asked.constraints),
    ]
    return table([], lines)


def facts(known: Mapping[str, str]) -> str:
    if not known:
        return missing("the seed, the code and the parameters; training handed in nothing about them")
    return table([], ([(name, ""), (value, "code")] for name, value in known.items()))
