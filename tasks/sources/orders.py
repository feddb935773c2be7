"""Order and fill records of an order management system: CSV files with a column mapping, or FIX 4.4 logs."""

from pathlib import Path
from typing import Final, NamedTuple

import polars as pl

from tasks.domain.errors import DataRefused
from tasks.domain.orders import KIND_WORDS, ORDER_SCHEMA, SIDE_WORDS, plain_words
from tasks.domain.problem import OrdersSource
from tasks.sources import cells, fix, tables
from tasks.sources.csv_text import sha256_of
from tasks.sources.delivery import ROWS_BEFORE_DATA, feed
from tasks.sources.locations import Place, find, local

LOGS: Final = (".fix", ".log", ".txt")
REQUIRED: Final = ("time", "kind", "order_id", "instrument", "side", "quantity")
AMOUNTS: Final = ("quantity", "price", "cumulative_quantity")
REJECTED: Final = {"row": pl.UInt32(), "reason": pl.String(), "text": pl.String()}
FAR_ZONE: Final = "Etc/GMT+12"
RAW: Final = {"row": pl.UInt32(), "text": pl.String()} | {name: pl.String() for name in ORDER_SCHEMA}


class OrderPart(NamedTuple):
    """One file of records; `orders` and `rejected` are None where its `sha256` is held.

    `orders` has the columns of `ORDER_SCHEMA`, in delivered order; a kind or side that is unknown stays as delivered.
    `rejected` are records that can't be read: `row` (as people count lines, from 1), `reason`, `text`. `passed_over`
    counts messages about something else. The file's records are orders + rejected + passed_over.
    """

    name: str
    sha256: str
    orders: pl.DataFrame | None
    rejected: pl.DataFrame | None
    passed_over: int = 0


class OrderDelivery(NamedTuple):
    """All files of records there are now, in the order of their names."""

    name: str
    feed: str
    parts: tuple[OrderPart, ...]


def collect(source: OrdersSource, held: frozenset[str] = frozenset()) -> OrderDelivery:
    """Read order and fill records.

    Raises:
        UsageError: nothing to read there, or an unknown kind of file.
        DataRefused: a file is empty, damaged or without a needed column.
    """
    places = find(source.path, LOGS if source.format == "fix" else (".csv",))
    read = from_log if source.format == "fix" else from_csv
    parts = tuple(read(place, source, held) for place in places)
    return OrderDelivery(f"orders:{places[0].stem}" if len(places) == 1 else "orders", feed(source, {}), parts)


def from_csv(place: Place, source: OrdersSource, held: frozenset[str]) -> OrderPart:
    wanted = tables.Wanted(
        names={name: source.columns.get(name, [name]) for name in ORDER_SCHEMA},
        types=dict.fromkeys(ORDER_SCHEMA, tables.TEXT),
        needed=REQUIRED,
        field="orders.columns",
    )
    table = tables.read(place, wanted, held)
    if table.rows is None:
        return OrderPart(place.shown, table.sha256, None, None)
    raw = table.rows.with_columns(
        pl.lit(None, pl.String).alias(name) for name in ORDER_SCHEMA if name not in table.rows.columns
    ).with_columns(
        (pl.int_range(pl.len(), dtype=pl.UInt32) + ROWS_BEFORE_DATA[".csv"]).alias("row"),
        pl.concat_str(table.rows.columns, separator=",", ignore_nulls=True).alias("text"),
    )
    orders, rejected = typed(raw, source.time_zone)
    return OrderPart(place.shown, table.sha256, orders, rejected)


def from_log(place: Place, source: OrdersSource, held: frozenset[str]) -> OrderPart:
    with local(place) as path:
        sha = sha256_of(path)
        if sha in held:
            return OrderPart(place.shown, sha, None, None)
        return from_lines(path, place.shown, sha)


def from_lines(path: Path, shown: str, sha: str) -> OrderPart:
    with path.open("rb") as file:
        lines = list(fix.read(file))
    if not lines:
        raise DataRefused(f"{shown}: is empty; expected a FIX 4.4 log")
    if all(line.reason for line in lines):
        raise DataRefused(f"{shown}: row {lines[0].row}: {lines[0].reason} ({len(lines)} such); expected a FIX 4.4 log")
    taken = [{"row": line.row, "text": line.text, **line.record} for line in lines if line.record is not None]
    refused = [{"row": line.row, "reason": line.reason, "text": line.text} for line in lines if line.reason]
    orders, unreadable = typed(pl.DataFrame(taken, schema=RAW), "UTC")
    rejected = pl.concat([pl.DataFrame(refused, schema=REJECTED), unreadable]).sort("row", maintain_order=True)
    return OrderPart(shown, sha, orders, rejected, len(lines) - len(taken) - len(refused))


def typed(raw: pl.DataFrame, zone: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Records of text (columns of `RAW`) as orders, and those with a time or amount that can't be read."""
    read = {"time": moments(raw["time"], zone)} | {name: amount(raw[name]) for name in AMOUNTS}
    expected = dict.fromkeys(AMOUNTS, "a number") | {"time": f"a moment in {zone}"}
    wrong = [
        found.texts.with_columns(
            reason=pl.format("{}: expected {}, found {}", pl.lit(name), pl.lit(expected[name]), "text")
        )
        for name, found in read.items()
    ]
    faults = pl.concat(wrong).select(pl.col("row").alias("place"), "reason").unique("place", keep="first")
    orders = raw.with_columns(found.values.rename(name) for name, found in read.items())
    judged = (
        orders.with_columns(plain_words(pl.col("kind"), KIND_WORDS), plain_words(pl.col("side"), SIDE_WORDS))
        .with_row_index("place")
        .join(faults, on="place", how="left", maintain_order="left")
    )
    kept, rejected = judged.filter(pl.col("reason").is_null()), judged.filter(pl.col("reason").is_not_null())
    return kept.select(list(ORDER_SCHEMA)), rejected.select(list(REJECTED))


def amount(texts: pl.Series) -> cells.Cells:
    read = cells.numbers(texts)
    assert read is not None
    return read


def moments(texts: pl.Series, zone: str) -> cells.Cells:
    """Texts as moments in UTC; one without an offset is on the wall clock of `zone`.

    A wall clock that shows a time twice or never (when clocks are moved) is unreadable there without an offset.
    """
    here, there = cells.moments(texts, "UTC"), cells.moments(texts, FAR_ZONE)
    assert here is not None
    assert there is not None
    # Only a stamp with an offset reads differently in two zones.
    aware = here.values != there.values
    localised = here.values.dt.replace_time_zone(zone, ambiguous="null", non_existent="null").dt.convert_time_zone(
        "UTC"
    )
    utc = pl.select(pl.when(aware).then(here.values.dt.replace_time_zone("UTC")).otherwise(localised)).to_series()
    lost = utc.is_null() & here.values.is_not_null()
    texts_lost = pl.concat([here.texts, cells.unreadable(texts, lost)]).sort("row")
    return cells.Cells(utc.rename("time"), texts_lost)
