"""Values as they were known: a join of published series to sessions that can't look ahead.

A value has a reference date (what it is about) and a moment at which it became known (when it was published). A
session may use what was known strictly before its own date began, that is, before midnight of that date. What is
published during a day is therefore used from the next session on, even where it came out before the opening: the
strict side costs at most one session and can't be wrong. A lag of zero days means "published on the day it is about".
"""

from collections.abc import Sequence

import polars as pl

from tasks.domain.errors import UsageError

SERIES_SCHEMA = {
    "series": pl.String(),
    "date": pl.Datetime("us"),
    "known_at": pl.Datetime("us"),
    "value": pl.Float64(),
}


def as_known(series: pl.DataFrame, sessions: Sequence[object] | pl.Series, names: Sequence[str]) -> pl.DataFrame:
    """What each series' newest value was at the start of each session.

    Args:
        series: columns of `SERIES_SCHEMA`, any order; revisions are further rows with the same series and date.
            Rows without a value, a date or a moment of publication tell nothing and are passed over.
        sessions: dates or datetimes; of a datetime, its date counts.
        names: the series wanted, in the order of the result's columns.

    Returns:
        `session` (Datetime, midnight; sorted, each once) and one Float64 column per name: the value with the newest
        reference date among those known before the session, in its latest revision known by then; null before the
        first.

    Raises:
        UsageError: a name that no row has.
    """
    delivered = set(series["series"].unique().to_list())
    if unknown := [name for name in names if name not in delivered]:
        raise UsageError(f"series {unknown}: not delivered; known are {sorted(filter(None, delivered))}")
    moments = pl.Series("session", sessions).cast(pl.Datetime("us")).dt.truncate("1d")
    joined = pl.DataFrame(moments.unique().sort())
    for name in names:
        steps = newest(series.filter(pl.col("series") == name)).rename({"value": name})
        joined = joined.join_asof(
            steps, left_on="session", right_on="known_at", strategy="backward", allow_exact_matches=False
        ).drop("known_at", strict=False)
    return joined


def newest(one: pl.DataFrame) -> pl.DataFrame:
    """The moments at which a series' newest value changed: `known_at` (ascending) and `value`.

    A revision of a past reference date that comes after a newer date is known doesn't change the newest value.
    """
    return (
        one.select("known_at", "date", "value")
        .drop_nulls()
        .sort("known_at", "date", "value")
        .filter(pl.col("date") == pl.col("date").cum_max())
        .unique("known_at", keep="last", maintain_order=True)
        .select("known_at", "value")
    )
