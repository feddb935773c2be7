"""Tables: written once per content, readable at every version, refused where the content is not what was signed."""

from pathlib import Path

import pandas as pd
import pytest

from tasks import lake
from tasks.domain.bars import canonical, digest
from tasks.domain.errors import VerificationFailed


def bars(*closes: float) -> pd.DataFrame:
    days = pd.date_range("2020-01-01", periods=len(closes))
    return canonical(
        pd.DataFrame({"timestamp": days, "instrument": "A", "close": closes, "volume": [None, *closes[1:]]})
    )


def test_same_content_makes_no_second_version(state: Path) -> None:
    first = lake.write("p", lake.DEVELOPMENT, bars(1.0, 2.0))
    again = lake.write("p", lake.DEVELOPMENT, bars(1.0, 2.0))
    assert first == again
    assert first["version"] == 0


def test_every_version_stays_readable(state: Path) -> None:
    written = [(content, lake.write("p", lake.DEVELOPMENT, content)) for content in (bars(1.0, 2.0), bars(1.0, 2.5))]
    assert [description["version"] for _, description in written] == [0, 1]
    for content, description in written:
        read = lake.read("p", lake.DEVELOPMENT, int(description["version"]), str(description["sha256"]))
        pd.testing.assert_frame_equal(read, content)


def test_other_content_than_signed_and_missing_tables_are_refused(state: Path) -> None:
    lake.write("p", lake.LOCKBOX, bars(1.0, 2.0))
    with pytest.raises(VerificationFailed, match="differs from what was signed"):
        lake.read("p", lake.LOCKBOX, 0, "0" * 64)
    with pytest.raises(VerificationFailed, match="version 7 cannot be read"):
        lake.read("p", lake.LOCKBOX, 7, digest(bars(1.0, 2.0)))


def test_an_empty_table_can_be_written(state: Path) -> None:
    assert lake.write("p", lake.QUARANTINE, bars(1.0)[:0])["rows"] == 0
