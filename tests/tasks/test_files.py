"""Delivered files: what is read, and what is refused with the place that is wrong."""

import hashlib
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import fsspec
import polars as pl
import pytest

from tasks.domain.errors import DataRefused, UsageError
from tasks.domain.problem import FilesSource
from tasks.sources.delivery import Delivery, Part, Request, collect, first_unreadable

COLUMNS = {"timestamp": ["timestamp", "date"], "instrument": ["symbol"], "close": ["close"], "volume": ["volume"]}
GOOD = "date,symbol,close,volume\n2020-01-02,A,1.5,10\n2020-01-03,A,1.6,\n"
START = datetime(2020, 1, 2)


def request(path: object, held: frozenset[str] = frozenset(), **settings: Any) -> Request:
    return Request(FilesSource(kind="files", path=str(path), **settings), COLUMNS, held)


def deliver(folder: Path, text: str | bytes, name: str = "bars.csv", **settings: Any) -> Part:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    (part,) = collect(request(path, **settings)).parts
    return part


def bars(part: Part) -> pl.DataFrame:
    assert part.bars is not None
    return part.bars


def names(delivery: Delivery, folder: Path) -> list[str]:
    return [part.name.removeprefix(f"{folder}/") for part in delivery.parts]


def test_columns_are_renamed_and_typed_and_a_missing_field_stays_missing(tmp_path: Path) -> None:
    part = deliver(tmp_path, GOOD)
    assert dict(bars(part).schema) == {
        "timestamp": pl.Datetime("us"),
        "instrument": pl.String,
        "close": pl.Float64,
        "volume": pl.Float64,
    }
    assert bars(part).rows() == [(START, "A", 1.5, 10.0), (datetime(2020, 1, 3), "A", 1.6, None)]
    assert part.sha256 == hashlib.sha256(GOOD.encode()).hexdigest()
    assert not part.truncated
    assert part.unreadable is not None
    assert part.unreadable.is_empty()


@pytest.mark.parametrize("kind", ["parquet", "feather", "arrow"])
def test_binary_tables_deliver_the_same_as_csv(tmp_path: Path, kind: str) -> None:
    part = deliver(tmp_path, GOOD)
    table = pl.read_csv(tmp_path / "bars.csv", try_parse_dates=True)
    path = tmp_path / f"bars.{kind}"
    table.write_parquet(path) if kind == "parquet" else table.write_ipc(path)
    (other,) = collect(request(path)).parts
    assert bars(other).equals(bars(part))
    table.write_ipc_stream(tmp_path / "stream.arrow")
    (stream,) = collect(request(tmp_path / "stream.arrow")).parts
    assert bars(stream).equals(bars(part))


def test_a_part_that_is_held_is_known_by_its_bytes_and_not_parsed(tmp_path: Path) -> None:
    part = deliver(tmp_path, GOOD)
    (tmp_path / "other.csv").write_text(GOOD.replace("1.5", "1.7"))
    held = collect(request(tmp_path, held=frozenset({part.sha256})))
    assert [found.bars is None for found in held.parts] == [True, False]
    (tmp_path / "bars.csv").write_bytes(b"\xff rubbish, but held")
    sha = hashlib.sha256((tmp_path / "bars.csv").read_bytes()).hexdigest()
    assert collect(request(tmp_path / "bars.csv", held=frozenset({sha}))).parts[0].bars is None


def test_equal_settings_are_one_feed_and_others_another(tmp_path: Path) -> None:
    (tmp_path / "bars.csv").write_text(GOOD)
    first = collect(request(tmp_path / "bars.csv"))
    assert first.name == "file:bars.csv"
    assert first.feed == collect(request(tmp_path / "bars.csv")).feed
    assert first.feed != collect(request(tmp_path / "bars.csv", price_scale=0.01)).feed
    assert first.feed != collect(request(tmp_path)).feed


def test_a_folder_and_a_glob_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("b.csv", "a/c.csv", "a/x.csv/d.csv", "_drafts/e.csv", "a/.f.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(GOOD)
    assert names(collect(request(tmp_path)), tmp_path) == ["a/c.csv", "a/x.csv/d.csv", "b.csv"]
    assert names(collect(request(f"{tmp_path}/*.csv")), tmp_path) == ["b.csv"]
    assert names(collect(request(f"{tmp_path}/**/*.csv")), tmp_path) == ["a/c.csv", "a/x.csv/d.csv", "b.csv"]
    assert names(collect(request(f"{tmp_path}/a/x.csv")), tmp_path) == ["a/x.csv/d.csv"]


def test_a_relative_path_stays_as_the_user_wrote_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "b.csv").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    for path in ("data", "data/", "data/*.csv", "data/b.csv"):
        assert [part.name for part in collect(request(path)).parts] == ["data/b.csv"]
    monkeypatch.chdir(tmp_path / "data")
    assert [part.name for part in collect(request("*.csv")).parts] == ["b.csv"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("  \n \n", "is empty"),
        ("\ufeff\n", "is empty"),
        ("date,symbol,close\n", "holds no rows"),
        ("date,symbol,close", "holds no rows"),
        ("date,symbol,close\n\n\n", "holds no rows"),
        ("\ndate,symbol,close\n2020-01-02,A,1\n", "row 1: is empty"),
        ("date,symbol\n2020-01-02,A\n", "no column for close"),
        ("\x01\x02,\x03\n\x01", "no column for timestamp"),
        ("\x00\x01\x02,\x03\n\x00", "cannot be read as csv"),
        ("date,symbol,close\n2020-01-02,A,1,2,3,4\n2020-01-03,A\n", "row 2: has 6 fields, the header has 3"),
        ("date,symbol,close\n2020-01-02,A,1\n2020-01-03,A,1,x\n", "row 3: has 4 fields, the header has 3"),
        ("date,symbol,close,close\n2020-01-02,A,1,2\n", "column 'close' stands 2 times"),
        ('date,symbol,close\n2020-01-02,"A,1\n2020-01-03,A",1\n', "row 2: a quote is not closed"),
        ('date,symbol,close\n2020-01-02,A,1\n2020-01-02,A"B,1\n', "row 3: a quote is not closed in its line"),
        ("date,symbol,close\r2020-01-02,A,1\r", "carriage return"),
        ("date,symbol,close\n2020-01-02,A,1\r2020-01-02,A,1\n", "carriage return"),
        ("date,symbol,close\n2020-01-02,A\x00,1\n", "is null"),
    ],
)
def test_refused_with_the_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataRefused, match=r"^/.*bars\.csv: ") as refusal:
        deliver(tmp_path, text)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "content",
    [
        b"date,symbol,close\n2020-01-02,\xff\xfe,1\n",
        b"date,symbol,cl\xf6se\n2020-01-02,A,1\n",
        GOOD.encode("utf-16"),
        GOOD.encode("utf-16-le"),
        b"date,symbol,close\n" + b"2020-01-02,A,1\n" * 400_000 + "2020-01-02,Ä,1\n".encode("latin-1"),
    ],
)
def test_what_is_not_utf8_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DataRefused, match=r"cannot be read as csv .* save it as UTF-8"):
        deliver(tmp_path, content)


def test_what_is_not_a_binary_table_is_refused(tmp_path: Path) -> None:
    for kind in ("parquet", "feather", "arrow"):
        for content in (b"", b"not a table at all", b"PAR1" * 20, b"ARROW1\0\0" * 20):
            with pytest.raises(DataRefused, match=rf"^/.*bars\.{kind}: (cannot be read as|is empty)"):
                deliver(tmp_path, content, f"bars.{kind}")
    pl.read_csv(GOOD.encode()).clear().write_parquet(tmp_path / "bars.parquet")
    with pytest.raises(DataRefused, match="holds no rows"):
        collect(request(tmp_path / "bars.parquet"))


def test_columns_of_an_impossible_type_are_refused(tmp_path: Path) -> None:
    good = pl.read_csv(GOOD.encode(), try_parse_dates=True)
    for name, values in {"close": [[1.0], [2.0]], "date": [True, False], "symbol": [1.5, 2.5]}.items():
        good.with_columns(pl.Series(name, values)).write_parquet(tmp_path / "bars.parquet")
        with pytest.raises(DataRefused, match=r"column \w+: expected (numbers|dates|text), found values of type"):
            collect(request(tmp_path / "bars.parquet"))


def test_unknown_kinds_and_places_without_files(tmp_path: Path) -> None:
    (tmp_path / "bars.xlsx").write_text("x")
    (tmp_path / "empty.csv").mkdir()
    for path, said in {
        tmp_path / "bars.xlsx": r"kind \.xlsx is unknown; give \.csv, \.parquet, \.feather or \.arrow",
        tmp_path: r"bars\.xlsx: kind \.xlsx is unknown; .*a glob that leaves this file out",
        tmp_path / "none.csv": "cannot be read",
        tmp_path / "empty.csv": "holds no file",
        tmp_path / "*.csv": "holds no file",
        "nonsense://x.csv": "nonsense://x.csv: cannot be read",
        f"{tmp_path}/a\0b.csv": "null character",
    }.items():
        with pytest.raises(UsageError, match=said) as refusal:
            collect(request(path))
        assert "\n" not in str(refusal.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="an administrator may read every file")
def test_a_file_without_permission_is_named(tmp_path: Path) -> None:
    (tmp_path / "bars.csv").write_text(GOOD)
    (tmp_path / "bars.csv").chmod(0)
    with pytest.raises(UsageError, match=r"bars\.csv: cannot be read \(Permission denied\)"):
        collect(request(tmp_path))


def test_unreadable_cells_are_returned_with_their_place_and_text(tmp_path: Path) -> None:
    text = "date,symbol,close,volume\n2020-01-02,A,1,1\nsoon,A,n/a?,1\n2020-01-06,A,,NaN\n2020-01-07,A,12 5,x\n"
    part = deliver(tmp_path, text)
    assert part.unreadable is not None
    assert part.unreadable.rows() == [
        (1, "timestamp", "soon"),
        (1, "close", "n/a?"),
        (3, "close", "12 5"),
        (3, "volume", "x"),
    ]
    assert bars(part)["close"].to_list() == [1.0, None, None, None]
    assert first_unreadable(part) == (
        f"{tmp_path}/bars.csv: row 3, column timestamp: expected a date, found 'soon' (1 such); "
        "correct the file and deliver it again"
    )
    pl.read_csv(text.encode(), infer_schema=False).drop("date").with_columns(date=START).write_parquet(
        tmp_path / "b.parquet"
    )
    (binary,) = collect(request(tmp_path / "b.parquet")).parts
    assert first_unreadable(binary).startswith(
        f"{tmp_path}/b.parquet: row 2, column close: expected a number, found 'n/a?' (2 such)"
    )


def test_numbers_that_are_special_survive_and_words_for_missing_are_missing(tmp_path: Path) -> None:
    words = ["1e400", "-inf", "Infinity", "1e-400", "5e-324", "9007199254740993", "NaN", "nan", "null", "NA", "N/A", ""]
    part = deliver(tmp_path, "date,symbol,close\n" + "".join(f"2020-01-02,A,{word}\n" for word in words))
    inf = float("inf")
    assert bars(part)["close"].to_list() == [inf, -inf, inf, 0.0, 5e-324, 9007199254740992.0] + [None] * 6
    assert part.unreadable is not None
    assert part.unreadable.is_empty()


def test_an_instrument_may_be_called_na(tmp_path: Path) -> None:
    part = deliver(tmp_path, 'date,symbol,close\n2020-01-02,NA,1\n2020-01-02,"",1\n2020-01-02,NULL,1\n')
    assert bars(part)["instrument"].to_list() == ["NA", None, "NULL"]


def test_short_rows_lack_fields_and_empty_ends_are_no_fields(tmp_path: Path) -> None:
    part = deliver(tmp_path, "date,symbol,close,volume\n2020-01-02,A\n2020-01-03,A,1,2,,\n\n2020-01-06,A,1,2\n\n\n")
    assert bars(part)["close"].to_list() == [None, 1.0, None, 1.0]
    assert bars(part)["instrument"].to_list() == ["A", "A", None, "A"]


def test_a_last_line_without_a_line_break_is_marked(tmp_path: Path) -> None:
    part = deliver(tmp_path, GOOD + "2020-01-06,A,1")
    assert part.truncated
    assert bars(part)["close"].to_list() == [1.5, 1.6, 1.0]


@pytest.mark.parametrize("separator", [";", "\t", "|"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_separators_line_ends_and_byte_order_marks(tmp_path: Path, separator: str, line_end: str, mark: str) -> None:
    text = mark + GOOD.replace(",", separator).replace("\n", line_end)
    assert bars(deliver(tmp_path, text)).equals(bars(deliver(tmp_path, GOOD, "good.csv")))
    quoted = mark + '"date","symbol","close"\n"2020-01-02","A,;|\tB","1,5"\n'.replace('","', f'"{separator}"')
    part = deliver(tmp_path, quoted.replace("\n", line_end))
    assert bars(part).rows() == [(START, "A,;|\tB", None)]
    assert part.unreadable is not None
    assert part.unreadable.rows() == [(0, "close", "1,5")]


@pytest.mark.parametrize(
    ("text", "in_new_york", "as_delivered"),
    [
        ("2020-01-02", START, START),
        ("2020-01-02 09:30:00", datetime(2020, 1, 2, 9, 30), datetime(2020, 1, 2, 9, 30)),
        ("2020-01-02T14:30:00Z", datetime(2020, 1, 2, 9, 30), datetime(2020, 1, 2, 14, 30)),
        (
            "2020-07-02T15:30:00.5+02:00",
            datetime(2020, 7, 2, 9, 30, 0, 500000),
            datetime(2020, 7, 2, 15, 30, 0, 500000),
        ),
        ("20200102", START, START),
        ("2020/01/02 10:00", datetime(2020, 1, 2, 10), datetime(2020, 1, 2, 10)),
        ("1577975400", datetime(2020, 1, 2, 9, 30), datetime(2020, 1, 2, 14, 30)),
        ("1577975400000", datetime(2020, 1, 2, 9, 30), datetime(2020, 1, 2, 14, 30)),
    ],
)
def test_stamps_and_zones(tmp_path: Path, text: str, in_new_york: datetime, as_delivered: datetime) -> None:
    csv = f"date,symbol,close\n{text},A,1\n"
    assert bars(deliver(tmp_path, csv, time_zone="America/New_York"))["timestamp"].to_list() == [in_new_york]
    assert bars(deliver(tmp_path, csv))["timestamp"].to_list() == [as_delivered]


@pytest.mark.parametrize(
    "text", ["01/02/2020", "2020-02-30", "2020-01-02 24:00:00", "2020-01-02 10:00:60", "12345", "x"]
)
def test_what_is_no_certain_date_is_unreadable(tmp_path: Path, text: str) -> None:
    part = deliver(tmp_path, f"date,symbol,close\n{text},A,1\n")
    assert part.unreadable is not None
    assert part.unreadable.rows() == [(0, "timestamp", text)]


def test_a_date_format_of_ones_own(tmp_path: Path) -> None:
    part = deliver(tmp_path, "date,symbol,close\n02.01.2020,A,1\n", time_format="%d.%m.%Y")
    assert bars(part)["timestamp"].to_list() == [START]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_binary_stamps_with_a_zone(tmp_path: Path, unit: Any) -> None:
    stamps = pl.Series([datetime(2020, 1, 2, 14, 30)]).dt.cast_time_unit(unit).dt.replace_time_zone("UTC")
    table = pl.DataFrame({"date": stamps.dt.convert_time_zone("Asia/Tokyo"), "symbol": ["A"], "close": [1]})
    table.write_parquet(tmp_path / "b.parquet")
    (kept,) = collect(request(tmp_path / "b.parquet")).parts
    assert bars(kept)["timestamp"].to_list() == [datetime(2020, 1, 2, 23, 30)]
    (moved,) = collect(request(tmp_path / "b.parquet", time_zone="America/New_York")).parts
    assert bars(moved)["timestamp"].to_list() == [datetime(2020, 1, 2, 9, 30)]


def test_prices_are_scaled_without_a_rounding_error_and_volume_is_not(tmp_path: Path) -> None:
    rows = "".join(f"2020-01-02,A,{cents},{cents}\n" for cents in range(1, 2000))
    part = deliver(tmp_path, "date,symbol,close,volume\n" + rows, price_scale=0.0001)
    assert bars(part)["close"].to_list() == [cents / 10000 for cents in range(1, 2000)]
    assert bars(part)["volume"].to_list() == [float(cents) for cents in range(1, 2000)]
    tripled = deliver(tmp_path, "date,symbol,close\n2020-01-02,A,0.1\n", price_scale=3.0)
    assert bars(tripled)["close"].to_list() == [0.1 * 3.0]


def test_the_instrument_from_the_name_of_the_file(tmp_path: Path) -> None:
    text = "date,close\n2020-01-02,1\n"
    part = deliver(tmp_path, text, "BRK.B.csv", instrument={"from_name": True})
    assert bars(part)["instrument"].to_list() == ["BRK.B"]
    assert bars(part).columns == ["timestamp", "instrument", "close"]
    with pytest.raises(DataRefused, match="no column for instrument"):
        deliver(tmp_path, text)
    assert bars(deliver(tmp_path, GOOD, instrument={"from_name": True}))["instrument"].to_list() == ["A", "A"]


def test_one_column_for_two_of_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bars.csv").write_text(GOOD)
    twice = request(tmp_path / "bars.csv")._replace(columns=COLUMNS | {"open": ["close"]})
    with pytest.raises(DataRefused, match="column 'close' is claimed for close and another"):
        collect(twice)


def test_any_file_system_that_fsspec_knows(tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/deliveries/2020/a.csv", GOOD.encode())
    memory.pipe("/deliveries/b.csv", GOOD.encode())
    here = deliver(tmp_path, GOOD)
    delivery = collect(request("memory://deliveries"))
    assert [part.name for part in delivery.parts] == ["memory://deliveries/2020/a.csv", "memory://deliveries/b.csv"]
    assert all(bars(part).equals(bars(here)) for part in delivery.parts)
    assert [part.name for part in collect(request("memory://deliveries/*.csv")).parts] == ["memory://deliveries/b.csv"]
    assert bars(collect(request(f"file://{tmp_path}/bars.csv")).parts[0]).equals(bars(here))
    memory.pipe("/deliveries/b.csv", b"")
    with pytest.raises(DataRefused, match=r"^memory://deliveries/b.csv: is empty"):
        collect(request("memory://deliveries"))


def test_no_secret_of_a_url_is_ever_shown(tmp_path: Path) -> None:
    for url in (
        "http://user:geheim@127.0.0.1:9/bars.csv?token=geheim",
        "nonsense://user:geheim@host/bars.csv?sig=geheim",
        "memory://user:geheim@none/bars.csv",
        "simplecache::http://user:geheim@127.0.0.1:9/bars.csv?token=geheim",
    ):
        with pytest.raises(UsageError, match=r"\*\*\*") as refusal:
            collect(request(url))
        assert "geheim" not in str(refusal.value)
        assert "\n" not in str(refusal.value)
