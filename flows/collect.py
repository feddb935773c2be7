"""Collect: from a source to a signed snapshot."""

from datetime import date
from typing import Any

import pandas as pd
from prefect import flow

from flows import shown
from tasks import collection, configuration, evidence, recovery
from tasks.checks import CLEAN, ORDERS, RAW, SERIES, check, suite_digests
from tasks.domain import names
from tasks.progress import step
from tasks.recording import recorded


@flow(name="collect", log_prints=True)
def collect(problem: str, data: str | None = None, as_of: date | None = None) -> dict[str, Any]:
    """Deliver, check, cleanse, check again and snapshot a problem's data.

    Args:
        problem: a name in problems/, or the path of a problem file.
        data: a CSV or Parquet file to use in place of the problem's own source.
        as_of: the last session to take in; by default the newest delivered.
    """
    definition = configuration.load_problem(problem)
    with recovery.working_on(definition.name):
        evidence.establish()
        cut = None if as_of is None else pd.Timestamp(as_of)
        with collection.refusals_told(definition.name):
            step("reading the source")
            order = collection.deliver(definition, data, cut, suite_digests((RAW, CLEAN, ORDERS, SERIES)))
            if (snapshot := collection.collected(order)) is None:
                snapshot = snapshot_of(order)
        shown.counts(shown.COLLECTED, snapshot.key, snapshot.manifest["accounting"])
        return {"snapshot": snapshot.key, "new": snapshot.new} | snapshot.manifest


def snapshot_of(order: collection.Order) -> collection.Snapshot:
    with recorded(order.problem.name, names.COLLECT, order.title, order.key, {}) as record:
        step("checking what was delivered")
        delivered = [collection.raw(order)]
        raw = check(collection.bars_alone(delivered[0]), RAW, record.folder)
        step("cleansing")
        cleansed = collection.cleanse_bars(order, delivered)
        step("checking what is clean")
        clean = check(cleansed.clean, CLEAN, record.folder)
        step("comparing with the snapshot before")
        compared = collection.compare(order, cleansed, record)
        step("writing the tables")
        checks = {RAW: raw._asdict(), CLEAN: clean._asdict()}
        manifest = collection.store(order, cleansed, checks, compared, record)
        collection.log(record, order, manifest)
    return collection.complete(order, manifest, record)
