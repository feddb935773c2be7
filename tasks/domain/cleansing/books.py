"""The books of a cleansing: what was changed, what was set aside, each with its rule."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from tasks.domain.cleansing.panel import Floats, Mask, Panel, Whole
from tasks.domain.cleansing.rule import Change

Schema = dict[str, pl.DataType | type[pl.DataType]]
CORRECTIONS: Schema = {
    "part": pl.Int64,
    "row": pl.Int64,
    "instrument": pl.String,
    "timestamp": pl.Datetime("us"),
    "column": pl.String,
    "before": pl.String,
    "after": pl.String,
    "rule": pl.String,
    "version": pl.Int64,
}


class Origin(NamedTuple):
    """Where rows came from: place in the delivery where each part begins."""

    starts: Whole

    def part(self, places: npt.NDArray[np.integer]) -> Whole:
        return np.asarray(np.searchsorted(self.starts, places, side="right") - 1, dtype=np.int64)

    def row(self, places: npt.NDArray[np.integer]) -> Whole:
        """Place within the part, from 0."""
        return places.astype(np.int64) - self.starts[self.part(places)]


class Books:
    """Corrections and quarantined rows as they come. `first` keeps the delivered value of what was changed, so that a
    quarantined row can be shown as it was delivered."""

    def __init__(self, origin: Origin, columns: Sequence[str]) -> None:
        self.origin = origin
        self.columns = list(columns)
        self.lines: list[pl.DataFrame] = []
        self.aside: list[pl.DataFrame] = []
        self.first: dict[str, dict[int, float | str]] = {}

    def correct(self, panel: Panel, change: Change, rule: str, version: int) -> None:
        """Record a change; call before it is applied."""
        if len(change.rows) == 0:
            return
        before: Any
        after: Any
        if change.column == "row":
            before, after = self.origin.row(panel.place[change.rows]), "put in order"
        elif change.column == "timestamp":
            before, after = as_times(panel.time[change.rows]), as_times(change.after)
        else:
            before, after = panel.fields[change.column][change.rows], change.after
        if change.column != "row":
            kept = self.first.setdefault(change.column, {})
            delivered = panel.time[change.rows] if change.column == "timestamp" else before
            for place, value in zip(panel.place[change.rows].tolist(), delivered.tolist(), strict=True):
                kept.setdefault(place, value)
        names, times = panel.names_of(panel.code[change.rows]), panel.time[change.rows]
        self.line(panel.place[change.rows], names, times, change.column, before, after, rule, version)

    def line(
        self,
        places: npt.NDArray[np.integer],
        names: Sequence[str | None],
        times: Whole,
        column: str | Sequence[str],
        before: Any,
        after: Any,
        rule: str,
        version: int,
    ) -> None:
        """Lines of the corrections book; `times` in microseconds, the smallest number where there is none."""
        self.lines.append(
            pl.DataFrame(
                {
                    "part": self.origin.part(places),
                    "row": self.origin.row(places),
                    "instrument": pl.Series(names, dtype=pl.String),
                    "timestamp": as_times(times),
                    "column": column if isinstance(column, str) else list(column),
                    "before": as_text(before),
                    "after": as_text(after),
                    "rule": rule,
                    "version": version,
                },
                schema=CORRECTIONS,
            )
        )

    def set_aside(self, panel: Panel, rows: Mask, rule: str, version: int, reason: str | Sequence[str]) -> None:
        """Record rows of the panel as quarantined, with the values they were delivered with."""
        if not rows.any():
            return
        places = panel.place[rows]
        values: dict[str, object] = {name: panel.fields[name][rows] for name in panel.fields}
        self.put(places, panel.names_of(panel.code[rows]), panel.time[rows], values, rule, version, reason)

    def put(
        self,
        places: npt.NDArray[np.integer],
        names: Sequence[str | None],
        times: Whole,
        values: Mapping[str, object],
        rule: str,
        version: int,
        reason: str | Sequence[str],
    ) -> None:
        known = places.tolist()
        spelled = self.first.get("instrument", {})
        moved = self.first.get("timestamp", {})
        original: dict[str, object] = {
            "part": self.origin.part(places),
            "row": self.origin.row(places),
            "timestamp": as_times(np.array([moved.get(p, t) for p, t in zip(known, times.tolist(), strict=True)])),
            "instrument": pl.Series([spelled.get(p, n) for p, n in zip(known, names, strict=True)], dtype=pl.String),
        }
        for name in self.columns:
            delivered = self.first.get(name, {})
            now = np.asarray(values[name], dtype=np.float64).tolist()
            column = [delivered.get(p, v) for p, v in zip(known, now, strict=True)]
            original[name] = pl.Series(column, dtype=pl.Float64).fill_nan(None)
        facts = {"rule": rule, "version": version, "reason": reason if isinstance(reason, str) else list(reason)}
        self.aside.append(pl.DataFrame(original | facts, schema=self.quarantine_schema()))

    def quarantine_schema(self) -> Schema:
        fields: Schema = dict.fromkeys(self.columns, pl.Float64)
        place: Schema = {"part": pl.Int64, "row": pl.Int64, "timestamp": pl.Datetime("us"), "instrument": pl.String}
        return {**place, **fields, "rule": pl.String, "version": pl.Int64, "reason": pl.String}

    def corrections(self) -> pl.DataFrame:
        if not self.lines:
            return pl.DataFrame(schema=CORRECTIONS)
        return pl.concat(self.lines).sort("part", "row", "column", "rule", maintain_order=True)

    def quarantine(self) -> pl.DataFrame:
        if not self.aside:
            return pl.DataFrame(schema=self.quarantine_schema())
        return pl.concat(self.aside).sort("part", "row", maintain_order=True)


NO_TIME = np.iinfo(np.int64).min


def as_times(times: npt.NDArray[np.generic]) -> pl.Series:
    whole = np.asarray(times, dtype=np.int64)
    known = pl.Series(whole != NO_TIME)
    stamps = pl.Series(whole).cast(pl.Datetime("us"))
    return pl.select(pl.when(known).then(stamps)).to_series()


def as_text(values: Any) -> pl.Series | str:
    if isinstance(values, str):
        return values
    if isinstance(values, np.ndarray):
        return pl.Series(values.tolist()).cast(pl.String) if values.dtype.kind in "USO" else numbers_as_text(values)
    return pl.Series(values).cast(pl.String)


def numbers_as_text(values: Floats | Whole) -> pl.Series:
    return pl.Series(values).cast(pl.String)
