"""How long the chain takes, stage by stage, on the embedded data: cold, with nothing new, and forced.

Prints a table and, as its last line, one JSON object (seconds, ratios measured side by side in this run, peak memory).
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]


def timed(home: Path, *arguments: str) -> tuple[float, dict[str, float]]:
    """Wall seconds of one command, and of each of its stages as its progress lines tell."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "flows.cli", *arguments]
    environment = os.environ | {"COUNTERSIGN_HOME": str(home)}
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=True)
    wall = time.perf_counter() - begun
    starts: list[tuple[float, str]] = []
    for line in done.stderr.splitlines():
        seconds, _, stage, *words = line.split()
        if words == ["starting"]:
            starts.append((float(seconds), stage))
    ends = [at for at, _ in starts[1:]] + [wall]
    return wall, {stage: end - at for (at, stage), end in zip(starts, ends, strict=True)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="leave out the forced retrain")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "state"
        runs = {"cold": timed(home, "retrain", "sp500_alpha"), "nothing new": timed(home, "retrain", "sp500_alpha")}
        if not quick:
            runs["forced"] = timed(home, "retrain", "sp500_alpha", "--force")
    stages = list(runs["cold"][1])
    print("".join(f"{name:>12}" for name in ("run", "whole", *stages)))
    for name, (wall, parts) in runs.items():
        print(f"{name:>12}{wall:12.1f}" + "".join(f"{parts.get(stage, 0):12.1f}" for stage in stages))
    figures = {f"{name.replace(' ', '_')}_s": round(wall, 1) for name, (wall, _) in runs.items()}
    figures["nothing_new_over_cold"] = round(runs["nothing new"][0] / runs["cold"][0], 3)
    # The largest single process of all that were waited for, in kilobytes on Linux.
    figures["peak_process_mb"] = round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
