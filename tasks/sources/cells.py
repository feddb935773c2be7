"""From delivered cells to numbers and moments; what can't be read is reported, never guessed and never dropped.

Missing are: an empty field, NaN, and the words nan, null, none, na, n/a, #n/a and nat in any case. A number is what
a program writes as one (`-1.5`, `1e-4`, `inf`; a text too large for a float is infinite); any other spelling, such
as a decimal comma, is unreadable here, because its meaning is for cleansing to decide.
"""

from datetime import datetime
from typing import Final, NamedTuple

import polars as pl

MISSING: Final = ("", "nan", "null", "none", "na", "n/a", "#n/a", "nat")
STAMP: Final = pl.Datetime("us")
EPOCH: Final = datetime(1970, 1, 1)
# Python and pandas know the years 1 to 9999; a stamp outside them is a misprint for every market.
FIRST, LAST = ((datetime(year, month, day) - EPOCH).days for year, month, day in ((1, 1, 2), (9999, 12, 30)))
DAY_US: Final = 86_400_000_000
UNITS_A_SECOND: Final = {"ms": 10**3, "us": 10**6, "ns": 10**9}
# Digits of a Unix time in seconds, milli-, micro- and nanoseconds: each length means 2001 to 2286 in one unit only.
EPOCH_DIGITS: Final = {10: 10**6, 13: 10**3, 16: 1}
NANOSECOND_DIGITS: Final = 19
TIME: Final = r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d"
COMMON: Final = (
    (r"^\d{4}-\d{2}-\d{2}$", "%Y-%m-%d"),
    (rf"^\d{{4}}-\d{{2}}-\d{{2}} {TIME}$", "%Y-%m-%d %H:%M:%S"),
    (rf"^\d{{4}}-\d{{2}}-\d{{2}}T{TIME}$", "%Y-%m-%dT%H:%M:%S"),
)
OTHER: Final = (
    r"^(?P<date>\d{4}-\d{2}-\d{2}|\d{4}/\d{2}/\d{2}|\d{8})"
    r"(?:[T -]?(?P<hour>[01]\d|2[0-3]):?(?P<minute>[0-5]\d)(?::?(?P<second>[0-5]\d)(?:[.,](?P<part>\d{1,9}))?)?"
    r" ?(?:(?P<utc>Z|UTC)|(?P<sign>[+-])(?P<zone_hour>[01]\d|2[0-3]):?(?P<zone_minute>[0-5]\d)?)?)?$"
)


class Cells(NamedTuple):
    """`values` of the right type, null where missing or unreadable; `texts` of the unreadable (row UInt32, text)."""

    values: pl.Series
    texts: pl.DataFrame


def is_missing(stripped: pl.Expr) -> pl.Expr:
    return stripped.is_null() | stripped.str.to_lowercase().is_in(list(MISSING))


def unreadable(texts: pl.Series, wrong: pl.Series) -> pl.DataFrame:
    """The texts that are marked as wrong, with their rows."""
    return reported(texts, wrong.arg_true())


def reported(texts: pl.Series, rows: pl.Series) -> pl.DataFrame:
    return pl.DataFrame({"row": rows.cast(pl.UInt32), "text": texts.gather(rows).cast(pl.String)})


def nothing_unreadable() -> pl.DataFrame:
    return pl.DataFrame(schema={"row": pl.UInt32, "text": pl.String})


def numbers(column: pl.Series) -> Cells | None:
    """A column as Float64, or None where its type can hold neither numbers nor text."""
    if column.dtype == pl.Null:
        return Cells(column.cast(pl.Float64), nothing_unreadable())
    if column.dtype.is_numeric():
        return Cells(column.cast(pl.Float64).fill_nan(None), nothing_unreadable())
    if (texts := as_text(column)) is None:
        return None
    values = texts.cast(pl.Float64, strict=False)
    # Few cells are left, so that trimming and comparing words costs nothing where the text is plain.
    left = values.is_null() & texts.is_not_null()
    others = pl.DataFrame({"text": texts.filter(left).str.strip_chars()}).select(
        pl.col("text").cast(pl.Float64, strict=False).alias("value"), is_missing(pl.col("text")).alias("missing")
    )
    rows = left.arg_true()
    values = values.scatter(rows, others["value"])
    wrong = rows.filter(others["value"].is_null() & ~others["missing"])
    return Cells(values.fill_nan(None), reported(texts, wrong))


def texts(column: pl.Series) -> Cells | None:
    """A column as String, an empty text as missing; or None where its type holds neither text nor whole numbers."""
    if column.dtype.is_integer() or column.dtype == pl.Null:
        return Cells(column.cast(pl.String), nothing_unreadable())
    if column.dtype == pl.Boolean or (read := as_text(column)) is None:
        return None
    if (read == "").any():
        read = read.set(read == "", None)
    return Cells(read, nothing_unreadable())


def as_text(column: pl.Series) -> pl.Series | None:
    if column.dtype == pl.String:
        return column
    if isinstance(column.dtype, pl.Categorical | pl.Enum | pl.Boolean):
        return column.cast(pl.String)
    return None


def moments(column: pl.Series, zone: str | None, written: str | None = None) -> Cells | None:
    """A column as Datetime in microseconds without zone (finer parts are cut off), or None for an impossible type.

    With a `zone`, a stamp that carries an offset (or is a Unix time) is converted to that zone's wall clock, and one
    that carries none is taken to be on it. Without, every stamp keeps the wall clock it was delivered with. `written`
    says how texts are written (strftime codes); by default ISO 8601 in its common variants, YYYYMMDD, YYYY/MM/DD and
    Unix times are read.
    """
    if column.dtype == pl.Null:
        return Cells(column.cast(STAMP), nothing_unreadable())
    if isinstance(column.dtype, pl.Datetime):
        return from_stamps(column, zone)
    if column.dtype == pl.Date:
        return bounded(column.to_physical().cast(pl.Int64), 86_400)
    if column.dtype.is_integer():
        return from_texts(column.cast(pl.String), zone, written)
    if column.dtype.is_float():
        whole = column.cast(pl.Int64, strict=False)
        shown = pl.select(pl.when(whole == column).then(whole.cast(pl.String)).otherwise(column.cast(pl.String)))
        return from_texts(shown.to_series(), zone, written)
    if isinstance(column.dtype, pl.Categorical):
        return from_texts(column, zone, written)
    if column.dtype == pl.Boolean or (read := as_text(column)) is None:
        return None
    return from_texts(read, zone, written)


def from_stamps(column: pl.Series, zone: str | None) -> Cells:
    kind = column.dtype
    assert isinstance(kind, pl.Datetime)
    found = bounded(column.to_physical(), UNITS_A_SECOND[kind.time_unit], seconds=False)
    if kind.time_zone is None:
        return found
    wall = found.values.dt.replace_time_zone("UTC").dt.convert_time_zone(zone or kind.time_zone)
    return Cells(wall.dt.replace_time_zone(None), found.texts)


def bounded(counts: pl.Series, unit: int, seconds: bool = True) -> Cells:
    """Counts since 1970 as stamps; `unit` is seconds in one count, or counts in one second."""
    low, high = FIRST * 86_400, LAST * 86_400
    least, most = (low // unit, high // unit) if seconds else (low * unit, high * unit)
    wrong = outside(counts, max(least, -(2**63)), min(most, 2**63 - 1))
    kept = counts if wrong is None else counts.set(wrong, None)
    if seconds:
        stamps = kept * (unit * 10**6)
    else:
        stamps = kept * (10**6 // unit) if unit <= 10**6 else kept // (unit // 10**6)
    stamps = stamps.cast(STAMP)
    if wrong is None:
        return Cells(stamps, nothing_unreadable())
    return Cells(stamps, unreadable(counts.cast(pl.String) + " since 1970", wrong))


def outside(counts: pl.Series, least: int, most: int) -> pl.Series | None:
    """Marks of the counts beyond the limits, or None where there are none."""
    low, high = counts.min(), counts.max()
    if low is None or (low >= least and high <= most):  # type: ignore[operator]
        return None
    return ~counts.is_between(least, most).fill_null(True)


def from_texts(column: pl.Series, zone: str | None, written: str | None) -> Cells:
    """Parse each distinct text once: a session's stamp occurs in every instrument."""
    coded = column if isinstance(column.dtype, pl.Categorical) else column.cast(pl.Categorical(pl.Categories.random()))
    distinct = coded.unique().drop_nulls()
    read = pl.DataFrame({"code": distinct.to_physical(), "text": distinct.cast(pl.String)}).with_columns(
        pl.col("text").str.strip_chars().alias("stripped")
    )
    parsed = parse(read["stripped"], zone, written)
    read = read.with_columns(parsed.alias("stamp")).with_columns(
        (pl.col("stamp").is_null() & ~is_missing(pl.col("stripped"))).alias("wrong")
    )
    codes = coded.to_physical()
    length = 0 if read.is_empty() else int(read["code"].max()) + 1  # type: ignore[arg-type]
    lookup = pl.DataFrame({"code": pl.Series(range(length), dtype=codes.dtype)}).join(
        read, on="code", how="left", maintain_order="left"
    )
    stamps = lookup["stamp"].gather(codes)
    if not read["wrong"].any():
        return Cells(stamps, nothing_unreadable())
    return Cells(stamps, unreadable(coded, lookup["wrong"].gather(codes).fill_null(False)))


def parse(texts: pl.Series, zone: str | None, written: str | None) -> pl.Series:
    """Stamps of texts, null where a text is none; see `moments`."""
    if written is not None:
        return in_written_form(texts, zone, written)
    stamps = pl.Series("stamp", [None], dtype=STAMP).new_from_index(0, len(texts))
    for pattern, form in COMMON:
        fits = texts.str.contains(pattern).fill_null(False)
        if fits.all():
            return within_years(texts.str.to_datetime(form, strict=False, time_unit="us"))
        if fits.any():
            found = texts.filter(fits).str.to_datetime(form, strict=False, time_unit="us")
            stamps = stamps.scatter(fits.arg_true(), found)
    left = stamps.is_null()
    others = texts.filter(left)
    stamps = stamps.scatter(left.arg_true(), in_other_forms(others, zone))
    return within_years(stamps)


def in_written_form(texts: pl.Series, zone: str | None, written: str) -> pl.Series:
    found = texts.str.to_datetime(written, strict=False, time_unit="us", ambiguous="earliest")
    kind = found.dtype
    if isinstance(kind, pl.Datetime) and kind.time_zone is not None:
        found = found.dt.convert_time_zone(zone or kind.time_zone).dt.replace_time_zone(None)
    return within_years(found)


def in_other_forms(texts: pl.Series, zone: str | None) -> pl.Series:
    """Less common ways to write a moment: fractions, offsets, compact digits, Unix times."""
    groups = texts.str.extract_groups(OTHER).struct.unnest()

    def whole(name: str) -> pl.Expr:
        return pl.col(name).cast(pl.Int64).fill_null(0)

    day = pl.col("date").str.replace_all(r"[-/]", "").str.to_datetime("%Y%m%d", strict=False, time_unit="us")
    seconds = whole("hour") * 3600 + whole("minute") * 60 + whole("second")
    micros = pl.col("part").str.pad_end(9, "0").str.slice(0, 6).cast(pl.Int64).fill_null(0)
    offset = (whole("zone_hour") * 60 + whole("zone_minute")) * pl.when(pl.col("sign") == "-").then(-1).otherwise(1)
    read = groups.select(
        (day + pl.duration(microseconds=seconds * 1_000_000 + micros)).alias("wall"),
        pl.when(pl.col("utc").is_not_null() | pl.col("sign").is_not_null()).then(offset).alias("offset"),
    ).with_columns(unix=unix_time(texts))
    wall = read.select(
        pl.coalesce(
            pl.when(pl.col("offset").is_null()).then(pl.col("wall")),
            in_zone(pl.col("wall") - pl.duration(minutes=pl.col("offset")), zone) if zone else pl.col("wall"),
            in_zone(pl.col("unix"), zone),
        )
    )
    return wall.to_series()


def unix_time(texts: pl.Series) -> pl.Series:
    digits = texts.set(~texts.str.contains(r"^\d+$").fill_null(False), None)
    length = digits.str.len_bytes()
    counts = digits.set((length > NANOSECOND_DIGITS).fill_null(False), None).cast(pl.Int64, strict=False)
    micros = pl.when(length == NANOSECOND_DIGITS).then(counts // 1000)
    for width, unit in EPOCH_DIGITS.items():
        micros = micros.when(length == width).then(counts * unit)
    return pl.select(micros.otherwise(None)).to_series().cast(STAMP)


def in_zone(utc: pl.Expr, zone: str | None) -> pl.Expr:
    """The wall clock of a zone at moments in UTC; that of UTC itself where no zone is declared."""
    return utc.dt.replace_time_zone("UTC").dt.convert_time_zone(zone or "UTC").dt.replace_time_zone(None)


def within_years(stamps: pl.Series) -> pl.Series:
    wrong = outside(stamps.to_physical(), FIRST * DAY_US, LAST * DAY_US)
    return stamps if wrong is None else stamps.set(wrong, None)
