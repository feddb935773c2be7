"""Delivered files: what is read, and what is refused with the place that is wrong."""

from pathlib import Path

import pandas as pd
import pytest

from tasks.domain.errors import DataRefused, UsageError
from tasks.sources.files import collect

COLUMNS = {"timestamp": ["timestamp", "date"], "instrument": ["symbol"], "close": ["close"], "volume": ["volume"]}
GOOD = "date,symbol,close,volume\n2020-01-02,A,1.5,10\n2020-01-03,A,1.6,\n"


def deliver(folder: Path, text: str, name: str = "bars.csv") -> pd.DataFrame:
    path = folder / name
    path.write_bytes(text.encode())
    return collect(path, COLUMNS).bars


def test_columns_are_renamed_and_typed_and_a_missing_field_stays_missing(tmp_path: Path) -> None:
    bars = deliver(tmp_path, GOOD)
    assert list(bars.columns) == ["timestamp", "instrument", "close", "volume"]
    assert bars["timestamp"].dtype == "datetime64[us]"
    assert bars["close"].tolist() == [1.5, 1.6]
    assert bars["volume"].isna().tolist() == [False, True]


def test_csv_and_parquet_deliver_the_same(tmp_path: Path) -> None:
    from_csv = deliver(tmp_path, GOOD)
    pd.read_csv(tmp_path / "bars.csv", parse_dates=["date"]).to_parquet(tmp_path / "bars.parquet")
    pd.testing.assert_frame_equal(collect(tmp_path / "bars.parquet", COLUMNS).bars, from_csv)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("  \n \n", "is empty"),
        ("date,symbol,close\n", "holds no rows"),
        ("date,symbol\n2020-01-02,A\n", "no column for close"),
        ("\x00\x01\x02,\x03\n\x00", "no column for timestamp"),
        ("date,symbol,close\n2020-01-02,A,1\n2020-01-03,A,one\n", "row 3, column close: expected a number"),
        ("date,symbol,close\n2020-01-02,A,1\nsoon,A,1\n", "row 3, column timestamp: expected a date, found 'soon'"),
        ("date,symbol,close\n2020-01-02,A,1,2,3,4\n2020-01-03,A\n1,2,3,4,5,6,7,8\n", "bars.csv"),
    ],
)
def test_refused_with_the_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataRefused, match=r"^/") as refusal:
        deliver(tmp_path, text)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_not_utf8_and_not_parquet_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bars.csv").write_bytes(b"date,symbol,close\n2020-01-02,\xff\xfe,1\n")
    (tmp_path / "bars.parquet").write_bytes(b"not parquet at all")
    for name in ("bars.csv", "bars.parquet"):
        with pytest.raises(DataRefused, match="cannot be read as"):
            collect(tmp_path / name, COLUMNS)


def test_unknown_kind_and_missing_file(tmp_path: Path) -> None:
    (tmp_path / "bars.xlsx").write_text("x")
    with pytest.raises(UsageError, match=r"give \.csv or \.parquet"):
        collect(tmp_path / "bars.xlsx", COLUMNS)
    with pytest.raises(UsageError, match="cannot be read"):
        collect(tmp_path / "none.csv", COLUMNS)
