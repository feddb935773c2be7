"""Series with a publication lag: what became known when, revisions kept, and no guess where nothing says when."""

import os
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tasks.domain.errors import DataRefused
from tasks.domain.known import SERIES_SCHEMA, as_known
from tasks.domain.problem import SeriesSource
from tasks.sources.series import SeriesPart, collect

CHECKOUT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("COUNTERSIGN_SHARED_DATA", CHECKOUT.parent / "shared" / "data"))


def read(path: Path, held: frozenset[str] = frozenset(), **settings: Any) -> SeriesPart:
    (part,) = collect(SeriesSource(path=str(path), **settings), held).parts
    return part


def frames(part: SeriesPart) -> tuple[pl.DataFrame, pl.DataFrame]:
    assert part.series is not None
    assert part.rejected is not None
    assert dict(part.series.schema) == SERIES_SCHEMA
    return part.series, part.rejected


def write(folder: Path, text: str) -> Path:
    path = folder / "macro.csv"
    path.write_text(text)
    return path


def test_a_lag_in_calendar_days(tmp_path: Path) -> None:
    path = write(tmp_path, "date,series,value\n2020-01-31,cpi,2.5\n2020-01-02,vix,12.5\n2020-01-03,vix,\n")
    part = read(path, lag_days={"cpi": 13, "vix": 0})
    series, rejected = frames(part)
    assert series.rows() == [
        ("cpi", datetime(2020, 1, 31), datetime(2020, 2, 13), 2.5),
        ("vix", datetime(2020, 1, 2), datetime(2020, 1, 2), 12.5),
    ]
    assert rejected.is_empty()
    assert part.missing == 1
    known = as_known(series, [datetime(2020, 1, 2), datetime(2020, 1, 3)], ["vix"])
    assert known["vix"].to_list() == [None, 12.5]
    assert read(path, frozenset({part.sha256}), lag_days={"cpi": 13, "vix": 0}).series is None


def test_a_series_without_a_lag_or_a_column_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "date,series,value\n2020-01-31,cpi,2.5\n2020-01-02,vix,12.5\n")
    with pytest.raises(DataRefused, match=r"macro\.csv: when became \['cpi'\] known\? expected a column known_at"):
        read(path, lag_days={"vix": 0})


def test_revisions_are_kept_and_contradictions_rejected(tmp_path: Path) -> None:
    text = """period,name,value,published
2020-01-31,gdp,1.0,2020-02-10 08:30
2020-01-31,gdp,1.1,2020-02-20 08:30
2020-01-31,gdp,1.1,2020-02-20 08:30
2020-02-29,gdp,2.0,2020-03-10
2020-02-29,gdp,2.1,2020-03-10
2020-03-31,gdp,n/a?,2020-04-10
2020-03-31,gdp,3.0,
soon,gdp,3.0,2020-04-10
"""
    columns = {"date": ["period"], "series": ["name"], "known_at": ["published"]}
    part = read(write(tmp_path, text), columns=columns)
    series, rejected = frames(part)
    assert series["value"].to_list() == [1.0, 1.1]
    assert rejected["row"].to_list() == [5, 6, 7, 8, 9]
    assert [reason.split(":")[0] for reason in rejected["reason"]] == ["value", "value", "value", "known_at", "date"]
    assert (part.repeated, part.missing) == (1, 0)
    sessions = [datetime(2020, 2, day) for day in (10, 11, 20, 21)]
    assert as_known(series, sessions, ["gdp"])["gdp"].to_list() == [None, 1.0, 1.0, 1.1]


@pytest.mark.skipif(not (SHARED / "macro_long.parquet").exists(), reason="the shared data is not here")
def test_real_macro_data_is_never_seen_early() -> None:
    path = SHARED / "macro_long.parquet"
    names = pl.read_parquet(path)["series"].unique().to_list()
    part = read(path, lag_days=dict.fromkeys(names, 45))
    series, rejected = frames(part)
    assert series.height + rejected.height + part.missing + part.repeated == pl.read_parquet(path).height
    sessions = pl.date_range(datetime(2010, 1, 1), datetime(2018, 12, 31), "1d", eager=True)
    known = as_known(series, sessions, ["cpi_us"] if "cpi_us" in names else names[:1])
    name = known.columns[1]
    session, value = known.drop_nulls().row(1000)
    delivered = series.filter(pl.col("series") == name, pl.col("known_at") < session).sort("date")
    assert delivered["value"][-1] == value
