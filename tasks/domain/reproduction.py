"""What came of making a model anew: what differs, whether it takes part in scoring, and the word for it all."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

IDENTICAL: Final = "identical"
SAME_SCORES: Final = "same scores"
DIFFERENT: Final = "different"
# Files of an artifact that no score depends on: what to install, and what bars look like.
ASIDE = (
    "conda.yaml",
    "input_example.json",
    "python_env.yaml",
    "requirements.txt",
    "serving_input_example.json",
)
# By this file MLflow finds the code; of its lines, these only tell with what it was written, and how much.
DIRECTIONS = "MLmodel"
TOLD = ("cloudpickle_version:", "mlflow_version:", "model_size_bytes:", "python_version:")
PARTS = {
    "artifacts/parameters/": "what was fitted",
    "artifacts/features/": "the code of the features",
    "artifacts/inference/": "the code of the forecast",
    "artifacts/own.py": "the problem's own features",
    "scorer.py": "the code that scores",
}
SHOWN = 3  # lines of a file


class Difference(NamedTuple):
    """A file whose bytes are others than those signed; `scores`: whether it takes part in scoring."""

    file: str
    scores: bool
    words: str


class Gap(NamedTuple):
    """Two models' scores of the same bars. `since`: the first session asked about; `scores`: how many both gave;
    `one_only`: how many only one of them gave; `largest`: absolute difference of those that both gave."""

    since: str
    sessions: int
    scores: int
    one_only: int
    largest: float

    @property
    def is_none(self) -> bool:
        return self.one_only == 0 and self.largest == 0


def difference(file: str, signed: bytes | None, rebuilt: bytes | None) -> Difference:
    """What differs in a file of the artifact, by its name in there.

    Args:
        signed: its content as signed; None where there is none, or none that is what was signed.
    """
    if signed is None or rebuilt is None:
        return Difference(file, file not in ASIDE, "not made anew" if rebuilt is None else "its signed content is gone")
    part = next((words for start, words in PARTS.items() if file.startswith(start)), None)
    one, two = lines_apart(signed, rebuilt)
    if part is not None:
        return Difference(file, True, f"{part} differs")
    scores = file not in ASIDE
    if file == DIRECTIONS:
        scores = any(not line.strip().startswith(TOLD) for line in (*one, *two))
    return Difference(file, scores, f"signed was {shown(one)}; here it is {shown(two)}")


def lines_apart(one: bytes, two: bytes) -> tuple[list[str], list[str]]:
    """The lines that only one of two texts has."""
    first, second = (content.decode(errors="replace").splitlines() for content in (one, two))
    return [line for line in first if line not in second], [line for line in second if line not in first]


def shown(lines: Sequence[str]) -> str:
    more = [f"{len(lines) - SHOWN} more lines"] if len(lines) > SHOWN else []
    return ", ".join([*(line.strip()[:80] for line in lines[:SHOWN]), *more]) or "nothing"


def surroundings(then: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """What a model was made on and is made on now, in words, where these differ."""
    return [
        f"{name}: {then.get(name, 'absent')} then, {here.get(name, 'absent')} here"
        for name in sorted(then.keys() | here.keys(), key=str.lower)
        if then.get(name) != here.get(name)
    ]


def gap(registered: pd.DataFrame, rebuilt: pd.DataFrame, since: pd.Timestamp) -> Gap:
    """The scores of two models, sessions × instruments, on the sessions from `since` on."""
    a, b = registered[registered.index >= since].align(rebuilt[rebuilt.index >= since])
    one, two = a.to_numpy(dtype=float), b.to_numpy(dtype=float)
    both = ~np.isnan(one) & ~np.isnan(two)
    largest = float(np.abs(one - two)[both].max()) if both.any() else 0.0
    return Gap(str(since.date()), len(a), int(both.sum()), int((np.isnan(one) != np.isnan(two)).sum()), largest)


def verdict(faults: Sequence[str], differences: Iterable[Difference], gaps: Iterable[Gap] | None) -> str:
    """The word for it.

    Args:
        faults: what else is not as it was signed. gaps: None where scores could not be compared.
    """
    found = list(differences)
    if faults or any(each.scores for each in found) or not all(each.is_none for each in gaps or ()):
        return DIFFERENT
    if found:
        return DIFFERENT if gaps is None else SAME_SCORES
    return IDENTICAL
