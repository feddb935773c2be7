"""Cleansing: every rule with its version, every change recorded, every row accounted for.

Every delivered row ends in exactly one of three places: clean, quarantined, or dropped as an exact duplicate. A rule
corrects a value only where the right one is certain; otherwise the row goes to quarantine. Nothing is invented.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import NamedTuple

import numpy as np
import polars as pl

from tasks.domain.cleansing import arrange as arrange_rules
from tasks.domain.cleansing import fields, identity, levels, runs, timing
from tasks.domain.cleansing.arrange import Arranged, arrange
from tasks.domain.cleansing.books import Books, Schema, as_times
from tasks.domain.cleansing.panel import THREADS, Panel, Places, sort_order
from tasks.domain.cleansing.rule import Change, Context, Rule

# Order matters: a later rule may rely on what an earlier one has set aside.
RULES = (
    Rule("missing_field", 1, "a field is missing", fields.missing_field),
    Rule("impossible_price", 1, "a price is not above zero, or infinite", fields.impossible_price),
    Rule(
        "impossible_volume", 2, "the volume is below zero, or zero although the price moved", fields.impossible_volume
    ),
    Rule("future_timestamp", 1, "the bar is from after the collection", timing.future_timestamp),
    Rule("shifted_time", 1, "the time is off by a time zone", timing.shifted_time),
    Rule("not_a_session", 1, "the exchange was shut on that day", timing.not_a_session),
    Rule("out_of_order", 1, "delivered out of order", timing.out_of_order),
    Rule("restated", 1, "a later delivery states this bar anew", identity.restated),
    Rule("conflicting_duplicate", 2, "another bar with the same key differs", identity.conflicting_duplicate),
    Rule("swapped_high_low", 1, "high and low were swapped", fields.swapped_high_low),
    Rule("inconsistent_range", 1, "open or close lies outside low to high", fields.inconsistent_range),
    Rule("ticker_reuse", 1, "the name was silent for half a year; another company may use it now", timing.ticker_reuse),
    Rule("several_names", 1, "the same bars are delivered under several names", runs.several_names, alone=False),
    Rule("wrong_scale", 1, "off by a power of ten", levels.wrong_scale),
    Rule("reverting_spike", 2, "one bar far off two neighbours that agree", levels.reverting_spike),
    Rule("stray_extreme", 1, "high or low far beyond the rest of the bar", levels.stray_extreme, alone=False),
    Rule("stale_run", 1, "the bar before delivered again", runs.stale_run),
    Rule("unadjusted_split", 1, "older than a split that the prices were not adjusted for", levels.unadjusted_split),
    Rule("swapped_open_close", 1, "open and close were swapped", runs.swapped_open_close),
)
DUPLICATE = ("exact_duplicate", 1)
GAPS: Schema = {"instrument": pl.String, "timestamp": pl.Datetime("us")}


class Cleansed(NamedTuple):
    """`clean` bars in canonical order; `quarantine`: the rows set aside as delivered, with `part`, `row` (place in the
    part), `rule`, `version` and `reason`; `corrections`: one line per value put right or row dropped as a repeat;
    `gaps`: sessions without a bar between an instrument's first and last (`instrument`, `timestamp`)."""

    clean: pl.DataFrame
    quarantine: pl.DataFrame
    corrections: pl.DataFrame
    gaps: pl.DataFrame

    @property
    def exact_duplicates(self) -> int:
        return int((self.corrections["rule"] == DUPLICATE[0]).sum())


def cleanse(delivered: pl.DataFrame, context: Context, released: frozenset[int] = frozenset()) -> Cleansed:
    """Arrange delivered bars and apply all rules; see `arrange` and `refine`."""
    return refine(arrange(delivered), context, released)


def refine(arranged: Arranged, context: Context, released: frozenset[int] = frozenset()) -> Cleansed:
    """Apply all rules; the arranged panel is used up.

    Rows whose place in the delivery is in `released` are left alone by every rule: a steward has looked at them.
    len(delivered) == clean + quarantine + exact duplicates.
    """
    panel, books = arranged
    panel = drop_duplicates(panel, books)
    spared = np.array(sorted(released), dtype=np.uint32)
    for alone, rules in groupby(RULES, key=lambda rule: rule.alone):
        group = tuple(rules)
        parts = list(panel.slices()) if alone else [slice(0, len(panel))]
        task = partial(apply_to, group, panel, context, spared, books)
        with ThreadPoolExecutor(THREADS) as threads:
            panel = panel.compacted(threads.map(task, parts))
    codes, sessions = timing.missing_sessions(panel, context)
    gaps = pl.DataFrame({"instrument": panel.names_of(codes), "timestamp": as_times(sessions)}, schema=GAPS)
    return Cleansed(frame(panel), books.quarantine(), books.corrections(), gaps)


def drop_duplicates(panel: Panel, books: Books) -> Panel:
    """One of several equal rows is enough, and nothing is lost."""
    repeats = identity.exact_duplicates(panel)
    rows = np.flatnonzero(repeats)
    if len(rows):
        names = panel.names_of(panel.code[rows])
        books.line(panel.place[rows], names, panel.time[rows], "*", "repeated", "dropped", *DUPLICATE)
        panel = panel.compacted(iter([panel.take(~repeats)]))
    return panel


def apply_to(
    rules: tuple[Rule, ...], panel: Panel, context: Context, spared: Places, books: Books, rows: slice
) -> Panel:
    """As `apply`, to a stretch of a panel. Stretches may be worked on at once: an instrument lies in one of them, and
    the books put their lines in order."""
    return apply(rules, panel.take(rows), context, spared, books)


def apply(rules: tuple[Rule, ...], panel: Panel, context: Context, spared: Places, books: Books) -> Panel:
    """The rows of a panel that the rules leave, put right where they say so."""
    for rule in rules:
        if len(panel) == 0:
            break
        aside, changes = rule.find(panel, context)
        if len(spared):
            aside = aside & ~np.isin(panel.place, spared)
        changes = [spare(panel, change, spared) for change in changes]
        for change in changes:
            books.correct(panel, change, rule.id, rule.version)
        for change in changes:
            panel = put_right(panel, change)
        books.set_aside(panel, aside, rule.id, rule.version, rule.reason)
        if aside.any():
            panel = panel.take(~aside)
        if any(change.column == "timestamp" and len(change.rows) for change in changes):
            order = sort_order(panel.code, panel.time)
            panel = panel if order is None else panel.take(order)
    return panel


def spare(panel: Panel, change: Change, spared: Places) -> Change:
    if not len(spared):
        return change
    kept = ~np.isin(panel.place[change.rows], spared)
    return Change(change.rows[kept], change.column, change.after[kept])


def put_right(panel: Panel, change: Change) -> Panel:
    """A panel with the right values; the one given keeps its own."""
    if change.column == "row" or not len(change.rows):
        return panel
    if change.column == "timestamp":
        time = panel.time.copy()
        time[change.rows] = change.after
        return replace(panel, time=time, known={})
    values = panel.fields[change.column].copy()
    values[change.rows] = change.after
    return replace(panel, fields=panel.fields | {change.column: values}, known={})


def frame(panel: Panel) -> pl.DataFrame:
    """The panel's bars as a table: timestamp, instrument (Enum in order of names), prices and volume; no copy."""
    names = pl.Series(panel.code).cast(pl.UInt32).cat.to(pl.Enum(list(panel.names)))
    columns = {"timestamp": pl.Series(panel.time).cast(pl.Datetime("us")), "instrument": names}
    return pl.DataFrame(columns | {name: pl.Series(values) for name, values in panel.fields.items()})


def versions() -> list[str]:
    """Every rule and correction with its version."""
    others = (arrange_rules.MISSING, arrange_rules.UNREADABLE, arrange_rules.TRUNCATED, arrange_rules.FORMAT)
    known = {rule.id: rule.version for rule in RULES} | {name: version for name, version, *_ in others}
    known |= dict([arrange_rules.SPELLING, DUPLICATE])
    return [f"{name} v{version}" for name, version in sorted(known.items())]
