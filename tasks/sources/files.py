"""Bars from files: one, a folder or a glob of CSV, Parquet and Feather, wherever fsspec finds them.

Each file is a part, known by the SHA-256 of its bytes; one that is held already is not parsed again. Only the mapped
columns are read. In a CSV file a row with fewer fields than the header lacks the others; a row with more is refused.
"""

from functools import partial

import polars as pl

from tasks.domain.bars import VALUES
from tasks.domain.problem import FilesSource
from tasks.sources import tables
from tasks.sources.delivery import BAR_TYPES, REQUIRED, Delivery, Part, Request, feed
from tasks.sources.locations import Place, find, redact

PRICES = tuple(name for name in VALUES if name != "volume")
WHOLE_DIVISOR = 1e-9  # how near to a whole number the inverse of a scale must be to divide by it


def collect(request: Request) -> Delivery:
    """Read the files of a `FilesSource`.

    Raises:
        UsageError: nothing to read there, an unknown kind of file, or no permission.
        DataRefused: a file is empty, damaged, not UTF-8, without a needed column, or has rows that are too long.
    """
    source: FilesSource = request.source
    places = find(source.path, tables.KINDS)
    parts = tuple(part(place, source, request) for place in places)
    return Delivery(f"file:{name_of(source.path)}", feed(source, request.columns), parts)


def name_of(path: str) -> str:
    return redact(path).split("?")[0].rstrip("/").rsplit("/", 1)[-1]


def part(place: Place, source: FilesSource, request: Request) -> Part:
    table = tables.read(place, wanted(source, request.columns), request.held)
    if table.rows is None:
        return Part(place.shown, table.sha256, None, None)
    bars = table.rows.pipe(named, source, place).pipe(partial(scaled, scale=source.price_scale))
    return Part(place.shown, table.sha256, bars, table.unreadable, table.truncated)


def wanted(source: FilesSource, columns: dict[str, list[str]]) -> tables.Wanted:
    kinds = {"timestamp": tables.MOMENT, "instrument": tables.TEXT}
    needed = tuple(name for name in REQUIRED if name != "instrument" or not source.instrument.from_name)
    return tables.Wanted(
        names={name: columns[name] for name in BAR_TYPES if name in columns},
        types={name: kinds.get(name, tables.NUMBER) for name in BAR_TYPES},
        needed=needed,
        zone=source.time_zone,
        written=source.time_format,
    )


def named(bars: pl.DataFrame, source: FilesSource, place: Place) -> pl.DataFrame:
    """Bars with their instrument: the file's column, or else its name where the problem says so."""
    if "instrument" not in bars and source.instrument.from_name:
        bars = bars.with_columns(pl.lit(place.stem).alias("instrument"))
    return bars.select(name for name in BAR_TYPES if name in bars.columns)


def scaled(bars: pl.DataFrame, scale: float | None) -> pl.DataFrame:
    """Prices times `scale`; dividing by ten thousand instead of multiplying by 0.0001 avoids a rounding error."""
    if scale is None:
        return bars
    divisor = round(1 / scale)
    exact = divisor >= 1 and abs(1 / scale - divisor) < WHOLE_DIVISOR * divisor
    # In numpy, because polars divides by one number by multiplying with its rounded inverse.
    return bars.with_columns(
        pl.Series(name, bars[name].to_numpy() / divisor if exact else bars[name].to_numpy() * scale).fill_nan(None)
        for name in PRICES
        if name in bars.columns
    )
