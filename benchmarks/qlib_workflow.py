"""Qlib's LightGBM workflow on a panel: `PYTHON qlib_workflow.py PANEL.npz SETTINGS.json`, run by pyqlib 0.9.7's Python.

PANEL.npz is as for qlib_side.py; SETTINGS.json holds `train` and `test` (first and last day of each), `horizon` and
LightGBM's `parameters`. Runs what Qlib's own example runs (features, dataset, fit, predict, record with signal
analysis), with the label that the other side has: the rank of the forward return within its session. Prints one JSON
line with the seconds of each step as soon as all is done.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from qlib_side import store


def main() -> None:
    source, settings_file = sys.argv[1:]
    # Qlib and its parts print what they like; the figures are to be alone on standard output.
    figures = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    begun = time.perf_counter()
    import qlib
    from qlib.contrib.data.handler import Alpha158
    from qlib.contrib.model.gbdt import LGBModel
    from qlib.data.dataset import DatasetH
    from qlib.workflow import R
    from qlib.workflow.record_temp import SigAnaRecord, SignalRecord

    settings = json.loads(Path(settings_file).read_text())
    with np.load(source) as stored:
        panel = dict(stored)
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)  # Qlib puts a lock file below the working folder
        store(panel, Path(scratch))
        experiments = {
            "class": "MLflowExpManager",
            "module_path": "qlib.workflow.expm",
            "kwargs": {"uri": (Path(scratch) / "runs").as_uri(), "default_exp_name": "benchmark"},
        }
        qlib.init(provider_uri=scratch, region="us", kernels=2, exp_manager=experiments)
        marks = [time.perf_counter()]
        whole = settings["train"][0], settings["test"][1]
        after = settings["horizon"] + 1
        handler = Alpha158(
            instruments="all",
            start_time=whole[0],
            end_time=whole[1],
            fit_start_time=settings["train"][0],
            fit_end_time=settings["train"][1],
            label=([f"Ref($close, -{after})/Ref($close, -1) - 1"], ["LABEL0"]),
            learn_processors=[{"class": "DropnaLabel"}, {"class": "CSRankNorm", "kwargs": {"fields_group": "label"}}],
        )
        dataset = DatasetH(handler, {"train": settings["train"], "test": settings["test"]})
        marks.append(time.perf_counter())
        model = LGBModel(loss="mse", early_stopping_rounds=10**6, **settings["parameters"])
        with R.start(experiment_name="benchmark"):
            model.fit(dataset, verbose_eval=10**6)
            marks.append(time.perf_counter())
            recorder = R.get_recorder()
            SignalRecord(model, dataset, recorder).generate()
            SigAnaRecord(recorder).generate()
            R.save_objects(model=model)
            marks.append(time.perf_counter())
    steps = dict(zip(("features_s", "fit_s", "record_s"), np.diff(marks).tolist(), strict=True))
    print(json.dumps(steps | {"start_s": marks[0] - begun, "wall_s": marks[-1] - marks[0]}), file=figures, flush=True)


if __name__ == "__main__":
    main()
