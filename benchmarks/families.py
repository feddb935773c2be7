"""All nine families of models through the whole chain, on the embedded data and on a real panel of 404 names.

Each family is a problem of its own, retrained by the command that users run: real Prefect server, MLflow, validation,
backtest. Then its registered model is loaded by MLflow alone, in a process that has nothing of this project, and its
scores are compared with those of the project's own code here; and it is fitted twice more here, with one thread and
with two, to the same bytes or not. A fold's fit holds its forecasts, too; a score's time is that of the newest session
from warm bars, p50 of 20. Deep families need `make deep`. Prints a table per panel and, as its last line, one JSON
object.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from features import CHECKOUT, REAL, SHARED

SAME = 1e-9
HEAD = "    family  CV rank IC ± SE   lockbox  fit s a fold  score ms  largest gap        refit   chain s"
REFUSED = 3  # the gates say no, which is what most families deserve
ALONE = """
import json, sys, time
import mlflow, numpy as np, pandas as pd
model, bars, recent, result = sys.argv[1:]
loaded = mlflow.pyfunc.load_model(model)
loaded.predict(pd.read_parquet(bars)).to_parquet(result)
last = pd.read_parquet(recent)
day = {"since": str(last["timestamp"].max())}
times = []
for _ in range(22):
    begun = time.perf_counter()
    loaded.predict(last, params=day)
    times.append(1000 * (time.perf_counter() - begun))
assert not [name for name in sys.modules if name.split(".")[0] in ("tasks", "flows")]
print(json.dumps({"score_ms": float(np.median(times[2:]))}))
"""


class Setting(NamedTuple):
    """A panel: its name, what it is made of (None: the embedded data), and the problem's features."""

    title: str
    data: Path | None
    features: str


def problem_file(folder: Path, setting: Setting, family: str) -> Path:
    """The shipped problem for one family of any complexity."""
    fields = yaml.safe_load((CHECKOUT / "problems" / "sp500_alpha.yaml").read_text())
    fields |= {"name": f"{setting.title}_{family}", "features": setting.features, "families": [{"family": family}]}
    fields["constraints"] |= {"complexity": "very high"}
    path = folder / f"{fields['name']}.yaml"
    path.write_text(yaml.safe_dump(fields))
    return path


def retrain(problem: Path, data: Path | None) -> float:
    """Seconds of the whole chain."""
    command = [sys.executable, "-m", "flows.cli", "retrain", str(problem)]
    begun = time.perf_counter()
    given = [] if data is None else ["--data", str(data)]
    done = subprocess.run([*command, *given], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if done.returncode not in (0, REFUSED):
        raise SystemExit(done.stderr)
    return time.perf_counter() - begun


def figures_of(name: str, folds: int) -> dict[str, float]:
    """What MLflow holds of version 1: out of fold, and on the lockbox."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    run = client.get_run(client.get_model_version(name, "1").run_id)
    if "model_card.html" not in [each.path for each in client.list_artifacts(run.info.run_id)]:
        raise SystemExit(f"{name}: the training run has no card")
    experiment = client.get_experiment_by_name(f"{name}/validate")
    validated = client.search_runs([experiment.experiment_id])[0].data.metrics
    trained = run.data.metrics
    return {
        "rank_ic": trained["train.rank_ic"],
        "standard_error": trained["train.rank_ic_standard_error"],
        "lockbox_rank_ic": validated["lockbox.rank_ic"],
        "fit_s": trained["train.seconds"] / folds,
    }


def scored_alone(name: str, bars: Any, folder: Path) -> tuple[Any, float]:
    """Scores of the registered version by MLflow alone, and the milliseconds of the newest session."""
    import pandas as pd

    days = bars["timestamp"].drop_duplicates().sort_values()
    files = {"bars": folder / "bars.parquet", "recent": folder / "recent.parquet", "scores": folder / "scores.parquet"}
    bars.to_parquet(files["bars"])
    bars[bars["timestamp"] >= days.iloc[-min(320, len(days))]].to_parquet(files["recent"])
    command = [sys.executable, "-c", ALONE, f"models:/{name}/1", *map(str, files.values())]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return pd.read_parquet(files["scores"]), json.loads(done.stdout.splitlines()[-1])["score_ms"]


def parameters_of(name: str) -> dict[str, bytes]:
    from tasks import ledger

    folder = ledger.model_folder(name, 1) / "artifacts" / "parameters"
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def largest_gap(problem: Any, bars: Any, files: dict[str, bytes], scores: Any) -> float:
    """Between the registered model's scores and the project's own; infinite where one of the two is missing."""
    import numpy as np
    import pandas as pd

    from tasks.domain.features.engine import compute
    from tasks.domain.inference.catalogue import load

    rows = compute(problem.features, bars)
    own = load(problem.families[0].family, files)(rows.x, rows.previous)
    table = pd.DataFrame({"timestamp": rows.timestamp, "instrument": rows.instrument, "own": own}).dropna()
    both = table.merge(scores, on=["timestamp", "instrument"], how="outer")
    return float(np.nan_to_num((both["own"] - both["score"]).abs(), nan=np.inf).max())


def digest(files: dict[str, bytes]) -> str:
    return hashlib.sha256(b"".join(name.encode() + files[name] for name in sorted(files))).hexdigest()


def same_bytes(problem: Any, development: Any, files: dict[str, bytes]) -> bool:
    """Whether fits here, with one thread and with two, give what the train stage's process gave."""
    import numpy as np

    from tasks.domain.evaluation import panel
    from tasks.domain.families.catalogue import fit
    from tasks.domain.search import propose
    from tasks.searching import obedient

    known = panel(development, problem)
    trial = propose(problem.families[0], [], problem.seed)
    assert trial is not None
    whole = known.sample(np.ones(len(known.y), dtype=bool))
    fitted = (fit(obedient(problem, known, trial), whole, problem.seed, threads) for threads in (1, 2))
    return {digest(each) for each in fitted} == {digest(files)}


def measured(setting: Setting, family: str, folder: Path) -> dict[str, Any]:
    import pandas as pd

    from tasks import lake, snapshots
    from tasks.configuration import load_problem

    path = problem_file(folder, setting, family)
    seconds = retrain(path, setting.data)
    problem = load_problem(str(path))
    snapshot = snapshots.current(problem.name)
    development, lockbox = (snapshot.read(part) for part in (lake.DEVELOPMENT, lake.LOCKBOX))
    bars = pd.concat([development, lockbox])
    files = parameters_of(problem.name)
    scores, score_ms = scored_alone(problem.name, bars, folder)
    return figures_of(problem.name, problem.splits.folds) | {
        "score_ms": score_ms,
        "gap": largest_gap(problem, bars, files, scores),
        "same_bytes": same_bytes(problem, development, files),
        "chain_s": seconds,
    }


def report(family: str, found: dict[str, Any]) -> None:
    same = "same bytes" if found["same_bytes"] else "OTHER BYTES"
    print(
        f"{family:>10}  {found['rank_ic']:+.4f} ± {found['standard_error']:.4f}  {found['lockbox_rank_ic']:+.4f}"
        f"{found['fit_s']:9.2f}{found['score_ms']:10.1f}{found['gap']:11.1e}  {same:>11}{found['chain_s']:9.1f}",
        flush=True,
    )


def over_panels(
    description: str | None,
    features: tuple[str, str],
    head: str,
    measure: Callable[[Setting, str, Path], dict[str, Any]],
    tell: Callable[[str, dict[str, Any]], None],
) -> dict[str, dict[str, Any]]:
    """What is measured of each family asked for, by panel; told as it comes. `features`: of the embedded data, of the
    real panel, which is left out where it is not there."""
    from tasks.domain.complexity import TIERS

    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--families", nargs="+", default=list(TIERS), choices=list(TIERS))
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("COUNTERSIGN_TEST_DATA", SHARED)))
    parser.add_argument("--only", choices=["embedded", "real"])
    options = parser.parse_args()
    settings = [Setting("embedded", None, features[0]), Setting("real", options.data / REAL, features[1])]
    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["COUNTERSIGN_HOME"] = str(Path(scratch) / "state")
        from tasks.home import prepare

        prepare()
        for setting in settings:
            if options.only not in (None, setting.title):
                continue
            if setting.data is not None and not setting.data.is_file():
                print(f"{setting.title}: left out, {setting.data} is not there (COUNTERSIGN_TEST_DATA or --data)")
                continue
            print(f"\n{setting.title}, {setting.features}")
            print(head)
            results[setting.title] = {}
            for family in options.families:
                results[setting.title][family] = measure(setting, family, Path(scratch))
                tell(family, results[setting.title][family])
    return results


def main() -> None:
    results = over_panels(__doc__, ("price_only", "alpha158"), HEAD, measured, report)
    every = [found for families in results.values() for found in families.values()]
    summary = {
        "families": len(every),
        "same_scores": sum(found["gap"] <= SAME for found in every),
        "same_bytes": sum(found["same_bytes"] for found in every),
    }
    print(json.dumps(summary | {"table": results}))


if __name__ == "__main__":
    sys.path.insert(0, str(CHECKOUT))
    main()
