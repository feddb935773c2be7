"""Our Alpha158 against Qlib's own: seconds, processor seconds, peak memory, and whether all 158 features are equal.

Both sides run in processes of their own, one after the other, on the same panels: 500 synthetic names over 2,520
sessions from a fixed seed, and a real panel of 404 names where it is at hand. Qlib (pyqlib 0.9.7 with the packages of
its time) runs in an environment of its own, made on the first call below the system's folder for temporary files, or
given by --peer-python. Seconds are those of the features alone; starting (imports, Qlib's setup) and our compiling
stand beside them. Memory is the largest sum over a side's processes of what each has for itself plus its part of
what they share (PSS), sampled, and no less than the main process's own high-water mark. vwap is the mean of the four
prices, the same numbers for both.

Two values are equal if both are missing, or differ by no more than 1e-5 of theirs, or of a hundredth of the feature's
median size where theirs is smaller than that. Prints a table and, as its last line, one JSON object of the synthetic
panel: ratios are theirs over ours.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil

CHECKOUT = Path(__file__).parents[1]
SESSIONS, NAMES = 2520, 500
PRICES = ("open", "high", "low", "close")
PEER = ("pyqlib==0.9.7", "numpy==1.26.4", "pandas==2.2.3", "lightgbm==4.6.0", "mlflow==2.22.5")
REAL = "sp500_5yr_daily.parquet"
SHARED = Path(__file__).parents[2] / "shared" / "data"
EQUAL = 1e-5
COLUMNS_AT_ONCE = 8


class Side(NamedTuple):
    """One side's run; `figures`: as its process printed them."""

    figures: dict[str, float]
    peak_bytes: int
    result: Path


class Compared(NamedTuple):
    rows: int
    equal: int
    largest: float
    worst: list[str]


def synthetic(names: int = NAMES) -> dict[str, np.ndarray]:
    """Daily bars on weekdays: fat tails, names of different calm."""
    rng = np.random.default_rng(7)
    steps = rng.standard_t(5, size=(SESSIONS, names)) * rng.uniform(0.005, 0.02, names)
    close = np.round(50 * np.exp(np.clip(np.cumsum(steps, axis=0), -3, 3)), 2)
    opened = np.round(np.vstack([close[:1], close[:-1]]) * np.exp(0.003 * rng.normal(size=close.shape)), 2)
    high = np.round(np.maximum(opened, close) * (1 + 0.004 * rng.random(close.shape)), 2) + 0.01
    low = np.round(np.minimum(opened, close) * (1 - 0.004 * rng.random(close.shape)), 2) - 0.01
    volume = np.round(np.exp(13 + 0.5 * rng.normal(size=close.shape)))
    days = np.busday_offset("2010-01-04", np.arange(SESSIONS))
    called = np.array([f"N{number:05d}" for number in range(names)])
    return {"days": days, "names": called, "open": opened, "high": high, "low": low, "close": close, "volume": volume}


def real(path: Path) -> dict[str, np.ndarray]:
    import pandas as pd

    bars = pd.read_parquet(path)
    wide = {field: bars.pivot(index="date", columns="instrument", values=field) for field in (*PRICES, "volume")}
    days = wide["close"].index.to_numpy().astype("datetime64[D]")
    names = np.array([f"N_{name}" for name in wide["close"].columns])  # some systems keep no file of the name CON
    return {"days": days, "names": names} | {field: table.to_numpy("float64") for field, table in wide.items()}


def peer_python(given: Path | None, name: str = "qlib-0.9.7", packages: tuple[str, ...] = PEER) -> Path:
    """The Python that was given, or that of an environment of these packages, made on the first call."""
    if given:
        return given
    folder = Path(tempfile.gettempdir()) / f"countersign-peer-{name}"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        print(f"installing {', '.join(packages)} into {folder}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *packages], check=True)
        (folder / "complete").touch()
    return python


def as_bars(panel: dict[str, np.ndarray]) -> Any:
    """A panel as a long DataFrame of bars; the panel's fields are used up."""
    import pandas as pd

    session, name = np.nonzero(~np.isnan(panel["close"]))
    names = pd.array(panel["names"].astype(object), dtype="str")
    bars = pd.DataFrame({"timestamp": panel["days"].astype("datetime64[us]")[session], "instrument": names[name]})
    for field in (*PRICES, "vwap", "volume"):
        bars[field] = panel.pop(field)[session, name]
    return bars


def with_vwap(panel: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return panel | {"vwap": sum(panel[price] for price in PRICES) / 4}


def ours(panel_file: str, result: str) -> None:
    """Our side, in a process of its own."""
    begun = time.perf_counter()
    from tasks.domain.features import engine

    with np.load(panel_file) as stored:
        panel = dict(stored)
    bars = as_bars(panel)
    ready, spent = time.perf_counter(), time.process_time()
    engine.prepare(["alpha158"])
    compiled, compiled_cpu = time.perf_counter(), time.process_time()
    rows = engine.compute(["alpha158"], bars)
    done, done_cpu = time.perf_counter(), time.process_time()
    figures = {
        "wall_s": done - compiled,
        "cpu_s": done_cpu - compiled_cpu,
        "start_s": ready - begun,
        "compile_s": compiled - ready,
        "compile_cpu_s": compiled_cpu - spent,
    }
    print(json.dumps(figures), flush=True)
    places = {
        "session": np.searchsorted(panel["days"], rows.timestamp.astype(panel["days"].dtype)),
        "name": np.searchsorted(panel["names"], rows.instrument.astype(str)),
    }
    np.savez(result, names=np.array(rows.names), x=rows.x, **places)


def run(command: list[str], result: Path) -> Side:
    """Run one side; memory counts until it says that its features are there."""
    process = subprocess.Popen(
        command,
        cwd=CHECKOUT,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    said, peak = "", 0
    while not said.endswith("\n") and process.poll() is None:
        peak = max(peak, memory(process.pid))
        time.sleep(0.25)
        said += (process.stdout.read() or b"").decode()
    _, faults = process.communicate()
    if process.returncode:
        raise SystemExit(faults.decode())
    return Side(json.loads(said), peak, result)


def memory(pid: int) -> int:
    """Bytes of a process and its children, what they share counted once; at least its own highest so far."""
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    total, highest = 0, 0
    for each in family:
        with contextlib.suppress(psutil.Error):
            total += int(each.memory_full_info().pss)
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        highest = 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    return max(total, highest)


def compare(mine: Path, theirs: Path) -> Compared:
    """All values of the rows we give, matched by session and name."""
    left, right = np.load(mine), np.load(theirs)
    names = [str(name) for name in right["names"]]
    if [str(name) for name in left["names"]] != names:
        raise SystemExit("the two sides name their features differently")
    places = [side["session"].astype("int64") << 32 | side["name"] for side in (left, right)]
    order = np.argsort(places[1])
    match = order[np.searchsorted(places[1], places[0], sorter=order)]
    if not np.array_equal(places[1][match], places[0]):
        raise SystemExit("there are rows of ours that Qlib has not")
    x, y = left["x"], right["x"]
    worst = np.zeros(len(names))
    for begin in range(0, len(names), COLUMNS_AT_ONCE):
        part = slice(begin, begin + COLUMNS_AT_ONCE)
        worst[part] = largest_difference(x[:, part].astype("float64"), y[:, part].astype("float64")[match])
    unequal = np.flatnonzero(worst > EQUAL)
    said = [f"{names[at]} {worst[at]:.1e}" for at in unequal[np.argsort(-worst[unequal])][:8]]
    return Compared(len(x), len(names) - len(unequal), float(worst.max()), said)


def largest_difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Per feature; infinite where only one of two values is missing."""
    with np.errstate(all="ignore"):
        usual = np.nanmedian(np.where(np.isfinite(b), np.abs(b), np.nan), axis=0)
        apart = np.abs(a - b) / np.maximum(np.abs(b), usual / 100)
    apart[(a == b) | (np.isnan(a) & np.isnan(b))] = 0
    return np.where(np.isnan(apart), np.inf, apart).max(axis=0)


def measure(title: str, panel: dict[str, np.ndarray], peer: Path, folder: Path) -> dict[str, Any]:
    panel = with_vwap(panel)
    source = folder / "panel.npz"
    np.savez(source, **panel)
    bars = int((~np.isnan(panel["close"])).sum())
    print(f"{title}: {len(panel['names'])} names, {len(panel['days'])} sessions, {bars:,} bars", flush=True)
    results = [folder / "ours.npz", folder / "theirs.npz"]
    mine = run([sys.executable, __file__, "--ours", str(source), str(results[0])], results[0])
    report("ours", mine)
    script = Path(__file__).with_name("qlib_side.py")
    theirs = run([str(peer), str(script), str(source), str(results[1])], results[1])
    report("Qlib", theirs)
    compared = compare(mine.result, theirs.result)
    print(
        f"  equal to {EQUAL:g}: {compared.equal} of 158 features over {compared.rows:,} rows, "
        f"largest relative difference {compared.largest:.1e} {'; '.join(compared.worst)}",
        flush=True,
    )
    with_compiling = mine.figures["cpu_s"] + mine.figures["compile_cpu_s"]
    return {
        "cpu_ratio_vs_qlib": round(theirs.figures["cpu_s"] / mine.figures["cpu_s"], 1),
        "cpu_ratio_with_compiling": round(theirs.figures["cpu_s"] / with_compiling, 1),
        "wall_ratio_vs_qlib": round(theirs.figures["wall_s"] / mine.figures["wall_s"], 1),
        "memory_ratio_vs_qlib": round(theirs.peak_bytes / mine.peak_bytes, 2),
        "equal_features": compared.equal,
    }


def report(who: str, side: Side) -> None:
    figures = side.figures
    compiling = f", compiling {figures['compile_s']:.1f} s" if "compile_s" in figures else ""
    print(
        f"  {who:>5}: {figures['wall_s']:6.1f} s, {figures['cpu_s']:6.1f} CPU s, "
        f"peak {side.peak_bytes / 2**20:6.0f} MB; start {figures['start_s']:.1f} s{compiling}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-python", type=Path, help="a Python that has pyqlib 0.9.7")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("COUNTERSIGN_TEST_DATA", SHARED)))
    parser.add_argument("--ours", nargs=2, metavar=("PANEL", "RESULT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ours:
        return ours(*options.ours)
    peer = peer_python(options.peer_python)
    with tempfile.TemporaryDirectory() as scratch:
        figures = measure("synthetic", synthetic(), peer, Path(scratch))
        if (options.data / REAL).is_file():
            found = measure("real", real(options.data / REAL), peer, Path(scratch))
            figures |= {f"real_{name}": value for name, value in found.items()}
        else:
            print(f"real: left out, {options.data / REAL} is not there (COUNTERSIGN_TEST_DATA or --data)")
    print(json.dumps(figures))
    return None


if __name__ == "__main__":
    main()
