"""Collections that are killed, that meet each other, that find the disk full: nothing is lost, nothing counts twice."""

import json
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks import lake, ledger
from tasks.domain import names
from tests.flows.test_kill import prefect_running, running
from tests.support import feed as feeds
from tests.support.command import Countersign
from tests.support.disk import small_lake
from tests.support.feed import Feed
from tests.support.forks import Death, Forks

# 50 take about four minutes on two busy cores; each run of the tests kills fewer.
KILLS = int(os.environ.get("COUNTERSIGN_KILLS", "12"))
SECONDS = 4.0  # how long a collection takes at first; measured anew whenever one gets to its end
COMMITS = [Death("tasks.commits:commit", call, when) for call in range(1, 6) for when in ("before", "after")]
WRITES = [Death("tasks.collection:write_whole", call, "after") for call in (3, 4, 5)]  # manifest and both pointers
SIGNING = [Death("tasks.evidence:sign_link", 1, when) for when in ("before", "after")]
STORING = [Death("tasks.commits:store", call, "after") for call in (1, 3)]
POINTS = [*COMMITS, *WRITES, *SIGNING, *STORING]


def test_killed_at_any_moment(starter: Forks, tmp_path: Path, home: Path, prefect: str) -> None:
    feed, rng = Feed(tmp_path, "grown"), random.Random(20)
    feed.grow(100)
    points = rng.sample(POINTS, len(POINTS))
    seen: set[tuple[str, int]] = set()
    killed, finished, seconds = 0, 0, SECONDS
    while killed < KILLS:
        feed.grow()
        begun = time.monotonic()
        child = starter.start(feed.problem, home, points.pop() if killed % 3 == 0 and points else None)
        if child.death is None:
            time.sleep(rng.uniform(0, seconds))
            child.kill()
        said = child.wait()
        assert "error" not in said, said
        killed, finished = killed + (not said), finished + bool(said)
        seconds = time.monotonic() - begun if said else seconds
        feeds.current("grown")
        feeds.read_versions("grown", seen)
        assert set(feeds.raw_parts("grown").values()) <= {1}
        assert finished < KILLS, "collections are over before they can be killed"
    result = starter.collect(feed.problem, home)
    snapshot = feeds.current("grown")
    assert snapshot is not None
    assert snapshot.key == result["snapshot"]
    assert feeds.raw_parts("grown") == dict.fromkeys(feed.parts(), 1)
    assert lake.held_parts("grown", result["delivery"]["feed"]) == feed.parts()
    assert result["accounting"]["collected"] == sum(feed.parts().values())
    assert result["accounting"]["exact_duplicates"] == feed.count // 3
    assert running(home, "%") == 0
    assert prefect_running(prefect) == []
    whole = starter.collect(feed.problem, tmp_path / "whole")
    assert digests(whole) == digests(result)
    print(json.dumps({"killed": killed, "finished": finished, "rows": sum(feed.parts().values())}))


def digests(manifest: dict[str, dict[str, dict[str, str]]]) -> dict[str, str]:
    return {name: table["sha256"] for name, table in manifest["tables"].items()}


def test_killed_while_mlflow_makes_its_tables(starter: Forks, tmp_path: Path) -> None:
    feed = Feed(tmp_path, "early")
    feed.grow(100)
    for number, seconds in enumerate((0.2, 0.7, 1.0)):
        home = tmp_path / f"state-{number}"
        child = starter.start(feed.problem, home)
        while not list(home.glob("*mlflow.db*")):
            time.sleep(0.005)
        time.sleep(seconds)
        child.kill()
        child.wait()
        assert starter.collect(feed.problem, home)["new"]


def test_two_at_once_leave_one_snapshot(starter: Forks, tmp_path: Path, home: Path) -> None:
    feed = Feed(tmp_path, "met")
    for _ in range(3):
        feed.grow(50)
    both = [starter.start(feed.problem, home) for _ in range(2)]
    said = [child.wait() for child in both]
    done = [each["result"] for each in said if "result" in each]
    refused = [each for each in said if "error" in each]
    assert [each["new"] for each in done].count(True) == 1
    assert len(done) + len(refused) == 2
    assert all((each["code"], "another run holds this problem" in each["error"]) == (2, True) for each in refused)
    snapshot = feeds.current("met")
    assert snapshot is not None
    assert snapshot.manifest["accounting"]["collected"] == sum(feed.parts().values())
    assert feeds.raw_parts("met") == dict.fromkeys(feed.parts(), 1)
    assert len(list((home / "evidence" / "met" / "snapshots").glob("*/collect.*.link"))) == 1
    [experiment] = ledger.stage_experiments("met", [names.COLLECT])
    assert [run.info.status for run in ledger.client().search_runs([experiment])] == ["FINISHED"]


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A lake on a file system of its own that holds a few megabytes."""
    with small_lake(tmp_path / "disk", monkeypatch) as folder:
        yield folder


def leave(folder: Path, free: int) -> None:
    """Fill a file system but for so many bytes."""
    ballast = folder / "ballast"
    ballast.unlink(missing_ok=True)
    space = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    ballast.write_bytes(b"\0" * (space - free))


def test_a_full_disk_ends_in_one_line_and_with_space_it_goes_on(
    starter: Forks, tmp_path: Path, home: Path, small_disk: Path, prefect: str
) -> None:
    feed = Feed(tmp_path, "full")
    feed.grow(300)
    first = starter.collect(feed.problem, home)
    feed.grow(1200)
    leave(small_disk, 100_000)
    said = starter.start(feed.problem, home).wait()
    assert said["code"] == 1
    assert (
        "full/steward/raw: cannot be written: no space left on the device; free some and run it again" in said["error"]
    )
    assert kept(first)
    leave(small_disk, 350_000)  # enough for what was delivered, not for what is made of it
    last_line = Countersign(home, prefect)("collect", feed.problem, code=1).splitlines()[-1]
    assert last_line.startswith("countersign: table ")
    assert "full/development: cannot be written: no space left on the device; free some" in last_line
    assert kept(first)
    (small_disk / "ballast").unlink()
    second = starter.collect(feed.problem, home)
    assert second["new"]
    assert second["accounting"]["collected"] == sum(feed.parts().values())
    assert kept(second)
    feeds.read_versions("full", set())
    assert running(home, "%") == 0


def kept(manifest: dict[str, object]) -> bool:
    snapshot = feeds.current("full")
    return snapshot is not None and snapshot.key == manifest["snapshot"]
