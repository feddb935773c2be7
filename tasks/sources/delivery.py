"""What every source hands over, what it is asked, and how a source is found.

A source is one callable, found by its kind through the entry points of group `countersign.sources`.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, NamedTuple, Protocol

import polars as pl
from pydantic import BaseModel

from tasks.domain.errors import DataRefused, UsageError
from tasks.domain.problem import BAR_COLUMNS, PluginSource

GROUP: Final = "countersign.sources"
# Also declared in pyproject.toml; kept here so that an editable install made before a source was added finds it.
BUILT_IN: Final = {
    "files": "tasks.sources.files:collect",
    "package": "tasks.sources.package:collect",
    "sql": "tasks.sources.sql:collect",
}
BAR_TYPES: Final = {
    name: {"timestamp": pl.Datetime("us"), "instrument": pl.String()}.get(name, pl.Float64()) for name in BAR_COLUMNS
}
REQUIRED: Final = ("timestamp", "instrument", "close")
UNREADABLE: Final = {"row": pl.UInt32(), "column": pl.String(), "text": pl.String()}
ROWS_BEFORE_DATA: Final = {".csv": 2}  # row 1 of a CSV is the header; people count from 1


class Part(NamedTuple):
    """One piece of a delivery, read or held as a whole: a file, a query's answer, a bundled data set.

    `name` is for people, without secrets; for a file it is the path or URL. `sha256` is of the content as received.
    `bars` are the rows in delivered order, None where `sha256` is among those already held. `unreadable` lists the
    cells that are text where a number or date must be (`row`, the place in `bars` from 0; `column`, the bar column;
    `text`); in `bars` they are null. `truncated`: the last line ended without a line break, so that the last row may
    be cut.
    """

    name: str
    sha256: str
    bars: pl.DataFrame | None
    unreadable: pl.DataFrame | None
    truncated: bool = False


class Delivery(NamedTuple):
    """All that a source consists of now. `feed` names the source for ever: equal settings, equal feed."""

    name: str
    feed: str
    parts: tuple[Part, ...]


class Request(NamedTuple):
    """What a source is asked.

    `source` is the settings model of the problem file, for a plug-in its `settings` as a plain dict. `held` and
    `held_parts` (name and sha256, in order) are the parts already stored for this feed, `since` the newest timestamp
    among them.
    """

    source: Any
    columns: dict[str, list[str]]
    held: frozenset[str] = frozenset()
    held_parts: tuple[tuple[str, str], ...] = ()
    since: datetime | None = None


class Source(Protocol):
    """Reads what the request names; raises DataRefused or UsageError, each with one clear line, and nothing else."""

    def __call__(self, request: Request) -> Delivery: ...


def collect(request: Request) -> Delivery:
    """Ask the source whose settings the request carries.

    A plug-in's delivery is held to the same form as that of our own sources.

    Raises:
        UsageError: no such source, or wrong settings.
        DataRefused: the source's content can't be accepted.
    """
    asked = request.source
    if not isinstance(asked, PluginSource):
        return find(asked.kind)(request)
    delivery = find(asked.name)(request._replace(source=dict(asked.settings)))
    return checked(delivery, asked.name)._replace(feed=feed(asked, request.columns))


@cache
def sources() -> dict[str, EntryPoint]:
    """All sources by kind: our own, and those that installed packages declare.

    Raises:
        UsageError: an installed package declares one of our own kinds, or two declare the same.
    """
    found = {kind: EntryPoint(kind, place, GROUP) for kind, place in BUILT_IN.items()}
    for point in entry_points(group=GROUP):
        owner = "countersign" if point.dist is None else point.dist.name
        if point.name in BUILT_IN and owner == "countersign":
            continue
        if point.name in found and found[point.name].value != point.value:
            raise UsageError(
                f"source {point.name!r}: declared by {found[point.name].value} and by {point.value} of {owner}; "
                "uninstall one of the packages"
            )
        found[point.name] = point
    return found


def find(kind: str) -> Source:
    """The source of a kind.

    Raises:
        UsageError: no such kind, or its package can't be loaded.
    """
    known = sources()
    if kind not in known:
        raise UsageError(f"source {kind!r}: unknown; known are {sorted(known)}, others come with a plug-in package")
    try:
        source = known[kind].load()
    except (ImportError, AttributeError) as fault:
        raise UsageError(f"source {kind!r}: {known[kind].value} cannot be loaded ({one_line(fault)})") from None
    if not callable(source):
        raise UsageError(f"source {kind!r}: {known[kind].value} is not callable; expected a function of one request")
    return source


def feed(settings: BaseModel | Mapping[str, Any], columns: Mapping[str, list[str]]) -> str:
    """The name of a source for ever: a digest of its settings and of the column mapping it is read with."""
    plain = settings.model_dump(mode="json") if isinstance(settings, BaseModel) else dict(settings)
    canonical = json.dumps([plain, dict(columns)], sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def first_unreadable(part: Part) -> str:
    """The first unreadable cell of a part in words, with how many there are in its column.

    Rows are numbered as people count: in a CSV file from the header, which is row 1.
    """
    assert part.unreadable is not None
    row, column, text = part.unreadable.sort("row", maintain_order=True).row(0)
    number = row + ROWS_BEFORE_DATA.get(suffix_of(part.name), 1)
    expected = "a date" if column in ("timestamp", "date", "time", "known_at") else "a number"
    count = int((part.unreadable["column"] == column).sum())
    return (
        f"{part.name}: row {number}, column {column}: expected {expected}, "
        f"found {text[:80]!r} ({count} such); correct the file and deliver it again"
    )


def suffix_of(name: str) -> str:
    """The ending of a path or URL in small letters, with its dot; empty where it has none."""
    path = name.split("?")[0] if "://" in name else name
    stem, dot, suffix = path.rpartition(".")
    return dot + suffix.lower() if stem and "/" not in suffix else ""


def checked(delivery: Any, kind: str) -> Delivery:
    """A plug-in's answer, if it has the form that is asked for.

    Raises:
        DataRefused: it has not; the line says what was expected.
    """
    if not isinstance(delivery, Delivery) or not all(isinstance(part, Part) for part in delivery.parts):
        raise DataRefused(f"source {kind!r}: returned {type(delivery).__name__}; expected a Delivery of Parts")
    for part in delivery.parts:
        if part.bars is None:
            continue
        expected = {name: BAR_TYPES[name] for name in part.bars.columns if name in BAR_TYPES}
        if dict(part.bars.schema) != expected or not set(REQUIRED) <= set(expected):
            raise DataRefused(
                f"source {kind!r}, part {part.name}: columns {dict(part.bars.schema)}; expected at least "
                f"{list(REQUIRED)} and types {BAR_TYPES}"
            )
        if part.unreadable is None or dict(part.unreadable.schema) != UNREADABLE:
            raise DataRefused(f"source {kind!r}, part {part.name}: unreadable must have the columns {UNREADABLE}")
    return delivery


def one_line(fault: BaseException) -> str:
    """A fault's own words, in one line that is not too long."""
    return " ".join(str(fault).split())[:200] or type(fault).__name__
