"""Files in the state folder: whole, and shared where their folder is."""

import os
import stat
from pathlib import Path

import pytest

from tasks import home


@pytest.fixture(autouse=True)
def strict() -> object:
    """The umask of a stage that runs as its role's user."""
    before = os.umask(home.UMASK)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_made_below_a_shared_folder_is_shared_in_the_same_way(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o3775)
    home.write_whole(shared / "a" / "b" / "file", b"x")
    assert [mode(path) for path in (shared / "a", shared / "a" / "b")] == [0o3775, 0o3775]
    assert mode(shared / "a" / "b" / "file") == 0o644
    home.write_whole(shared / "key", b"x", mode=0o600)
    assert mode(shared / "key") == 0o600


def test_elsewhere_the_umask_decides(tmp_path: Path) -> None:
    home.write_whole(tmp_path / "own" / "file", b"x")
    assert (mode(tmp_path / "own"), mode(tmp_path / "own" / "file")) == (0o750, 0o640)


def test_a_link_in_the_draft_s_place_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"mine")
    (tmp_path / f".file.{os.getpid()}").symlink_to(precious)
    with pytest.raises(OSError, match="symbolic"):
        home.write_whole(tmp_path / "file", b"x")
    assert precious.read_bytes() == b"mine"
