"""From delivered rows to a panel: text made numbers, names spelled one way, rows in order."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from tasks.domain.bars import VALUES, codes_of
from tasks.domain.cleansing import text
from tasks.domain.cleansing.books import NO_TIME, Books, Origin
from tasks.domain.cleansing.identity import one_spelling
from tasks.domain.cleansing.panel import THREADS, Floats, Panel, Whole, sort_order

MISSING = ("missing_field", 1, "a field is missing")
UNREADABLE = ("unreadable_number", 1)
TRUNCATED = ("truncated_row", 1, "the file ends within this row")
FORMAT = ("number_format", 1)
SPELLING = ("instrument_spelling", 2)
NOTES = "notes"  # column of delivered rows: {"column": "text that is no number"} as JSON, null on nearly all rows
CUT = "cut"  # key in the notes of a row that its file may have ended within


class Arranged(NamedTuple):
    """A panel of the rows that have an instrument and a time, and the books begun."""

    panel: Panel
    books: Books


def arrange(delivered: pl.DataFrame) -> Arranged:
    """Bring delivered rows into the form that the rules work on.

    `delivered` holds timestamp, instrument, price and volume columns, `part` (ascending whole numbers), `batch` (in
    which collection the part came) and `notes`. It is used up column by column where the caller keeps no reference.
    """
    draft = Draft(delivered)
    del delivered
    draft.settle_texts()
    draft.join_spellings()
    draft.set_aside_keyless()
    return Arranged(draft.panel(), draft.books)


class Draft:
    """Delivered columns (n,) in delivered order while they are brought into form; `kept` are the rows that go on."""

    def __init__(self, delivered: pl.DataFrame) -> None:
        self.part = delivered["part"].cast(pl.Int32).to_numpy()
        self.batch = delivered["batch"].cast(pl.Int32).to_numpy()
        self.time = delivered["timestamp"].cast(pl.Datetime("us")).cast(pl.Int64).fill_null(NO_TIME).to_numpy()
        self.code, self.spelled = codes_of(delivered["instrument"])
        self.fields = {name: as_floats(delivered[name]) for name in VALUES if name in delivered.columns}
        self.notes = notes_of(delivered)
        starts = np.append(0, np.flatnonzero(self.part[1:] != self.part[:-1]) + 1).astype(np.int64)
        self.books = Books(Origin(starts), list(self.fields))
        self.kept = np.ones(len(self.time), dtype=bool)

    def settle_texts(self) -> None:
        """Give cells that hold text the number they certainly mean; rows with others are set aside, and so is a last
        row that its file ended within."""
        found = [
            (place, column, words)
            for place, note in self.notes.items()
            for column, words in note.items()
            if column != CUT
        ]
        if not self.notes:
            return
        cells = text.Cells(np.array([place for place, _, _ in found], dtype=np.int64), *columns_of(found))
        values = text.read(cells, self.fields, self.code.astype(np.int64))
        self.correct_texts(cells, values)
        unread = np.flatnonzero(np.isnan(values)).tolist()
        reasons = {int(cells.place[at]): unread_reason(cells.column[at], cells.text[at]) for at in unread}
        self.set_aside(reasons, *UNREADABLE)
        cut = [
            place for place, note in self.notes.items() if CUT in note and place not in reasons and self.is_cut(place)
        ]
        self.set_aside(dict.fromkeys(cut, TRUNCATED[2]), *TRUNCATED[:2])

    def correct_texts(self, cells: text.Cells, values: Floats) -> None:
        for name in sorted(set(cells.column) & set(self.fields)):
            own = np.array([column == name for column in cells.column]) & ~np.isnan(values)
            if own.any():
                places = cells.place[own]
                before = np.array([words for words, mine in zip(cells.text, own, strict=True) if mine], dtype=object)
                self.fields[name] = self.fields[name].copy()
                self.fields[name][places] = values[own]
                self.books.line(places, self.labels(places), self.time[places], name, before, values[own], *FORMAT)

    def is_cut(self, place: int) -> bool:
        """Whether the row lacks a field, or has one far below what its instrument's column usually holds."""
        for values in self.fields.values():
            usual = np.nanmedian(values[self.code == self.code[place]])
            if not values[place] > usual / 4:
                return True
        return bool(self.code[place] < 0 or self.time[place] == NO_TIME)

    def join_spellings(self) -> None:
        """Give every instrument one name; names that differ in case and space only, and whose bars do not contradict
        each other, are one instrument."""
        counts = np.bincount(self.code[self.code >= 0], minlength=len(self.spelled))
        target = one_spelling(self.spelled, counts.tolist())
        apart = [name for name in self.spelled if target[name] != name and self.contradicts(name, target[name])]
        target |= {name: " ".join(name.split()) for name in apart}
        names = sorted(set(target.values()))
        number = {name: at for at, name in enumerate(names)}
        numbers = np.array([number[target[name]] for name in self.spelled], dtype=np.int32)
        changed = [at for at, name in enumerate(self.spelled) if target[name] != name]
        rows = np.flatnonzero(np.isin(self.code, changed)) if changed else np.array([], dtype=np.int64)
        before = [self.spelled[code] for code in self.code[rows].tolist()]
        after = [target[name] for name in before]
        if len(rows):
            self.books.line(
                rows, after, self.time[rows], "instrument", np.array(before, dtype=object), after, *SPELLING
            )
            self.books.first["instrument"] = dict(zip(rows.tolist(), before, strict=True))
        if names != self.spelled:
            self.code = np.where(self.code >= 0, numbers[self.code], -1).astype(np.int32)
        self.spelled = names

    def contradicts(self, name: str, other: str) -> bool:
        """Whether two names have different bars at more than a few of the same times: then they are two instruments."""
        if other not in self.spelled:
            return False
        left, right = (np.flatnonzero(self.code == self.spelled.index(one)) for one in (name, other))
        _, one, two = np.intersect1d(self.time[left], self.time[right], return_indices=True)
        closes = self.fields["close"]
        return int((closes[left[one]] != closes[right[two]]).sum()) > max(3, 0.1 * len(left))

    def set_aside_keyless(self) -> None:
        nameless = [-1, *(at for at, name in enumerate(self.spelled) if not name)]
        lacking = np.flatnonzero(self.kept & ((self.time == NO_TIME) | np.isin(self.code, nameless)))
        self.set_aside(dict.fromkeys(lacking.tolist(), MISSING[2]), *MISSING[:2])

    def set_aside(self, reasons: dict[int, str], rule: str, version: int) -> None:
        if reasons:
            places = np.array(sorted(reasons), dtype=np.int64)
            values = {name: column[places] for name, column in self.fields.items()}
            words = [reasons[place] for place in places.tolist()]
            self.books.put(places, self.labels(places), self.time[places], values, rule, version, words)
            self.kept[places] = False

    def labels(self, places: Whole) -> list[str | None]:
        return [self.spelled[code] if code >= 0 else None for code in self.code[places].tolist()]

    def panel(self) -> Panel:
        """The kept rows in order, as arrays that may be written to."""
        rows = None if self.kept.all() else np.flatnonzero(self.kept)
        order = sort_order(self.code, self.time) if rows is None else sort_order(self.code[rows], self.time[rows])
        rows = order if rows is None else rows if order is None else rows[order]
        place = np.arange(len(self.kept), dtype=np.uint32) if rows is None else rows.astype(np.uint32)
        del order
        columns: dict[str, npt.NDArray[Any]] = {
            name: self.__dict__.pop(name) for name in ("code", "time", "part", "batch")
        }
        columns |= {name: self.fields.pop(name) for name in list(self.fields)}
        with ThreadPoolExecutor(THREADS) as threads:
            tasks = {name: threads.submit(pick, columns.pop(name), rows) for name in list(columns)}
            found = {name: task.result() for name, task in tasks.items()}
        code, time, part, batch = (found.pop(name) for name in ("code", "time", "part", "batch"))
        return Panel(tuple(self.spelled), code, time, found, place, part, batch)


def pick(values: npt.NDArray[Any], rows: Whole | None) -> npt.NDArray[Any]:
    """The rows named in that order, or a copy of all; what is the same in all rows needs no look at each."""
    if len(values) and values[0] == values[-1] and bool((values == values[0]).all()):
        return np.full(len(values) if rows is None else len(rows), values[0])
    return np.array(values) if rows is None else values[rows]


def unread_reason(column: str, words: str) -> str:
    return f"{column}: {words!r} is no {'date' if column == 'timestamp' else 'number'}"


def notes_of(delivered: pl.DataFrame) -> dict[int, dict[str, str]]:
    if NOTES not in delivered.columns:
        return {}
    places = delivered[NOTES].is_not_null().arg_true()
    return dict(zip(places.to_list(), map(json.loads, delivered[NOTES].gather(places)), strict=True))


def as_floats(column: pl.Series) -> Floats:
    return column.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def columns_of(found: list[tuple[int, str, str]]) -> tuple[list[str], list[str]]:
    return [column for _, column, _ in found], [words for _, _, words in found]
