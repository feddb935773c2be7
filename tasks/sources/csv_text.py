"""CSV files as text: what a file must be before a reader may be trusted with it, and reading it then.

Fast readers forgive: they cut rows that are too long, join lines at a quote that was never closed, and skip what
they can't decode. Each of that changes data silently. So the file is looked through once for its structure, and what
the reader would forgive is refused here with the row. One row is one line.
"""

import codecs
import csv
import hashlib
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, NoReturn

import numpy as np
import polars as pl

from tasks.domain.errors import DataRefused

BLOCK: Final = 1 << 22
LONGEST_LINE: Final = 1 << 24
SEPARATORS: Final = (",", ";", "\t", "|")
MARK: Final = codecs.BOM_UTF8
NEWLINE: Final = 10
# Fields without any quote, or quoted as a whole with quotes inside doubled; anything else reads differently in
# different programs.
FIELD: Final = r'(?:[^"{0}]*|"(?:[^"]|"")*")'
LONE_RETURN: Final = "a line ends in a carriage return alone, which readers take differently"
EXPECTED: Final = "expected a header and one row per line"


class Layout(NamedTuple):
    """How a CSV file is built. `rows` are the lines after the header without the empty ones at the end."""

    header: list[str]
    separator: str
    quoted: bool
    rows: int
    truncated: bool
    overlong: bool


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_and_layout(
    path: Path, shown: str, wanted: list[list[str]], held: frozenset[str]
) -> tuple[str, Layout | None]:
    """SHA-256 of a file's bytes, and its layout unless the digest is among `held`; both at once, on two threads."""
    if held:
        sha = sha256_of(path)
        return sha, None if sha in held else layout(path, shown, wanted)
    with ThreadPoolExecutor(1) as other:
        sha_later = other.submit(sha256_of, path)
        found = layout(path, shown, wanted)
        return sha_later.result(), found


def layout(path: Path, shown: str, wanted: list[list[str]]) -> Layout:
    """Look a file through. `wanted` are the names that needed columns may have; they tell the separator.

    Raises:
        DataRefused: not UTF-8 text, no header, an old kind of line end, or a quote that is not closed in its line.
    """
    with path.open("rb") as file:
        first = file.readline(LONGEST_LINE)
        if not first.strip(MARK + b"\r\n\t ") and not file.read(BLOCK).strip():
            raise DataRefused(f"{shown}: is empty; {EXPECTED}")
        line = header_line(first, shown)
        separator = separator_of(line, wanted)
        header = [name.strip() for name in fields(line, separator, shown)]
        file.seek(0)
        lines, most, quoted, whole = look_through(file, ord(separator), shown)
        empty_at_end = count_empty_at_end(file)
    if quoted:
        check_quotes(path, separator, shown)
        if most >= len(header):
            most = separators_outside_quotes(path, separator)
    rows = lines - 1 - empty_at_end
    return Layout(header, separator, quoted, rows, not whole, most >= len(header))


def header_line(first: bytes, shown: str) -> str:
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in first:
        refuse_text(shown, "it is UTF-16 or no text at all")
    try:
        line = first.removeprefix(MARK).decode()
    except UnicodeDecodeError as fault:
        refuse_text(shown, f"byte {fault.start} is not UTF-8")
    if not line.strip():
        raise DataRefused(f"{shown}: row 1: is empty; {EXPECTED}")
    line = line.rstrip("\r\n")
    if "\r" in line:
        refuse_text(shown, LONE_RETURN)
    return line


def refuse_text(shown: str, why: str) -> NoReturn:
    raise DataRefused(f"{shown}: cannot be read as csv ({why}); save it as UTF-8 text")


def separator_of(line: str, wanted: list[list[str]]) -> str:
    """The mark between fields: the first under which every needed column is found, or else a comma."""
    for separator in SEPARATORS:
        names = {name.strip() for name in line.replace('"', "").split(separator)}
        if all(names & set(accepted) for accepted in wanted):
            return separator
    return SEPARATORS[0]


def fields(line: str, separator: str, shown: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator))
    except csv.Error as fault:
        raise DataRefused(f"{shown}: row 1: cannot be read as csv ({fault}); {EXPECTED}") from None


def look_through(file: BinaryIO, separator: int, shown: str) -> tuple[int, int, bool, bool]:
    """Number of lines, most separators in one, whether there are quotes, whether the last line has its line break."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    lines, most, quoted, whole, offset = 0, 0, False, True, 0
    for block in whole_lines(file, shown):
        if not block.isascii():
            check_decodes(decoder, block, offset, shown)
        if b"\0" in block:
            refuse_text(shown, f"byte {offset + block.index(0)} is null: it is UTF-16 or no text at all")
        if b"\r" in block and block.count(b"\r") != block.count(b"\r\n"):
            refuse_text(shown, LONE_RETURN)
        quoted = quoted or b'"' in block
        whole = block.endswith(b"\n")
        counts = separators_by_line(block if whole else block + b"\n", separator)
        lines, most, offset = lines + len(counts), max(most, int(counts.max())), offset + len(block)
    return lines, most, quoted, whole


def check_decodes(decoder: codecs.IncrementalDecoder, block: bytes, offset: int, shown: str) -> None:
    try:
        decoder.decode(block, final=True)
    except UnicodeDecodeError as fault:
        refuse_text(shown, f"byte {offset + fault.start} is not UTF-8")


def whole_lines(file: BinaryIO, shown: str) -> Iterator[bytes]:
    """The file in blocks that end with a line, so that neither a line nor a letter is ever cut in two."""
    rest = b""
    while block := file.read(BLOCK):
        cut = block.rfind(b"\n") + 1
        if cut:
            yield rest + block[:cut]
            rest = block[cut:]
        else:
            rest += block
            if len(rest) > LONGEST_LINE:
                refuse_text(shown, f"a line is longer than {LONGEST_LINE >> 20} MiB, so it is no table")
    if rest:
        yield rest


def separators_by_line(block: bytes, separator: int) -> np.ndarray:
    letters = np.frombuffer(block, np.uint8)
    marks = letters[(letters == separator) | (letters == NEWLINE)]
    return np.diff(np.flatnonzero(marks == NEWLINE), prepend=-1) - 1


def count_empty_at_end(file: BinaryIO) -> int:
    size, window = file.seek(0, 2), 1 << 12
    while True:
        start = max(0, size - window)
        file.seek(start)
        tail = file.read()
        text = tail.rstrip(b"\r\n")
        if text or start == 0:
            return max(0, tail[len(text) :].count(b"\n") - 1)
        window *= 16


def check_quotes(path: Path, separator: str, shown: str) -> None:
    """Refuse a line in which a quote is not closed, or stands inside a field."""
    mark = re.escape(separator)
    field = FIELD.format(mark)
    good = pl.col("line").str.contains(rf"^\x{{FEFF}}?{field}(?:{mark}{field})*\r?$").fill_null(True)
    if lines_of(path).select(good.all()).collect(engine="streaming").item():
        return
    bad = lines_of(path).with_row_index("row", offset=1).filter(~good).head(1).select("row").collect()
    raise DataRefused(
        f"{shown}: row {bad.item()}: a quote is not closed in its line or stands inside a field; "
        "quote whole fields, double a quote inside one, and keep each row on one line"
    )


def separators_outside_quotes(path: Path, separator: str) -> int:
    """The most in any line."""
    outside = pl.col("line").str.replace_all('"[^"]*"', "").str.count_matches(separator, literal=True)
    return int(lines_of(path).select(outside.max()).collect(engine="streaming").item() or 0)


def lines_of(path: Path) -> pl.LazyFrame:
    # The null character was looked for and is nowhere, so with it as the separator each line is one field.
    lines = pl.scan_csv(path, separator="\0", has_header=False, quote_char=None, schema={"column_1": pl.String})
    return lines.rename({"column_1": "line"})


def read(path: Path, shown: str, built: Layout, types: dict[int, pl.DataType]) -> pl.DataFrame:
    """The columns at the positions in `types`, named by position ("0", "1", ...); unreadable cells are null.

    Raises:
        DataRefused: a row has more fields than the header, or the reader fails.
    """
    if built.overlong:
        refuse_overlong(path, shown, built)
    try:
        options = {"separator": built.separator, "quote_char": '"' if built.quoted else None}
        names = pl.read_csv(path, n_rows=0, infer_schema=False, **options).columns
        schema = {name: types.get(position, pl.String()) for position, name in enumerate(names)}
        kept = [names[position] for position in types]
        frame = pl.read_csv(
            path,
            columns=kept,
            schema=schema,
            ignore_errors=True,
            truncate_ragged_lines=built.overlong,
            **options,
        ).select(pl.col(names[position]).alias(str(position)) for position in types)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, IndexError) as fault:
        words = " ".join(str(fault).split())[:200]
        raise DataRefused(f"{shown}: cannot be read as csv ({words})") from None
    if frame.height < built.rows:
        raise DataRefused(f"{shown}: {built.rows} rows are in the file, {frame.height} could be read; {EXPECTED}")
    return frame.head(built.rows)


def refuse_overlong(path: Path, shown: str, built: Layout) -> None:
    """Refuse the first row with more fields than the header, unless all that is too much is empty."""
    width = len(built.header)
    with path.open(newline="", encoding="utf-8-sig") as file:
        try:
            for row, cells in enumerate(csv.reader(file, delimiter=built.separator), start=1):
                if any(cells[width:]):
                    raise DataRefused(
                        f"{shown}: row {row}: has {len(cells)} fields, the header has {width}; "
                        "quote a field that holds the separator"
                    )
        except csv.Error as fault:
            raise DataRefused(f"{shown}: cannot be read as csv ({fault})") from None
