"""Tables: written once per content, readable at every version, refused where the content is not what was signed."""

from pathlib import Path

import pandas as pd
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tasks import commits, lake
from tasks.domain.bars import digest
from tasks.domain.errors import DataRefused, VerificationFailed
from tests.support.market import canonical

FIRST_DAYS = {"A": "2019-12-30", "B": "2020-06-01", "C": "2021-12-31"}
DECLARED = "d1"


def bars(*closes: float) -> pl.DataFrame:
    """A few days of three instruments, over the ends of two years."""
    days = pl.int_range(len(closes), eager=True)
    parts = [
        pl.DataFrame({"timestamp": pd.Timestamp(first), "instrument": name, "close": closes}).with_columns(
            timestamp=pl.col("timestamp").cast(pl.Datetime("us")).dt.offset_by(pl.format("{}d", days)),
            volume=pl.when(pl.int_range(pl.len()) > 0).then(pl.col("close")),
        )
        for name, first in FIRST_DAYS.items()
    ]
    return pl.concat(parts)


def stored_files(table: str) -> set[Path]:
    return set(Path(lake.table_path("p", table)).rglob("*.parquet"))


def write(content: pl.DataFrame, table: str = lake.DEVELOPMENT, declaration: str = DECLARED) -> lake.Written:
    return lake.write("p", table, content, declaration)


def test_same_content_makes_no_second_version(state: Path) -> None:
    first = write(bars(1.0, 2.0, 3.0))
    assert first == write(bars(1.0, 2.0, 3.0))
    assert first.version == 0
    assert len(stored_files(lake.DEVELOPMENT)) == 4


def test_every_version_stays_readable_in_the_canonical_form_of_pandas(state: Path) -> None:
    contents = [bars(1.0, 2.0, 3.0), bars(1.0, 2.5, 3.0), bars(1.0), bars(1.0, 2.0, 3.0)]
    written = [write(content) for content in contents]
    assert [each.version for each in written] == [0, 1, 2, 3]
    for content, each in zip(contents, written, strict=True):
        assert each.sha256 == digest(content)
        read = lake.read("p", lake.DEVELOPMENT, each.version, each.sha256)
        pd.testing.assert_frame_equal(read, canonical(content.to_pandas()))
        assert digest(read) == each.sha256


def test_only_years_that_changed_are_stored_anew(state: Path) -> None:
    before = bars(1.0, 2.0, 3.0)
    write(before)
    old = stored_files(lake.DEVELOPMENT)
    changed = before.with_columns(close=pl.when(pl.col("timestamp").dt.year() == 2021).then(9.0).otherwise("close"))
    second = write(changed)
    assert [path.parent.name for path in stored_files(lake.DEVELOPMENT) - old] == ["year=2021"]
    gone = write(changed.filter(pl.col("timestamp").dt.year() != 2022))
    assert len(stored_files(lake.DEVELOPMENT)) == len(old) + 1
    assert sorted(lake.load("p", lake.DEVELOPMENT, gone.version, gone.sha256)["timestamp"].dt.year().unique()) == [
        2019,
        2020,
        2021,
    ]
    assert_frame_equal(lake.load("p", lake.DEVELOPMENT, second.version, second.sha256), changed.select(before.columns))


def test_bars_out_of_order_are_put_in_order(state: Path) -> None:
    content = bars(1.0, 2.0, 3.0)
    shuffled = write(content.sample(fraction=1.0, shuffle=True, seed=3))
    assert shuffled.sha256 == digest(content)
    assert_frame_equal(lake.load("p", lake.DEVELOPMENT, 0, shuffled.sha256), content)


def test_other_content_than_signed_and_missing_tables_are_refused(state: Path) -> None:
    sha = write(bars(1.0, 2.0), lake.LOCKBOX).sha256
    with pytest.raises(VerificationFailed, match="differs from what was signed"):
        lake.read("p", lake.LOCKBOX, 0, "0" * 64)
    with pytest.raises(VerificationFailed, match="version 7 cannot be read"):
        lake.read("p", lake.LOCKBOX, 7, sha)
    with pytest.raises(VerificationFailed, match="version 0 cannot be read"):
        lake.read("p", lake.SERIES, 0, sha)
    path = min(stored_files(lake.LOCKBOX))
    bars(1.0, 2.1)[:2].write_parquet(path)
    with pytest.raises(VerificationFailed, match="differs from what was signed"):
        lake.read("p", lake.LOCKBOX, 0, sha)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(VerificationFailed, match="version 0 cannot be read"):
        lake.read("p", lake.LOCKBOX, 0, sha)


def test_any_flat_table_can_be_written_also_an_empty_one(state: Path) -> None:
    """Kinds come back as Delta holds them; rows without a usable time lie in year 0."""
    odd = pl.DataFrame(
        {
            "timestamp": [None, "2020-01-01", "0007-01-01", "2020-01-01"],
            "rule": ["a", "b", None, ""],
            "row": [1, 2, None, 4],
            "close": [0.0, float("nan"), None, float("inf")],
            "kept": [True, None, False, True],
            "never": [None] * 4,
        },
    ).with_columns(
        pl.col("timestamp").str.to_datetime(),
        pl.col("row").cast(pl.UInt32),
        pl.col("rule").cast(pl.Enum(["a", "b", ""])),
    )
    written = write(odd, lake.QUARANTINE)
    assert written.sha256 == digest(odd)
    read = lake.load("p", lake.QUARANTINE, 0, written.sha256)
    assert read["rule"].to_list() == ["a", None, "b", ""]
    assert {path.parent.name for path in stored_files(lake.QUARANTINE)} == {"year=0", "year=2020"}
    assert write(odd[:0], lake.QUARANTINE).rows == 0
    assert write(odd[:0], lake.CORRECTIONS).version == 0
    assert write(odd.drop("timestamp"), lake.ORDERS).rows == 4


def test_an_undeclared_change_of_columns_is_refused_with_the_difference(state: Path) -> None:
    content = bars(1.0, 2.0)
    write(content)
    changed = content.rename({"volume": "size"}).with_columns(pl.col("close").cast(pl.String))
    with pytest.raises(DataRefused) as refused:
        write(changed)
    for words in ("close was a number, is text", "volume (a number) is gone", "size (a number) is new"):
        assert words in str(refused.value)
    shorter = changed.filter(pl.col("timestamp").dt.year() < 2022)
    second = write(shorter, declaration="d2")
    assert_frame_equal(lake.load("p", lake.DEVELOPMENT, 1, second.sha256), shorter)
    assert digest(lake.load("p", lake.DEVELOPMENT, 0, digest(content))) == digest(content)


def test_a_column_that_never_held_anything_may_take_a_type(state: Path) -> None:
    content = bars(1.0, 2.0)
    write(content.with_columns(volume=pl.lit(None)))
    second = write(content)
    assert_frame_equal(lake.load("p", lake.DEVELOPMENT, 1, second.sha256), content)
    with pytest.raises(DataRefused, match="volume was a number, is text"):
        write(content.with_columns(volume=pl.lit("many")))


def test_raw_holds_each_part_once_in_delivered_order(state: Path) -> None:
    first, second = bars(3.0, 1.0).reverse(), bars(5.0)
    assert lake.append_parts("p", "feed", {"a" * 64: first, "b" * 64: second}, DECLARED) == 0
    assert lake.append_parts("p", "feed", {"a" * 64: first}, DECLARED) == 0, "held already"
    assert lake.append_parts("p", "feed", {"b" * 64: second, "c" * 64: first[:0]}, DECLARED) == 1
    assert lake.append_parts("p", "other", {"b" * 64: second[:1].drop("volume")}, DECLARED) == 2
    assert lake.held_parts("p", "feed") == {"a" * 64: 6, "b" * 64: 3, "c" * 64: 0}
    assert lake.held_parts("p", "other") == {"b" * 64: 1}
    read = lake.read_raw("p", "feed", ["b" * 64, "a" * 64])
    assert read["part"].to_list() == [0] * 3 + [1] * 6
    assert_frame_equal(read.drop("part"), pl.concat([second, first]))
    with pytest.raises(VerificationFailed, match=r"part c{16} is not there"):
        lake.read_raw("p", "feed", ["c" * 64], version=0)


def test_raw_refuses_undeclared_columns_of_a_feed_and_takes_declared_ones_in_one_commit(state: Path) -> None:
    content = bars(1.0, 2.0)
    lake.append_parts("p", "feed", {"a" * 64: content}, DECLARED)
    with pytest.raises(DataRefused, match=r"volume \(a number\) is gone; size \(a number\) is new"):
        lake.append_parts("p", "feed", {"b" * 64: content.rename({"volume": "size"})}, DECLARED)
    assert lake.append_parts("p", "feed", {"b" * 64: content.rename({"volume": "size"})}, "d2") == 1
    with pytest.raises(DataRefused, match="column size of feed other is text, elsewhere a number"):
        lake.append_parts("p", "other", {"c" * 64: content.with_columns(size=pl.lit("many"))}, DECLARED)
    read = lake.read_raw("p", "feed", ["a" * 64, "b" * 64])
    assert read.columns == ["timestamp", "instrument", "close", "volume", "part", "size"]
    assert read["size"].null_count() == 9


def test_a_changed_raw_file_is_found(state: Path) -> None:
    lake.append_parts("p", "feed", {"a" * 64: bars(1.0)}, DECLARED)
    (path,) = stored_files(lake.RAW)
    bars(1.5).write_parquet(path)
    with pytest.raises(VerificationFailed, match="differs from what was stored"):
        lake.read_raw("p", "feed", ["a" * 64])


def test_nothing_but_our_files_is_needed_by_other_readers(state: Path) -> None:
    """The tables are plain Delta: any reader sees the partition columns and the same rows."""
    content = bars(1.0, 2.0, 3.0)
    write(content)
    foreign = pl.read_delta(lake.table_path("p", lake.DEVELOPMENT))
    assert foreign.columns == [*content.columns, "year"]
    assert_frame_equal(foreign.drop("year").sort("instrument", "timestamp"), content)


def test_a_commit_by_another_tool_does_not_confuse_the_next_write(state: Path) -> None:
    content = bars(1.0, 2.0, 3.0)
    write(content)
    commits.at_version(commits.place("p", lake.DEVELOPMENT), 0).delete("year = 2020")
    again = write(content)
    assert again.version == 2
    assert_frame_equal(lake.load("p", lake.DEVELOPMENT, 2, again.sha256), content)
    with pytest.raises(DataRefused, match="volume"):
        write(content.drop("volume"))
