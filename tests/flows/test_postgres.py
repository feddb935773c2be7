"""The whole chain on PostgreSQL: bars from it, MLflow's and Prefect's records in it, each named by its URL alone."""

import json
import os
import signal
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import psutil
import pytest
from sqlalchemy import URL, create_engine, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from flows.servers import free_port
from tests.support.command import Countersign
from tests.support.market import bars, problem

VARIABLE = "COUNTERSIGN_TEST_POSTGRES"
BARS_URL = "COUNTERSIGN_TEST_BARS"
KEPT_BACK = 20  # sessions that come later
COLUMNS = ("date", "symbol", "open", "high", "low", "close", "volume")
QUERY = f"SELECT {', '.join(COLUMNS)} FROM bars WHERE date > :since ORDER BY symbol, date"
DATABASES = ("bars", "mlflow", "prefect")


class Chain(NamedTuple):
    """A problem whose bars, runs and flow runs are in databases of their own, and what `retrain` said."""

    countersign: Countersign
    problem: Path
    databases: dict[str, URL]
    later: pd.DataFrame
    retrained: dict[str, Any]


def ask(url: URL, statement: str) -> list[Any]:
    """Run one statement outside any transaction (databases cannot be made in one); its rows, if it has some."""
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        answer = connection.execute(text(statement))
        return list(answer) if answer.returns_rows else []


@contextmanager
def databases() -> Iterator[dict[str, URL]]:
    """Empty databases on the server that the environment names; they are dropped afterwards."""
    if not os.environ.get(VARIABLE):
        pytest.skip(f"{VARIABLE} names no server")
    server = make_url(os.environ[VARIABLE])
    try:
        ask(server, "SELECT 1")
    except SQLAlchemyError as fault:
        pytest.skip(f"{VARIABLE}: the server does not answer ({str(fault).splitlines()[0]})")
    made = {name: f"countersign_{name}_{uuid.uuid4().hex[:12]}" for name in DATABASES}
    for database in made.values():
        ask(server, f"CREATE DATABASE {database}")
    yield {name: server.set(database=database) for name, database in made.items()}
    for database in made.values():
        ask(server, f"DROP DATABASE {database} WITH (FORCE)")


def shown(url: URL) -> str:
    return url.render_as_string(hide_password=False)


@pytest.fixture
def server() -> Iterator[URL]:
    """A server's URL with the name of two databases on it that are yet to be made; they are dropped afterwards."""
    with databases() as made:
        asked = made["mlflow"].set(drivername="postgresql", database=f"desk_{uuid.uuid4().hex[:12]}")
        yield asked
        for name in ("mlflow", "prefect"):
            ask(made["mlflow"], f"DROP DATABASE IF EXISTS {asked.database}_{name} WITH (FORCE)")


def test_up_keeps_all_records_on_the_server_it_is_given(server: URL, tmp_path: Path) -> None:
    countersign = Countersign(tmp_path / "state", fresh=True)
    ports = ("--prefect-port", free_port(), "--mlflow-port", free_port())
    process = countersign.start("up", "--postgres", shown(server), *ports, "--json")
    assert process.stdout is not None
    said = process.stdout.readline()
    assert "approval/any" in said, process.communicate()
    try:
        status = countersign.json("status")
        assert status["servers"]["mlflow"] == json.loads(said)["mlflow"]
        listening = [" ".join(each.cmdline()) for each in psutil.process_iter() if "mlflow" in each.name()]
        assert not [line for line in listening if "postgresql" in line], "a password would be seen by all"
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=60)
    kept = server.set(drivername="postgresql+psycopg")
    assert ask(kept.set(database=f"{server.database}_prefect"), "SELECT count(*) FROM deployment")[0][0] > 0
    assert ask(kept.set(database=f"{server.database}_mlflow"), "SELECT count(*) FROM experiments")[0][0] > 0
    assert not (countersign.home / "mlflow.db").exists()
    assert not (countersign.home / "prefect" / "prefect.db").exists()
    assert stat.S_IMODE((countersign.home / "keys" / "databases.json").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mysql://nobody@127.0.0.1/x", "expected postgresql://USER@HOST:PORT/NAME"),
        ("postgresql://nobody:secret@127.0.0.1:9/x", "refused"),
        ("postgresql://nobody@127.0.0.1:5432/x;drop", "NAME in small letters"),
    ],
)
def test_a_server_that_cannot_be_had_is_told_in_one_line(url: str, told: str, tmp_path: Path) -> None:
    said = Countersign(tmp_path / "state", fresh=True)("up", "--postgres", url, code=2)
    assert told in said
    assert "secret" not in said


def insert(url: URL, rows: pd.DataFrame) -> None:
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection, connection.connection.cursor() as cursor:
        with cursor.copy(f"COPY bars ({', '.join(COLUMNS)}) FROM STDIN") as copy:
            for row in rows[list(COLUMNS)].itertuples(index=False):
                copy.write_row(row)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    folder = tmp_path_factory.mktemp("postgres")
    with databases() as made:
        kinds = "date TIMESTAMP, symbol TEXT, open FLOAT8, high FLOAT8, low FLOAT8, close FLOAT8, volume FLOAT8"
        ask(made["bars"], f"CREATE TABLE bars ({kinds})")
        market = bars(signal=0.003)
        late = market["date"] >= sorted(market["date"].unique())[-KEPT_BACK]
        insert(made["bars"], market[~late])
        source = {"kind": "sql", "url_variable": BARS_URL, "query": QUERY}
        extra = {
            BARS_URL: shown(made["bars"]),
            "MLFLOW_TRACKING_URI": shown(made["mlflow"]),
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": shown(made["prefect"].set(drivername="postgresql+asyncpg")),
        }
        asked = problem(folder, "stored", source=source)
        countersign = Countersign(folder / "state", extra=extra, fresh=True)
        yield Chain(countersign, asked, made, market[late], countersign.json("retrain", asked))


def test_records_are_in_the_databases_and_verify(chain: Chain) -> None:
    assert chain.retrained["trained"]["model"] == "stored/1"
    assert chain.countersign.json("verify", "stored/1")["faults"] == []
    runs = "SELECT e.name, r.status FROM runs r JOIN experiments e USING (experiment_id)"
    found = {(name.rpartition("/")[2], status) for name, status in ask(chain.databases["mlflow"], runs)}
    assert {(stage, "FINISHED") for stage in ("collect", "train", "validate", "backtest", "decide")} <= found
    assert {status for _, status in found} == {"FINISHED"}
    flows = "SELECT f.name, r.state_type::text FROM flow_run r JOIN flow f ON f.id = r.flow_id"
    ran = {tuple(row) for row in ask(chain.databases["prefect"], flows)}
    stages = ("retrain", "collect", "train", "validate", "backtest", "promote")
    assert ran == {(name, "COMPLETED") for name in stages}
    home = chain.countersign.home
    assert not (home / "mlflow.db").exists()
    assert not (home / "prefect" / "prefect.db").exists()


def test_only_new_rows_are_asked_for(chain: Chain) -> None:
    before = chain.retrained["collected"]
    assert before["accounting"]["collected"] == len(bars(signal=0.003)) - len(chain.later)
    insert(chain.databases["bars"], chain.later)
    after = chain.countersign.json("collect", chain.problem)
    assert after["new"]
    assert after["accounting"]["collected"] == before["accounting"]["collected"] + len(chain.later)
    assert after["parts"][:-1] == before["parts"]
    assert after["parts"][-1]["name"] == f"sql {BARS_URL} since {before['newest']}"
    assert not chain.countersign.json("collect", chain.problem)["new"]
    assert BARS_URL in str(after["delivery"]["name"])
