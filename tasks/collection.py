"""Collect stage: deliver, check, cleanse, check again, snapshot."""

from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks import evidence, lake, snapshots
from tasks.domain import bars as bar_tables
from tasks.domain import names
from tasks.domain.cleansing import CORRECTIONS, RULES, Cleansed, cleanse
from tasks.domain.errors import DataRefused
from tasks.domain.problem import Problem
from tasks.home import as_json, code_sha256, sha256, write_whole
from tasks.recording import Record, attest
from tasks.snapshots import Snapshot
from tasks.sources import files, package
from tasks.sources.delivery import Delivery


class Order(NamedTuple):
    """What is to be collected. `key` is a digest of all that the snapshot depends on."""

    problem: Problem
    delivery: Delivery
    as_of: str
    settings: dict[str, Any]
    suites: dict[str, str]

    @property
    def key(self) -> str:
        return sha256(as_json([self.settings, self.suites, self.delivery.sha256, code_sha256()]))[:16]

    @property
    def folder(self) -> Path:
        return evidence.snapshot_folder(self.problem.name, self.key)


@task(cache_policy=NO_CACHE)
def deliver(problem: Problem, data: str | None, as_of: pd.Timestamp | None, suites: dict[str, str]) -> Order:
    """Read the source, or the file given in its place, up to `as_of`."""
    source = problem.source
    if data is not None or source.kind == "files":
        delivery = files.collect(Path(data or source.path), problem.columns)
    else:
        delivery = package.collect(source)
    kept = bar_tables.until(delivery.bars, as_of)
    last = kept["timestamp"].max()
    if pd.isna(last):
        raise DataRefused(f"{delivery.name}: no row has a timestamp; expected one per row")
    settings = {"as_of": str(last.date()), "lockbox_fraction": problem.lockbox_fraction, "name": delivery.name}
    return Order(problem, delivery._replace(bars=kept), str(last.date()), settings, suites)


def collected(order: Order) -> Snapshot | None:
    """The snapshot of this very order, if it was completed before."""
    if not evidence.is_signed(order.folder, names.COLLECT):
        return None
    point_to(order)
    return snapshots.current(order.problem.name, order.key)


def point_to(order: Order) -> None:
    write_whole(snapshots.pointer(order.problem.name), order.key.encode())


@task(cache_policy=NO_CACHE)
def cleanse_bars(order: Order) -> Cleansed:
    """Apply the rules; every delivered row must be accounted for."""
    delivered = order.delivery.bars
    cleansed = cleanse(delivered)
    accounted = len(cleansed.clean) + len(cleansed.quarantine) + cleansed.exact_duplicates
    if accounted != len(delivered):
        raise DataRefused(f"{order.delivery.name}: {len(delivered)} rows delivered, {accounted} accounted for")
    if cleansed.clean.empty:
        raise DataRefused(f"{order.delivery.name}: no row is left after cleansing; see the quarantine rules")
    return cleansed


@task(cache_policy=NO_CACHE)
def store(order: Order, cleansed: Cleansed, checks: dict[str, dict[str, Any]], record: Record) -> dict[str, Any]:
    """Write the tables and describe them; nothing counts until `complete` has signed the description."""
    problem = order.problem
    parts = bar_tables.split(bar_tables.canonical(cleansed.clean), problem.lockbox_fraction)
    contents = {
        lake.RAW: order.delivery.bars,
        lake.QUARANTINE: cleansed.quarantine,
        lake.CORRECTIONS: cleansed.corrections,
        lake.DEVELOPMENT: parts.development,
        lake.LOCKBOX: parts.lockbox,
    }
    tables = {name: lake.write(problem.name, name, content) for name, content in contents.items()}
    manifest = describe(order, cleansed, parts) | {"tables": tables, "checks": checks}
    write_whole(record.folder / names.MANIFEST, as_json(manifest))
    cleansed.quarantine.to_csv(record.folder / "quarantine.csv", index=False)
    cleansed.corrections.to_csv(record.folder / "corrections.csv", index=False)
    return manifest


def describe(order: Order, cleansed: Cleansed, parts: bar_tables.Parts) -> dict[str, Any]:
    clean = cleansed.clean
    return {
        "problem": order.problem.name,
        "delivery": {"name": order.delivery.name, "sha256": order.delivery.sha256},
        "as_of": order.as_of,
        "instruments": int(clean["instrument"].nunique()),
        "sessions": int(clean["timestamp"].nunique()),
        "lockbox_starts": str(parts.lockbox["timestamp"].min().date()),
        "accounting": {
            "collected": len(order.delivery.bars),
            "clean": len(clean),
            "quarantined": len(cleansed.quarantine),
            "exact_duplicates": cleansed.exact_duplicates,
            "corrections": len(cleansed.corrections) - cleansed.exact_duplicates,
        },
        "quarantined_by_rule": count(cleansed.quarantine["rule"]),
        "corrected_by_rule": count(cleansed.corrections["rule"]),
        "rules": [f"{rule.id} v{rule.version}" for rule in RULES] + [f"{id} v{v}" for id, v in CORRECTIONS],
    }


def count(rules: pd.Series) -> dict[str, int]:
    return {str(rule): int(number) for rule, number in rules.value_counts().items()}


def log(record: Record, manifest: dict[str, Any]) -> None:
    """The counts as figures and the tables as datasets of the run."""
    counts = {f"data.{name}": float(value) for name, value in manifest["accounting"].items()}
    sizes = {f"data.{name}": float(manifest[name]) for name in ("instruments", "sessions")}
    record.run.figures(counts | sizes)
    for table in (lake.DEVELOPMENT, lake.LOCKBOX):
        written = manifest["tables"][table]
        record.run.input(table, written["version"], written["sha256"], context=table)


@task(cache_policy=NO_CACHE)
def complete(order: Order, manifest: dict[str, Any], record: Record) -> Snapshot:
    """Sign the snapshot and make it the current one."""
    settings = {"delivery": order.delivery.sha256, "collection.json": sha256(as_json(order.settings))}
    tables = {f"snapshot/{name}": table["sha256"] for name, table in manifest["tables"].items()}
    write_whole(order.folder / names.MANIFEST, as_json(manifest))
    attest(record, order.folder, settings | order.suites, tables)
    point_to(order)
    return Snapshot(order.problem.name, order.key, manifest, new=True)
