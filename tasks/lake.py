"""The only door to the tables: Delta Lake, one table a folder, every version readable, content-hashed.

Development and lockbox are separate tables in separate folders: a process that may not see the lockbox is given
no path to it, and file permissions can enforce that. A table is partitioned by year, one file a year; the raw table
by feed and part, one file a part. Rows keep their order within a file, so that no order has to be stored.
"""

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import pandas as pd
import polars as pl
from deltalake import DeltaTable
from deltalake.transaction import AddAction
from polars.exceptions import PanicException

from tasks import commits, places
from tasks.commits import EMPTY, Change, Columns, File, Filters, Place, State
from tasks.domain.bars import KEY, KEY_FALLS, by_year, rows_digest, whole_digest, years_of
from tasks.domain.errors import DataRefused, VerificationFailed
from tasks.domain.problem import BAR_COLUMNS

DEVELOPMENT = "development"
LOCKBOX = "lockbox"
RAW = "steward/raw"
QUARANTINE = "steward/quarantine"
CORRECTIONS = "steward/corrections"
ORDERS = "orders"
SERIES = "series"
TABLES = (DEVELOPMENT, LOCKBOX, RAW, QUARANTINE, CORRECTIONS, ORDERS, SERIES)
BAR_TABLES = (DEVELOPMENT, LOCKBOX)
YEAR: Columns = {"year": "integer"}
FEED_AND_PART: Columns = {"feed": "string", "part": "string"}
WHOLE = ""  # whose columns they are, where a table has one origin
NEVER = -1  # a year that no row has
DIGEST_LETTERS = 16
SLICE = 1_000_000  # rows
WORDS = {
    "timestamp_ntz": "a date and time",
    "date": "a date",
    "string": "text",
    "double": "a number",
    "long": "a whole number",
    "boolean": "a truth value",
    EMPTY: "empty",
}


class Written(NamedTuple):
    """A version of a table: its number, its rows, the digest of its content."""

    version: int
    rows: int
    sha256: str


def table_path(problem: str, table: str) -> str:
    return places.table(problem, table)


# --- tables that are replaced as a whole --------------------------------------------------------------------


def write(problem: str, table: str, content: pl.DataFrame, declaration: str) -> Written:
    """Make `content` the table's current version, unless it is already; only years that changed are written.

    Args:
        content: bars for a bar table (sorted by instrument, then timestamp); any flat frame for another one.
        declaration: digest of what the problem file declares; while it stays, columns and types must stay.

    Raises:
        DataRefused: columns or types changed, and the declaration did not.
        CountersignError: it cannot be written (no space, no permission); the versions before it stay readable.
    """
    at = commits.place(problem, table)
    with commits.faults_in_words(at, "written"):
        return Writing(at, table, in_order(content) if table in BAR_TABLES else content, declaration).run()


def in_order(bars: pl.DataFrame) -> pl.DataFrame:
    """Bars by instrument, then timestamp; as they are, without a copy, where they already stand so."""
    if stands_in_order(bars):
        return bars
    # Numbers sort several times faster than words.
    name = pl.col("instrument").cast(pl.String)
    places_of = bars.select(name.rank("dense"), "timestamp").with_row_index("row")
    order = places_of.sort(KEY, maintain_order=True)["row"]
    return bars[order]


def stands_in_order(bars: pl.DataFrame) -> bool:
    """Whether no row's key is smaller than the one before it; in slices, as words take memory."""
    keys = pl.col("instrument").cast(pl.String), pl.col("timestamp")
    return not any(
        bars.slice(max(start - 1, 0), SLICE + 1).select(keys).select(KEY_FALLS.any()).item()
        for start in range(0, bars.height, SLICE)
    )


class Writing:
    """One write: years are hashed once and stored at most once, however often another writer comes first.

    Content is brought into stored types year by year, as words take four times the memory of their numbers.
    """

    def __init__(self, at: Place, table: str, content: pl.DataFrame, declaration: str) -> None:
        self.at, self.table, self.content, self.declaration = at, table, content, declaration
        self.years: dict[int, str] = {}
        self.adds: dict[int, AddAction] = {}

    def run(self) -> Written:
        try:
            return commits.until_it_holds(self.at, self.attempt)
        finally:
            commits.discard(self.at, list(self.adds.values()))

    def attempt(self, state: State) -> Written:
        kinds = commits.columns_of(commits.storable(self.content.clear()))
        columns = declared(self.table, kinds, self.declaration, state)
        same = state.notes.get("schemas", {}).get(WHOLE, {}).get("columns") == columns
        before = {int(year): sha for year, sha in state.notes.get("years", {}).items()} if same else {}
        self.store_changed(before, columns)
        sha = whole_digest(self.years)
        if same and "years" in state.notes and before == self.years:
            return Written(state.version, self.content.height, sha)
        replaced = self.replaced(state, before)
        adds = [self.adds[year] for year in replaced if year in self.adds]
        filters: Filters = [("year", "in", [str(year) for year in replaced])]
        version = commits.commit(self.at, state, Change(adds, filters, columns, YEAR, sha, self.notes(columns)))
        for year in replaced:
            self.adds.pop(year, None)
        return Written(version, self.content.height, sha)

    def store_changed(self, before: Mapping[int, str], columns: Columns) -> None:
        """Hash what is not hashed yet; store what differs from the state seen and is not stored yet."""
        for year, found in by_year(self.content) if not self.years else ():
            rows = commits.storable(found)
            self.years[year] = rows_digest(rows)
            if before.get(year) != self.years[year]:
                self.store_year(year, rows, columns)
        for year, sha in self.years.items():
            if before.get(year) != sha and year not in self.adds:
                self.store_year(year, commits.storable(self.content.filter(years_of(self.content) == year)), columns)

    def store_year(self, year: int, rows: pl.DataFrame, columns: Columns) -> None:
        content = commits.shaped(rows, columns)
        self.adds[year] = commits.store(
            self.at, f"year={year}", self.years[year][:DIGEST_LETTERS], content, {"year": str(year)}
        )

    def replaced(self, state: State, before: Mapping[int, str]) -> list[int]:
        """Years whose files the commit replaces: changed, new and vanished ones; a year that never is, for none."""
        there = set() if state.table is None else {int(file.partition["year"]) for file in commits.files(state.table)}
        changed = {year for year, sha in self.years.items() if before.get(year) != sha}
        return sorted(changed | (there - set(self.years))) or [NEVER]

    def notes(self, columns: Columns) -> dict[str, Any]:
        schemas = {WHOLE: {"declaration": self.declaration, "columns": columns}}
        return {"years": self.years, "rows": self.content.height, "schemas": schemas}


def read(problem: str, table: str, version: int, sha: str) -> pd.DataFrame:
    """A table at a version, bars in canonical order; other tables year by year, each in the order written.

    Raises:
        VerificationFailed: it cannot be read, or its content is not what was signed.
    """
    return load(problem, table, version, sha).to_pandas()


def load(problem: str, table: str, version: int, sha: str) -> pl.DataFrame:
    """As `read`, without leaving polars."""
    at = commits.place(problem, table)
    with unreadable(f"snapshot {table}: version {version}"):
        delta = commits.at_version(at, version)
        columns = commits.stored_columns(delta, YEAR)
        years: dict[int, list[pl.DataFrame]] = {}
        for file in commits.files(delta):
            years.setdefault(int(file.partition["year"]), []).append(commits.load(at, file, columns))
    if whole_digest({year: rows_digest(pl.concat(rows)) for year, rows in years.items()}) != sha:
        raise VerificationFailed(f"snapshot {table}: version {version} differs from what was signed")
    content = pl.concat([commits.empty(columns), *(rows for year in sorted(years) for rows in years[year])])
    if table not in BAR_TABLES:
        return content
    usual = [name for name in BAR_COLUMNS if name in columns]
    return in_order(content).select(*usual, *(name for name in columns if name not in usual))


@contextmanager
def unreadable(what: str) -> Iterator[None]:
    try:
        yield
    except VerificationFailed:
        raise
    except (Exception, PanicException) as fault:  # noqa: BLE001 - storage fails in many ways; each means: not there
        raise VerificationFailed(f"{what} cannot be read ({' '.join(str(fault).split())[:200]})") from None


# --- raw: parts, added once each ----------------------------------------------------------------------------


def append_parts(problem: str, feed: str, parts: Mapping[str, pl.DataFrame], declaration: str) -> int:
    """Add parts to the raw table in one commit, rows in the order given; a part that is there already stays.

    Args:
        feed: names the source for ever.
        parts: SHA-256 of a part as received → its rows.
        declaration: digest of what the problem file declares; while it stays, the feed's columns and types must.

    Returns:
        the version that holds them all; -1 if there is nothing to hold.

    Raises:
        DataRefused: columns or types changed, and the declaration did not.
        CountersignError: they cannot be written; the versions before stay readable.
    """
    at = commits.place(problem, RAW)
    with commits.faults_in_words(at, "written"):
        content = {sha: commits.storable(rows) for sha, rows in parts.items()}
        return Appending(at, feed, content, declaration).run()


class Appending:
    """One append: parts are stored at most once, however often another writer comes first."""

    def __init__(self, at: Place, feed: str, parts: Mapping[str, pl.DataFrame], declaration: str) -> None:
        self.at, self.feed, self.parts, self.declaration = at, feed, parts, declaration
        self.adds: dict[str, AddAction] = {}

    def run(self) -> int:
        try:
            return commits.until_it_holds(self.at, self.attempt)
        finally:
            commits.discard(self.at, list(self.adds.values()))

    def attempt(self, state: State) -> int:
        held = {} if state.table is None else held_in(state.table, self.feed)
        new = [sha for sha in self.parts if sha not in held]
        if not new:
            return state.version
        columns = declared(RAW, self.columns(new), self.declaration, state, self.feed)
        for sha in new:
            if sha not in self.adds:
                self.store_part(sha, columns)
        version = commits.commit(self.at, state, self.change(state, new, columns))
        for sha in new:
            del self.adds[sha]
        return version

    def columns(self, new: Sequence[str]) -> Columns:
        """What the parts have between them; one that lacks a column of another holds nothing in it."""
        found: Columns = {}
        for sha in new:
            found = united(found, commits.columns_of(self.parts[sha]), f"part {sha[:16]}")
        return found

    def store_part(self, sha: str, columns: Columns) -> None:
        rows = self.parts[sha]
        folder, partition = f"feed={self.feed}/part={sha}", {"feed": self.feed, "part": sha}
        own = {name: kind for name, kind in columns.items() if name in rows.columns}
        stored = commits.shaped(rows, own)
        self.adds[sha] = commits.store(self.at, folder, rows_digest(stored)[:DIGEST_LETTERS], stored, partition)

    def change(self, state: State, new: Sequence[str], columns: Columns) -> Change:
        """The commit that adds the new parts. Delta takes a new column only with a commit that replaces something:
        then the new parts, of which there are none yet, are what it replaces."""
        before = {} if state.table is None else commits.stored_columns(state.table, FEED_AND_PART)
        whole = united(before, commits.concrete(columns), f"feed {self.feed}")
        schemas = state.notes.get("schemas", {}) | {self.feed: {"declaration": self.declaration, "columns": columns}}
        replaced: Filters = [("feed", "=", self.feed), ("part", "in", list(new))] if whole != before else []
        return Change([self.adds[sha] for sha in new], replaced, whole, FEED_AND_PART, "", {"schemas": schemas})


def held_parts(problem: str, feed: str) -> dict[str, int]:
    """The parts of a feed that the raw table holds: SHA-256 → rows."""
    at = commits.place(problem, RAW)
    with commits.faults_in_words(at, "read"):
        table = commits.newest(at).table
        return {} if table is None else {sha: file.rows for sha, file in held_in(table, feed).items()}


def held_in(table: DeltaTable, feed: str) -> dict[str, File]:
    return {file.partition["part"]: file for file in commits.files(table) if file.partition["feed"] == feed}


def read_raw(
    problem: str,
    feed: str,
    shas: Sequence[str],
    version: int | None = None,
    at_hand: MutableMapping[str, pl.DataFrame] | None = None,
) -> pl.DataFrame:
    """Rows of a feed's parts in the order of `shas`, each part as delivered; by default of the newest version.

    `at_hand` holds parts just appended, which need not be read again; they are taken out of it.

    Returns:
        the parts' columns, and `part` (UInt32): the place of the row's part in `shas`.

    Raises:
        VerificationFailed: a part is not there, cannot be read or is not what was stored.
    """
    at = commits.place(problem, RAW)
    with unreadable(f"table {RAW}: feed {feed}"):
        table = commits.newest(at).table if version is None else commits.at_version(at, version)
        held = {} if table is None else held_in(table, feed)
        taken = {} if at_hand is None else at_hand
        found = (as_stored(taken.pop(sha)) if sha in taken else read_part(at, held, sha) for sha in shas)
        parts = [rows.with_columns(part=pl.lit(i, pl.UInt32)) for i, rows in enumerate(found)]
        return pl.concat(parts, how="diagonal") if parts else pl.DataFrame(schema={"part": pl.UInt32})


def as_stored(rows: pl.DataFrame) -> pl.DataFrame:
    """Delivered rows as they would be read."""
    content = commits.storable(rows)
    return commits.shaped(content, commits.columns_of(content))


def read_part(at: Place, held: Mapping[str, File], sha: str) -> pl.DataFrame:
    if sha not in held:
        raise VerificationFailed(f"table {RAW}: part {sha[:16]} is not there; deliver it again")
    rows = commits.load(at, held[sha])
    if not PurePosixPath(held[sha].path).name.startswith(rows_digest(rows)[:DIGEST_LETTERS]):
        raise VerificationFailed(f"table {RAW}: part {sha[:16]} differs from what was stored")
    return rows


# --- columns ------------------------------------------------------------------------------------------------


def declared(table: str, columns: Columns, declaration: str, state: State, of: str = WHOLE) -> Columns:
    """The columns to write, each with a type wherever one is known (`null`: nothing was ever in it).

    Raises:
        DataRefused: they differ from those stored although the declaration is the same.
    """
    stored = state.notes.get("schemas", {}).get(of, {"declaration": declaration, "columns": columns})
    before: Columns = stored["columns"]
    known = {name: before.get(name, kind) if kind == EMPTY else kind for name, kind in columns.items()}
    if declaration == stored["declaration"] and (changes := differences(before, known)):
        raise DataRefused(
            f"table {table}: columns changed, but not what the problem file declares: {'; '.join(changes)}; "
            "deliver the columns as before, or declare the change under `columns` in the problem file"
        )
    return known


def differences(before: Columns, after: Columns) -> list[str]:
    """What changed, a phrase each; a column that never held anything may take any type."""
    changed = [
        f"{name} was {WORDS[kind]}, is {WORDS[after[name]]}"
        for name, kind in before.items()
        if name in after and after[name] != kind and kind != EMPTY
    ]
    gone = [f"{name} ({WORDS[kind]}) is gone" for name, kind in before.items() if name not in after]
    new = [f"{name} ({WORDS[kind]}) is new" for name, kind in after.items() if name not in before]
    return changed + gone + new


def united(first: Columns, second: Columns, what: str) -> Columns:
    """The columns of both.

    Raises:
        DataRefused: one of them is of two types.
    """
    both = {name: second[name] if kind == EMPTY and name in second else kind for name, kind in first.items()}
    both |= {name: kind for name, kind in second.items() if name not in first}
    for name, kind in second.items():
        if kind not in (EMPTY, both[name]):
            raise DataRefused(
                f"table {RAW}: column {name} of {what} is {WORDS[kind]}, elsewhere {WORDS[both[name]]}; "
                "a column has one type in all that is ever delivered"
            )
    return both
