"""Thousands of bad deliveries: never anything but a delivery or one clear line, and never a silent change.

What a delivery must hold is worked out a second time here, slowly, with Python's own `csv` and `float`.
"""

import csv
import io
import math
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.domain.errors import DataRefused, UsageError
from tasks.domain.problem import FilesSource
from tasks.sources import csv_text
from tasks.sources.delivery import Delivery, Part, Request, collect

SHARED = Path(os.environ.get("COUNTERSIGN_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
COLUMNS = {
    "timestamp": ["timestamp", "date"],
    "instrument": ["instrument", "symbol"],
    "open": ["open"],
    "close": ["close", "last"],
    "volume": ["volume"],
}
MISSING = {"", "nan", "null", "none", "na", "n/a", "#n/a", "nat"}
PLAIN_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
PLAIN_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
EPOCH = datetime(1970, 1, 1)
Row = dict[str, str]


def cases(number: int) -> Callable[[Any], Any]:
    """Settings for `number` cases, the same ones in every run; what they try is large, so no limit on their health."""
    return settings(max_examples=number, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@contextmanager
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="deliveries-"))
    try:
        yield path
    finally:
        shutil.rmtree(path)


def deliver(path: Path, **settings: Any) -> Delivery | None:
    """What the source delivers, None where it refuses; a refusal must be one line that names the path."""
    try:
        delivery = collect(Request(FilesSource(kind="files", path=str(path), **settings), COLUMNS))
    except (DataRefused, UsageError) as refusal:
        said = str(refusal)
        assert said.startswith(str(path)), said
        assert len(said.splitlines()) == 1, said
        return None
    for part in delivery.parts:
        assert part.bars is not None
        assert part.unreadable is not None
        wrong = part.unreadable
        assert all(part.bars[column][row] is None for row, column, _ in wrong.rows())
        assert wrong.unique(["row", "column"]).height == wrong.height
    return delivery


def only(delivery: Delivery | None) -> Part | None:
    return None if delivery is None else delivery.parts[0]


# --- the slow reference ---------------------------------------------------------------------------------------------


def rows_of(content: bytes, separator: str) -> list[Row]:
    text = content.decode("utf-8-sig")
    lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    while lines and not lines[-1]:
        lines.pop()
    header = [name.strip() for name in lines[0]]
    assert not any(any(cells[len(header) :]) for cells in lines[1:]), "fields were lost"
    ours = {}
    for name, accepted in COLUMNS.items():
        present = [candidate for candidate in accepted if candidate in header]
        if present:
            ours[name] = header.index(present[0])
    return [{name: cells[i] if i < len(cells) else "" for name, i in ours.items()} for cells in lines[1:]]


def stamp_of(text: str) -> datetime | None:
    stripped = text.strip()
    if re.fullmatch(r"\d{10}|\d{13}|\d{16}|\d{19}", stripped):
        return EPOCH + timedelta(microseconds=int(stripped.ljust(19, "0")) // 1000)
    try:
        return datetime.fromisoformat(stripped.replace("/", "-").removesuffix("UTC").strip()).replace(tzinfo=None)
    except ValueError:
        return None


def check_cell(name: str, text: str, value: Any, reported: str | None) -> None:
    if reported is not None:
        assert value is None
        assert reported == text
        assert text.strip().lower() not in MISSING
        assert not (name in ("open", "close", "volume") and PLAIN_NUMBER.fullmatch(text)), text
        assert not (name == "timestamp" and PLAIN_DATE.fullmatch(text) and stamp_of(text)), text
    elif name == "instrument":
        assert value == (text or None)
    elif value is None:
        assert text.strip().lower() in MISSING or text.strip().lower().lstrip("+-") == "nan", text
    elif name == "timestamp":
        assert value == stamp_of(text), text
    else:
        assert value == float(text), text
        assert not math.isnan(value)


def check_part(part: Part, rows: list[Row]) -> None:
    assert part.bars is not None
    assert part.unreadable is not None
    assert part.bars.height == len(rows)
    reported = {(row, column): text for row, column, text in part.unreadable.rows()}
    for name in part.bars.columns:
        for row, value in enumerate(part.bars[name].to_list()):
            check_cell(name, rows[row][name], value, reported.pop((row, name), None))
    assert not reported


# --- text tables ----------------------------------------------------------------------------------------------------

numbers = st.one_of(
    st.floats().map(repr),
    st.integers().map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=4).map(str),
    st.sampled_from(
        ["1e400", "-1e400", "inf", "-Infinity", "NaN", "nan", "-nan", "null", "NA", "N/A", "1e-400", "007"]
    ),
    st.sampled_from(
        ["12,5", "1.234,56", "1,234", "1 234", "n/a?", "$5", "5%", "0x10", "1_000", ".", "1.", ".5", "--1"]
    ),
    st.sampled_from([" 1.5", "1.5 ", "\t2", "9007199254740993", "0.1000000000000000055511151231257827", "1e", "+-1"]),
)
dates = st.one_of(
    st.dates(date(2, 1, 1), date(9998, 12, 31)).map(date.isoformat),
    st.datetimes().map(datetime.isoformat),
    st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.isoformat(sep=" ")),
    st.integers(10**9, 10**10 - 1).map(str),
    st.sampled_from(
        ["2020-02-30", "soon", "01/02/2020", "2020-1-2", "2020/01/02", "2020-01-02 24:00", "NaT", "0000-01-01"]
    ),
    st.sampled_from(["2020-01-02 10:00:60", "2020-01-02T10:00+05:30", "2020-01-02T10:00:00.123456", " 2020-01-02 "]),
)
words = st.text(
    alphabet=st.characters(blacklist_categories=("Cs",), blacklist_characters="\0\r\n"), max_size=8
) | st.sampled_from(["A", "BRK.B", "NA", "null", "", " ", "a b", 'q"q', "x,y", "x;y", "é", "日本", "'", "=1+1"])
anything = st.one_of(numbers, dates, words)
COLUMN_CELLS = {"date": dates, "timestamp": dates, "symbol": words, "instrument": words}


@st.composite
def text_tables(draw: st.DrawFn) -> tuple[bytes, str]:
    """A CSV file that is mostly well built and sometimes not, with its separator."""
    extra = draw(st.lists(st.sampled_from(["open", "volume", "note", "last", "date", "x", ""]), max_size=4))
    header = draw(st.permutations(["timestamp", "symbol", "close", *extra]))
    if draw(st.integers(0, 9)) == 0:
        header = header[1:]
    separator = draw(st.sampled_from([",", ",", ",", ";", "\t", "|"]))
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    wild = draw(st.booleans())
    cell = {name: anything if wild else COLUMN_CELLS.get(name, numbers) for name in header}
    rows = draw(
        st.lists(
            st.tuples(*(cell[name] for name in header)).map(list),
            min_size=draw(st.sampled_from([0, 4, 4, 4])),
            max_size=12,
        )
    )
    if draw(st.integers(0, 3)) == 0:  # ragged
        rows = [row[: draw(st.integers(0, len(row)))] + draw(st.sampled_from([[], [], [""], ["x"]])) for row in rows]
    text = io.StringIO(newline="")
    line_end = draw(st.sampled_from(["\n", "\n", "\r\n"]))
    writer = csv.writer(text, delimiter=separator, quoting=quoting, lineterminator=line_end)
    writer.writerow(header)
    writer.writerows(rows)
    content = text.getvalue() + line_end * draw(st.sampled_from([0, 0, 0, 1, 3]))
    if draw(st.booleans()):
        content = content.removesuffix(line_end)
    encoding = draw(st.sampled_from(["utf-8"] * 12 + ["utf-8-sig"] * 2 + ["utf-16", "cp1252", "utf-16-le"]))
    return content.encode(encoding, errors="replace"), separator


@given(text_tables(), st.sampled_from([3, 17, csv_text.BLOCK]))
@cases(1000)
def test_text_tables(table: tuple[bytes, str], block: int) -> None:
    content, separator = table
    # Small blocks, so that lines and letters meet the borders between them.
    with folder() as place, patch.object(csv_text, "BLOCK", block):
        (place / "bars.csv").write_bytes(content)
        if part := only(deliver(place / "bars.csv")):
            check_part(part, rows_of(content, separator))
            assert part.truncated != content.endswith(b"\n")


@given(
    st.lists(st.sampled_from(["2020-01-02", "A", "1.5", ",", ",", ",", '"', '""', "\n", "\r\n", "\r", " ", "é", "\0"])),
    st.sampled_from(["date,symbol,close\n", 'date,"symbol",close,x\r\n', "\ufeffdate,symbol,close\n", ""]),
)
@cases(300)
def test_text_torn_to_pieces(pieces: list[str], header: str) -> None:
    content = (header + "".join(pieces)).encode()
    with folder() as place:
        (place / "bars.csv").write_bytes(content)
        if part := only(deliver(place / "bars.csv")):
            check_part(part, rows_of(content, ","))


@given(st.binary(max_size=200), st.sampled_from([b"", b"date,symbol,close\n", b"PAR1", b"ARROW1\0\0"]))
@cases(150)
def test_binary_rubbish(content: bytes, start: bytes) -> None:
    with folder() as place:
        for kind in ("csv", "parquet", "feather", "arrow"):
            path = place / f"bars.{kind}"
            path.write_bytes(start + content)
            part = only(deliver(path))
            if part and kind == "csv":
                check_part(part, rows_of(start + content, ","))


# --- typed tables ---------------------------------------------------------------------------------------------------

huge = st.sampled_from([2**63 - 1, -(2**63), 0, -1, 1_577_836_800_000])
value_columns = st.one_of(
    st.tuples(st.just(pl.Float64), st.lists(st.floats() | st.none(), min_size=4, max_size=4)),
    st.tuples(st.just(pl.Float32), st.lists(st.floats(width=32) | st.none(), min_size=4, max_size=4)),
    st.tuples(st.just(pl.Int64), st.lists(st.integers(-(2**63), 2**63 - 1) | st.none(), min_size=4, max_size=4)),
    st.tuples(st.just(pl.String), st.lists(numbers | st.none(), min_size=4, max_size=4)),
    st.tuples(st.just(pl.Boolean), st.lists(st.booleans() | st.none(), min_size=4, max_size=4)),
    st.tuples(st.just(pl.Null), st.just([None] * 4)),
    st.tuples(st.just(pl.Binary), st.lists(st.binary(max_size=3), min_size=4, max_size=4)),
    st.tuples(st.just(pl.List(pl.Float64)), st.lists(st.lists(st.floats(), max_size=2), min_size=4, max_size=4)),
    st.tuples(st.just(pl.Date), st.lists(st.dates() | st.none(), min_size=4, max_size=4)),
)
stamp_columns = st.one_of(
    *(
        st.tuples(st.just(pl.Datetime(unit)), st.lists(huge | st.none(), min_size=4, max_size=4))
        for unit in ("ms", "ns")
    ),
    st.tuples(st.just(pl.Datetime("us", "Asia/Tokyo")), st.lists(huge | st.none(), min_size=4, max_size=4)),
    st.tuples(st.just(pl.Date), st.lists(st.integers(-(2**31), 2**31 - 1), min_size=4, max_size=4)),
    st.tuples(st.just(pl.String), st.lists(dates | st.none(), min_size=4, max_size=4)),
    st.tuples(st.just(pl.Categorical), st.lists(dates | st.none(), min_size=4, max_size=4)),
    st.tuples(st.just(pl.Int64), st.lists(st.sampled_from([20200102, 1_577_836_800]) | huge, min_size=4, max_size=4)),
)


def column(name: str, kind: Any, values: list[Any]) -> pl.Series:
    if kind in (pl.Date, pl.Datetime) and any(isinstance(value, int) for value in values):
        return pl.Series(name, values, dtype=pl.Int32 if kind == pl.Date else pl.Int64).cast(kind)
    return pl.Series(name, values, dtype=kind, strict=False)


@given(value_columns, stamp_columns, st.sampled_from(["parquet", "feather"]))
@cases(250)
def test_typed_tables(values: tuple[Any, list[Any]], stamps: tuple[Any, list[Any]], kind: str) -> None:
    table = pl.DataFrame({"date": column("date", *stamps), "symbol": ["A"] * 4, "close": column("close", *values)})
    with folder() as place:
        path = place / f"bars.{kind}"
        table.write_parquet(path) if kind == "parquet" else table.write_ipc(path)
        part = only(deliver(path))
        if part is None:
            assert values[0] in (pl.Binary, pl.List(pl.Float64), pl.Date)
            return
        assert part.bars is not None
        assert part.unreadable is not None
        reported = {(row, name): text for row, name, text in part.unreadable.rows()}
        for row, (got, given_value) in enumerate(
            zip(part.bars["close"].to_list(), table["close"].to_list(), strict=True)
        ):
            if values[0] == pl.String:
                check_cell("close", given_value or "", got, reported.get((row, "close")))
            elif values[0] == pl.Boolean:
                assert got is None
                assert (reported.get((row, "close")) is None) == (given_value is None)
            else:
                missing = given_value is None or math.isnan(given_value)
                assert got == (None if missing else float(given_value))
        for row, got in enumerate(part.bars["timestamp"].to_list()):
            check_stamp(got, table["date"].slice(row, 1), reported.get((row, "timestamp")))


def check_stamp(got: datetime | None, delivered: pl.Series, reported: str | None) -> None:
    kind = delivered.dtype
    if kind in (pl.String, pl.Categorical, pl.Int64):
        text = delivered.cast(pl.String).item()
        check_cell("timestamp", text or "", got, reported)
        return
    count = delivered.to_physical().item()
    assert (got is None) == (count is None or reported is not None)
    if got is not None:
        unit = (
            timedelta(days=1) // timedelta(microseconds=1)
            if kind == pl.Date
            else {"ms": 1000, "us": 1}.get(kind.time_unit, 0)
        )
        offset = timedelta(hours=9) if getattr(kind, "time_zone", None) else timedelta(0)
        moment = EPOCH + timedelta(microseconds=count * unit if unit else count // 1000)
        # Tokyo kept other clocks before 1952.
        assert got - offset == moment or (offset and moment.year < 1952)


@given(st.binary(min_size=1, max_size=4), st.integers(0, 5000), st.booleans(), st.sampled_from(["parquet", "feather"]))
@cases(150)
def test_damaged_tables_never_end_in_a_traceback(damage: bytes, place_in: int, cut: bool, kind: str) -> None:
    table = pl.DataFrame(
        {"date": [date(2020, 1, 2)] * 50, "symbol": ["A"] * 50, "close": [float(i) for i in range(50)]}
    )
    with folder() as place:
        path = place / f"bars.{kind}"
        table.write_parquet(path) if kind == "parquet" else table.write_ipc(path)
        whole = bytearray(path.read_bytes())
        at = place_in % len(whole)
        path.write_bytes(whole[:at] if cut else whole[:at] + damage + whole[at + len(damage) :])
        deliver(path)


# --- folders --------------------------------------------------------------------------------------------------------

leaves = st.sampled_from(["a.csv", "b.csv", "c.parquet", "d.feather", "e.txt", ".hidden.csv", "_draft.csv", "f.CSV"])
branches = st.sampled_from(["", "2020/", "2020/01/", "x.csv/", ".git/", "sp ace/", "[odd]/", "é/"])
GOOD = b"date,symbol,close\n2020-01-02,A,1\n"


@given(
    st.dictionaries(
        st.tuples(branches, leaves).map("".join), st.sampled_from([GOOD, GOOD, GOOD, b"", b"\0"]), max_size=6
    )
)
@cases(150)
def test_nested_folders(files: dict[str, bytes]) -> None:
    with folder() as place:
        for name, content in files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(content)
        delivery = deliver(place)
        seen = sorted(name for name in files if not any(piece[0] in "._" for piece in name.split("/")))
        if delivery is not None:
            assert [part.name for part in delivery.parts] == [f"{place}/{name}" for name in seen]
            assert all(files[name] == GOOD for name in seen)


def test_a_large_file_with_every_oddity(tmp_path: Path) -> None:
    """Readers work in pieces on several threads; the oddities must come out right wherever the pieces meet."""
    kinds = [
        "2020-01-0{d},S{i},1{i}.5,{i}",
        "2020-01-0{d},S{i}",
        '"2020-01-0{d}","S,{i}","n""a",{i}',
        ",,,",
        "",
        "soon,é{i},x,1e400",
    ]
    lines = [kinds[(i * i) % 7 % 6].format(i=i, d=i % 9 + 1) for i in range(200_000)]
    content = ("\ufeffdate,symbol,close,volume\r\n" + "\r\n".join(lines)).encode()
    (tmp_path / "bars.csv").write_bytes(content)
    part = only(deliver(tmp_path / "bars.csv"))
    assert part is not None
    check_part(part, rows_of(content, ","))


@pytest.mark.skipif(not (SHARED / "dirty_ohlcv.csv").exists(), reason="the shared data is not here")
def test_a_real_dirty_file_agrees_with_the_slow_reference() -> None:
    part = only(deliver(SHARED / "dirty_ohlcv.csv"))
    assert part is not None
    check_part(part, rows_of((SHARED / "dirty_ohlcv.csv").read_bytes(), ","))


@pytest.mark.parametrize("time_zone", ["America/New_York", "Australia/Lord_Howe"])
@given(st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=st.timezones()))
@cases(60)
def test_zones_agree_with_python(time_zone: str, moment: datetime) -> None:
    from zoneinfo import ZoneInfo

    text = moment.astimezone(UTC).isoformat()
    with folder() as place:
        (place / "bars.csv").write_text(f"date,symbol,close\n{text},A,1\n")
        part = only(deliver(place / "bars.csv", time_zone=time_zone))
        assert part is not None
        assert part.bars is not None
        assert part.bars["timestamp"].to_list() == [moment.astimezone(ZoneInfo(time_zone)).replace(tzinfo=None)]
