"""Each rule on a case a person can check, what must survive, and the accounting that must close."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.domain.cleansing import cleanse

DAYS = pd.date_range("2020-01-01", periods=60)


def series(name: str = "A", **changed: dict[int, object]) -> pd.DataFrame:
    """Sixty quiet bars of one name; `changed` replaces fields at positions."""
    close = 100 + np.tile([0.0, 0.5, 1.0, 0.5], 15)
    bars = pd.DataFrame({"timestamp": DAYS, "instrument": name, "open": close, "high": close + 1, "low": close - 1})
    bars = bars.assign(close=close, volume=1000.0).astype({"instrument": "object"})
    for column, values in changed.items():
        for position, value in values.items():
            bars.loc[position, column] = value
    return bars


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"close": {7: np.nan}}, "missing_field"),
        ({"open": {7: np.nan}}, "missing_field"),
        ({"instrument": {7: " "}}, "missing_field"),
        ({"low": {7: 0.0}}, "impossible_price"),
        ({"open": {7: -3.0}}, "impossible_price"),
        ({"high": {7: np.inf}}, "impossible_price"),
        ({"volume": {7: -1.0}}, "impossible_volume"),
        ({"open": {7: 120.0}}, "inconsistent_range"),
        ({"close": {7: 60.0}}, "inconsistent_range"),
        ({"open": {7: 50.0}, "high": {7: 51.0}, "low": {7: 49.0}, "close": {7: 50.0}}, "reverting_spike"),
        ({"open": {7: 1e3}, "high": {7: 1e3}, "low": {7: 1e3}, "close": {7: 1e3}}, "reverting_spike"),
    ],
)
def test_a_wrong_bar_is_set_aside_by_its_rule(changed: dict[str, dict[int, object]], rule: str) -> None:
    result = cleanse(series(**changed))
    assert result.quarantine[["row", "rule"]].to_numpy().tolist() == [[7, rule]]
    assert len(result.clean) == 59


def test_conflicting_duplicates_are_both_set_aside_and_exact_ones_dropped_once() -> None:
    bars = series()
    other = bars.iloc[[5]].assign(close=100.2)
    same = bars.iloc[[9]]
    result = cleanse(pd.concat([bars, other, same], ignore_index=True))
    assert result.quarantine["rule"].tolist() == ["conflicting_duplicate"] * 2
    assert result.exact_duplicates == 1
    assert len(result.clean) == 59


def test_a_true_large_move_survives() -> None:
    bars = series()
    up = bars["timestamp"] >= DAYS[30]
    bars.loc[up, ["open", "high", "low", "close"]] *= 1.62
    assert cleanse(bars).quarantine.empty


def test_a_crash_that_half_recovers_survives() -> None:
    """JPM fell 21 % on 2009-01-20 and rose 25 % the next session: both were real."""
    bars = series()
    bars.loc[30, ["open", "high", "low", "close"]] *= 0.79
    assert cleanse(bars).quarantine.empty


def test_swapped_high_and_low_are_put_right_and_recorded() -> None:
    bars = series()
    bars.loc[4, ["high", "low"]] = bars.loc[4, ["low", "high"]].to_numpy()
    result = cleanse(bars)
    assert result.quarantine.empty
    assert result.clean.loc[4, "high"] > result.clean.loc[4, "low"]
    ledger = result.corrections[["row", "column", "before", "after", "rule", "version"]].to_numpy().tolist()
    assert ledger == [
        [4, "high", "99.0", "101.0", "swapped_high_low", 1],
        [4, "low", "101.0", "99.0", "swapped_high_low", 1],
    ]


def test_spelling_is_made_one_and_recorded() -> None:
    result = cleanse(series(instrument={3: " a"}))
    assert set(result.clean["instrument"]) == {"A"}
    assert result.corrections[["row", "before", "after", "rule"]].to_numpy().tolist() == [
        [3, " a", "A", "instrument_spelling"]
    ]


def test_close_only_bars_are_legal() -> None:
    assert cleanse(series()[["timestamp", "instrument", "close"]]).quarantine.empty


values = st.one_of(st.floats(1, 1000), st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -1.0, 1e300]))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from(["A", "a ", "B"]), values, values, values, values), min_size=1
    )
)
def test_accounting_closes_on_any_delivery(rows: list[tuple[int, str, float, float, float, float]]) -> None:
    raw = pd.DataFrame(rows, columns=["timestamp", "instrument", "open", "high", "low", "close"])
    raw["timestamp"] = DAYS.to_numpy()[raw["timestamp"]]
    result = cleanse(raw)
    assert len(result.clean) + len(result.quarantine) + result.exact_duplicates == len(raw)
    assert not result.clean.duplicated(["instrument", "timestamp"]).any()
    untouched = raw.loc[result.quarantine["row"]].reset_index(drop=True)
    pd.testing.assert_frame_equal(result.quarantine[list(raw.columns)], untouched)
