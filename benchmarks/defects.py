"""How many planted defects are found, how many real bars are wronged: recall, precision and repairs per kind.

Defects of every kind are planted at random places, with several seeds, into real panels that were cleansed once (so
that what is real in them does not count). A plant is found when none of its rows is left among the clean bars with a
wrong value: each was set aside, dropped as a repeat, or put right. Beside it stands what a plain Great Expectations
suite finds in the same data. Prints tables and, as its last line, one JSON object.
"""

import argparse
import json
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).parent))
from plants import PRICES, Field, Plant, plant_all

from tasks.domain.cleansing.engine import Cleansed, cleanse
from tasks.domain.cleansing.rule import Calendar, Context

SHARED = Path(__file__).parents[2] / "shared" / "data"
PANELS = ("sp500_5yr_daily", "google_us_unfiltered_daily")
NOW = int(np.datetime64("2026-01-01", "us").astype("int64"))
VALUES = [*PRICES, "volume"]


class Outcome(NamedTuple):
    """What became of one planted panel."""

    found: dict[str, list[bool]]
    repaired: dict[str, list[bool]]
    flagged: dict[str, Counter[str]]
    wronged: int
    untouched: int
    lost_moves: list[int]


def calendar() -> Calendar:
    import exchange_calendars

    days = exchange_calendars.get_calendar("XNYS", start="1990-01-01", end="2025-12-31").sessions
    return Calendar(days.to_numpy().astype("datetime64[us]").astype("int64"))


def load(name: str) -> pl.DataFrame:
    bars = pl.read_parquet(SHARED / f"{name}.parquet").rename({"date": "timestamp"})
    values = [pl.col(column).cast(pl.Float64) for column in VALUES]
    time = pl.col("timestamp").cast(pl.Datetime("us"))
    return bars.select(time, "instrument", *values).with_columns(part=pl.lit(0), batch=pl.lit(0))


def measure(base: pl.DataFrame, context: Context, seed: int) -> Outcome:
    assert context.calendar is not None
    field = Field(base, context.calendar.sessions, seed)
    truth = field.truth()
    plants = plant_all(field)
    delivered = field.delivered()
    cleansed = cleanse(delivered, context)
    look = Looker(truth, field.truth(), delivered, cleansed)
    touched = {row: plant.kind for plant in plants for row in plant.rows}
    found: dict[str, list[bool]] = defaultdict(list)
    repaired: dict[str, list[bool]] = defaultdict(list)
    for plant in plants:
        found[plant.kind].append(look.finds(plant))
        repaired[plant.kind] += [
            look.is_right(row) for row in plant.rows if look.corrected.get(row, "exact_duplicate") != "exact_duplicate"
        ]
    flagged: dict[str, Counter[str]] = defaultdict(Counter)
    for row, rule in (look.aside | look.corrected).items():
        flagged[rule]["planted" if row in touched else "untouched"] += 1
    wronged = [row for row in look.aside | look.corrected if row not in touched]
    lost = [row for row in true_moves(truth)["id"].to_list() if row not in touched and row in look.aside]
    return Outcome(found, repaired, flagged, len(wronged), len(delivered) - len(touched), lost)


class Looker:
    """What a cleansing made of the delivered rows, by their ids."""

    def __init__(self, truth: pl.DataFrame, planted: pl.DataFrame, delivered: pl.DataFrame, cleansed: Cleansed) -> None:
        place = delivered.with_columns(row=pl.int_range(pl.len()).over("part"))
        ids = dict(
            zip(zip(*(place[name].to_list() for name in ("part", "row")), strict=True), place["id"], strict=True)
        )
        self.aside = named(cleansed.quarantine, ids)
        self.corrected = named(cleansed.corrections, ids)
        self.gaps = set(cleansed.gaps.with_columns(pl.col("timestamp").cast(pl.Int64)).rows())
        self.clean = {(name, time): tuple(values) for name, time, *values in keyed(cleansed.clean)}
        self.true = {row: ((name, time), tuple(values)) for row, (name, time, *values) in enumerate(keyed(truth))}
        self.given = {row: (name, time) for row, (name, time, *_) in enumerate(keyed(planted))}

    def finds(self, plant: Plant) -> bool:
        if plant.removed:
            return all(gone in self.gaps for gone in plant.removed)
        if plant.moved:
            return all(self.corrected.get(row) == "out_of_order" for row in plant.rows)
        return all(
            self.is_gone(row) if row not in self.true else self.is_gone(row) or self.is_right(row) for row in plant.rows
        )

    def is_gone(self, row: int) -> bool:
        """Nothing stands among the clean bars where the row was delivered, and nothing wrong where it belongs."""
        given = self.given[row]
        right = self.true.get(row)
        if row in self.aside or self.corrected.get(row) == "exact_duplicate":
            return True
        return given not in self.clean and (right is None or right[0] not in self.clean)

    def is_right(self, row: int) -> bool:
        if row not in self.true:
            return False
        key, values = self.true[row]
        return (
            key in self.clean
            and np.allclose(self.clean[key], values, rtol=1e-12, atol=0)
            and (self.given[row] == key or self.given[row] not in self.clean)
        )


def named(book: pl.DataFrame, ids: dict[tuple[int, int], int]) -> dict[int, str]:
    return {ids[part, row]: rule for part, row, rule in book.select("part", "row", "rule").rows()}


def keyed(bars: pl.DataFrame) -> list[tuple[Any, ...]]:
    time = pl.col("timestamp").cast(pl.Int64)
    return bars.select(pl.col("instrument").cast(pl.String), time, *VALUES).rows()


def true_moves(bars: pl.DataFrame) -> pl.DataFrame:
    """Real bars that closed a fifth or more from the one before, on at least twice the usual volume."""
    usual = pl.col("volume").median().over("instrument")
    move = (pl.col("close") / pl.col("close").shift(1).over("instrument")).log().abs()
    return bars.filter((move > np.log(1.2)) & (pl.col("volume") > 2 * usual))


def plain_suite(base: pl.DataFrame, context: Context, seed: int) -> dict[str, list[bool]]:
    """Which plants a Great Expectations suite that a user would write notices, without cleansing."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    assert context.calendar is not None
    field = Field(base, context.calendar.sessions, seed)
    plants = plant_all(field)
    bars = field.delivered()
    session = gx.get_context(mode="ephemeral")
    session.variables.progress_bars = ProgressBarsConfig(globally=False)
    e = gx.expectations
    rules: list[Any] = [e.ExpectColumnValuesToNotBeNull(column=name) for name in ["timestamp", "instrument", *VALUES]]
    rules += [e.ExpectColumnValuesToBeBetween(column=name, min_value=0, strict_min=True) for name in VALUES]
    rules += [
        e.ExpectColumnPairValuesAToBeGreaterThanB(column_A="high", column_B=name, or_equal=True)
        for name in ("open", "low", "close")
    ]
    rules += [
        e.ExpectColumnPairValuesAToBeGreaterThanB(column_A=name, column_B="low", or_equal=True)
        for name in ("open", "close")
    ]
    rules += [
        e.ExpectCompoundColumnsToBeUnique(column_list=["timestamp", "instrument"]),
        e.ExpectColumnValuesToMatchRegex(column="instrument", regex=r"^[A-Z][A-Z.\-]*$"),
        e.ExpectColumnValuesToBeBetween(column="timestamp", max_value=np.datetime64(NOW, "us").astype(object)),
    ]
    suite = session.suites.add(gx.ExpectationSuite(name="plain", expectations=rules))
    asset = session.data_sources.add_pandas("memory").add_dataframe_asset("bars")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": bars.drop("notes").to_pandas()})
    result = batch.validate(suite, result_format={"result_format": "COMPLETE"})
    noticed: set[int] = set()
    ids = bars["id"].to_list()
    for outcome in result.results:
        noticed |= {ids[at] for at in outcome.result.get("unexpected_index_list") or []}
    found: dict[str, list[bool]] = defaultdict(list)
    for plant in plants:
        found[plant.kind].append(bool(plant.rows) and all(row in noticed for row in plant.rows))
    return found


def share(outcomes: list[bool]) -> float:
    return float(np.mean(outcomes)) if outcomes else float("nan")


def merged(parts: list[dict[str, list[bool]]]) -> dict[str, list[bool]]:
    whole: dict[str, list[bool]] = defaultdict(list)
    for part in parts:
        for kind, outcomes in part.items():
            whole[kind] += outcomes
    return whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one panel, one seed")
    options = parser.parse_args()
    context = Context(calendar(), NOW)
    panels, seeds = (PANELS[:1], 1) if options.quick else (PANELS, options.seeds)
    outcomes, plain = [], []
    for name in panels:
        real = cleanse(load(name), context)
        print(f"{name}: {len(real.clean)} clean rows; found in the real data: {counts(real.quarantine)}")
        base = real.clean.with_columns(pl.col("instrument").cast(pl.String))
        outcomes += [measure(base, context, seed) for seed in range(seeds)]
        plain.append(plain_suite(base, context, 0))
    report(outcomes, merged(plain))


def counts(book: pl.DataFrame) -> dict[str, int]:
    return dict(book["rule"].value_counts(sort=True).rows())


def report(outcomes: list[Outcome], plain: dict[str, list[bool]]) -> None:
    found, repaired = merged([o.found for o in outcomes]), merged([o.repaired for o in outcomes])
    print(f"{'kind':36}{'plants':>8}{'recall':>9}{'right repairs':>15}{'plain suite':>13}")
    for kind, hits in found.items():
        repairs = f"{share(repaired[kind]):.4f}" if repaired[kind] else "-"
        print(f"{kind:36}{len(hits):8}{share(hits):9.3f}{repairs:>15}{share(plain[kind]):13.3f}")
    flagged: dict[str, Counter[str]] = defaultdict(Counter)
    for outcome in outcomes:
        for rule, tally in outcome.flagged.items():
            flagged[rule] += tally
    print(f"{'rule':36}{'planted':>8}{'untouched':>11}{'precision':>11}")
    for rule, tally in sorted(flagged.items()):
        print(f"{rule:36}{tally['planted']:8}{tally['untouched']:11}{tally['planted'] / tally.total():11.4f}")
    wronged, untouched = sum(o.wronged for o in outcomes), sum(o.untouched for o in outcomes)
    every = [hit for hits in found.values() for hit in hits]
    figures = {
        "recall": round(share(every), 4),
        "recall_min": round(min(share(hits) for hits in found.values()), 4),
        "repair_rate": round(share([right for rights in repaired.values() for right in rights]), 4),
        "false_alarms_per_100k": round(1e5 * wronged / untouched, 3),
        "true_moves_lost": sum(len(o.lost_moves) for o in outcomes),
        "kinds": len(found),
        "plants": len(every),
        "plain_suite_recall": round(share([hit for hits in plain.values() for hit in hits]), 4),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
