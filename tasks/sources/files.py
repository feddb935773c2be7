"""Bars from one CSV or Parquet file, its columns renamed by the problem's mapping.

A file that can't be read as bars is refused as a whole, with the first place that is wrong.
"""

from pathlib import Path

import pandas as pd
import pyarrow as pa

from tasks.domain.bars import VALUES
from tasks.domain.errors import DataRefused, UsageError
from tasks.home import sha256
from tasks.sources.delivery import Delivery

ROWS_BEFORE_DATA = 2  # row 1 of a CSV is the header; people count from 1


def collect(path: Path, columns: dict[str, list[str]]) -> Delivery:
    """Read a file.

    Raises:
        UsageError: no such file, or of an unknown kind.
        DataRefused: empty, unreadable, a needed column is missing, or a field is not of its column's type.
    """
    content = read_bytes(path)
    table = rename(read_table(path), columns, path)
    if table.empty:
        raise DataRefused(f"{path}: holds no rows; expected one row per instrument and session")
    return Delivery(f"file:{path.name}", sha256(content), typed(table, path))


def read_bytes(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as fault:
        raise UsageError(f"{path}: cannot be read ({fault.strerror}); give an existing CSV or Parquet file") from None
    if not content.strip():
        raise DataRefused(f"{path}: is empty; expected a header and one row per instrument and session")
    return content


def read_table(path: Path) -> pd.DataFrame:
    kind = path.suffix.lower()
    if kind not in (".csv", ".parquet"):
        raise UsageError(f"{path}: kind {kind or 'without ending'} is unknown; give .csv or .parquet")
    try:
        if kind == ".parquet":
            return pd.read_parquet(path)
        return pd.read_csv(path, dtype="str", keep_default_na=False, na_values=[""], encoding="utf-8-sig")
    except (ValueError, OSError, pa.ArrowException) as fault:
        words = " ".join(str(fault).split())[:200]
        raise DataRefused(f"{path}: cannot be read as {kind[1:]} ({words})") from None


def rename(table: pd.DataFrame, columns: dict[str, list[str]], path: Path) -> pd.DataFrame:
    """Pick and rename the mapped columns; `timestamp`, `instrument` and `close` must be there."""
    found: dict[str, str] = {}
    for name, accepted in columns.items():
        present = [candidate for candidate in accepted if candidate in table.columns]
        if present:
            found[present[0]] = name
        elif name in ("timestamp", "instrument", "close"):
            raise DataRefused(
                f"{path}: no column for {name}; expected one of {accepted}, found {list(table.columns)[:12]}; "
                f"rename it or add its name under columns.{name} in the problem file"
            )
    return table[list(found)].rename(columns=found)


def typed(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Give every column its type; a missing field stays missing (cleansing decides), a wrong one is refused."""
    typed_columns: dict[str, pd.Series] = {}
    for name in table:
        column = table[name]
        if name == "timestamp":
            converted = without_zone(pd.to_datetime(column, errors="coerce"))
        elif name in VALUES:
            converted = pd.to_numeric(column, errors="coerce")
        else:
            converted = column.astype("str").where(column.notna())
        refuse_lost(column, converted, str(name), path)
        typed_columns[str(name)] = converted
    return pd.DataFrame(typed_columns)


def without_zone(stamps: pd.Series) -> pd.Series:
    if getattr(stamps.dtype, "tz", None) is not None:
        stamps = stamps.dt.tz_localize(None)
    return stamps.astype("datetime64[us]")


def refuse_lost(before: pd.Series, after: pd.Series, name: str, path: Path) -> None:
    lost = (before.notna() & after.isna()).to_numpy().nonzero()[0]
    if len(lost):
        row = int(lost[0])
        expected = "a date" if name == "timestamp" else "a number"
        raise DataRefused(
            f"{path}: row {row + ROWS_BEFORE_DATA}, column {name}: expected {expected}, "
            f"found {before.iloc[row]!r} ({len(lost)} such); correct the file and deliver it again"
        )
