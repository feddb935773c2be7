"""Bars: the digest of their content, where the lockbox begins, and their form as a wide table."""

import hashlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl

from tasks.domain.errors import UsageError
from tasks.domain.problem import BAR_COLUMNS

KEY = ["instrument", "timestamp"]
# A row whose key is smaller than that of the row before it.
KEY_FALLS = (pl.col("instrument") < pl.col("instrument").shift()) | (
    (pl.col("instrument") == pl.col("instrument").shift()) & (pl.col("timestamp") < pl.col("timestamp").shift())
)
VALUES = [name for name in BAR_COLUMNS if name not in KEY]
USABLE_YEARS = (1800, 2200)
NO_YEAR = 0
DIGEST_THREADS = 2  # hashing frees the interpreter's lock
DIGEST_SLICE = 1 << 20  # rows hashed at a time: bounds the copies that hashing makes


def digest(table: pl.DataFrame | pd.DataFrame) -> str:
    """SHA-256 of a table's content: its columns' names, kinds and values, and the order of rows within each year.

    The order of columns and the width of a number do not count; all missing numbers are one, and so are both zeros.
    The digest is one over the years' digests, so that a table of which one year changed needs only that year anew.
    """
    frame = pl.from_pandas(table) if isinstance(table, pd.DataFrame) else table
    return whole_digest({year: rows_digest(rows) for year, rows in by_year(frame)})


def whole_digest(years: Mapping[int, str]) -> str:
    """The digest of a table from those of its years (year → hexadecimal SHA-256)."""
    lines = (f"{year} {years[year]}\n" for year in sorted(years))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def by_year(table: pl.DataFrame) -> Iterator[tuple[int, pl.DataFrame]]:
    """The rows of each year in their order, oldest year first, one year in memory at a time.

    Year 0 holds rows without a usable time. The time is `timestamp`, or else the first column that holds dates.
    """
    rows = pl.DataFrame({"year": years_of(table)}).with_row_index("row").group_by("year").agg("row").sort("year")
    for year, places in zip(rows["year"], rows["row"], strict=True):
        yield int(year), table if len(rows) == 1 else table[places]


def years_of(table: pl.DataFrame) -> pl.Series:
    """The year that each row belongs to (Int32, no nulls)."""
    dates = [name for name, kind in table.schema.items() if kind == pl.Date or isinstance(kind, pl.Datetime)]
    if not dates:
        return pl.repeat(NO_YEAR, table.height, dtype=pl.Int32, eager=True)
    years = table["timestamp" if "timestamp" in dates else dates[0]].dt.year()
    return years.set(~years.is_between(*USABLE_YEARS), NO_YEAR).fill_null(NO_YEAR)


def rows_digest(rows: pl.DataFrame) -> str:
    """SHA-256 over the columns' own digests, in the order of their names."""
    with ThreadPoolExecutor(DIGEST_THREADS) as threads:
        columns = threads.map(lambda name: column_digest(rows[name]), sorted(rows.columns))
    return hashlib.sha256("".join(columns).encode()).hexdigest()


def column_digest(column: pl.Series) -> str:
    """SHA-256 of a column: its name, number of rows, kind and values."""
    sha = hashlib.sha256(f"{column.name}\x00{len(column)}\x00".encode())
    for start in range(0, len(column), DIGEST_SLICE):
        for buffer in buffers(column.slice(start, DIGEST_SLICE)):
            sha.update(buffer)
    return sha.hexdigest()


def buffers(column: pl.Series) -> Iterator[bytes | memoryview]:
    """The bytes that stand for a column's kind and values; equal values, equal bytes.

    Raises:
        TypeError: the column is of a kind that tables do not hold.
    """
    kind = column.dtype
    column = column.fill_nan(None) if kind.is_float() else column
    if column.null_count() == len(column):
        yield b"nothing"
    elif kind.is_float():
        numbers = column.cast(pl.Float64).fill_null(np.nan).to_numpy(writable=True)
        numbers[np.isnan(numbers)] = np.nan
        yield b"float"
        yield (numbers + 0.0).data  # makes the two zeros one
    elif isinstance(kind, pl.Datetime | pl.Date):
        yield b"datetime" if isinstance(kind, pl.Datetime) else b"date"
        moments = column.cast(pl.Datetime("us")).to_physical()
        yield moments.fill_null(np.iinfo(np.int64).min).to_numpy().data
    elif kind.is_integer() or kind == pl.Boolean:
        yield b"integer"
        yield column.is_null().cast(pl.UInt8).to_numpy().data
        yield column.cast(pl.Int64).fill_null(0).to_numpy().data
    elif isinstance(kind, pl.String | pl.Categorical | pl.Enum):
        words = column.cast(pl.String)
        yield b"text"
        yield words.str.len_bytes().fill_null(np.iinfo(np.uint32).max).to_numpy().data
        yield str(words.str.join("").item()).encode()
    else:
        raise TypeError(f"column {column.name}: tables hold numbers, text, dates and truth values, not {kind}")


def lockbox_start(times: pl.Series, lockbox_fraction: float) -> datetime:
    """The first session of the newest `lockbox_fraction` of sessions.

    Raises:
        UsageError: too few sessions to leave both parts at least one.
    """
    sessions = times.unique().sort()
    held_back = round(len(sessions) * lockbox_fraction)
    if not 1 <= held_back < len(sessions):
        raise UsageError(
            f"{len(sessions)} sessions are too few for a lockbox of {lockbox_fraction:.0%}; bring more data"
        )
    start: datetime = sessions[-held_back]
    return start


def wide(bars: pd.DataFrame, column: str) -> pd.DataFrame:
    """One column as sessions × instruments, missing bars as NaN."""
    return bars.pivot(index="timestamp", columns="instrument", values=column).sort_index()


def codes_of(instruments: pl.Series) -> tuple[npt.NDArray[np.int32], list[str]]:
    """Each row's number among the distinct names in order, -1 where there is none."""
    words = instruments.cast(pl.Categorical)
    distinct = words.unique().drop_nulls()
    names = distinct.cast(pl.String)
    order = names.arg_sort()
    marks = distinct.to_physical().gather(order).to_numpy()
    number = np.full(int(marks.max(initial=0)) + 2, -1, dtype=np.int32)  # the last one stands for no name
    number[marks] = np.arange(len(marks), dtype=np.int32)
    return number[words.to_physical().fill_null(len(number) - 1).to_numpy()], names.gather(order).to_list()
