"""Qlib's Alpha158 on a panel: `PYTHON qlib_side.py PANEL.npz RESULT.npz`, run by a Python that has pyqlib 0.9.7.

PANEL.npz holds `days`, `names` and, sessions × names, open, high, low, close, vwap and volume, NaN where there is no
bar. Prints one JSON line with the seconds of the features alone as soon as they are there, then writes RESULT.npz:
`names` of the features and, per row, `session`, `name` (places in the panel) and `x`.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

FIELDS = ("open", "high", "low", "close", "vwap", "volume")


def store(panel: dict, folder: Path) -> None:
    """Qlib's own format: per name and field one file, float32: the first session's place, then the values."""
    days = [str(day)[:10] for day in panel["days"].astype("datetime64[D]")]
    (folder / "calendars").mkdir()
    (folder / "calendars" / "day.txt").write_text("\n".join(days) + "\n")
    lines = []
    for at, name in enumerate(panel["names"]):
        held = np.flatnonzero(~np.isnan(panel["close"][:, at]))
        first, last = held[0], held[-1]
        lines.append(f"{name}\t{days[first]}\t{days[last]}")
        place = folder / "features" / str(name).lower()
        place.mkdir(parents=True)
        for field in FIELDS:
            values = panel[field][first : last + 1, at]
            np.concatenate([[first], values]).astype("<f4").tofile(place / f"{field}.day.bin")
    (folder / "instruments").mkdir()
    (folder / "instruments" / "all.txt").write_text("\n".join(lines) + "\n")


def cpu() -> float:
    """Seconds of this process and of those it has waited for."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def main() -> None:
    source, target = sys.argv[1:]
    begun = time.perf_counter()
    import qlib
    from qlib.contrib.data.loader import Alpha158DL
    from qlib.data import D

    with np.load(source) as stored:
        panel = dict(stored)
    with tempfile.TemporaryDirectory() as scratch:
        store(panel, Path(scratch))
        qlib.init(provider_uri=scratch, region="us", kernels=2, expression_cache=None, dataset_cache=None)
        fields, names = Alpha158DL.get_feature_config()
        ready = time.perf_counter()
        spent = cpu()
        features = D.features(D.instruments("all"), fields)
        figures = {"wall_s": time.perf_counter() - ready, "cpu_s": cpu() - spent, "start_s": ready - begun}
        print(json.dumps(figures), flush=True)
    codes, days = features.index.get_level_values(0), features.index.get_level_values(1)
    order = {str(name): at for at, name in enumerate(panel["names"])}
    np.savez_compressed(
        target,
        names=np.array(names),
        session=np.searchsorted(panel["days"].astype("datetime64[D]"), days.to_numpy().astype("datetime64[D]")),
        name=np.array([order[str(code)] for code in codes]),
        x=features.to_numpy("float32"),
    )


if __name__ == "__main__":
    main()
