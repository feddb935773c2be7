"""Collecting anew: only what is new is stored, what changed replaces what it was, and the steward's word counts."""

import hashlib
from pathlib import Path

import polars as pl
import pytest

from tasks import journal, lake, snapshots, stewardship
from tests.flows.conftest import History
from tests.support import feed as feeds
from tests.support.command import Countersign
from tests.support.feed import Feed
from tests.support.forks import Forks


def test_only_what_is_new_is_stored(starter: Forks, tmp_path: Path, home: Path) -> None:
    feed = Feed(tmp_path, "again")
    feed.grow(100)
    feed.grow(50)
    first = starter.collect(feed.problem, home)
    assert [sorted(added) for added in feeds.raw_adds("again")] == [sorted(feed.parts())]
    third = feed.grow(50)
    second = starter.collect(feed.problem, home)
    assert second["new"]
    assert feeds.raw_adds("again")[1:] == [[sha(third)]]
    nothing = starter.collect(feed.problem, home)
    assert not nothing["new"]
    assert nothing["snapshot"] == second["snapshot"] != first["snapshot"]


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_changed_file_takes_the_place_of_what_it_was(starter: Forks, tmp_path: Path, home: Path) -> None:
    feed = Feed(tmp_path, "again")
    feed.grow(100)
    second = feed.grow(50)
    before = starter.collect(feed.problem, home)
    text = second.read_text().splitlines()
    cells = text[7].split(",")
    corrected = float(cells[5]) * 1.0005
    cells[5] = str(corrected)
    text[7] = ",".join(cells)
    second.write_text("\n".join(text) + "\n")
    after = starter.collect(feed.problem, home)
    assert after["accounting"] == before["accounting"]
    assert [part["sha256"] for part in after["parts"]] == [before["parts"][0]["sha256"], sha(second)]
    bars = pl.concat([snapshots.current("again").load(part) for part in lake.BAR_TABLES])
    at = (pl.col("instrument") == cells[1]) & (pl.col("timestamp").dt.date().cast(pl.String) == cells[0])
    assert bars.filter(at)["close"].to_list() == [corrected]
    assert len(feeds.raw_parts("again")) == 3, "what was delivered before stays in the raw table"


@pytest.fixture
def spiked(starter: Forks, tmp_path: Path, home: Path) -> Feed:
    """Collected, with one bar that jumps by a half and back, and one without a price."""
    feed = Feed(tmp_path, "again")
    part = feed.grow(100)
    rows = pl.read_csv(part).with_row_index()
    spike, lost = pl.col("index") == 60 * feeds.NAMES, pl.col("index") == 70 * feeds.NAMES + 1
    columns = ("open", "high", "low", "close")
    rows = rows.with_columns(pl.when(spike).then(pl.col(name) * 1.5).otherwise(pl.col(name)) for name in columns)
    rows.with_columns(close=pl.when(lost).then(None).otherwise("close")).drop("index").write_csv(part)
    collected = starter.collect(feed.problem, home)
    assert collected["quarantined_by_rule"] == {"missing_field": 1, "reverting_spike": 1}
    return feed


def test_the_steward_decides_and_the_next_collection_follows(
    spiked: Feed, starter: Forks, home: Path, prefect: str
) -> None:
    countersign = Countersign(home, prefect)
    rows = {row["rule"]: row["id"] for row in countersign.json("quarantine", "list", "again")["rows"]}
    spike, lost = rows["reverting_spike"], rows["missing_field"]
    reason = ("--comment", "seen on the exchange's own tape", "--key")
    refused = countersign("quarantine", "release", "again", spike, *reason, home / "keys" / "trainer.pem", code=5)
    assert "development-trainer is trainer, not steward" in refused
    assert stewardship.decisions("again") == {}
    assert not starter.collect(spiked.problem, home)["new"]
    countersign("quarantine", "release", "again", spike, *reason, home / "keys" / "steward.pem")
    countersign("quarantine", "discard", "again", lost, *reason, home / "keys" / "steward.pem")
    after = starter.collect(spiked.problem, home)
    assert after["new"]
    assert after["quarantined_by_rule"] == {"missing_field": 1}
    assert after["accounting"]["clean"] == after["accounting"]["collected"] - 1
    assert feeds.current("again") is not None
    assert stewardship.with_decisions("again")["decision"].to_list() == ["discard"]
    signed = journal.read("again", journal.QUARANTINE)[0]
    edit(journal.folder("again") / f"{signed.number:06d}.json")
    said = starter.start(spiked.problem, home).wait()
    assert said["code"] == 5
    assert f"journal: entry {signed.number:06d}.json is altered" in said["error"]
    assert snapshots.current("again").key == after["snapshot"]


def edit(entry: Path) -> None:
    content = entry.read_bytes()
    entry.write_bytes(content.replace(content[40:41], b"B" if content[40:41] != b"B" else b"C", 1))


def test_lineage_leads_back_to_the_delivered_file(history: History) -> None:
    told = history.countersign.json("lineage", "planted/1")
    delivered = history.problem.parent / "planted.parquet"
    assert [(part["name"], part["sha256"]) for part in told["parts"]] == [(str(delivered), sha(delivered))]
    assert [step["stage"] for step in told["steps"]][:2] == ["collect", "train"]
    shown = history.countersign("lineage", "planted/1")
    assert sha(delivered)[:16] in shown
