"""The only door to the tables: Delta Lake, one table a folder, every version readable, content-hashed.

Development and lockbox are separate tables in separate folders: a process that may not see the lockbox is given
no path to it, and file permissions can enforce that.
"""

import pandas as pd
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import TableNotFoundError

from tasks.domain.bars import canonical, digest
from tasks.domain.errors import VerificationFailed
from tasks.home import home

DEVELOPMENT = "development"
LOCKBOX = "lockbox"
RAW = "steward/raw"
QUARANTINE = "steward/quarantine"
CORRECTIONS = "steward/corrections"
DIGEST = "countersign.sha256"


def table_path(problem: str, table: str) -> str:
    return str(home() / "lake" / problem / table)


def write(problem: str, table: str, content: pd.DataFrame) -> dict[str, int | str]:
    """Make `content` the table's current version, unless it is already; returns version, rows and digest."""
    path, sha = table_path(problem, table), digest(content)
    version = version_holding(path, sha)
    if version is None:
        properties = CommitProperties(custom_metadata={DIGEST: sha})
        arrow = pa.Table.from_pandas(content, preserve_index=False)
        write_deltalake(path, arrow, mode="overwrite", schema_mode="overwrite", commit_properties=properties)
        version = DeltaTable(path).version()
    return {"version": version, "rows": len(content), "sha256": sha}


def version_holding(path: str, sha: str) -> int | None:
    """The newest version of a table whose commit names this content, if the table has one."""
    try:
        commits = DeltaTable(path).history()
    except TableNotFoundError:
        return None
    return next((commit["version"] for commit in commits if commit.get(DIGEST) == sha), None)


def read(problem: str, table: str, version: int, sha: str) -> pd.DataFrame:
    """A bar table at a version, in canonical order.

    Raises:
        VerificationFailed: it cannot be read, or its content is not what was signed.
    """
    try:
        content = DeltaTable(table_path(problem, table), version=version).to_pyarrow_table().to_pandas()
    except Exception as fault:  # noqa: BLE001 - storage fails in many ways; each means the content is not there
        words = " ".join(str(fault).split())[:200]
        raise VerificationFailed(f"snapshot {table}: version {version} cannot be read ({words})") from None
    content = canonical(content)
    if digest(content) != sha:
        raise VerificationFailed(f"snapshot {table}: version {version} differs from what was signed")
    return content
