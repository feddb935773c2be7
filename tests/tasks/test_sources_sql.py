"""Bars from databases: SQLite always, PostgreSQL where COUNTERSIGN_TEST_POSTGRES names a server."""

import os
import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import create_engine, text

from tasks.domain.errors import DataRefused, UsageError
from tasks.domain.problem import SqlSource
from tasks.sources import sql
from tasks.sources.delivery import Delivery, Request, collect

VARIABLE = "COUNTERSIGN_TEST_SQL"
POSTGRES = os.environ.get("COUNTERSIGN_TEST_POSTGRES")
COLUMNS = {"timestamp": ["day"], "instrument": ["symbol"], "close": ["close"], "volume": ["volume"]}
ROWS = [
    {"day": "2020-01-02", "symbol": "A", "close": 1.5, "volume": 10},
    {"day": "2020-01-03", "symbol": "A", "close": 1.6, "volume": None},
    {"day": "2020-01-03", "symbol": "B", "close": 7.25, "volume": 3},
]
QUERY = "SELECT day, symbol, close, volume FROM {} ORDER BY symbol, day"
NEWER = "SELECT day, symbol, close, volume FROM {} WHERE day > :since ORDER BY symbol, day"


@pytest.fixture(params=["sqlite", "postgres"])
def table(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A table of bars in a database that the variable names."""
    if request.param == "postgres" and not POSTGRES:
        pytest.skip("COUNTERSIGN_TEST_POSTGRES names no server")
    url = POSTGRES if request.param == "postgres" else f"sqlite:///{tmp_path}/bars.db"
    assert url is not None
    name = f"bars_{uuid.uuid4().hex[:12]}"
    monkeypatch.setenv(VARIABLE, url)
    kinds = "day TIMESTAMP, symbol TEXT, close NUMERIC(12, 4), volume BIGINT"
    execute(f"CREATE TABLE {name} ({kinds if request.param == 'postgres' else 'day, symbol, close, volume'})")
    insert(name, *ROWS)
    yield name
    execute(f"DROP TABLE {name}")


def execute(statement: str, *rows: dict[str, Any]) -> None:
    engine = create_engine(os.environ[VARIABLE])
    with engine.begin() as connection:
        connection.execute(text(statement), list(rows) or None)
    engine.dispose()


def insert(table: str, *rows: dict[str, Any]) -> None:
    execute(f"INSERT INTO {table} VALUES (:day, :symbol, :close, :volume)", *rows)


def ask(query: str, **asked: Any) -> Delivery:
    settings = asked.pop("settings", {})
    return collect(Request(SqlSource(kind="sql", url_variable=VARIABLE, query=query, **settings), COLUMNS, **asked))


def test_the_whole_answer_is_one_part(table: str) -> None:
    delivery = ask(QUERY.format(table))
    (part,) = delivery.parts
    assert part.bars is not None
    assert dict(part.bars.schema) == {
        "timestamp": pl.Datetime("us"),
        "instrument": pl.String,
        "close": pl.Float64,
        "volume": pl.Float64,
    }
    assert part.bars.rows() == [
        (datetime(2020, 1, 2), "A", 1.5, 10.0),
        (datetime(2020, 1, 3), "A", 1.6, None),
        (datetime(2020, 1, 3), "B", 7.25, 3.0),
    ]
    again = ask(QUERY.format(table), held=frozenset({part.sha256}))
    assert again.feed == delivery.feed
    assert again.parts == (part._replace(bars=None, unreadable=None),)
    execute(f"UPDATE {table} SET close = 9 WHERE symbol = 'B'")
    assert ask(QUERY.format(table), held=frozenset({part.sha256})).parts[0].bars is not None


def test_since_asks_for_what_is_new_and_adds_it(table: str) -> None:
    query = NEWER.format(table)
    (first,) = ask(query).parts
    held = {
        "held": frozenset({first.sha256}),
        "held_parts": ((first.name, first.sha256),),
        "since": datetime(2020, 1, 3),
    }
    nothing_new = ask(query, **held)
    assert [(part.sha256, part.bars) for part in nothing_new.parts] == [(first.sha256, None)]
    insert(table, {"day": "2020-01-06", "symbol": "A", "close": 1.7, "volume": 1})
    old, new = ask(query, **held).parts
    assert old.bars is None
    assert new.bars is not None
    assert new.bars.rows() == [(datetime(2020, 1, 6), "A", 1.7, 1.0)]
    assert new.name == f"sql {VARIABLE} since 2020-01-03T00:00:00"


def test_batches_make_no_difference(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"day": f"2021-01-{i % 28 + 1:02d}", "symbol": f"S{i:03d}", "close": i, "volume": i} for i in range(300)]
    insert(table, *rows)
    whole = ask(QUERY.format(table)).parts[0]
    monkeypatch.setattr(sql, "BATCH", 7)
    small = ask(QUERY.format(table)).parts[0]
    assert small.sha256 == whole.sha256
    assert small.bars is not None
    assert small.bars.equals(whole.bars if whole.bars is not None else pl.DataFrame())


def test_text_where_a_number_must_be_is_reported(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "BATCH", 2)
    close = "CASE symbol WHEN 'B' THEN 'n/a?' ELSE '1.5' END AS close"
    query = f"SELECT day, symbol, {close} FROM {table} ORDER BY symbol, day"
    part = ask(query).parts[0]
    assert part.bars is not None
    assert part.unreadable is not None
    assert part.bars["close"].to_list() == [1.5, 1.5, None]
    assert part.unreadable.rows() == [(2, "close", "n/a?")]
    other = ask(query.replace("n/a?", "none?")).parts[0]
    assert other.sha256 != part.sha256


@pytest.mark.parametrize(
    ("query", "fault", "said"),
    [
        ("SELECT nonsense FROM {}", UsageError, "the query fails"),
        ("SELEC 1 -- {}", UsageError, "the query fails"),
        ("SELECT day, symbol FROM {}", DataRefused, "no column for close; expected one of"),
        ("SELECT day, symbol, close FROM {} WHERE 1 = 0", DataRefused, "returned no rows"),
        ("SELECT day, symbol FROM {} WHERE 1 = 0", DataRefused, "no column for close"),
        ("DELETE FROM {}", UsageError, "the query (returns no rows; give a SELECT|fails)"),
        ("SELECT day, symbol, close FROM {} WHERE day > :until", UsageError, "the query fails"),
    ],
)
def test_what_cannot_be_asked_is_one_line(table: str, query: str, fault: type[Exception], said: str) -> None:
    with pytest.raises(fault, match=rf"^sql {VARIABLE}: .*{said}") as refusal:
        ask(query.format(table))
    assert "\n" not in str(refusal.value)
    assert ask(QUERY.format(table)).parts[0].bars is not None  # nothing was deleted


@pytest.mark.parametrize(
    "url",
    [
        "",
        "not a url",
        "nonsense://user:geheim@host/db",
        "oracle://user:geheim@host/db",
        "postgresql+psycopg://user:geheim@127.0.0.1:1/db?sslpassword=geheim2",
        "sqlite:////no/such/folder/bars.db",
    ],
)
def test_no_connection_is_one_line_without_the_password(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv(VARIABLE, url)
    with pytest.raises(UsageError, match=rf"^sql {VARIABLE}: ") as refusal:
        ask("SELECT 1")
    assert "geheim" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.skipif(not POSTGRES, reason="COUNTERSIGN_TEST_POSTGRES names no server")
def test_stamps_with_a_zone_need_to_be_told_which_one_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(POSTGRES))
    query = "SELECT TIMESTAMPTZ '2020-01-02 14:30:00+00' AS day, 'A' AS symbol, 1.5::numeric AS close"
    with pytest.raises(DataRefused, match=r"declare source\.time_zone"):
        ask(query)
    part = ask(query, settings={"time_zone": "America/New_York"}).parts[0]
    assert part.bars is not None
    assert part.bars["timestamp"].to_list() == [datetime(2020, 1, 2, 9, 30)]
