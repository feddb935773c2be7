"""Records of orders from CSV files and FIX logs: what is taken, what is rejected with its line, and nothing lost."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import simplefix
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.domain.errors import DataRefused, UsageError
from tasks.domain.orders import ORDER_SCHEMA, reconcile
from tasks.domain.problem import OrdersSource
from tasks.sources import fix
from tasks.sources.orders import OrderPart, collect

MOMENT = datetime(2020, 1, 2, 14, 30, tzinfo=UTC)
CSV = """when,type,id,exec,symbol,side,qty,px,cum,venue,account
2020-01-02 14:30:00,New,o1,,A,BUY,100,,,XNYS,f1
2020-01-02 14:30:01.5,Fill,o1,e1,A,B,60,10.25,60,XNYS,f1
2020-01-02T09:30:02-05:00,Cancelled,o1,,A,BUY,40,,60,XNYS,f1
soon,Fill,o1,e2,A,BUY,1,10,,XNYS,f1
2020-01-02 14:30:03,Fill,o1,e3,A,BUY,many,10,,XNYS,f1
"""
MAPPING = {
    "time": ["when"],
    "kind": ["type"],
    "order_id": ["id"],
    "execution_id": ["exec"],
    "instrument": ["symbol"],
    "quantity": ["qty"],
    "price": ["px"],
    "cumulative_quantity": ["cum"],
}


def read(path: Path, written: str = "csv", held: frozenset[str] = frozenset(), **changed: Any) -> OrderPart:
    columns = {"columns": MAPPING} if written == "csv" else {}
    (part,) = collect(OrdersSource(format=written, path=str(path), **(columns | changed)), held).parts  # type: ignore[arg-type]
    return part


def frames(part: OrderPart) -> tuple[pl.DataFrame, pl.DataFrame]:
    assert part.orders is not None
    assert part.rejected is not None
    assert dict(part.orders.schema) == ORDER_SCHEMA
    return part.orders, part.rejected


def test_a_csv_file_of_records(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(CSV)
    orders, rejected = frames(read(path))
    assert orders["kind"].to_list() == ["order", "fill", "cancel"]
    assert orders["side"].to_list() == ["buy", "buy", "buy"]
    assert orders["time"].to_list() == [
        MOMENT,
        MOMENT.replace(second=1, microsecond=500_000),
        MOMENT.replace(second=2),
    ]
    assert orders["cumulative_quantity"].to_list() == [None, 60.0, 60.0]
    assert rejected["row"].to_list() == [5, 6]
    assert rejected["reason"].to_list() == [
        "time: expected a moment in UTC, found soon",
        "quantity: expected a number, found many",
    ]
    assert reconcile(orders).rejected.is_empty()
    part = read(path)
    assert read(path, held=frozenset({part.sha256})).orders is None


def test_the_clock_of_a_zone_and_the_hour_that_it_shows_twice(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    stamps = ["2020-01-02 09:30:00", "2020-11-01 01:30:00", "2020-11-01T01:30:00-05:00", "2020-03-08 02:30:00"]
    rows = "".join(f"{stamp},New,o{i},,A,BUY,1,,,,\n" for i, stamp in enumerate(stamps))
    path.write_text(CSV.splitlines()[0] + "\n" + rows)
    orders, rejected = frames(read(path, time_zone="America/New_York"))
    assert orders["time"].to_list() == [MOMENT, datetime(2020, 11, 1, 6, 30, tzinfo=UTC)]
    assert rejected["row"].to_list() == [3, 5]


def test_a_csv_file_without_a_needed_column_is_refused(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text("time,kind\n2020-01-02,order\n")
    with pytest.raises(DataRefused, match=r"no column for order_id; .* under orders\.columns\.order_id"):
        read(tmp_path / "orders.csv", columns={})
    with pytest.raises(UsageError, match=r"kind \.csv is unknown; give \.fix, \.log or \.txt"):
        read(tmp_path / "orders.csv", "fix")


# --- FIX ------------------------------------------------------------------------------------------------------------


def message(kind: str, *pairs: tuple[int, object], version: str = "FIX.4.4") -> bytes:
    built = simplefix.FixMessage()
    built.append_pair(8, version)
    built.append_pair(35, kind)
    built.append_pair(52, "20200102-14:30:00.000")
    for tag, value in pairs:
        built.append_pair(tag, value)
    return bytes(built.encode())


def new_order() -> bytes:
    return message(
        "D", (11, "o1"), (55, "A"), (54, 1), (38, 100), (60, "20200102-14:30:00.250"), (1, "f1"), (100, "XNYS")
    )


def report(exec_type: str, execution_id: str, *pairs: tuple[int, object]) -> bytes:
    common = ((37, "b7"), (17, execution_id), (150, exec_type), (55, "A"), (54, 1), (38, 100), (1, "f1"))
    return message("8", *common, *pairs)


ACKNOWLEDGED = report("0", "a1", (11, "o1"), (60, "20200102-14:30:00.500"))
FILLED = report("F", "e1", (11, "o1"), (32, 60), (31, "10.25"), (14, 60), (30, "XNYS"), (60, "20200102-14:30:01"))
CANCELLED = report("4", "c1", (11, "x1"), (41, "o1"), (14, 60), (60, "20200102-14:31:00"))
HEARTBEAT = message("0")


def log(path: Path, *lines: bytes) -> OrderPart:
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return read(path, "fix")


def test_a_fix_log(tmp_path: Path) -> None:
    part = log(
        tmp_path / "oms.log",
        b"2020-01-02 14:30:00.251 OUT " + new_order(),
        ACKNOWLEDGED.replace(b"\x01", b"|"),
        b"",
        b"[14:30:01] <- " + FILLED.replace(b"\x01", b"|") + b" latency=3ms",
        HEARTBEAT + CANCELLED,
    )
    orders, rejected = frames(part)
    assert rejected.is_empty()
    assert part.passed_over == 1
    assert orders.drop("time").rows() == [
        ("order", "o1", None, "A", "buy", 100.0, None, None, "XNYS", "f1"),
        ("order", "o1", "a1", "A", "buy", 100.0, None, None, None, "f1"),
        ("fill", "o1", "e1", "A", "buy", 60.0, 10.25, 60.0, "XNYS", "f1"),
        ("cancel", "o1", "c1", "A", "buy", 100.0, None, 60.0, None, "f1"),
    ]
    assert orders["time"].to_list()[0] == MOMENT.replace(microsecond=250_000)
    found = reconcile(orders)
    assert found.rejected.is_empty()
    assert found.duplicates.height == 1


def test_a_replaced_order_is_an_order_of_its_own(tmp_path: Path) -> None:
    replaced = report("5", "r1", (11, "o2"), (41, "o1"), (60, "20200102-14:30:05"))
    fill = report("F", "e1", (11, "o2"), (32, 60), (31, 10), (14, 60), (60, "20200102-14:30:06"))
    orders, _ = frames(log(tmp_path / "oms.log", new_order(), replaced, fill))
    assert orders["order_id"].to_list() == ["o1", "o2", "o2"]
    assert reconcile(orders).rejected.is_empty()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (FILLED.replace(b"31=10.25", b"31=10.26"), "checksum (10) says"),
        (FILLED.replace(b"31=10.25", b"31=110.25"), "body length (9) says"),
        (FILLED[: len(FILLED) // 2], "checksum (10) is missing"),
        (b"connection lost", "holds no FIX message"),
        (message("8", (150, "F"), version="FIX.4.2"), "version FIX.4.2: expected FIX.4.4"),
        (report("H", "h1", (11, "o1")), "execution type (150) H: a cancellation of a trade"),
        (report("?", "h1", (11, "o1")), "execution type (150) '?' is unknown"),
        (report("F", "e9", (11, "o1"), (32, "many"), (31, 10)), "quantity: expected a number, found many"),
        (report("F", "e9", (11, "o1"), (32, 1), (31, 10), (60, "soon")), "time: expected a moment in UTC, found soon"),
    ],
)
def test_a_message_that_cannot_be_taken_is_rejected_with_its_line(tmp_path: Path, line: bytes, reason: str) -> None:
    orders, rejected = frames(log(tmp_path / "oms.log", new_order(), line))
    assert orders.height == 1
    assert rejected["row"].to_list() == [2]
    assert rejected["reason"][0].startswith(reason)
    assert rejected["text"][0]


def test_a_file_without_any_message_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataRefused, match="is empty"):
        log(tmp_path / "oms.log")
    with pytest.raises(DataRefused, match=r"oms\.log: row 1: holds no FIX message \(2 such\)"):
        log(tmp_path / "oms.log", b"nothing", b"here")


@given(
    st.lists(
        st.sampled_from([new_order(), ACKNOWLEDGED, FILLED, CANCELLED, HEARTBEAT, b"note"]), min_size=1, max_size=6
    ),
    st.integers(0, 10_000),
    st.binary(min_size=1, max_size=3),
)
@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_damage_is_always_found(lines: list[bytes], place: int, damage: bytes) -> None:
    whole = b"\n".join(lines)
    at = place % len(whole)
    damaged = whole[:at] + damage + whole[at + len(damage) :]
    sound = [line.record for line in fix.read(whole.splitlines(keepends=True)) if line.record]
    told = list(fix.read(damaged.splitlines(keepends=True)))
    assert all((line.record is None) or (line.reason is None) for line in told)
    changed = [line.record for line in told if line.record and line.record not in sound]
    # A checksum is a sum: bytes that change places, or make up for each other, are beyond it.
    assert not changed or sum(damaged) % 256 == sum(whole) % 256
