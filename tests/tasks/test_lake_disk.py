"""A full disk: the write says so in one line, what was there stays whole, and the same write works with space."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tasks import lake
from tasks.domain.bars import digest
from tasks.domain.errors import CountersignError
from tests.support.disk import small_lake

ROWS = 60_000


def noise(seed: int) -> pl.DataFrame:
    """About two megabytes once stored: noise does not compress."""
    days = pl.datetime_range(pl.datetime(2019, 1, 1), pl.datetime(2022, 12, 31), "35m", time_unit="us", eager=True)[
        :ROWS
    ]
    values = {name: np.random.default_rng(seed + i).random(len(days)) for i, name in enumerate(("open", "close"))}
    return pl.DataFrame({"timestamp": days, "instrument": "A", **values})


@pytest.fixture
def small_disk(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A lake on a file system of its own that holds a few megabytes."""
    with small_lake(tmp_path / "disk", monkeypatch) as folder:
        yield folder


def fill(folder: Path) -> Path:
    """Leave a little room: enough for a commit, too little for the data."""
    ballast = folder / "ballast"
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    ballast.write_bytes(b"\0" * (free - 300_000))
    return ballast


def data_files(folder: Path) -> set[Path]:
    return set(folder.rglob("*.parquet"))


def test_a_write_on_a_full_disk_leaves_the_table_as_it_was(small_disk: Path) -> None:
    first, second = noise(1), noise(10)
    before = lake.write("p", lake.DEVELOPMENT, first, "d")
    lake.append_parts("p", "feed", {"a" * 64: first}, "d")
    there, ballast = data_files(small_disk), fill(small_disk)
    with pytest.raises(
        CountersignError, match="development: cannot be written: no space left on the device; free some"
    ):
        lake.write("p", lake.DEVELOPMENT, second, "d")
    with pytest.raises(CountersignError, match="raw: cannot be written: no space left on the device; free some"):
        lake.append_parts("p", "feed", {"b" * 64: second}, "d")
    assert data_files(small_disk) == there, "what a failed write left half done gave its space back"
    assert digest(lake.read("p", lake.DEVELOPMENT, before.version, before.sha256)) == before.sha256
    assert lake.held_parts("p", "feed") == {"a" * 64: len(first)}
    ballast.unlink()
    after = lake.write("p", lake.DEVELOPMENT, second, "d")
    assert after.version == before.version + 1
    assert digest(lake.read("p", lake.DEVELOPMENT, after.version, after.sha256)) == digest(second)
    assert lake.append_parts("p", "feed", {"b" * 64: second}, "d") == 1


def test_a_disk_too_full_for_a_commit(small_disk: Path) -> None:
    before = lake.write("p", lake.DEVELOPMENT, noise(1)[:10], "d")
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"\0" * (os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize))
    with pytest.raises(CountersignError, match="no space left on the device"):
        lake.write("p", lake.DEVELOPMENT, noise(1)[:0], "d")
    assert lake.read("p", lake.DEVELOPMENT, before.version, before.sha256).shape == (10, 4)
    ballast.unlink()
    assert lake.write("p", lake.DEVELOPMENT, noise(1)[:0], "d").version == 1
