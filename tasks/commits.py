"""A Delta table as data files and commits: whole files first, then one commit that names them, or none.

Every commit is strict: it counts only if the table is still what the writer saw. A writer that comes second looks
again and decides anew. That makes any two writers as good as one after the other.
"""

import errno
import io
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from uuid import uuid4

import polars as pl
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Field, PostCommitHookProperties, Schema
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, create_table_with_add_actions
from polars.exceptions import PanicException, PolarsError
from pyarrow.fs import PyFileSystem

from tasks import places
from tasks.domain.errors import CountersignError

NOTES = "countersign.notes"
DIGEST = "countersign.sha256"
NO_VERSION = -1
ATTEMPTS = 100
UPLOAD_BYTES = 8 << 20
# Old versions must stay readable: nothing of the log is ever cleaned up, and no file counts as old.
CONFIGURATION = {
    "delta.enableExpiredLogCleanup": "false",
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.deletedFileRetentionDuration": "interval 36500 days",
}
STORED: dict[pl.DataType | type[pl.DataType], str] = {
    pl.Datetime("us"): "timestamp_ntz",
    pl.Date(): "date",
    pl.String(): "string",
    pl.Float64(): "double",
    pl.Int64(): "long",
    pl.Boolean(): "boolean",
}
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
DENIED = ("os error 13", "Permission denied", "AccessDenied", "necessary privileges")
EMPTY = "null"  # the type of a column that never held anything; stored as text
Columns = dict[str, str]
Filters = list[tuple[str, str, str | list[str]]]
Result = TypeVar("Result")


class Conflict(Exception):
    """Somebody else committed first."""


class File(NamedTuple):
    """A data file of a version: where below the table, how many rows, the values of its partition."""

    path: str
    rows: int
    partition: dict[str, str]


class State(NamedTuple):
    """What a writer sees: the newest version, what its commit noted, and the table itself (None: not there yet)."""

    version: int
    notes: dict[str, Any]
    table: DeltaTable | None


class Place(NamedTuple):
    """A table's address and what opens it."""

    uri: str
    options: dict[str, str]

    @property
    def is_local(self) -> bool:
        return not places.is_url(self.uri)


def place(problem: str, table: str) -> Place:
    uri = places.table(problem, table)
    return Place(uri, places.options(uri))


# --- reading ------------------------------------------------------------------------------------------------


def newest(at: Place) -> State:
    """The table as it is now; notes and version are of one and the same commit."""
    while True:
        try:
            table = DeltaTable(at.uri, storage_options=at.options)
        except TableNotFoundError:
            return State(NO_VERSION, {}, None)
        notes = newest_notes(table)
        # `history` reads the newest commit, which may be younger than `table`.
        if DeltaTable(at.uri, storage_options=at.options).version() == table.version():
            return State(table.version(), notes, table)


def newest_notes(table: DeltaTable) -> dict[str, Any]:
    """What the newest commit notes. Where somebody else's tool made that one, only the columns last declared count."""
    newest_commit = table.history(1)[0]
    if NOTES in newest_commit:
        return dict(json.loads(newest_commit[NOTES]))
    noted = next((json.loads(each[NOTES]) for each in table.history() if NOTES in each), {})
    return {"schemas": noted.get("schemas", {})}


def at_version(at: Place, version: int) -> DeltaTable:
    return DeltaTable(at.uri, version=version, storage_options=at.options)


def files(table: DeltaTable) -> list[File]:
    """The data files of a version, in the order of their paths."""
    actions = pl.DataFrame(table.get_add_actions(flatten=True))
    partitions = [name for name in actions.columns if name.startswith("partition.")]
    rows = actions.select("path", "num_records", *partitions).sort("path").iter_rows(named=True)
    return [
        File(row["path"], row["num_records"], {name.partition(".")[2]: str(row[name]) for name in partitions})
        for row in rows
    ]


def load(at: Place, file: File, columns: Columns | None = None) -> pl.DataFrame:
    """The rows of a data file in the order written; columns it lacks are missing throughout."""
    rows = pl.read_parquet(read_bytes(at, file.path), glob=False, hive_partitioning=False)
    return rows if columns is None else shaped(rows, columns)


def read_bytes(at: Place, path: str) -> Path | io.BytesIO:
    if at.is_local:
        return Path(at.uri) / path
    with object_store(at).open_input_file(path) as stream:
        return io.BytesIO(stream.read())


def object_store(at: Place) -> PyFileSystem:
    from deltalake.fs import DeltaStorageHandler

    return PyFileSystem(DeltaStorageHandler(at.uri, at.options))


# --- columns ------------------------------------------------------------------------------------------------


def storable(content: pl.DataFrame) -> pl.DataFrame:
    """The same content in the types that tables hold; a column with nothing in it keeps its type `Null`.

    Raises:
        TypeError: a column is of a kind that tables do not hold.
    """
    return content.cast({name: stored_type(name, kind) for name, kind in content.schema.items()})


def stored_type(name: str, kind: pl.DataType) -> pl.DataType:
    if kind in STORED or kind == pl.Null:
        return kind
    if kind.is_integer():
        return pl.Int64()
    if kind.is_float():
        return pl.Float64()
    if isinstance(kind, pl.Categorical | pl.Enum):
        return pl.String()
    if isinstance(kind, pl.Datetime) and kind.time_zone is None:
        return pl.Datetime("us")
    raise TypeError(f"column {name}: tables hold numbers, text, dates and truth values, not {kind}")


def columns_of(content: pl.DataFrame) -> Columns:
    """Name → stored type, in words that Delta knows; `null` where a column holds nothing."""
    return {name: STORED.get(kind, EMPTY) for name, kind in content.schema.items()}


def concrete(columns: Columns) -> Columns:
    return {name: "string" if kind == EMPTY else kind for name, kind in columns.items()}


def stored_columns(table: DeltaTable, partitions: Columns) -> Columns:
    return {field.name: field.type.type for field in table.schema().fields if field.name not in partitions}


def empty(columns: Columns) -> pl.DataFrame:
    """No rows of these columns."""
    return shaped(pl.DataFrame(), columns)


def shaped(rows: pl.DataFrame, columns: Columns) -> pl.DataFrame:
    """Rows with exactly these columns and types; what the rows lack is missing."""
    types = {word: kind for kind, word in STORED.items()}
    wanted = {name: types[kind] for name, kind in concrete(columns).items()}
    return pl.DataFrame(
        {
            name: rows[name].cast(kind)
            if name in rows.columns
            else pl.repeat(None, rows.height, dtype=kind, eager=True)
            for name, kind in wanted.items()
        },
        schema=wanted,
    )


def schema(columns: Columns, partitions: Columns) -> Schema:
    return Schema([Field(name, kind, nullable=True) for name, kind in (concrete(columns) | partitions).items()])


# --- writing ------------------------------------------------------------------------------------------------


def store(at: Place, folder: str, name: str, rows: pl.DataFrame, partition: Mapping[str, str]) -> AddAction:
    """Write a data file that no commit names yet. Level 1 of zstd costs a tenth more space than the default of
    level 3 and a third less time."""
    path = f"{folder}/{name}-{uuid4().hex[:12]}.parquet"
    size = write_parquet(at, path, rows)
    stats = json.dumps({"numRecords": rows.height})
    return AddAction(path, size, dict(partition), int(time.time() * 1000), True, stats)


def write_parquet(at: Place, path: str, rows: pl.DataFrame) -> int:
    if at.is_local:
        target = Path(at.uri) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            rows.write_parquet(target, compression="zstd", compression_level=1)
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        return target.stat().st_size
    buffer = io.BytesIO()
    rows.write_parquet(buffer, compression="zstd", compression_level=1)
    # Unbuffered, deltalake's stream takes only what pyarrow does not give it.
    with object_store(at).open_output_stream(path, buffer_size=UPLOAD_BYTES) as stream:
        stream.write(buffer.getbuffer())
    return buffer.tell()


class Change(NamedTuple):
    """A commit to be made: files added; partitions they replace (none: only added); the table's columns; its notes."""

    adds: Sequence[AddAction]
    replaced: Filters
    columns: Columns
    partitions: Columns
    sha256: str
    notes: dict[str, Any]


def commit(at: Place, state: State, change: Change) -> int:
    """Commit on top of the state seen; returns the new version.

    Raises:
        Conflict: the table is no longer in that state.
    """
    properties = CommitProperties(
        custom_metadata={DIGEST: change.sha256, NOTES: json.dumps(change.notes, sort_keys=True)}, max_commit_retries=0
    )
    hooks = PostCommitHookProperties(cleanup_expired_logs=False)
    columns, by = schema(change.columns, change.partitions), list(change.partitions)
    try:
        if state.table is None:
            create_table_with_add_actions(
                at.uri,
                columns,
                list(change.adds),
                partition_by=by,
                configuration=CONFIGURATION,
                storage_options=at.options,
                commit_properties=properties,
                post_commithook_properties=hooks,
            )
        else:
            state.table.create_write_transaction(
                list(change.adds),
                "overwrite" if change.replaced else "append",
                columns,
                by,
                change.replaced or None,
                commit_properties=properties,
                post_commithook_properties=hooks,
            )
    except CommitFailedError:
        raise Conflict from None
    except DeltaError:
        if newest(at).version == state.version:
            raise
        raise Conflict from None
    return state.version + 1


def until_it_holds(at: Place, attempt: Callable[[State], Result]) -> Result:
    """Try on the newest state until nobody else commits in between.

    Raises:
        CountersignError: others kept committing first.
    """
    for number in range(ATTEMPTS):
        try:
            return attempt(newest(at))
        except Conflict:
            time.sleep(0.01 * min(number, 20))
    raise CountersignError(f"table {at.uri}: other writers committed first {ATTEMPTS} times; try again later")


def discard(at: Place, adds: Sequence[AddAction]) -> None:
    """Delete data files that no commit names, so that a failed write gives its space back."""
    if not adds:
        return
    with suppress(Exception, PanicException):  # what cannot be deleted is never read either
        table = newest(at).table
        named = set() if table is None else {file.path for file in files(table)}
        for add in adds:
            if add.path not in named:
                delete(at, add.path)


def delete(at: Place, path: str) -> None:
    if at.is_local:
        (Path(at.uri) / path).unlink(missing_ok=True)
    else:
        object_store(at).delete_file(path)


# --- faults -------------------------------------------------------------------------------------------------


@contextmanager
def faults_in_words(at: Place, verb: str) -> Iterator[None]:
    """Say in one line what storage says in many ways."""
    try:
        yield
    except (OSError, PolarsError, PanicException, DeltaError, pa.ArrowException, TableNotFoundError) as fault:
        raise CountersignError(f"table {at.uri}: cannot be {verb}: {reason(fault)}") from None


def reason(fault: BaseException) -> str:
    words = " ".join(COLOUR.sub("", str(fault)).split())
    if getattr(fault, "errno", None) == errno.ENOSPC or "os error 28" in words or "No space left" in words:
        return "no space left on the device; free some and run it again, the versions before it are untouched"
    if getattr(fault, "errno", None) == errno.EACCES or any(each in words for each in DENIED):
        return "permission denied; expectations/access.yaml says which role may"
    return words[:200]
