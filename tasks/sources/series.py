"""Economic and alternative data: values with a reference date and the moment at which they became known."""

from typing import Final, NamedTuple

import polars as pl

from tasks.domain.errors import DataRefused
from tasks.domain.known import SERIES_SCHEMA
from tasks.domain.problem import SERIES_COLUMNS, SeriesSource
from tasks.sources import tables
from tasks.sources.delivery import ROWS_BEFORE_DATA, feed
from tasks.sources.locations import Place, find

KINDS: Final = {"date": tables.MOMENT, "series": tables.TEXT, "value": tables.NUMBER, "known_at": tables.MOMENT}
REQUIRED: Final = ("date", "series", "value")
REJECTED: Final = {"row": pl.UInt32(), "reason": pl.String(), "text": pl.String()}
KEY: Final = ("series", "date", "known_at")


class SeriesPart(NamedTuple):
    """One file of values; `series` and `rejected` are None where its `sha256` is held.

    `series` has the columns of `SERIES_SCHEMA`, in delivered order; revisions are rows with the same series and date
    and another `known_at`. `rejected`: `row` (as people count, from 1), `reason`, `text`. `missing` counts rows
    without a value, such as holidays in a calendar of all days, `repeated` exact repetitions. The file's rows are
    series + rejected + missing + repeated.
    """

    name: str
    sha256: str
    series: pl.DataFrame | None
    rejected: pl.DataFrame | None
    missing: int = 0
    repeated: int = 0


class SeriesDelivery(NamedTuple):
    """All files of values there are now, in the order of their names."""

    name: str
    feed: str
    parts: tuple[SeriesPart, ...]


def collect(source: SeriesSource, held: frozenset[str] = frozenset()) -> SeriesDelivery:
    """Read the files of a `SeriesSource`.

    Raises:
        UsageError: nothing to read there, or an unknown kind of file.
        DataRefused: a file is empty, damaged or without a needed column, or there is no way to know when a series
            became known.
    """
    places = find(source.path, tables.KINDS)
    parts = tuple(part(place, source, held) for place in places)
    return SeriesDelivery(f"series:{places[0].stem}" if len(places) == 1 else "series", feed(source, {}), parts)


def part(place: Place, source: SeriesSource, held: frozenset[str]) -> SeriesPart:
    wanted = tables.Wanted(
        names={name: source.columns.get(name, [name]) for name in SERIES_COLUMNS},
        types=KINDS,
        needed=REQUIRED,
        zone=source.time_zone,
        field="series.columns",
    )
    table = tables.read(place, wanted, held)
    if table.rows is None or table.unreadable is None:
        return SeriesPart(place.shown, table.sha256, None, None)
    first = ROWS_BEFORE_DATA.get(place.suffix, 1)
    rows = with_known_at(table.rows, source, place.shown).with_row_index("place")
    judged = rows.join(unreadable(table.unreadable), left_on="place", right_on="row", how="left", maintain_order="left")
    judged = judged.with_columns(pl.coalesce("reason", missing_field()).alias("reason"))
    valued = pl.col("value").is_not_null() | pl.col("reason").is_not_null()
    missing = judged.height - judged.filter(valued).height
    judged = told_once(judged.filter(valued))
    rejected = judged.filter(pl.col("reason") != "").select(
        (pl.col("place") + first).cast(pl.UInt32).alias("row"),
        "reason",
        pl.format("{} {}", "series", "date").alias("text"),
    )
    repeated = judged.filter(pl.col("reason") == "").height
    series = judged.filter(pl.col("reason").is_null()).select(list(SERIES_SCHEMA))
    return SeriesPart(place.shown, table.sha256, series, rejected.cast(REJECTED), missing, repeated)  # type: ignore[arg-type]


def with_known_at(rows: pl.DataFrame, source: SeriesSource, shown: str) -> pl.DataFrame:
    """Rows with the moment of publication: the column's, or the reference date and the lag declared for the series."""
    lag = pl.col("series").replace_strict(source.lag_days, default=None, return_dtype=pl.Int64)
    by_lag = pl.col("date").dt.truncate("1d") + pl.duration(days=lag)
    if "known_at" not in rows.columns:
        undeclared = sorted(set(rows["series"].drop_nulls().unique().to_list()) - set(source.lag_days))
        if undeclared:
            raise DataRefused(
                f"{shown}: when became {undeclared[:12]} known? expected a column known_at, or series.lag_days for "
                "each series in the problem file"
            )
        return rows.with_columns(by_lag.alias("known_at"))
    return rows.with_columns(pl.coalesce("known_at", by_lag).alias("known_at"))


def unreadable(cells: pl.DataFrame) -> pl.DataFrame:
    """The first unreadable cell of each row, as the reason to reject it."""
    reason = pl.format("{}: cannot be read, found {}", "column", "text").alias("reason")
    return cells.select("row", reason).unique("row", keep="first", maintain_order=True)


def missing_field() -> pl.Expr:
    """Why a row with a value can't be placed: a value without its date, series or moment of publication."""
    return pl.coalesce(
        pl.when(pl.col("value").is_not_null() & pl.col(name).is_null()).then(pl.lit(f"{name}: is missing"))
        for name in KEY
    )


def told_once(rows: pl.DataFrame) -> pl.DataFrame:
    """Reason "" for an exact repetition, and words where one moment of publication has different values."""
    good, bad = rows.filter(pl.col("reason").is_null()), rows.filter(pl.col("reason").is_not_null())
    marked = good.with_columns(
        pl.col("value").n_unique().over(KEY).alias("versions"), pl.int_range(pl.len()).over(KEY).alias("nth")
    )
    reason = (
        pl.when(pl.col("versions") > 1)
        .then(pl.lit("value: differs from another for the same series, date and moment of publication"))
        .when(pl.col("nth") > 0)
        .then(pl.lit(""))
    )
    marked = marked.with_columns(reason.alias("reason")).drop("versions", "nth")
    return pl.concat([marked, bad]).sort("place")
