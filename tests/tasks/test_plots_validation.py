"""Pictures of a validation are drawn of whatever there is, the same each time, and need no table to be full."""

import numpy as np
import pandas as pd
import pytest

from tasks import plots_validation, yardsticks

MARKS = pd.DataFrame(
    {"value": [0.03, np.nan], "lower": [0.01, np.nan], "upper": [0.05, np.nan], "without_skill": [0.0, 0.5]},
    index=["rank_ic", "auc"],
)
STATES = pd.DataFrame(
    [("year", "2020", 250, 0.02, 0.01), ("market", "rising", 125, -0.01, 0.02), ("sector", "$a$ ☃", 250, 0.1, np.nan)],
    columns=["kind", "state", "sessions", "rank_ic", "standard_error"],
)
HORIZONS = pd.DataFrame({"horizon": [1, 5], "rank_ic": [0.01, 0.02], "standard_error": [0.01, 0.02]})
LATE = pd.DataFrame({"sessions_late": [0, 1], "rank_ic": [0.02, 0.01], "standard_error": [0.01, 0.02]})


@pytest.mark.parametrize("rows", [0, 2, 3])
def test_pictures_of_full_and_of_empty_tables(rows: int) -> None:
    drawn = [
        plots_validation.yardsticks(MARKS.iloc[-2:]),
        plots_validation.by_state(STATES.iloc[:rows]),
        plots_validation.decay(HORIZONS.iloc[:rows], LATE.iloc[:rows], 5),
    ]
    assert all(picture.startswith(b"\x89PNG") for picture in drawn)
    assert drawn[1] == plots_validation.by_state(STATES.iloc[:rows])


def test_tables_become_json_in_which_the_unknown_is_null() -> None:
    assert yardsticks.records(STATES.iloc[2:]) == [
        {"kind": "sector", "state": "$a$ ☃", "sessions": 250, "rank_ic": 0.1, "standard_error": None}
    ]
