"""Two writers at once, as real processes: every version stays readable, no part is lost, none is there twice."""

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from tasks import commits, lake
from tasks.domain.bars import digest

ROUNDS = 15
WRITER = """
import sys
import polars as pl
from tasks import lake

own, rounds = int(sys.argv[1]), int(sys.argv[2])
days = pl.datetime_range(pl.datetime(2019, 1, 1), pl.datetime(2021, 12, 31), "30d", time_unit="us", eager=True)
print("ready", flush=True)
sys.stdin.readline()
for number in range(rounds):
    value = float(own * 1000 + number)
    bars = pl.DataFrame({"timestamp": days, "instrument": "A", "close": value})
    shared = bars.with_columns(close=pl.lit(float(number)))
    lake.append_parts("p", "feed", {f"{own}-{number}": bars, f"shared-{number}": shared}, "d")
    # Now one year, now all of them, so that the two writers replace overlapping years.
    changed = pl.when((pl.col("timestamp").dt.year() == 2020) | (number % 3 == 0)).then(value).otherwise(0.0)
    written = lake.write("p", lake.DEVELOPMENT, bars.with_columns(close=changed), "d")
    print(written.version, written.sha256, flush=True)
"""


def race(*arguments: str) -> list[str]:
    """Run two writers from the same moment on; returns what each of them printed."""
    command = [sys.executable, "-c", WRITER]
    both = [
        subprocess.Popen(
            [*command, own, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for own in ("1", "2")
    ]
    for writer in both:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n", writer.communicate()[1]
    for writer in both:
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
    said = [writer.communicate(timeout=300) for writer in both]
    assert [writer.returncode for writer in both] == [0, 0], said
    return [out for out, _ in said]


def require_whole(said: list[str], rounds: int) -> None:
    """Each writer's every version is there with its content; raw holds each part once."""
    written = [line.split() for out in said for line in out.splitlines()]
    assert len(written) == 2 * rounds
    assert len({version for version, _ in written}) == 2 * rounds, "each write is a version of its own"
    for version, sha in written:
        assert digest(lake.read("p", lake.DEVELOPMENT, int(version), sha)) == sha
    parts = {f"{own}-{number}" for own in (1, 2, "shared") for number in range(rounds)}
    assert set(lake.held_parts("p", "feed")) == parts
    newest = commits.newest(commits.place("p", lake.RAW)).table
    assert newest is not None
    assert len(commits.files(newest)) == len(parts)
    for version in range(newest.version() + 1):
        held = {
            file.partition["part"] for file in commits.files(commits.at_version(commits.place("p", lake.RAW), version))
        }
        rows = lake.read_raw("p", "feed", sorted(held), version)
        assert rows["part"].n_unique() == len(held)
    shared = lake.read_raw("p", "feed", [f"shared-{number}" for number in range(rounds)])
    assert shared.group_by("part").agg(pl.col("close").unique()).sort("part")["close"].to_list() == [
        [float(number)] for number in range(rounds)
    ]


@pytest.mark.timeout(300)
def test_two_writers_on_a_local_folder(state: Path) -> None:
    require_whole(race(str(ROUNDS)), ROUNDS)
