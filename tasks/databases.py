"""PostgreSQL for the records of MLflow and Prefect, in place of files in the state folder.

Made once for a state folder and then known to every command on it: the URLs, which may hold a password, lie in a file
that its owner alone can read.
"""

import re

from sqlalchemy import URL, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from tasks.domain.errors import UsageError
from tasks.home import as_json, databases, databases_file, home, write_whole

OPTION = "--postgres"
DRIVERS = {"mlflow": "postgresql+psycopg", "prefect": "postgresql+asyncpg"}
PLAIN = re.compile(r"[a-z][a-z0-9_]{0,40}")


def use(url: str) -> None:
    """Have MLflow's and Prefect's records kept on a PostgreSQL server, in two databases named after the URL's; they are
    made where they are missing. Again changes nothing.

    Raises:
        UsageError: it is no such URL, the server does not answer or refuses, or there are records elsewhere already.
    """
    wanted = {name: placed(server(url), name) for name in DRIVERS}
    urls = {name: each.render_as_string(hide_password=False) for name, each in wanted.items()}
    if databases() == urls:
        return
    if databases() or (home() / "mlflow.db").exists():
        raise UsageError(f"{OPTION}: {home()} has its records elsewhere already; take a new state folder")
    for each in wanted.values():
        make(each)
    write_whole(databases_file(), as_json(urls), mode=0o600)


def server(url: str) -> URL:
    try:
        found = make_url(url)
    except ArgumentError:
        found = None
    if found is None or not found.drivername.startswith("postgresql") or not PLAIN.fullmatch(found.database or "x"):
        raise UsageError(f"{OPTION}: expected postgresql://USER@HOST:PORT/NAME, NAME in small letters, digits and _")
    return found


def placed(found: URL, name: str) -> URL:
    return found.set(drivername=DRIVERS[name], database=f"{found.database or 'countersign'}_{name}")


def make(wanted: URL) -> None:
    """Make a database where there is none of that name."""
    own = wanted.set(drivername=DRIVERS["mlflow"], database="postgres")
    engine = create_engine(own, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            there = text("SELECT 1 FROM pg_database WHERE datname = :name")
            if connection.execute(there, {"name": wanted.database}).first() is None:
                connection.execute(text(f"CREATE DATABASE {wanted.database}"))
    except SQLAlchemyError as fault:
        said = str(getattr(fault, "orig", None) or fault).strip().splitlines()[0]
        raise UsageError(f"{OPTION} {own.render_as_string(hide_password=True)}: {said}") from None
