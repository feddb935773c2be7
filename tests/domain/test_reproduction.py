"""The verdict on a model made anew follows from files, scores and what else is not as it was signed."""

import numpy as np
import pandas as pd
import pytest

from tasks.domain.reproduction import Gap, difference, gap, surroundings, verdict

SAME = Gap("2020-01-02", 2, 4, 0, 0.0)
OTHER = SAME._replace(largest=1e-12)
ONE_ONLY = SAME._replace(one_only=1)
ASIDE = difference("requirements.txt", b"numpy==2.4.5\npandas==3.1.1", b"numpy==2.4.6\npandas==3.1.1")
FITTED = difference("artifacts/parameters/parameters.json", b"1", b"2")


@pytest.mark.parametrize(
    ("faults", "differences", "gaps", "word"),
    [
        ([], [], [SAME], "identical"),
        ([], [], None, "identical"),
        ([], [ASIDE], [SAME], "same scores"),
        ([], [ASIDE], [SAME, OTHER], "different"),
        ([], [ASIDE], [ONE_ONLY], "different"),
        ([], [ASIDE], None, "different"),
        ([], [FITTED], [SAME], "different"),
        ([], [], [OTHER], "different"),
        (["choice: trial 1 was signed"], [], [SAME], "different"),
    ],
)
def test_the_word(faults: list[str], differences: list, gaps: list | None, word: str) -> None:
    assert verdict(faults, differences, gaps) == word


def test_a_file_that_no_score_depends_on_is_told_by_its_lines() -> None:
    assert not ASIDE.scores
    assert ASIDE.words == "signed was numpy==2.4.5; here it is numpy==2.4.6"


@pytest.mark.parametrize(
    ("line", "scores"), [("    python_version: 3.12.1", False), ("    loader_module: another", True)]
)
def test_of_the_file_that_leads_to_the_code_only_versions_and_sizes_may_differ(line: str, scores: bool) -> None:
    signed = "    python_version: 3.11.7" if "python" in line else "    loader_module: mlflow.pyfunc"
    assert difference("MLmodel", signed.encode(), line.encode()).scores is scores


def test_a_comment_in_the_code_of_features_takes_part_as_far_as_can_be_told() -> None:
    found = difference("artifacts/features/engine.py", b"x = 1", b"x = 1  # one")
    assert found.scores
    assert found.words == "the code of the features differs"


@pytest.mark.parametrize("name", ["scorer.py", "artifacts/own.py", "something/new"])
def test_what_is_missing_takes_part_unless_it_is_known_not_to(name: str) -> None:
    assert difference(name, b"x", None).scores
    assert not difference("conda.yaml", None, b"x").scores


def test_many_lines_are_counted() -> None:
    assert (
        difference("spec.json", b"a\nb\nc\nd\ne", b"").words == "signed was a, b, c, 2 more lines; here it is nothing"
    )


def test_surroundings_name_what_changed_came_and_went() -> None:
    then, here = {"numpy": "2.4.5", "torch": "2.13.0", "pandas": "3"}, {"numpy": "2.4.6", "pandas": "3", "GPU": "H100"}
    assert surroundings(then, here) == [
        "GPU: absent then, H100 here",
        "numpy: 2.4.5 then, 2.4.6 here",
        "torch: 2.13.0 then, absent here",
    ]


def test_the_gap_counts_scores_that_one_model_alone_gave() -> None:
    sessions = pd.bdate_range("2020-01-01", periods=3)
    one = pd.DataFrame({"A": [9.0, 1.0, 2.0], "B": [9.0, np.nan, 4.0]}, sessions)
    two = pd.DataFrame({"A": [0.0, 1.0, 2.5], "C": [0.0, np.nan, 1.0]}, sessions)
    assert gap(one, two, sessions[1]) == Gap("2020-01-02", 2, 2, 2, 0.5)
