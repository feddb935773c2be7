"""Gradient-boosted trees (LightGBM, Ke et al. 2017)."""

import re
from typing import Any

from tasks.domain.families.sample import Sample
from tasks.domain.inference.boosting import FILE

OBJECTIVES = {"regression": "regression", "classification": "binary"}


def lightgbm(parameters: dict[str, Any], sample: Sample, seed: int, num_threads: int) -> dict[str, bytes]:
    """The booster's text. Rows in float32 are read where they lie, without a copy."""
    import lightgbm

    handled = ("form", "num_rounds")
    settings = {name: value for name, value in parameters.items() if name not in handled} | {
        "objective": OBJECTIVES[parameters["form"]],
        "seed": seed,
        "num_threads": num_threads,
        # The two fix the bytes, whatever the number of threads.
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    target = sample.y > 0 if parameters["form"] == "classification" else sample.y
    data = lightgbm.Dataset(
        sample.x, target, weight=sample.weight, params={"verbosity": -1, "num_threads": num_threads}
    )
    text = lightgbm.train(settings, data, num_boost_round=parameters["num_rounds"]).model_to_string()
    # The text tells the number of threads, which is how it was fitted and not what.
    return {FILE: re.sub(r"\[num_threads: \d+\]\n", "", text).encode()}
