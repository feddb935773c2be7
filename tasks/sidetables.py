"""Orders and series beside the bars: read, judged, checked and stored whole at every collection.

They are small next to bars, and a fill can only be judged together with its order, so all files are read each time.
"""

from typing import Any, NamedTuple

import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks import checks, lake
from tasks.domain.errors import DataRefused
from tasks.domain.orders import reconcile
from tasks.domain.problem import OrdersSource, Problem, SeriesSource
from tasks.home import as_json, sha256
from tasks.recording import Record
from tasks.sources import orders, series


class Told(NamedTuple):
    """One side table as read: its rows, those rejected (`part`, `row`, `reason`, `text`), where it came from, and how
    many records ended where."""

    table: str
    suite: str
    rows: pl.DataFrame
    rejected: pl.DataFrame
    parts: tuple[tuple[str, str], ...]
    accounting: dict[str, int]


def read(problem: Problem) -> list[Told]:
    """The side tables that a problem declares."""
    told = [] if problem.orders is None else [read_orders(problem.orders)]
    return told if problem.series is None else [*told, read_series(problem.series)]


def read_orders(source: OrdersSource) -> Told:
    found = orders.collect(source).parts
    records = pl.concat([part.orders for part in found if part.orders is not None])
    judged = reconcile(records)
    unfit = judged.rejected.select(
        pl.lit("").alias("part"),
        pl.lit(None, pl.UInt32).alias("row"),
        "reason",
        pl.format("{} {} {} {}", "time", "kind", "order_id", pl.col("execution_id").fill_null("")).alias("text"),
    )
    unread = [with_part(part.rejected, part.name) for part in found if part.rejected is not None]
    rejected = pl.concat([*unread, unfit])
    passed_over = sum(part.passed_over for part in found)
    collected = len(records) + sum(map(len, unread)) + passed_over
    counts = {"collected": collected, "accepted": len(judged.accepted), "duplicates": len(judged.duplicates)}
    return Told(
        lake.ORDERS,
        checks.ORDERS,
        judged.accepted,
        rejected,
        tuple((part.name, part.sha256) for part in found),
        counts | {"rejected": len(rejected), "passed_over": passed_over},
    )


def read_series(source: SeriesSource) -> Told:
    found = series.collect(source).parts
    rows = pl.concat([part.series for part in found if part.series is not None])
    once = rows.unique(maintain_order=True)
    contrary = once.select("series", "date", "known_at").is_duplicated()
    unread = [with_part(part.rejected, part.name) for part in found if part.rejected is not None]
    unfit = once.filter(contrary).select(
        pl.lit("").alias("part"),
        pl.lit(None, pl.UInt32).alias("row"),
        pl.lit("two files say different values for one series, date and known_at").alias("reason"),
        pl.format("{} {}", "series", "date").alias("text"),
    )
    rejected = pl.concat([*unread, unfit])
    missing = sum(part.missing for part in found)
    repeated = sum(part.repeated for part in found) + len(rows) - len(once)
    collected = len(rows) + sum(map(len, unread)) + missing + sum(part.repeated for part in found)
    counts = {"collected": collected, "accepted": len(once) - len(unfit), "duplicates": repeated}
    return Told(
        lake.SERIES,
        checks.SERIES,
        once.filter(~contrary).sort("series", "date", "known_at"),
        rejected,
        tuple((part.name, part.sha256) for part in found),
        counts | {"rejected": len(rejected), "missing": missing},
    )


def with_part(rejected: pl.DataFrame, name: str) -> pl.DataFrame:
    return rejected.select(pl.lit(name).alias("part"), "row", "reason", "text")


def sha256_of(told: list[Told]) -> str:
    """Digest of what was read: another snapshot follows from others."""
    return sha256(as_json([[each.table, each.parts] for each in told]))


@task(cache_policy=NO_CACHE)
def store(problem: Problem, told: list[Told], record: Record) -> dict[str, Any]:
    """Check each side table and write it; returns, by table, what was written, its checks and its accounting.

    Raises:
        DataRefused: records are not accounted for, or a critical expectation failed.
    """
    return {each.table: store_one(problem, each, record) for each in told}


def store_one(problem: Problem, each: Told, record: Record) -> dict[str, Any]:
    ended = sum(count for name, count in each.accounting.items() if name != "collected")
    if ended != each.accounting["collected"]:
        raise DataRefused(f"{each.table}: {each.accounting['collected']} records, {ended} accounted for")
    checked = checks.check(each.rows, each.suite, record.folder)
    each.rejected.write_csv(record.folder / f"{each.table}-rejected.csv")
    rows = each.rows.with_columns(pl.col(pl.Datetime("us", "UTC")).dt.replace_time_zone(None))  # tables are in UTC
    written = lake.write(problem.name, each.table, rows, sha256(problem.canonical()))
    record.run.figures({f"data.{each.table}.{name}": float(count) for name, count in each.accounting.items()})
    parts = [{"name": name, "sha256": sha} for name, sha in each.parts]
    return {
        "written": dict(written._asdict()),
        "checks": checked._asdict(),
        "accounting": each.accounting,
        "parts": parts,
    }
