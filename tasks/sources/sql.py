"""Bars from a database: the answer to a query, read in batches through SQLAlchemy.

A query that uses `:since` is asked only for what is newer than the newest timestamp held (the first time, than the
year 1900); each answer is a part of its own, added to those held. Without `:since` the whole answer is one part. The
order of rows is the query's: end it with ORDER BY, or the same content may arrive as another part. Nothing is ever
written: the transaction is rolled back.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from tasks.domain.errors import DataRefused, UsageError
from tasks.domain.problem import SqlSource
from tasks.sources import contents, tables
from tasks.sources.delivery import BAR_TYPES, REQUIRED, UNREADABLE, Delivery, Part, Request, feed, one_line
from tasks.sources.files import scaled
from tasks.sources.locations import redact

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection

BATCH: Final = 50_000
BEGINNING: Final = datetime(1900, 1, 1)
SINCE: Final = re.compile(r"(?<![:\w\\]):since\b")


def collect(request: Request) -> Delivery:
    """Ask the database of a `SqlSource`.

    Raises:
        UsageError: the variable is not set, the URL is none, no driver, no connection, or the query fails.
        DataRefused: no rows though none are held, a needed column is missing or of an impossible type, or a stamp
            carries an offset while the problem declares no time zone for the source.
    """
    source: SqlSource = request.source
    shown = f"sql {source.url_variable}"
    since = (request.since or BEGINNING) if SINCE.search(source.query) else None
    bars, unreadable = answer(source, request.columns, since, shown)
    before = request.held_parts if since is not None else ()
    parts = [Part(name, sha, None, None) for name, sha in before]
    if bars.is_empty() and not parts:
        raise DataRefused(f"{shown}: the query returned no rows; expected one per instrument and session")
    if not bars.is_empty():
        sha = contents.digest(pl.concat([bars, marked(bars, unreadable)], how="horizontal"))
        name = shown if since is None or since == BEGINNING else f"{shown} since {since.isoformat()}"
        if sha not in {held for _, held in before}:
            parts.append(Part(name, sha, *((None, None) if sha in request.held else (bars, unreadable))))
    return Delivery(f"sql:{source.url_variable}", feed(source, request.columns), tuple(parts))


def marked(bars: pl.DataFrame, unreadable: pl.DataFrame) -> pl.DataFrame:
    """Unreadable texts beside their rows, so that the digest covers what `bars` can't hold."""
    texts = unreadable.group_by("row", maintain_order=True).agg(
        pl.concat_str("column", pl.lit("="), "text").str.join("\n").alias("unreadable")
    )
    return bars.select(pl.int_range(pl.len(), dtype=pl.UInt32).alias("row")).join(texts, on="row", how="left")[
        ["unreadable"]
    ]


def answer(
    source: SqlSource, columns: dict[str, list[str]], since: datetime | None, shown: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows of the answer and their unreadable cells, put together batch by batch."""
    bars: list[pl.DataFrame] = []
    unreadable: list[pl.DataFrame] = [pl.DataFrame(schema=UNREADABLE)]
    rows = 0
    with closing(batches(source, since, shown)) as answered:
        for header, batch in answered:
            table = typed(header, batch, source, columns, shown)
            bars.append(scaled(table.rows, source.price_scale))
            unreadable.append(table.unreadable.with_columns(pl.col("row") + pl.lit(rows, pl.UInt32)))
            rows += len(batch)
    return pl.concat(bars), pl.concat(unreadable)


def batches(source: SqlSource, since: datetime | None, shown: str) -> Iterator[tuple[list[str], Sequence[Any]]]:
    """The answer's column names with some of its rows, from a cursor on the server where there is one.

    An answer without rows is one empty batch, so that its columns are checked all the same.
    """
    from sqlalchemy import DateTime, bindparam, text
    from sqlalchemy.exc import SQLAlchemyError

    with connected(url_of(source, shown), shown) as connection:
        try:
            query = text(source.query)
            if since is not None:
                query = query.bindparams(bindparam("since", since, DateTime()))
            with connection.execution_options(stream_results=True, max_row_buffer=BATCH).execute(query) as streamed:
                if not streamed.returns_rows:
                    raise UsageError(f"{shown}: the query returns no rows; give a SELECT")
                header, empty = list(streamed.keys()), True
                for batch in streamed.partitions(BATCH):
                    empty = False
                    yield header, batch
                if empty:
                    yield header, []
        except SQLAlchemyError as fault:
            raise UsageError(f"{shown}: the query fails ({words(fault, connection.engine.url)})") from None


@contextmanager
def connected(url: "URL", shown: str) -> "Iterator[Connection]":
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    try:
        engine = create_engine(url, poolclass=NullPool)
        connection = engine.connect()
    except ImportError as fault:
        raise UsageError(f"{shown}: no driver for {url.drivername} ({one_line(fault)}); install it") from None
    except SQLAlchemyError as fault:
        raise UsageError(f"{shown}: cannot connect ({words(fault, url)})") from None
    with connection:
        yield connection


def url_of(source: SqlSource, shown: str) -> "URL":
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    given = os.environ.get(source.url_variable, "")
    if not given:
        raise UsageError(f"{shown}: is not set; put the database's SQLAlchemy URL into that environment variable")
    try:
        return make_url(given)
    except (ArgumentError, ValueError):
        raise UsageError(f"{shown}: is no SQLAlchemy URL; expected dialect+driver://user:password@host/name") from None


def words(fault: Exception, url: "URL") -> str:
    """What a database said, in one line, without the password."""
    said = one_line(getattr(fault, "orig", None) or fault)
    for secret in (url.password, *url.query.values()):
        if isinstance(secret, str) and secret:
            said = said.replace(secret, "***")
    return redact(said)


def typed(
    header: list[str], batch: Sequence[Any], source: SqlSource, columns: dict[str, list[str]], shown: str
) -> "tables.Table":
    kinds = {"timestamp": tables.MOMENT, "instrument": tables.TEXT}
    wanted = tables.Wanted(
        names={name: columns[name] for name in BAR_TYPES if name in columns},
        types={name: kinds.get(name, tables.NUMBER) for name in BAR_TYPES},
        needed=REQUIRED,
        zone=source.time_zone,
    )
    found = tables.match(header, wanted, shown)
    cells = list(zip(*batch, strict=True)) if batch else [()] * len(header)
    taken = {name: series(cells[header.index(found[name])], source, shown) for name in BAR_TYPES if name in found}
    return tables.table("", taken, wanted, shown, False)


def series(values: Sequence[Any], source: SqlSource, shown: str) -> pl.Series:
    """One column of a batch. What is mixed becomes text, and is then read or reported as text is."""
    kinds = {type(value) for value in values if value is not None}
    if not kinds:
        return pl.Series(values, dtype=pl.Null)
    if kinds <= {int, float, Decimal}:
        return pl.Series([None if value is None else float(value) for value in values], dtype=pl.Float64)
    if kinds == {datetime}:
        if any(value is not None and value.tzinfo is not None for value in values):
            return with_offset(values, source, shown)
        return pl.Series(values, dtype=pl.Datetime("us"))
    return pl.Series([None if value is None else str(value) for value in values], dtype=pl.String)


def with_offset(values: Sequence[Any], source: SqlSource, shown: str) -> pl.Series:
    if source.time_zone is None:
        # The offset is that of the connection, so "as delivered" would depend on the machine that asks.
        raise DataRefused(f"{shown}: stamps carry an offset; declare source.time_zone, the exchange's time zone")
    texts = [None if value is None else value.isoformat() for value in values]
    return pl.Series(texts, dtype=pl.String)
