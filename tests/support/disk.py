"""A file system of its own that holds a few megabytes."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tasks import places

MEGABYTES = 8


@contextmanager
def small_lake(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Put the lake on such a file system while the block runs; skips the test where none can be mounted."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.strip()}")
    monkeypatch.setenv(places.LAKE_VARIABLE, str(folder / "lake"))
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
