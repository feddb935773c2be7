"""Decision trees and random forests of scikit-learn, stored by skops as data that is checked before it is loaded."""

import io
import re
import zipfile
from typing import Any

import numpy as np

from tasks.domain.families.sample import Sample
from tasks.domain.inference.trees import FILE

EPOCH = (1980, 1, 1, 0, 0, 0)  # the oldest time a zip file can hold
ADDRESS = re.compile(r'("__id__": |"file": ")(\d+)')


def tree(parameters: dict[str, Any], sample: Sample, seed: int, num_threads: int) -> dict[str, bytes]:
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    learner, settings = chosen(parameters, DecisionTreeRegressor, DecisionTreeClassifier)
    return grown(learner(**settings, random_state=seed), parameters["form"], sample)


def forest(parameters: dict[str, Any], sample: Sample, seed: int, num_threads: int) -> dict[str, bytes]:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    learner, settings = chosen(parameters, RandomForestRegressor, RandomForestClassifier)
    # Every tree has a seed of its own, so the number of threads changes the time and nothing else.
    fitted = learner(**settings, random_state=seed, n_jobs=num_threads)
    return grown(fitted, parameters["form"], sample)


def chosen(parameters: dict[str, Any], regression: Any, classification: Any) -> tuple[Any, dict[str, Any]]:
    settings = {name: value for name, value in parameters.items() if name != "form"}
    return (classification if parameters["form"] == "classification" else regression), settings


def grown(learner: Any, form: str, sample: Sample) -> dict[str, bytes]:
    target = sample.y > 0 if form == "classification" else sample.y
    learner.fit(sample.x, target, sample_weight=sample.weight)
    if hasattr(learner, "n_jobs"):
        learner.n_jobs = None  # how it was fitted is no part of what was
    return {FILE: dumps(learner)}


def dumps(estimator: Any) -> bytes:
    """skops' format with equal bytes for equal content.

    skops names arrays by their address in memory, zip files hold the time of day, and the records of a tree's nodes
    have gaps that nobody fills; here addresses are numbered in order of appearance and times and gaps are fixed.
    """
    import skops.io

    numbers: dict[str, str] = {}

    def numbered(found: re.Match[str]) -> str:
        return found[1] + numbers.setdefault(found[2], str(len(numbers)))

    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(estimator))) as given, zipfile.ZipFile(out, "w") as made:
        schema = ADDRESS.sub(numbered, given.read("schema.json").decode())
        made.writestr(zipfile.ZipInfo("schema.json", EPOCH), schema)
        for name in sorted(set(given.namelist()) - {"schema.json"}, key=lambda name: int(numbers[name[:-4]])):
            made.writestr(zipfile.ZipInfo(f"{numbers[name[:-4]]}.npy", EPOCH), without_gaps(given.read(name)))
    return out.getvalue()


def without_gaps(stored: bytes) -> bytes:
    """An array's file with zeros in the unused bytes of its records."""
    array = np.load(io.BytesIO(stored), allow_pickle=False)
    if array.dtype.names is None:
        return stored
    clean = np.zeros(array.shape, array.dtype)
    for name in array.dtype.names:
        clean[name] = array[name]
    out = io.BytesIO()
    np.save(out, clean, allow_pickle=False)
    return out.getvalue()
