"""The mapped columns of one CSV, Parquet or Feather file, typed, with what could not be read."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import polars as pl

from tasks.domain.errors import DataRefused
from tasks.sources import cells, csv_text
from tasks.sources.cells import Cells
from tasks.sources.csv_text import digest_and_layout, sha256_of
from tasks.sources.delivery import UNREADABLE
from tasks.sources.locations import Place, local

KINDS: Final = (".csv", ".parquet", ".feather", ".arrow")
NUMBER: Final = "numbers"
MOMENT: Final = "dates"
TEXT: Final = "text"


class Wanted(NamedTuple):
    """Columns to read: `names` may have in the file by our name, `types` NUMBER, MOMENT or TEXT, which are `needed`."""

    names: Mapping[str, list[str]]
    types: Mapping[str, str]
    needed: tuple[str, ...]
    zone: str | None = None
    written: str | None = None
    field: str = "columns"


class Table(NamedTuple):
    """`rows` in delivered order under our names; None where the digest was held. `unreadable` as in a Part."""

    sha256: str
    rows: pl.DataFrame | None
    unreadable: pl.DataFrame | None
    truncated: bool


def read(place: Place, wanted: Wanted, held: frozenset[str] = frozenset()) -> Table:
    """Read one file, unless its digest is held.

    Raises:
        UsageError: it can't be opened.
        DataRefused: it is empty, damaged or without a needed column, or a column's type is impossible.
    """
    with local(place) as path:
        if place.suffix == ".csv":
            return read_csv(path, place.shown, wanted, held)
        sha = sha256_of(path)
        if sha in held:
            return Table(sha, None, None, False)
        return read_binary(path, place, wanted, sha)


def read_csv(path: Path, shown: str, wanted: Wanted, held: frozenset[str]) -> Table:
    needed = [wanted.names[name] for name in wanted.needed]
    sha, built = digest_and_layout(path, shown, needed, held)
    if built is None:
        return Table(sha, None, None, False)
    positions = {name: built.header.index(column) for name, column in match(built.header, wanted, shown).items()}
    if built.rows < 1:
        raise DataRefused(f"{shown}: holds no rows; {csv_text.EXPECTED}")
    types = {position: raw_type(wanted.types[name]) for name, position in positions.items()}
    columns = dict(zip(positions, csv_text.read(path, shown, built, types).get_columns(), strict=True))
    for name, position in positions.items():
        # A null among numbers read at once may be a missing cell or an unreadable one: the text tells which.
        if wanted.types[name] == NUMBER and columns[name].null_count():
            columns[name] = csv_text.read(path, shown, built, {position: pl.String()}).to_series()
    return table(sha, columns, wanted, shown, built.truncated)


def raw_type(kind: str) -> pl.DataType:
    """How a CSV column is read first: numbers at once, moments with each distinct text once, the rest as text."""
    return {NUMBER: pl.Float64(), MOMENT: pl.Categorical(pl.Categories.random()), TEXT: pl.String()}[kind]


def read_binary(path: Path, place: Place, wanted: Wanted, sha: str) -> Table:
    try:
        header, take = opened(path, place.suffix)
        found = match(header, wanted, place.shown)
        raw = take(list(dict.fromkeys(found.values())))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError, MemoryError) as fault:
        if path.stat().st_size == 0:
            raise DataRefused(f"{place.shown}: is empty; expected a table") from None
        words = " ".join(str(fault).split())[:200]
        raise DataRefused(f"{place.shown}: cannot be read as {place.suffix[1:]} ({words})") from None
    if raw.is_empty():
        raise DataRefused(f"{place.shown}: holds no rows; expected one per instrument and session")
    columns = {name: raw[column] for name, column in found.items()}
    del raw  # so that each column goes as soon as its typed form stands
    return table(sha, columns, wanted, place.shown, False)


def opened(path: Path, suffix: str) -> tuple[list[str], Callable[[list[str]], pl.DataFrame]]:
    """The column names of a binary table and a function that reads some of its columns."""
    if suffix == ".parquet":
        return list(pl.read_parquet_schema(path)), lambda columns: pl.read_parquet(path, columns=columns)
    with path.open("rb") as file:
        stream = not file.read(6).startswith(b"ARROW1")
    if stream:
        frame = pl.read_ipc_stream(path)
        return frame.columns, frame.select
    return list(pl.read_ipc_schema(path)), lambda columns: pl.read_ipc(path, columns=columns)


def match(header: list[str], wanted: Wanted, shown: str) -> dict[str, str]:
    """Our names with the file's column for each; of several accepted names the first in the mapping is taken.

    Raises:
        DataRefused: a needed column is missing, stands twice, or is claimed by two of our names.
    """
    found: dict[str, str] = {}
    for name, accepted in wanted.names.items():
        present = [candidate for candidate in accepted if candidate in header]
        if not present:
            if name in wanted.needed:
                raise DataRefused(
                    f"{shown}: no column for {name}; expected one of {accepted}, found {clipped(header)}; "
                    f"rename it or add its name under {wanted.field}.{name} in the problem file"
                )
            continue
        column = present[0]
        if header.count(column) > 1:
            raise DataRefused(f"{shown}: column {column!r} stands {header.count(column)} times; keep one of them")
        if column in found.values():
            raise DataRefused(f"{shown}: column {column!r} is claimed for {name} and another; correct {wanted.field}")
        found[name] = column
    return found


def clipped(header: list[str]) -> list[str]:
    return [name[:40] for name in header[:12]]


def table(sha: str, columns: dict[str, pl.Series], wanted: Wanted, shown: str, truncated: bool) -> Table:
    rows: dict[str, pl.Series] = {}
    wrong = [pl.DataFrame(schema=UNREADABLE)]
    for name in list(columns):
        column = columns.pop(name)  # let go of the raw column as soon as it is typed
        read_as = typed(column, wanted.types[name], wanted)
        if read_as is None:
            raise DataRefused(
                f"{shown}: column {name}: expected {wanted.types[name]}, found values of type {column.dtype}; "
                "deliver it as such"
            )
        rows[name] = read_as.values.rename(name)
        wrong.append(read_as.texts.select("row", pl.lit(name).alias("column"), "text"))
    return Table(sha, pl.DataFrame(rows), pl.concat(wrong).sort("row", maintain_order=True), truncated)


def typed(column: pl.Series, kind: str, wanted: Wanted) -> Cells | None:
    read_as: dict[str, Callable[[pl.Series], Any]] = {
        NUMBER: cells.numbers,
        TEXT: cells.texts,
        MOMENT: lambda raw: cells.moments(raw, wanted.zone, wanted.written),
    }
    found: Cells | None = read_as[kind](column)
    return found
