"""How fast and how lean a collection is: from a delivered file to a signed snapshot, on 1, 5 and 25 million rows.

Beside each size stands the floor, measured in the same run: reading the same Parquet file, sorting it by instrument
and time, and writing it once, with polars. The collection runs as a user runs it (a real Prefect server, MLflow, every
rule and suite); its seconds count from the moment it reads the source. Peak memory is that of the collecting process,
less what it needs for a few rows (imports), relative to the table in memory. Prints a table and, as its last line,
one JSON object.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import yaml

CHECKOUT = Path(__file__).parents[1]
SESSIONS = 2520
FLOOR = """
import sys, time, polars as pl
begun = time.perf_counter()
bars = pl.read_parquet(sys.argv[1]).sort("instrument", "timestamp")
bars.write_parquet(sys.argv[2])
print(time.perf_counter() - begun, bars.estimated_size())
"""


class Measured(NamedTuple):
    rows: int
    seconds: float
    floor_seconds: float
    peak_bytes: int
    table_bytes: int


def make(path: Path, rows: int) -> int:
    """A panel of daily bars on exchange sessions, in delivered (time) order; returns its rows."""
    import exchange_calendars
    import polars as pl

    days = exchange_calendars.get_calendar("XNYS", start="2010-01-01", end="2020-12-31").sessions[:SESSIONS]
    names = max(rows // SESSIONS, 2)
    rng = np.random.default_rng(7)
    # Fat tails and names of different calm, so that the rules look at what they would see.
    steps = rng.standard_t(5, size=(SESSIONS, names)) * rng.uniform(0.005, 0.02, names)
    close = np.round(50 * np.exp(np.clip(np.cumsum(steps, axis=0), -3, 3)), 2)
    opened = np.round(np.vstack([close[:1], close[:-1]]) * np.exp(0.003 * rng.normal(size=close.shape)), 2)
    high = np.round(np.maximum(opened, close) * (1 + 0.004 * rng.random(close.shape)), 2) + 0.01
    low = np.round(np.minimum(opened, close) * (1 - 0.004 * rng.random(close.shape)), 2) - 0.01
    volume = np.round(np.exp(13 + 0.5 * rng.normal(size=close.shape)))
    columns = {"open": opened, "high": high, "low": low, "close": close, "volume": volume}
    words = pl.Series([f"N{number:05d}" for number in range(names)])
    bars = pl.DataFrame(
        {
            "timestamp": np.repeat(days.to_numpy().astype("datetime64[us]"), names),
            "instrument": words.gather(np.tile(np.arange(names, dtype=np.uint32), SESSIONS)),
            **{name: values.ravel() for name, values in columns.items()},
        }
    )
    bars.write_parquet(path)
    return len(bars)


def floor(path: Path) -> tuple[float, int]:
    """Seconds of reading, sorting and writing, and the table's size in memory; the best of two runs."""
    command = [sys.executable, "-c", FLOOR, str(path), str(path.with_suffix(".sorted"))]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() for _ in range(2)]
    return min(float(seconds) for seconds, _ in runs), int(runs[0][1])


def collect(problem: Path, data: Path, home: Path) -> tuple[float, int]:
    """Seconds from reading the source to the end, and the peak memory of the collecting process in bytes."""
    command = [sys.executable, "-m", "flows.cli", "collect", str(problem), "--data", str(data)]
    environment = os.environ | {"COUNTERSIGN_HOME": str(home)}
    process = subprocess.Popen(command, cwd=CHECKOUT, env=environment, stderr=subprocess.PIPE)
    begun, peak = 0.0, 0
    assert process.stderr is not None
    os.set_blocking(process.stderr.fileno(), False)
    said = ""
    while process.poll() is None:
        said += (process.stderr.read() or b"").decode()
        if not begun and "reading the source" in said:
            begun = time.perf_counter()
        peak = max([peak, *(memory(child) for child in psutil.Process(process.pid).children(recursive=True))])
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit(said)
    return time.perf_counter() - begun, peak


def memory(process: psutil.Process) -> int:
    """Resident bytes of a collecting process, 0 for any other."""
    try:
        return int(process.memory_info().rss) if process.cmdline()[2:4] == ["flows.process", "collect"] else 0
    except (psutil.Error, IndexError):
        return 0


def problem_file(folder: Path) -> Path:
    fields = yaml.safe_load((CHECKOUT / "problems" / "sp500_alpha.yaml").read_text())
    path = folder / "large.yaml"
    path.write_text(yaml.safe_dump(fields | {"name": "large"}))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--millions", type=float, nargs="+", default=[1, 5, 25])
    millions = parser.parse_args().millions
    measured: list[Measured] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        problem, data = problem_file(folder), folder / "bars.parquet"
        make(data, 10 * SESSIONS)
        _, base = collect(problem, data, folder / "state-0")
        for size in millions:
            rows = make(data, round(size * 1e6))
            seconds, peak = collect(problem, data, folder / f"state-{size}")
            floor_seconds, table = floor(data)
            measured.append(Measured(rows, seconds, floor_seconds, peak - base, table))
            report(measured[-1])
    largest = measured[-1]
    logs = np.log([[each.rows, each.seconds] for each in measured])
    exponent = float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0]) if len(measured) > 1 else float("nan")
    figures = {
        "growth_exponent": round(exponent, 3),
        "floor_ratio": round(largest.seconds / largest.floor_seconds, 2),
        "memory_ratio": round(largest.peak_bytes / largest.table_bytes, 2),
        "rows_per_second": round(largest.rows / largest.seconds),
        "rows": largest.rows,
    }
    print(json.dumps(figures))


def report(each: Measured) -> None:
    print(
        f"{each.rows:>12,} rows: {each.seconds:7.1f} s, floor {each.floor_seconds:6.1f} s, "
        f"ratio {each.seconds / each.floor_seconds:5.2f}; peak {each.peak_bytes / 2**20:7.0f} MB over "
        f"{each.table_bytes / 2**20:6.0f} MB of table, ratio {each.peak_bytes / each.table_bytes:5.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
