"""Signed snapshots: which one is current, what it holds, and its two parts."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import polars as pl

from tasks import evidence, lake
from tasks.domain import names
from tasks.domain.errors import VerificationFailed
from tasks.home import as_json, sha256
from tasks.recording import signed_file


class Snapshot(NamedTuple):
    """A signed state of the tables. `key` names its evidence; `manifest` holds versions, digests and counts."""

    problem: str
    key: str
    manifest: dict[str, Any]
    new: bool

    @property
    def sha256(self) -> str:
        """Digest of development and lockbox together."""
        return sha256(as_json([self.digest(part) for part in (lake.DEVELOPMENT, lake.LOCKBOX)]))

    @property
    def as_of(self) -> str:
        return str(self.manifest["as_of"])

    def digest(self, part: str) -> str:
        return str(self.manifest["tables"][part]["sha256"])

    def read(self, part: str) -> pd.DataFrame:
        """Bars of one part, compared with the signed digest."""
        return self.load(part).to_pandas()

    def load(self, table: str) -> pl.DataFrame:
        """A table of the snapshot without leaving polars, compared with the signed digest."""
        written = self.manifest["tables"][table]
        return lake.load(self.problem, table, written["version"], written["sha256"])

    def file(self, name: str) -> bytes:
        """A file of the collection, compared with its signed link."""
        return signed_file(evidence.snapshot_folder(self.problem, self.key), names.COLLECT, name)


def pointer(problem: str, feed: str = "current") -> Path:
    """The file that names the snapshot last completed, of all feeds or of one."""
    return evidence.problem_folder(problem) / "snapshots" / feed


def current(problem: str, key: str | None = None) -> Snapshot:
    """The snapshot last completed, or the one named, its manifest checked against its signed link.

    Raises:
        VerificationFailed: there is none, or its evidence is not whole.
    """
    if key is None:
        if not pointer(problem).exists():
            raise VerificationFailed(f"{problem}: no snapshot yet; run `countersign collect {problem}`")
        key = pointer(problem).read_text().strip()
    folder = evidence.snapshot_folder(problem, key)
    signed = evidence.read_statement(folder, names.COLLECT).products[f"{names.COLLECT}/{names.MANIFEST}"]
    content = (folder / names.MANIFEST).read_bytes()
    if sha256(content) != signed:
        raise VerificationFailed(f"snapshot {key}: {names.MANIFEST} differs from what the steward signed")
    return Snapshot(problem, key, json.loads(content), new=False)


def last(problem: str, feed: str) -> Snapshot | None:
    """The snapshot last completed from a feed, if there is one."""
    path = pointer(problem, feed)
    return current(problem, path.read_text().strip()) if path.exists() else None
