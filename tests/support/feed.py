"""A folder of CSV parts that grows, with known defects in it, and what must hold of a state folder at any moment."""

import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
from deltalake import DeltaTable

from tasks import commits, evidence, lake, snapshots
from tasks.domain import names
from tasks.recording import signed_file
from tasks.snapshots import Snapshot
from tests.support.market import bars, problem

NAMES = 6
SESSIONS_A_PART = 15


class Feed:
    """A vendor's folder. Each part holds the next sessions of all names, and every third one defects."""

    def __init__(self, folder: Path, name: str, sessions: int = 1500, **changes: object) -> None:
        self.folder = folder / f"{name}-parts"
        self.folder.mkdir()
        self.problem = problem(folder, name, self.folder, **changes)
        self.bars = bars(0.0, names=NAMES, sessions=sessions)
        self.days = sorted(self.bars["date"].unique())
        self.rng = np.random.default_rng(3)
        self.count = 0

    def grow(self, sessions: int = SESSIONS_A_PART) -> Path:
        """Add the next part."""
        days, self.days = self.days[:sessions], self.days[sessions:]
        assert days, "the market has no more sessions"
        rows = self.bars[self.bars["date"].isin(days)].reset_index(drop=True)
        path = self.folder / f"{self.count:03d}.csv"
        (damaged(rows, self.rng) if self.count % 3 == 2 else rows).to_csv(path, index=False)
        self.count += 1
        return path

    def parts(self) -> dict[str, int]:
        """SHA-256 → rows of every file there is."""
        return {hashlib.sha256(path.read_bytes()).hexdigest(): lines(path) for path in sorted(self.folder.iterdir())}


def lines(path: Path) -> int:
    return len(path.read_text().splitlines()) - 1


def damaged(rows: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Two rows that belong in quarantine, two to be corrected, and one delivered twice."""
    rows = rows.copy()
    zero, missing, swapped, spelled, twice = rng.choice(len(rows), 5, replace=False)
    rows.loc[zero, "close"] = 0.0
    rows.loc[missing, "close"] = np.nan
    rows.loc[swapped, ["high", "low"]] = rows.loc[swapped, ["low", "high"]].to_numpy()
    rows.loc[spelled, "symbol"] = f" {rows.loc[spelled, 'symbol'].lower()}"
    return pd.concat([rows.loc[:twice], rows.loc[twice:]])


def current(name: str) -> Snapshot | None:
    """The snapshot that counts, after looking at all that is said of it; None if there is none yet."""
    if not snapshots.pointer(name).exists():
        return None
    snapshot = snapshots.current(name)
    counts = snapshot.manifest["accounting"]
    loaded = {table: snapshot.load(table) for table in snapshot.manifest["tables"]}
    clean = len(loaded[lake.DEVELOPMENT]) + len(loaded[lake.LOCKBOX])
    assert clean == counts["clean"]
    assert len(loaded[lake.QUARANTINE]) == counts["quarantined"]
    assert counts["collected"] == clean + counts["quarantined"] + counts["exact_duplicates"]
    feed, parts = snapshot.manifest["delivery"]["feed"], [part["sha256"] for part in snapshot.manifest["parts"]]
    assert len(lake.read_raw(name, feed, parts)) == counts["collected"]
    files = evidence.read_statement(evidence.snapshot_folder(name, snapshot.key), names.COLLECT).products
    for path in files:
        stage, _, file = path.partition("/")
        if stage == names.COLLECT:
            signed_file(evidence.snapshot_folder(name, snapshot.key), names.COLLECT, file)
    return snapshot


def raw_parts(name: str) -> Counter[str]:
    """How often the raw table holds each part."""
    table = commits.newest(commits.place(name, lake.RAW)).table
    return Counter() if table is None else Counter(file.partition["part"] for file in commits.files(table))


def raw_adds(name: str) -> list[list[str]]:
    """The parts that each commit of the raw table added, as its log tells, oldest first."""
    log = Path(commits.place(name, lake.RAW).uri, "_delta_log")
    entries = [[json.loads(line) for line in path.read_text().splitlines()] for path in sorted(log.glob("*.json"))]
    return [[each["add"]["partitionValues"]["part"] for each in entry if "add" in each] for entry in entries]


def read_versions(name: str, seen: set[tuple[str, int]]) -> None:
    """Read every version of every table that is not among those seen, and compare it with its digest."""
    for table in lake.TABLES:
        at = commits.place(name, table)
        if not DeltaTable.is_deltatable(at.uri):
            continue
        for entry in DeltaTable(at.uri).history():
            version = entry["version"]
            if (table, version) not in seen and table == lake.RAW:
                read_raw(name, version)
            elif (table, version) not in seen:
                assert isinstance(lake.load(name, table, version, entry[commits.DIGEST]), pl.DataFrame)
            seen.add((table, version))


def read_raw(name: str, version: int) -> None:
    files = commits.files(commits.at_version(commits.place(name, lake.RAW), version))
    for file in files:
        rows = lake.read_raw(name, file.partition["feed"], [file.partition["part"]], version)
        assert len(rows) == file.rows
