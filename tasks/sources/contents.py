"""The SHA-256 of a frame's content, for deliveries that are not files."""

import hashlib

import polars as pl

ROWS_AT_ONCE = 1_000_000


def digest(frame: pl.DataFrame) -> str:
    """SHA-256 over names, types, missing marks and values of the columns, in row order.

    It depends on nothing but the content: not on how the rows lie in memory, nor on the version of a library.
    """
    sha = hashlib.sha256()
    for column in frame:
        sha.update(f"{column.name}\x00{column.dtype}\x00{len(column)}\x00".encode())
        for start in range(0, len(column), ROWS_AT_ONCE):
            update(sha, column.slice(start, ROWS_AT_ONCE))
    return sha.hexdigest()


def update(sha: "hashlib._Hash", column: pl.Series) -> None:
    sha.update(column.is_null().to_numpy().tobytes())
    if column.dtype == pl.String:
        filled = column.fill_null("")
        sha.update(filled.str.len_bytes().to_numpy().astype("<u4").tobytes())
        sha.update("".join(filled.to_list()).encode())
    elif column.dtype == pl.Float64:
        sha.update(column.fill_null(0.0).to_numpy().astype("<f8").tobytes())
    else:
        sha.update(column.to_physical().fill_null(0).to_numpy().astype("<i8").tobytes())
