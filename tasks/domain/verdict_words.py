"""A verdict in plain words: what the model does, why it was accepted or refused, and what would hurt it.

Everything is taken from what was signed; nothing is computed anew, and what is not there is not said.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tasks.domain.complexity import FAMILY_WORDS
from tasks.domain.figure_words import THEMES, theme_of, words_of
from tasks.domain.problem import Problem

Found = Mapping[str, Any]  # a finding as decision.json holds it
# Of reasons of a refusal, warnings of an acceptance, and what would hurt: one screen must hold them.
MOST_SAID, MOST_WARNED, MOST_HURTS = 4, 2, 5
# What a passed gate proves, where it is worth a place on the first screen; the order is that of importance.
PROVED = {
    "lockbox.rank_ic_lower": "its ranking beats chance",
    "backtest.total_return": "it earned money after costs",
    "lockbox.deflated_sharpe_ratio": "its profit is more than the luckiest of as many worthless models would show",
    "probe.truncation_gap": "it does not use the future",
    "probe.renaming_gap": "it has not learned answers by heart",
    "backtest.engine_gap_bp": "two separate calculations of its profit agree",
}
DOES_NOT_APPLY = {"champion.present": "there is no champion yet to compare it with"}
COSTS = re.compile(r"costs × ([\d.]+)")
LATER = re.compile(r"(\d+) (\w+) later")
# Columns that say what a row of a list is about.
ROW_TITLES = ("title", "name", "scenario", "state", "kind")
RETURNS = ("total_return", "return", "profit", "annual_return")


STATES = {
    "volatility": "{} volatility",
    "market": "a {} market",
    "sector": "in {}",
    "size": "the {} of names by traded volume",
}


FIFTHS = {"fifth 2": "second fifth", "fifth 3": "middle fifth", "fifth 4": "fourth fifth"}


class Plain(NamedTuple):
    """`does`, `why`: paragraphs; `reasons`, `hurts`: one sentence for each thing."""

    does: str
    why: str
    reasons: list[str]
    hurts: list[str]


def plain_words(problem: Problem, family: str | None, decision: Found, validation: Found, backtest: Found) -> Plain:
    """The whole of it. `family`: of the chosen model, as its trainer says; the reports are as they were signed."""
    figures = {**validation.get("figures", {}), **backtest.get("figures", {})}
    faults = dict.fromkeys(report["fault"] for report in (validation, backtest) if report.get("fault"))
    found = [*(f"It did what no model may: {fault}." for fault in faults), *reasons(decision)]
    acts = validation.get("robustness", {}).get("in_words", "")
    done = f"{does(problem, family, figures)} {without_figures(acts)}".strip()
    return Plain(done, why(decision, figures), found, [*what_hurts(validation, backtest)][:MOST_HURTS])


def does(problem: Problem, family: str | None, figures: Mapping[str, float]) -> str:
    strategy = problem.strategy
    count = figures.get("lockbox.instruments")
    names = f"{count:,.0f} names" if count else "names"
    sessions = "the next session" if problem.horizon == 1 else f"the next {problem.horizon} sessions"
    every = strategy.rebalance_sessions
    rhythm = every if isinstance(every, str) else "every session" if every == 1 else f"every {every} sessions"
    sells = f" and sells short the bottom {strategy.short_fraction:.0%}" if strategy.short_fraction else ""
    made = f" Inside, it is {FAMILY_WORDS.get(family, family)}." if family else ""
    return (
        f"After each close it puts {names} in order by how well they should do over {sessions}, compared with one "
        f"another. The strategy buys the top {strategy.long_fraction:.0%}{sells}, {rhythm}.{made}"
    )


def why(decision: Found, figures: Mapping[str, float]) -> str:
    blocking = [each for each in decision["findings"] if binds(each)]
    passed, sessions = sum(each["outcome"] == "pass" for each in blocking), figures.get("lockbox.sessions")
    unseen = f", on {sessions:,.0f} sessions that it had never seen" if sessions else ""
    if not blocking:
        return "No test that decides applied to it; nothing proved is nothing accepted."
    if not decision["accepted"]:
        return f"It failed {len(blocking) - passed} of the {len(blocking)} tests that decide{unseen}:"
    if decision.get("waived"):
        borne = len(blocking) - passed
        bears = f"{borne} failed, and a person bears that for a time:"
        return f"It passed {passed} of the {len(blocking)} tests that decide{unseen}; {bears}"
    return f"It passed all {passed} tests that decide{unseen}:"


def reasons(decision: Found) -> Iterator[str]:
    """What failed where it was refused, what was borne, what was proved where it was accepted; then warnings."""
    findings = decision["findings"]
    if not decision["accepted"]:
        yield from map(sentence, refusals(decision))
    for each in findings:
        if given := each.get("waived"):
            yield f"{sentence(failure(each))} {given['by']} bears it until {given['until']}: {given['reason']}"
    if decision["accepted"]:
        yield from map(sentence, proved(findings))
    warnings, shown = warned(findings), MOST_WARNED if decision["accepted"] else 0
    yield from (f"Warning: {said}." for said in warnings[:shown])
    if (left := len(warnings) - shown) > 0:
        yield f"{left} {'more ' if shown else ''}warning{'s' if left > 1 else ''}; the table below has all of them."


def without_figures(words: str) -> str:
    """A description up to where it tells how well it describes, less what stands in brackets."""
    said = re.sub(r" \([^)]*\)", "", words.partition(";")[0]).rstrip(".")
    return f"{said}." if said else ""


def binds(finding: Found) -> bool:
    return bool(finding["severity"] == "block" and finding["outcome"] != "not applicable")


def refusals(decision: Found) -> list[str]:
    """Failed blocking gates in words, each once: the first of each theme, in the order in which they are read, then the
    others."""
    failed = [each for each in decision["findings"] if binds(each) and each["outcome"] == "fail"]
    unborne = [each for each in failed if not each.get("waived")]
    ordered = sorted(unborne, key=lambda each: THEMES.index(theme_of(each["figure"])))
    themes = [theme_of(each["figure"]) for each in ordered]
    leading = [each for at, each in enumerate(ordered) if themes[at] not in themes[:at]]
    reasons = list(dict.fromkeys(failure(each) for each in (*leading, *ordered)))
    left = len(reasons) - MOST_SAID
    more = f"{left} other thing{'s' if left > 1 else ''} failed; the table below has all of them"
    return reasons if left <= 1 else [*reasons[:MOST_SAID], more]


def failure(finding: Found) -> str:
    known = words_of(finding["figure"])
    if finding["value"] is None:
        return f"there is no evidence on the question “{known.question}”"
    return known.failed


def proved(findings: Sequence[Found]) -> list[str]:
    passed = {each["figure"] for each in findings if each["outcome"] == "pass"}
    return [said for name, said in PROVED.items() if name in passed]


def warned(findings: Sequence[Found]) -> list[str]:
    warnings = [each for each in findings if each["severity"] == "warn" and each["outcome"] == "fail"]
    return list(dict.fromkeys(failure(each) for each in warnings))


def reason(finding: Found) -> str:
    """One line of the table: what came out, in words."""
    known = words_of(finding["figure"])
    if finding["outcome"] == "not applicable":
        figure = finding["reason"].removesuffix(" is 0")
        return f"Does not apply: {DOES_NOT_APPLY.get(figure, finding['reason'])}."
    if finding["outcome"] == "pass":
        return known.meaning
    return f"{sentence(failure(finding))} {known.meaning}".strip()


def sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


# --- what would hurt it -------------------------------------------------------------------------------------


def what_hurts(validation: Found, backtest: Found) -> Iterator[str]:
    """Scenarios, costs, delay, its worst year, its weakest state, other luck."""
    yield from scenarios(validation)
    ways = {title: row.get("total_return") for title, row in backtest.get("sensitivity", {}).items()}
    held = ways.get("costs × 1", backtest.get("figures", {}).get("backtest.total_return"))
    if held is not None:
        yield from costs(held, ways)
        yield from delay(held, ways)
    yield from worst_year(backtest)
    yield from weakest(validation)
    yield from luck(backtest.get("figures", {}))


def earned(value: float) -> str:
    return f"{'earned' if value >= 0 else 'lost'} {abs(value):.1%}"


def scenarios(validation: Found) -> Iterator[str]:
    """The one that cost most, where any has a return; else the one with the deepest fall."""
    told = {title.replace("_", " "): row.get("figures", row) for title, row in named_rows(validation.get("scenarios"))}
    returns = {title: value for title, row in told.items() if (value := returned(row)) is not None}
    falls = {title: float(row["max_drawdown"]) for title, row in told.items() if row.get("max_drawdown") is not None}
    if returns:
        worst = min(returns, key=lambda title: returns[title])
        yield f"Worst of {len(returns)} scenarios, “{worst}”: it would have {earned(returns[worst])}."
    elif falls:
        worst = max(falls, key=lambda title: falls[title])
        yield f"Worst of {len(falls)} scenarios, “{worst}”: it would fall by {falls[worst]:.1%} from its highest."


def named_rows(told: Any) -> list[tuple[str, Found]]:
    """A table as title → row, however it was written: a mapping of rows, or a list of rows that have a title."""
    if isinstance(told, Mapping):
        return [(str(title), row) for title, row in told.items() if isinstance(row, Mapping)]
    if isinstance(told, list) and all(isinstance(row, Mapping) for row in told):
        return [(title_of_row(row) or str(at), row) for at, row in enumerate(told, 1)]
    return []


def title_of_row(row: Found) -> str:
    """What a row of a list is about: the columns that say so, joined."""
    return " ".join(str(row[name]) for name in ROW_TITLES if row.get(name) is not None)


def returned(row: Found) -> float | None:
    known = (row.get(name) for name in RETURNS)
    return next((float(value) for value in known if isinstance(value, int | float) and math.isfinite(value)), None)


def costs(held: float, ways: Mapping[str, float | None]) -> Iterator[str]:
    known = sorted(
        (float(times[1]), value)
        for title, value in ways.items()
        if value is not None and (times := COSTS.fullmatch(title))
    )
    free = next((value for times, value in known if times == 0), None)
    dearer = [(times, value) for times, value in known if times > 1]
    if held < 0:
        if free is not None:
            yield f"Costs: it {earned(held)} after them; with no costs at all it would have {earned(free)}."
        return
    instead = f" instead of earning {held:.1%}"
    lost = [(times, value) for times, value in dearer if value < 0]
    if lost:
        least, value = lost[0]
        yield f"Higher costs: at {least:g} times the costs it would have {earned(value)}{instead}."
    elif dearer:
        most, value = dearer[-1]
        yield f"Higher costs: even at {most:g} times the costs it would have {earned(value)}{instead}."


def delay(held: float, ways: Mapping[str, float | None]) -> Iterator[str]:
    late = [
        (int(found[1]), found[2], value)
        for title, value in ways.items()
        if value is not None and (found := LATER.fullmatch(title))
    ]
    if held >= 0 and late:
        count, unit, value = min(late, key=lambda each: each[2])
        if value < held:
            yield f"Acting late: {count} {unit} later it would have {earned(value)} instead of earning {held:.1%}."


def worst_year(backtest: Found) -> Iterator[str]:
    known = {year: returned(row) for year, row in named_rows(backtest.get("years"))}
    returns = {year: value for year, value in known.items() if value is not None}
    if len(returns) > 1:
        worst = min(returns, key=lambda year: returns[year])
        if returns[worst] < 0:
            yield f"A bad year: in {worst}, its worst, it {earned(returns[worst])}."


def weakest(validation: Found) -> Iterator[str]:
    """The state of the market in which its ranking was worth least, years aside."""
    states = [row for _, row in named_rows(validation.get("rank_ic_by_state")) if row.get("kind") in STATES]
    known = [row for row in states if row.get("rank_ic") is not None]
    if known:
        row = min(known, key=lambda each: float(each["rank_ic"]))
        value, error = float(row["rank_ic"]), float(row.get("standard_error") or 0.0)
        if value <= 2 * error:
            where = STATES[row["kind"]].format(FIFTHS.get(row["state"], row["state"]))
            yield f"Its weakest time, {where}: there its ranking cannot be told from guessing."


def luck(figures: Mapping[str, float]) -> Iterator[str]:
    fell, other = figures.get("backtest.max_drawdown"), figures.get("backtest.max_drawdown_upper")
    if fell is not None:
        more = f"; with other luck, one history in twenty falls by {other:.1%} or more" if other is not None else ""
        yield f"Bad luck: it fell by {fell:.1%} from its highest{more}."
