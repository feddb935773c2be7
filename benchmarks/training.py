"""Our training against Qlib's LightGBM workflow: features, dataset, fit, predict, record, from bars to a stored model.

Both sides get the same panel (500 synthetic names over 2,520 sessions from a fixed seed), the same training sessions,
label, hyper-parameters, number of trees and threads, and run in processes of their own, one after the other; Qlib
(pyqlib 0.9.7) in an environment of its own, see features.py. Seconds count from bars at hand to the model recorded:
imports, Qlib's own format and an empty MLflow database are made before, our compiling is counted. Beside ours stands
LightGBM alone: its dataset and trees from the finished matrix, in the same process.

Then our side alone over a growing number of names. Prints a table and, as its last line, one JSON object; ratios to
Qlib are theirs over ours.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from features import NAMES, PRICES, Side, as_bars, peer_python, run, synthetic, with_vwap

HORIZON, TRAINED, THREADS, SEED = 5, 0.7, 2, 7
PARAMETERS = {
    "num_leaves": 31,
    "learning_rate": 0.05,
    "min_data_in_leaf": 200,
    "lambda_l2": 0.0,
    "feature_fraction": 1.0,
}
GROWTH = (250, 500, 1000, 2000)


def settings(panel: dict[str, np.ndarray], rounds: int) -> dict[str, Any]:
    """What both sides are to do. The sessions between train and test are those that the last labels reach into."""
    days = [str(day)[:10] for day in panel["days"].astype("datetime64[D]")]
    cut = int(TRAINED * len(days))
    fixed = {"num_threads": THREADS, "seed": SEED, "deterministic": True, "force_row_wise": True}
    return {
        "train": [days[0], days[cut]],
        "test": [days[cut + HORIZON + 2], days[-1]],
        "horizon": HORIZON,
        "rounds": rounds,
        "parameters": PARAMETERS | fixed | {"num_boost_round": rounds},
    }


def ours(panel_file: str, settings_file: str) -> None:
    """Our side, in a process of its own, with the functions that the train stage is made of."""
    begun = time.perf_counter()
    home = tempfile.mkdtemp()
    os.environ["COUNTERSIGN_HOME"] = home
    from tasks.home import prepare

    prepare()
    import pandas as pd

    from tasks import ledger, models
    from tasks.configuration import load_problem
    from tasks.domain import metrics, names
    from tasks.domain.evaluation import panel as rows_of
    from tasks.domain.evaluation import score_table
    from tasks.domain.families.catalogue import fit
    from tasks.domain.families.trial import Trial
    from tasks.domain.inference.catalogue import load

    wanted = json.loads(Path(settings_file).read_text())
    with np.load(panel_file) as stored:
        bars = as_bars(dict(stored))
    problem = load_problem("sp500_alpha").model_copy(update={"features": ["alpha158"], "horizon": wanted["horizon"]})
    ledger.experiment_id(problem.name, names.TRAIN)
    trial = Trial(
        "lightgbm",
        {"form": "regression", "num_rounds": wanted["rounds"]} | PARAMETERS,
    )
    marks = [time.perf_counter()]
    known = rows_of(bars, problem)
    stamps = known.keys["timestamp"]
    train = (stamps <= pd.Timestamp(wanted["train"][1])).to_numpy()
    test = np.flatnonzero((stamps >= pd.Timestamp(wanted["test"][0])).to_numpy())
    marks.append(time.perf_counter())
    sample = known.sample(train)
    files = fit(trial, sample, SEED, THREADS)
    marks.append(time.perf_counter())
    with ledger.run(problem.name, names.TRAIN, "benchmark", {}) as record, tempfile.TemporaryDirectory() as scratch:
        predicted = load("lightgbm", files)(known.x[test], known.previous[test])
        table = score_table(known, test, predicted)
        rank_ic = metrics.rank_ic_series(table, known.labels.reindex(table.index))
        record.figures({"train.rank_ic": float(rank_ic.mean())})
        spec = {"features": ["alpha158"], "columns": known.columns, "inputs": [*PRICES, "volume"], "family": "lightgbm"}
        models.save(Path(scratch) / "model", spec, files)
        ledger.store_model(record, problem.name, Path(scratch) / "model")
    marks.append(time.perf_counter())
    steps = dict(zip(("features_s", "fit_s", "record_s"), np.diff(marks).tolist(), strict=True))
    total = {"start_s": marks[0] - begun, "wall_s": marks[-1] - marks[0], "rows": int(train.sum())}
    print(json.dumps(steps | total | {"lightgbm_s": lightgbm_alone(sample.fitted(), wanted)}), flush=True)


def lightgbm_alone(sample: Any, wanted: dict[str, Any]) -> float:
    """Seconds of LightGBM's own dataset and training on the finished matrix."""
    import lightgbm

    given = wanted["parameters"] | {"objective": "regression", "verbosity": -1}
    rounds = given.pop("num_boost_round")
    begun = time.perf_counter()
    data = lightgbm.Dataset(sample.x, sample.y, params={"verbosity": -1})
    lightgbm.train(given, data, num_boost_round=rounds)
    return time.perf_counter() - begun


def measured(panel: dict[str, np.ndarray], rounds: int, folder: Path, python: str, script: list[str]) -> Side:
    source, wanted = folder / "panel.npz", folder / "settings.json"
    np.savez(source, **with_vwap(panel))
    wanted.write_text(json.dumps(settings(panel, rounds)))
    return run([python, *script, str(source), str(wanted)], folder / "none")


def report(who: str, side: Side) -> None:
    said = side.figures
    alone = f"; LightGBM alone {said['lightgbm_s']:.1f} s" if "lightgbm_s" in said else ""
    steps = ", ".join(f"{step} {said[f'{step}_s']:.1f}" for step in ("features", "fit", "record"))
    print(f"  {who:>11}: {said['wall_s']:6.1f} s ({steps}), peak {side.peak_bytes / 2**20:6.0f} MB{alone}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-python", type=Path, help="a Python that has pyqlib 0.9.7")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--names", type=int, nargs="*", default=GROWTH, help="numbers of names for the growth of cost")
    parser.add_argument("--ours", nargs=2, metavar=("PANEL", "SETTINGS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ours:
        return ours(*options.ours)
    own = [__file__, "--ours"]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        panel = synthetic(NAMES)
        print(f"{NAMES} names, {len(panel['days'])} sessions, {options.rounds} trees, {THREADS} threads", flush=True)
        mine = measured(panel, options.rounds, folder, sys.executable, own)
        report("ours", mine)
        script = [str(Path(__file__).with_name("qlib_workflow.py"))]
        theirs = measured(panel, options.rounds, folder, str(peer_python(options.peer_python)), script)
        report("Qlib", theirs)
        sizes = []
        for names in options.names:
            side = measured(synthetic(names), options.rounds, folder, sys.executable, own)
            report(f"{names} names", side)
            sizes.append((names, side.figures["wall_s"]))
    logs = np.log(sizes)
    exponent = float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0]) if len(sizes) > 1 else float("nan")
    figures = {
        "wall_ratio_vs_qlib": round(theirs.figures["wall_s"] / mine.figures["wall_s"], 2),
        "memory_ratio_vs_qlib": round(theirs.peak_bytes / mine.peak_bytes, 2),
        "train_over_fit": round(mine.figures["wall_s"] / mine.figures["lightgbm_s"], 2),
        "growth_exponent": round(exponent, 3),
    }
    print(json.dumps(figures))
    return None


if __name__ == "__main__":
    main()
