"""The data profile: one page that shows a snapshot, what was wrong with it, and what was done about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import numpy as np
import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks import plots
from tasks.domain import drift
from tasks.domain.drift import Finding, Profile
from tasks.home import write_whole
from tasks.pages import assembled, cell, kind, picture, short, table

PAGE = "profile.html"
STRETCHES, GROUPS, WORST, RULES, EXAMPLES = 80, 40, 15, 8, 5


@dataclass(frozen=True)
class Collected:
    """What a collection brought, as the page needs it.

    clean: bars in key order (instrument, timestamp). quarantine: the delivered columns with `row`, `part`, `rule`,
    `version`, `reason`. corrections: `row`, `part`, `instrument`, `timestamp`, `column`, `before`, `after`, `rule`,
    `version`. gaps: `instrument`, `timestamp` of each session without a bar. current, previous: profiles of this
    snapshot and of the one before. accounting: rows `collected`, `clean`, `quarantined`, `exact_duplicates`, and any
    other counts worth showing. reasons: why each rule exists, by its id. findings: what `drift` said.
    """

    title: str
    clean: pl.DataFrame
    quarantine: pl.DataFrame
    corrections: pl.DataFrame
    gaps: pl.DataFrame
    current: Profile
    accounting: Mapping[str, int]
    previous: Profile | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)
    findings: Sequence[Finding] = ()


@task(cache_policy=NO_CACHE)
def write_profile(collected: Collected, folder: Path) -> list[Path]:
    """Write the page and each of its pictures into `folder`; returns the files."""
    drawn = pictures(collected)
    files = {PAGE: page(collected, drawn).encode()} | drawn
    for name, content in files.items():
        write_whole(folder / name, content)
    return [folder / name for name in files]


def pictures(collected: Collected) -> dict[str, bytes]:
    """The page's pictures as PNG bytes, by file name; none where there is no clean bar."""
    if not collected.current.rows:
        return {}
    starts = stretches(collected.current.sessions["session"])
    current, previous = collected.current, collected.previous
    told = {"this snapshot": current} | ({"the snapshot before": previous} if previous and previous.rows else {})
    return {
        "coverage.png": coverage_picture(collected.clean, current, starts),
        "missing_sessions.png": gaps_picture(collected.gaps, starts),
        "corrections.png": rules_picture(collected.quarantine, collected.corrections, starts),
        "returns.png": plots.returns(
            drift.edges(), {label: one.returns / max(one.returns.sum(), 1) for label, one in told.items()}
        ),
        "rows.png": plots.rows_per_session(
            {
                label: (one.sessions["session"].to_numpy(), one.sessions["rows"].to_numpy())
                for label, one in told.items()
            }
        ),
    }


def stretches(sessions: pl.Series) -> np.ndarray:
    """Where each of at most STRETCHES stretches with about as many sessions begins, and the day after the last."""
    days = sessions.to_numpy().astype("datetime64[D]")
    first = np.unique(np.linspace(0, len(days), min(STRETCHES, len(days)) + 1).astype(int)[:-1])
    return np.append(days[first], days[-1] + np.timedelta64(1, "D"))


def within(times: pl.Series, starts: np.ndarray) -> np.ndarray:
    """The number of the stretch that each time lies in, −1 for a time in none of them or no time at all."""
    days = times.dt.date().fill_null(pl.date(1, 1, 1)).to_numpy().astype("datetime64[D]")
    found = np.searchsorted(starts, days, side="right") - 1
    found[(days < starts[0]) | (days >= starts[-1])] = -1
    return np.asarray(found)


def coverage_picture(clean: pl.DataFrame, current: Profile, starts: np.ndarray) -> bytes:
    names = current.instruments.sort("first", "instrument")
    groups = min(len(names), GROUPS)
    group_of = np.arange(len(names)) * groups // len(names)
    shares = coverage(clean, names.with_columns(group=pl.Series(group_of)), current.sessions["session"], starts)
    members = [names["instrument"].filter(pl.Series(group_of == group)).to_list() for group in range(groups)]
    labels = [each[0] if len(each) == 1 else f"{each[0]} – {each[-1]} ({len(each)})" for each in members]
    return plots.coverage(shares, starts, [short(label, 28) for label in labels], grouped=groups < len(names))


def coverage(clean: pl.DataFrame, names: pl.DataFrame, sessions: pl.Series, starts: np.ndarray) -> np.ndarray:
    """Share of sessions with a bar, for groups of instruments × stretches; NaN where none is to be expected.

    names: `instrument`, `first`, `last`, `group`. What is expected of an instrument is a bar in every session from
    its first bar to its last.
    """
    days = sessions.to_numpy().astype("datetime64[D]")
    groups, width = int(names["group"].max()) + 1, len(starts) - 1  # type: ignore[arg-type]
    steps = np.zeros((groups, len(days) + 1))
    group = names["group"].to_numpy()
    np.add.at(steps, (group, np.searchsorted(days, names["first"].to_numpy())), 1)
    np.add.at(steps, (group, np.searchsorted(days, names["last"].to_numpy()) + 1), -1)
    first_of = np.searchsorted(days, starts[:-1])
    expected = np.add.reduceat(steps.cumsum(axis=1)[:, :-1], first_of, axis=1)
    present = np.zeros(groups * width)
    order = dict(zip(names["instrument"], group, strict=True))
    stretch_of = np.searchsorted(starts, np.arange(days[0], starts[-1]), side="right") - 1
    current = 0
    for piece in drift.pieces(clean):
        begun = piece.rows["instrument"].filter(pl.Series(piece.begins)).to_list()
        turns = np.array([current, *(order[name] for name in begun)])
        of_row = turns[np.cumsum(piece.begins)][piece.fresh]
        stretch = stretch_of[piece.day[piece.fresh] - days[0].astype(int)]
        present += np.bincount(of_row * width + stretch, minlength=groups * width)
        current = int(turns[-1])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(expected > 0, present.reshape(groups, width) / expected, np.nan))


def gaps_picture(gaps: pl.DataFrame, starts: np.ndarray) -> bytes:
    counted = np.bincount(within(gaps["timestamp"], starts) + 1, minlength=len(starts))[1:]
    worst = gaps.group_by("instrument").len("gaps").sort(["gaps", "instrument"], descending=[True, False]).head(WORST)
    return plots.missing_sessions(starts, counted, [(short(str(n), 28), g) for n, g in worst.rows()], gaps.height)


def rules_picture(quarantine: pl.DataFrame, corrections: pl.DataFrame, starts: np.ndarray) -> bytes:
    parts = (("Rows set aside (quarantine)", quarantine), ("Values corrected and repeated rows dropped", corrections))
    panels = []
    for title, found in parts:
        counts = over_time(found, starts)
        unseen = found.height - int(sum(number.sum() for number in counts.values()))
        note = f" ({unseen:,} without a time within the data are not shown)" if unseen else ""
        panels.append((f"{title}, by rule{note}", counts))
    return plots.by_rule(starts, panels)


def over_time(table: pl.DataFrame, starts: np.ndarray) -> dict[str, np.ndarray]:
    """How many lines of each rule fall into each stretch; the rarest rules as one, and only what has a time."""
    stretch = within(table["timestamp"], starts)
    rules = table["rule"].cast(pl.String)
    often = rules.value_counts(sort=True, name="lines")["rule"].to_list() if len(table) else []
    chosen = often if len(often) <= RULES else often[: RULES - 1]
    counts = {}
    for rule in chosen:
        counts[rule] = np.bincount(stretch[(rules == rule).to_numpy()] + 1, minlength=len(starts))[1:]
    if len(chosen) < len(often):
        rest = ~rules.is_in(chosen).to_numpy()
        counts["other rules"] = np.bincount(stretch[rest] + 1, minlength=len(starts))[1:]
    return counts


def page(collected: Collected, drawn: Mapping[str, bytes]) -> str:
    """The page; `drawn` are its pictures by file name."""
    sections = [
        f"<h1>{escape(collected.title)}</h1>",
        accounting(collected),
        drift_table(collected.findings),
        rules_table(collected),
        *(picture(name, content) for name, content in drawn.items()),
        examples("Rows set aside", collected.quarantine, hidden=("rule", "version")),
        examples("Corrections", collected.corrections, hidden=("rule", "version")),
    ]
    return assembled(collected.title, sections)


def accounting(collected: Collected) -> str:
    """What became of every row, in one line, and whether the line adds up."""
    counts = dict(collected.accounting)
    whole, kept, aside, twice = (
        counts.pop(key, 0) for key in ("collected", "clean", "quarantined", "exact_duplicates")
    )
    closes = whole == kept + aside + twice
    line = (
        f"<b>{whole:,}</b> rows collected = <b>{kept:,}</b> clean + <b>{aside:,}</b> quarantined + "
        f"<b>{twice:,}</b> exact duplicates dropped"
    )
    verdict = '<span class="good">the account closes</span>'
    if not closes:
        verdict = f'<span class="bad">the account does not close: {whole - kept - aside - twice:+,} rows</span>'
    sessions, instruments = collected.current.sessions, collected.current.instruments
    span = ""
    if len(sessions):
        span = f"{len(instruments):,} instruments, {len(sessions):,} sessions from {sessions['session'][0]} to "
        span = f"<p>{span}{sessions['session'][-1]}. {collected.gaps.height:,} missing sessions."
    more = " ".join(f"{number:,} {escape(name.replace('_', ' '))}." for name, number in counts.items())
    return f'<p class="account">{line}: {verdict}</p>{span} {more}'


def drift_table(findings: Sequence[Finding]) -> str:
    if not findings:
        return "<h2>Against the snapshot before</h2><p>There is none to compare with.</p>"
    lines = (
        [
            ("passed" if one.passed else one.severity.upper(), "good" if one.passed else "bad"),
            (one.name.replace("_", " "), ""),
            (one.words, ""),
        ]
        for one in findings
    )
    rate = f"{100 * drift.ERROR_RATE:g} %"
    note = f"Breaks in new sessions are judged so that {rate} of collections in which nothing broke get any warning."
    return f"<h2>Against the snapshot before</h2><p>{note}</p>{table(['result', 'of', 'what was seen'], lines)}"


def rules_table(collected: Collected) -> str:
    """Each rule that found something: how often, what it did, and why it exists."""
    lines = []
    for what, found in (("set aside", collected.quarantine), ("corrected", collected.corrections)):
        if found.height:
            why = pl.first("reason") if "reason" in found.columns else pl.lit("").alias("reason")
            counted = found.group_by("rule", "version").agg(pl.len().alias("lines"), why).sort("lines", descending=True)
            for rule, version, number, reason in counted.rows():
                says = collected.reasons.get(str(rule), reason)
                lines.append([(f"{rule} v{version}", ""), (what, ""), (f"{number:,}", "number"), (says, "")])
    if not lines:
        return "<h2>Rules</h2><p>No rule found anything.</p>"
    return f"<h2>Rules that found something</h2>{table(['rule', 'did', 'lines', 'why'], lines)}"


def examples(title: str, found: pl.DataFrame, hidden: Sequence[str]) -> str:
    """The first lines of each rule, as they were delivered."""
    if not found.height:
        return ""
    shown = [name for name in found.columns if name not in hidden]
    sections = []
    first = found.group_by("rule", maintain_order=True).head(EXAMPLES)
    counts = found.group_by("rule").len("lines").sort(["lines", "rule"], descending=[True, False])
    for rule, number in counts.rows():
        lines = first.filter(pl.col("rule").eq_missing(rule)).select(shown).rows()
        cells = ([(cell(value), kind(value)) for value in line] for line in lines)
        sections.append(f"<h3>{escape(str(rule))}: {number:,}</h3>{table(shown, cells)}")
    return f"<h2>{title}: up to {EXAMPLES} lines of each rule</h2>{''.join(sections)}"
