"""How long one new day of 500 names takes from bars to scores, with a warm model.

Each repetition hands over the bars of the sessions the features look back at, with the new day as the last one,
computes the features of that day and lets LightGBM score them on one thread. Beside it stands the floor, measured in
turn with it: the booster alone, on the finished matrix. Prints both and, as its last line, one JSON object.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

from tasks.domain.features import engine
from tasks.domain.features.bars import LONGEST_HOLE
from tasks.domain.inference.boosting import FILE as BOOSTER
from tasks.domain.inference.catalogue import load

NAMES, SESSIONS, ROUNDS, LEAVES = 500, 130, 100, 31
FEATURES = ["alpha158"]
SEED = 7


def made() -> pd.DataFrame:
    """Daily bars on weekdays, sorted by instrument, then timestamp."""
    rng = np.random.default_rng(SEED)
    close = np.round(50 * np.exp(np.cumsum(0.01 * rng.normal(size=(NAMES, SESSIONS)), axis=1)), 2)
    opened = np.round(close * np.exp(0.003 * rng.normal(size=close.shape)), 2)
    values = {
        "open": opened,
        "high": np.round(np.maximum(opened, close) * (1 + 0.004 * rng.random(close.shape)), 2),
        "low": np.round(np.minimum(opened, close) * (1 - 0.004 * rng.random(close.shape)), 2),
        "close": close,
        "volume": np.round(np.exp(13 + 0.5 * rng.normal(size=close.shape))),
    }
    days = pd.bdate_range("2020-01-01", periods=SESSIONS).astype("datetime64[us]")
    keys = {"timestamp": np.tile(days, NAMES), "instrument": np.repeat([f"N{n:04d}" for n in range(NAMES)], SESSIONS)}
    return pd.DataFrame(keys | {name: column.ravel() for name, column in values.items()})


def trained(rows: engine.Rows) -> str:
    """A booster of the size that a search would try, as text; what it has learned does not matter here."""
    target = np.random.default_rng(SEED).normal(size=len(rows.x))
    settings = {"num_leaves": LEAVES, "seed": SEED, "deterministic": True, "num_threads": 1, "verbosity": -1}
    booster = lightgbm.train(settings, lightgbm.Dataset(rows.x, target), num_boost_round=ROUNDS)
    return str(booster.model_to_string())


def milliseconds(action: Callable[[], object]) -> float:
    begun = time.perf_counter()
    action()
    return 1000 * (time.perf_counter() - begun)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=300)
    repetitions = parser.parse_args().repetitions
    bars = made()
    print(f"{NAMES} names, {', '.join(FEATURES)}; compiling and training", flush=True)
    engine.prepare(FEATURES)
    predict = load("lightgbm", {BOOSTER: trained(engine.compute(FEATURES, bars)).encode()})
    days = np.sort(bars["timestamp"].unique())
    day = days[-1]
    window = bars[bars["timestamp"] >= days[-1 - engine.history_of(FEATURES) - LONGEST_HOLE]]
    ready = engine.compute(FEATURES, window, since=day)

    def score() -> np.ndarray:
        rows = engine.compute(FEATURES, window, since=day)
        return predict(rows.x, rows.previous)

    def floor() -> np.ndarray:
        return predict(ready.x, ready.previous)

    for _ in range(20):
        score()
    # In turn, so that a busy moment of the machine falls on both.
    timed = np.array([[milliseconds(score), milliseconds(floor)] for _ in range(repetitions)])
    (p50, floor_p50), (p99, floor_p99) = np.percentile(timed, [50, 99], axis=0)
    print(f"bars to scores: p50 {p50:.2f} ms, p99 {p99:.2f} ms over {repetitions} repetitions")
    print(f"floor, scores of a finished matrix: p50 {floor_p50:.2f} ms, p99 {floor_p99:.2f} ms")
    print(json.dumps({"p50_ms": round(p50, 2), "p99_ms": round(p99, 2), "over_floor": round(p50 / floor_p50, 2)}))


if __name__ == "__main__":
    main()
