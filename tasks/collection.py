"""Collect stage: ask the source, store what is new, check, cleanse, check again, snapshot."""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks import evidence, journal, lake, sidetables, snapshots, stewardship
from tasks.calendars import calendar
from tasks.domain import bars as bar_tables
from tasks.domain import drift, names
from tasks.domain.cleansing import arrange, engine
from tasks.domain.cleansing.engine import Cleansed
from tasks.domain.cleansing.rule import Context
from tasks.domain.drift import Finding, Profile
from tasks.domain.errors import DataRefused, UsageError
from tasks.domain.numbers import readings
from tasks.domain.problem import FilesSource, Problem
from tasks.home import as_json, code_sha256, sha256, write_whole
from tasks.profile import Collected, write_profile
from tasks.recording import Record, attest
from tasks.snapshots import Snapshot
from tasks.sources import delivery as sources
from tasks.sources.delivery import Delivery, Part, Request

MOST_UNREADABLE = 1e-3  # share of rows with a cell that is no number, above which the file itself is wrong
LIST_ROWS = 10_000  # rows of the books that go into the run's files; the tables hold all


class Comparison(NamedTuple):
    """A snapshot against the one before it from the same feed, if there was one."""

    current: Profile
    previous: Profile | None
    findings: tuple[Finding, ...]


class Order(NamedTuple):
    """What is to be collected. `parts` are (name, sha256) of all that the source consists of, in order; `key` is a
    digest of all that the snapshot depends on; `new` are the rows of parts that were not held before, until they are
    used."""

    problem: Problem
    name: str
    feed: str
    parts: tuple[tuple[str, str], ...]
    as_of: pd.Timestamp | None
    settings: dict[str, Any]
    suites: dict[str, str]
    beside: list[sidetables.Told]
    new: dict[str, pl.DataFrame]

    @property
    def shas(self) -> list[str]:
        return [sha for _, sha in self.parts]

    @property
    def sha256(self) -> str:
        """Digest of everything delivered."""
        return sha256(as_json(self.shas))

    @property
    def key(self) -> str:
        return sha256(as_json([self.settings, self.suites, self.feed, self.shas, code_sha256()]))[:16]

    @property
    def folder(self) -> Path:
        return evidence.snapshot_folder(self.problem.name, self.key)

    @property
    def declaration(self) -> str:
        """Digest of what the problem declares about columns."""
        return sha256(as_json([self.feed, self.problem.columns]))

    @property
    def title(self) -> str:
        """What the run is called after: the last session asked for, or today."""
        return str((self.as_of or pd.Timestamp.now(UTC)).date())


@contextmanager
def refusals_told(problem: str) -> Iterator[None]:
    """Write it into the problem's journal where the block refuses the data."""
    try:
        yield
    except DataRefused as refused:
        journal.append(problem, journal.REFUSAL, {"why": str(refused)})
        raise


@task(cache_policy=NO_CACHE)
def deliver(problem: Problem, data: str | None, as_of: pd.Timestamp | None, suites: dict[str, str]) -> Order:
    """Ask the source, or the file given in its place, for what is not held yet, and add it to the raw table.

    What was delivered stays, whatever the checks say of it afterwards.
    """
    source = problem.source if data is None else FilesSource(kind="files", path=data)
    feed = sources.feed(source, problem.columns)
    before = snapshots.last(problem.name, feed)
    delivered = sources.collect(request(problem, source, feed, before))
    settings = {
        "as_of": None if as_of is None else str(as_of.date()),
        "lockbox_fraction": problem.lockbox_fraction,
        "calendar": problem.calendar,
        "name": delivered.name,
        "decisions": stewardship.sha256_of_log(problem.name),
        "batches": batches([part.sha256 for part in delivered.parts], before),
        "beside": sidetables.sha256_of(beside := sidetables.read(problem)),
    }
    parts = tuple((part.name, part.sha256) for part in delivered.parts)
    order = Order(problem, delivered.name, delivered.feed, parts, as_of, settings, suites, beside, {})
    if not parts:
        raise DataRefused(f"{delivered.name}: holds nothing; expected rows of bars")
    order.new.update(add(order, delivered))
    return order


def request(problem: Problem, source: Any, feed: str, before: Snapshot | None) -> Request:
    """What to ask: with the parts held, a source can leave out what has not changed, or ask only for what is new."""
    held = frozenset(lake.held_parts(problem.name, feed))
    if before is None:
        return Request(source, problem.columns, held)
    parts = tuple((part["name"], part["sha256"]) for part in before.manifest["parts"])
    return Request(source, problem.columns, held, parts, datetime.fromisoformat(before.manifest["newest"]))


def batches(shas: Sequence[str], before: Snapshot | None) -> dict[str, int]:
    """In which collection each part came: those of the snapshot before keep their number, new ones are one later."""
    known = {} if before is None else before.manifest["batches"]
    return {sha: known.get(sha, max(known.values(), default=-1) + 1) for sha in shas}


def add(order: Order, delivered: Delivery) -> dict[str, pl.DataFrame]:
    """Store what is not held yet; returns it, by the digests of its parts."""
    new = [part for part in delivered.parts if part.bars is not None]
    for part in new:
        refuse_unreadable(part)
    stored = {part.sha256: with_notes(part) for part in new}
    if stored:
        lake.append_parts(order.problem.name, order.feed, stored, order.declaration)
    return stored


def refuse_unreadable(part: Part) -> None:
    """A file in which many cells are no numbers is not a file of bars, or has another form than was declared."""
    assert part.bars is not None
    if part.bars.is_empty():
        raise DataRefused(f"{part.name}: holds no rows; expected one row per instrument and session")
    if part.unreadable is not None and len(part.unreadable):
        hopeless = part.unreadable.filter(
            ~pl.Series([bool(readings(text)) for text in part.unreadable["text"]], dtype=pl.Boolean)
        )
        if hopeless["row"].n_unique() > MOST_UNREADABLE * len(part.bars):
            raise DataRefused(sources.first_unreadable(part._replace(unreadable=hopeless)))


def with_notes(part: Part) -> pl.DataFrame:
    """A part's rows with the texts that are no numbers, so that the raw table holds all that was delivered."""
    assert part.bars is not None
    notes: dict[int, dict[str, str]] = {}
    if part.unreadable is not None:
        for row, column, text in part.unreadable.rows():
            notes.setdefault(row, {})[column] = text
    if part.truncated:
        notes.setdefault(len(part.bars) - 1, {})[arrange.CUT] = "the file has no line break at its end"
    if not notes:
        return part.bars.with_columns(pl.lit(None).alias(arrange.NOTES))
    rows = pl.Series(list(notes), dtype=pl.UInt32)
    texts = pl.DataFrame({"row": rows, arrange.NOTES: pl.Series(map(json.dumps, notes.values()), dtype=pl.String)})
    return part.bars.with_row_index("row").join(texts, on="row", how="left", maintain_order="left").drop("row")


def collected(order: Order) -> Snapshot | None:
    """The snapshot of this very order, if it was completed before."""
    if not evidence.is_signed(order.folder, names.COLLECT):
        return None
    point_to(order)
    return snapshots.current(order.problem.name, order.key)


def point_to(order: Order) -> None:
    for pointer in (snapshots.pointer(order.problem.name, order.feed), snapshots.pointer(order.problem.name)):
        write_whole(pointer, order.key.encode())


def raw(order: Order) -> pl.DataFrame:
    """All that was delivered, up to the day asked for, with the number of the part and of the collection it came in;
    names as Categorical, which take a quarter of the memory."""
    held = lake.read_raw(order.problem.name, order.feed, order.shas, at_hand=order.new)
    came = pl.Series([order.settings["batches"][sha] for sha in order.shas], dtype=pl.Int32)
    rows = held.with_columns(pl.col("instrument").cast(pl.Categorical), batch=came.gather(held["part"]))
    del held
    if order.as_of is None:
        return rows
    kept = rows.filter(pl.col("timestamp").is_null() | (pl.col("timestamp") < order.as_of + timedelta(days=1)))
    if kept["timestamp"].null_count() == len(kept):
        first = rows["timestamp"].min()
        raise UsageError(
            f"--as-of {order.as_of.date()}: the data starts on {str(first)[:10]}; give that date or a later one"
        )
    return kept


def bars_alone(delivered: pl.DataFrame) -> pl.DataFrame:
    """What was delivered without our own columns, for a suite."""
    return delivered.drop("part", "batch", arrange.NOTES)


@task(cache_policy=NO_CACHE)
def cleanse_bars(order: Order, delivered: list[pl.DataFrame]) -> Cleansed:
    """Apply the rules; every delivered row must be accounted for.

    `delivered` holds one table and is emptied: its rows are used up while they are arranged, not kept beside.
    """
    now = datetime.now(UTC) + timedelta(days=1)  # the day has begun elsewhere
    context = Context(calendar(order.problem.calendar, str(now.date())), int(now.timestamp() * 1e6))
    count, released = len(delivered[0]), stewardship.released(order.problem.name, order.shas, delivered[0]["part"])
    cleansed = engine.refine(arrange.arrange(delivered.pop()), context, released)
    accounted = len(cleansed.clean) + len(cleansed.quarantine) + cleansed.exact_duplicates
    if accounted != count:
        raise DataRefused(f"{order.name}: {count} rows delivered, {accounted} accounted for")
    if cleansed.clean.is_empty():
        raise DataRefused(
            f"{order.name}: no row is left after cleansing; quarantined were {count_by(cleansed.quarantine)}"
        )
    return cleansed


@task(cache_policy=NO_CACHE)
def compare(order: Order, cleansed: Cleansed, record: Record) -> Comparison:
    """What became of the data since the snapshot before; the new profile is kept for the next one.

    Raises:
        DataRefused: history is gone or was rewritten to a degree that no correction explains.
    """
    current = drift.profile(cleansed.clean)
    write_whole(record.folder / names.PROFILE, drift.to_text(current).encode())
    before = snapshots.last(order.problem.name, order.feed)
    if before is None:
        return Comparison(current, None, ())
    previous = drift.from_text(before.file(names.PROFILE))
    found = drift.drift(previous, current, restated_share(before, cleansed.clean))
    refused = [finding.words for finding in found if not finding.passed and finding.severity == "critical"]
    if refused:
        raise DataRefused(
            f"{order.name}: {'; '.join(refused)}; the last good snapshot {before.key} stays current; deliver the "
            "history again, or name it as another source if it is meant"
        )
    return Comparison(current, previous, tuple(found))


def restated_share(before: Snapshot, clean: pl.DataFrame) -> float:
    """Share of the bars held before, and still there, whose close differs now."""
    columns = ["instrument", "timestamp", "close"]
    held = pl.concat([before.load(part).select(columns) for part in (lake.DEVELOPMENT, lake.LOCKBOX)])
    now = clean.select(pl.col("instrument").cast(pl.String), "timestamp", now="close")
    common = held.join(now, on=["instrument", "timestamp"])
    return 0.0 if common.is_empty() else float((common["close"] != common["now"]).mean())  # type: ignore[arg-type]


def picture(order: Order, cleansed: Cleansed, described: dict[str, Any], compared: Comparison, record: Record) -> None:
    """The data profile page."""
    reasons = {rule.id: rule.reasoning for rule in engine.RULES}
    write_profile(
        Collected(
            f"{order.problem.name}: data as of {described['as_of']}",
            cleansed.clean,
            cleansed.quarantine,
            cleansed.corrections,
            cleansed.gaps,
            compared.current,
            described["accounting"] | {"gaps": described["gaps"]},
            compared.previous,
            reasons,
            compared.findings,
        ),
        record.folder,
    )


@task(cache_policy=NO_CACHE)
def store(
    order: Order, cleansed: Cleansed, checks: dict[str, dict[str, Any]], compared: Comparison, record: Record
) -> dict[str, Any]:
    """Write the tables and describe them; nothing counts until `complete` has signed the description."""
    start = bar_tables.lockbox_start(cleansed.clean["timestamp"], order.problem.lockbox_fraction)
    described = describe(order, cleansed, start)
    books = {lake.QUARANTINE: cleansed.quarantine, lake.CORRECTIONS: cleansed.corrections}
    contents = {name: with_part_names(order, book) for name, book in books.items()}
    # Drawing keeps one core busy, and writing mostly the other.
    with ThreadPoolExecutor(1) as beside:
        drawn = beside.submit(copy_context().run, picture, order, cleansed, described, compared, record)
        tables = write_tables(order, cleansed.clean, start, contents)
        drawn.result()
    told = [finding._asdict() for finding in compared.findings]
    manifest = described | {"tables": tables, "checks": checks, "drift": told}
    manifest["beside"] = sidetables.store(order.problem, order.beside, record)
    manifest["tables"] |= {name: stored["written"] for name, stored in manifest["beside"].items()}
    manifest["warnings"] = warnings(manifest)
    write_whole(record.folder / names.MANIFEST, as_json(manifest))
    listed = {"quarantine": contents[lake.QUARANTINE], "corrections": contents[lake.CORRECTIONS], "gaps": cleansed.gaps}
    for name, book in listed.items():
        book.head(LIST_ROWS).write_csv(record.folder / f"{name}.csv")
    return manifest


def write_tables(
    order: Order, clean: pl.DataFrame, start: datetime, books: dict[str, pl.DataFrame]
) -> dict[str, dict[str, int | str]]:
    """Write the books, and the clean bars before and from the lockbox's `start`; says what was written, by table."""
    inside = pl.col("timestamp") >= start
    tables = {name: write(order, name, content) for name, content in books.items()}
    for name, rows in ((lake.DEVELOPMENT, ~inside), (lake.LOCKBOX, inside)):
        tables[name] = write(order, name, clean.filter(rows))
    return tables


def warnings(manifest: dict[str, Any]) -> list[str]:
    """What is not wrong enough to stop, but must be read with the verdict."""
    suites = manifest["checks"] | {name: stored["checks"] for name, stored in manifest["beside"].items()}
    checked = [f"{suite}: {said}" for suite, result in suites.items() for said in result["warnings"]]
    moved = [f"drift: {finding['words']}" for finding in manifest["drift"] if not finding["passed"]]
    return checked + moved


def write(order: Order, table: str, content: pl.DataFrame) -> dict[str, int | str]:
    return dict(lake.write(order.problem.name, table, content, order.declaration)._asdict())


def with_part_names(order: Order, book: pl.DataFrame) -> pl.DataFrame:
    """A book with each part's digest in place of its number, which later collections may change."""
    return book.with_columns(part=pl.Series([sha[:16] for sha in order.shas], dtype=pl.String).gather(book["part"]))


def describe(order: Order, cleansed: Cleansed, start: datetime) -> dict[str, Any]:
    clean = cleansed.clean
    dropped = cleansed.exact_duplicates
    return {
        "problem": order.problem.name,
        "delivery": {"name": order.name, "sha256": order.sha256, "feed": order.feed},
        "newest": clean["timestamp"].max().isoformat(),  # type: ignore[union-attr]
        "batches": order.settings["batches"],
        "parts": [{"name": name, "sha256": sha} for name, sha in order.parts],
        "as_of": str(clean["timestamp"].max())[:10],
        "instruments": clean["instrument"].n_unique(),
        "sessions": clean["timestamp"].n_unique(),
        "lockbox_starts": str(start)[:10],
        "gaps": len(cleansed.gaps),
        "accounting": {
            "collected": len(clean) + len(cleansed.quarantine) + dropped,
            "clean": len(clean),
            "quarantined": len(cleansed.quarantine),
            "exact_duplicates": dropped,
            "corrections": len(cleansed.corrections) - dropped,
        },
        "quarantined_by_rule": count_by(cleansed.quarantine),
        "corrected_by_rule": count_by(cleansed.corrections),
        "rules": engine.versions(),
    }


def count_by(book: pl.DataFrame) -> dict[str, int]:
    return dict(book["rule"].value_counts().sort("rule").rows())


def log(record: Record, order: Order, manifest: dict[str, Any]) -> None:
    """The counts as figures; what was taken in and put out as datasets of the run."""
    counts = {f"data.{name}": float(value) for name, value in manifest["accounting"].items()}
    sizes = {f"data.{name}": float(manifest[name]) for name in ("instruments", "sessions", "gaps")}
    record.run.figures(counts | sizes)
    record.run.input(order.name, 0, order.sha256, context="delivery")
    for table in (lake.DEVELOPMENT, lake.LOCKBOX):
        written = manifest["tables"][table]
        record.run.input(table, written["version"], written["sha256"], context=table)


@task(cache_policy=NO_CACHE)
def complete(order: Order, manifest: dict[str, Any], record: Record) -> Snapshot:
    """Sign the snapshot and make it the current one."""
    settings = {"delivery": order.sha256, "collection.json": sha256(as_json(order.settings))}
    tables = {f"snapshot/{name}": table["sha256"] for name, table in manifest["tables"].items()}
    write_whole(order.folder / names.MANIFEST, as_json(manifest))
    attest(record, order.folder, settings | order.suites, tables)
    point_to(order)
    return Snapshot(order.problem.name, order.key, manifest, new=True)
