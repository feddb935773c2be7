"""The reconciler: a process that `countersign up` keeps. It compares MLflow and Prefect with what was signed, and sees
to it that for every version that waits for people, a run waits in Prefect, and is woken when nothing is awaited any
more.

What differs in two rounds in a row is written into the journal and sent to Prefect as an event: between a signed entry
and its effect there is a moment in which they differ.
"""

import os
import time
import traceback
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

from flows import compared, servers
from tasks import evidence, reconciling, stamps, waiting
from tasks.domain.errors import CountersignError
from tasks.home import as_json, prepare, write_whole
from tasks.reconciling import Difference

EVERY_VARIABLE = "COUNTERSIGN_RECONCILE_SECONDS"
WAITS_SECONDS = 10
COMPARE_SECONDS = 120
EVENT = "countersign.difference"

Seen = dict[str, set[Difference]]


def main() -> None:
    prepare()
    every = float(os.environ.get(EVERY_VARIABLE, COMPARE_SECONDS))
    seen: Seen = defaultdict(set)
    compared = -every
    while True:
        started = time.monotonic()
        told: dict[str, Any] = {"at": datetime.now(UTC).isoformat(timespec="seconds")}
        try:
            told["waiting"] = look_after_waits()
            if started - compared >= every:
                seen, compared = compare(seen), started
        except Exception as fault:  # noqa: BLE001 - such as a server that is busy: logged in full, and tried again
            traceback.print_exc()
            told["fault"] = f"{type(fault).__name__}: {fault}"
        told["differences"] = [each._asdict() for found in seen.values() for each in sorted(found)]
        write_whole(servers.reconciler_file(), as_json(told))
        time.sleep(max(0.0, min(WAITS_SECONDS, every) - (time.monotonic() - started)))


def compare(before: Seen) -> Seen:
    """One round over all problems; returns what differs now."""
    now: Seen = defaultdict(set)
    for problem in evidence.problems():
        try:
            now[problem] = {*reconciling.compare(problem), *compared.differences(problem)}
            for entry in reconciling.record(problem, lasting(problem, now[problem], before[problem])):
                print(f"{problem}: {entry['state']}: {entry['model']}: {entry['what']}", flush=True)
                announce(problem, entry)
            if stamps.is_wanted():
                stamps.stamp(problem)
        except CountersignError as fault:
            now[problem].add(Difference(problem, problem, str(fault)))
            print(f"{problem}: {fault}", flush=True)
            announce(problem, {"state": reconciling.FOUND, "model": problem, "what": str(fault)})
    return now


def lasting(problem: str, now: set[Difference], before: set[Difference]) -> set[Difference]:
    """What was seen twice, and what the journal tells of that was seen again."""
    return now & (before | reconciling.standing(problem))


def announce(problem: str, entry: dict[str, Any]) -> None:
    from prefect.events import emit_event

    emit_event(EVENT, resource={"prefect.resource.id": f"countersign.problem.{problem}"}, payload=entry)


def look_after_waits() -> list[str]:
    """Versions that wait for people; each has a run that waits with it."""
    from flows import waits

    try:
        due = waiting.due()
        for reference in due:
            waits.ensure(reference)
        for reference in waits.asleep():
            if reference not in due and (found := waiting.wait(reference)).over:
                waits.wake(reference, "reconciler", found.said)
    except CountersignError as fault:
        print(f"waits: {fault}", flush=True)
        return []
    return due


if __name__ == "__main__":
    main()
