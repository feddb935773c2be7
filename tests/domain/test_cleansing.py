"""Each rule on a case a person can check, what must survive, and the accounting that must close."""

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tasks.domain.cleansing import engine
from tasks.domain.cleansing.engine import Cleansed
from tasks.domain.cleansing.rule import Calendar, Context

DAYS = np.arange("2020-01-06", "2020-06-30", dtype="datetime64[D]")
DAYS = DAYS[np.is_busday(DAYS)][:100].astype("datetime64[us]")
SESSIONS = Calendar(DAYS.astype("int64"))
NOW = int(np.datetime64("2021-01-01", "us").astype("int64"))
PRICES = ["open", "high", "low", "close"]


def series(name: str = "A", level: float = 100.0, seed: int = 0) -> pl.DataFrame:
    """A hundred quiet bars of one name: steps of about a percent, with ranges and volumes of their own."""
    rng = np.random.default_rng(seed)
    close = np.round(level * np.exp(np.cumsum(0.01 * rng.normal(size=100))), 2)
    opened = np.round(np.append(level, close[:-1]) * np.exp(0.002 * rng.normal(size=100)), 2)
    high = np.round(np.maximum(opened, close) * (1 + 0.004 * rng.random(100)), 2)
    low = np.round(np.minimum(opened, close) * (1 - 0.004 * rng.random(100)), 2)
    columns = {"open": opened, "high": high, "low": low, "close": close}
    volume = np.round(1e6 * np.exp(0.3 * rng.normal(size=100)))
    return pl.DataFrame({"timestamp": DAYS, "instrument": [name] * 100, **columns, "volume": volume})


def edited(bars: pl.DataFrame, rows: list[int], **factors: float) -> pl.DataFrame:
    """Bars with some columns multiplied on some rows."""
    here = pl.int_range(pl.len()).is_in(rows)
    return bars.with_columns(pl.when(here).then(pl.col(name) * by).otherwise(name) for name, by in factors.items())


def cleanse(bars: pl.DataFrame, calendar: Calendar | None = SESSIONS, **kwargs: frozenset[int]) -> Cleansed:
    filled = {"part": pl.lit(0), "batch": pl.lit(0)}
    missing = {name: value for name, value in filled.items() if name not in bars.columns}
    return engine.cleanse(bars.with_columns(**missing), Context(calendar, NOW), **kwargs)


def aside(result: Cleansed) -> list[tuple[int, str]]:
    return list(result.quarantine.select("row", "rule").rows())


def all_prices(by: float) -> dict[str, float]:
    return dict.fromkeys(PRICES, by)


def test_quiet_bars_stay_as_they_are() -> None:
    bars = pl.concat([series(), series("B", 20.0, seed=1)])
    result = cleanse(bars)
    assert result.quarantine.is_empty()
    assert result.corrections.is_empty()
    assert result.gaps.is_empty()
    assert_frame_equal(result.clean.with_columns(pl.col("instrument").cast(pl.String)), bars)


@pytest.mark.parametrize(
    ("factors", "rule"),
    [
        ({"close": np.nan}, "missing_field"),
        ({"volume": np.nan}, "missing_field"),
        ({"low": 0.0}, "impossible_price"),
        ({"open": -1.0}, "impossible_price"),
        ({"high": np.inf}, "impossible_price"),
        ({"volume": -1.0}, "impossible_volume"),
        ({"volume": 0.0}, "impossible_volume"),
        ({"open": 1.2}, "inconsistent_range"),
        ({"close": 0.6}, "inconsistent_range"),
        (all_prices(1.3), "reverting_spike"),
        (all_prices(0.7), "reverting_spike"),
        ({"high": 1.5}, "stray_extreme"),
        ({"low": 0.6}, "stray_extreme"),
    ],
)
def test_a_wrong_bar_is_set_aside_by_its_rule(factors: dict[str, float], rule: str) -> None:
    result = cleanse(edited(series(), [47], **factors))
    assert aside(result) == [(47, rule)]
    assert len(result.clean) == 99


@pytest.mark.parametrize("factor", [10.0, 100.0, 0.01])
@pytest.mark.parametrize("rows", [[47], list(range(40, 52))])
def test_a_wrong_scale_is_put_right_where_it_is_certain(factor: float, rows: list[int]) -> None:
    bars = series()
    result = cleanse(edited(bars, rows, **all_prices(factor)))
    assert result.quarantine.is_empty()
    assert result.clean["close"].to_list() == pytest.approx(bars["close"].to_list(), rel=1e-12)
    assert set(result.corrections["rule"]) == {"wrong_scale"}
    assert len(result.corrections) == 4 * len(rows)


def test_a_scale_error_that_lost_its_digits_is_set_aside() -> None:
    """45.37 divided by a hundred and rounded to cents is 0.45: the right value is gone."""
    rounded = edited(series(), [47], **all_prices(0.01)).with_columns(pl.col(PRICES).round(2))
    assert aside(cleanse(rounded)) == [(47, "wrong_scale")]


def test_conflicting_duplicates_are_both_set_aside_and_exact_ones_dropped_once() -> None:
    bars = series()
    other, same = edited(bars[5:6], [0], close=1.001, high=1.01), bars[9:10]
    result = cleanse(pl.concat([bars, other, same]))
    assert aside(result) == [(5, "conflicting_duplicate"), (100, "conflicting_duplicate")]
    assert result.exact_duplicates == 1
    assert len(result.clean) == 99


def test_a_later_collection_restates_an_earlier_one() -> None:
    bars = series()
    later = edited(bars[5:6], [0], close=1.001, high=1.01).with_columns(part=pl.lit(1), batch=pl.lit(1))
    result = cleanse(pl.concat([bars.with_columns(part=pl.lit(0), batch=pl.lit(0)), later]))
    assert aside(result) == [(5, "restated")]
    assert result.clean["close"][5] == later["close"][0]


@pytest.mark.parametrize("factor", [1.62, 1.45, 0.5, 0.3])
def test_a_true_large_move_survives(factor: float) -> None:
    """It stays, and everybody trades: four and more times the usual volume."""
    bars = edited(edited(series(), list(range(50, 100)), **all_prices(factor)), [50, 51], volume=8.0)
    assert cleanse(bars).quarantine.is_empty()


def test_a_crash_that_recovers_within_its_bars_survives() -> None:
    """JPM fell 21 % on 2009-01-20 and rose 25 % the next session: both were real, and the prices between traded."""
    bars = edited(series(), [50], close=0.79, low=0.78)
    bars = edited(bars, [51], open=0.79, low=0.78)
    assert cleanse(bars).quarantine.is_empty()


def test_close_only_spikes_must_be_larger() -> None:
    bars = series()[["timestamp", "instrument", "close"]]
    assert aside(cleanse(edited(bars, [50], close=1.6))) == [(50, "reverting_spike")]
    assert cleanse(edited(bars, [50], close=0.79)).quarantine.is_empty()


@pytest.mark.parametrize("ratio", [2.0, 3.0, 0.1])
def test_bars_before_an_unadjusted_split_are_set_aside(ratio: float) -> None:
    bars = edited(series(), list(range(50)), **all_prices(ratio), volume=1 / ratio)
    result = cleanse(bars)
    assert aside(result) == [(row, "unadjusted_split") for row in range(50)]


def test_stale_bars_are_set_aside() -> None:
    bars = series()
    stale = pl.concat([bars[:50], *[bars[49:50]] * 3, bars[53:]]).with_columns(bars["timestamp"])
    assert aside(cleanse(stale)) == [(row, "stale_run") for row in (50, 51, 52)]


def test_flat_bars_without_volume_are_no_stale_run() -> None:
    bars = series()
    flat = bars[49:50].with_columns(pl.col("close").alias(name) for name in PRICES).with_columns(volume=pl.lit(0.0))
    quiet = pl.concat([bars[:50], *[flat] * 3, bars[53:]]).with_columns(bars["timestamp"])
    assert cleanse(quiet).quarantine.is_empty()


def test_swapped_high_and_low_are_put_right_and_recorded() -> None:
    bars = series()
    swapped = pl.concat([bars[:4], bars[4:5].rename({"high": "low", "low": "high"}).select(bars.columns), bars[5:]])
    result = cleanse(swapped)
    assert_frame_equal(result.clean.drop("instrument"), bars.drop("instrument"))
    high, low = str(bars["high"][4]), str(bars["low"][4])
    lines = result.corrections.select("row", "column", "before", "after", "rule", "version").rows()
    assert lines == [(4, "high", low, high, "swapped_high_low", 1), (4, "low", high, low, "swapped_high_low", 1)]


def test_open_and_close_swapped_in_a_whole_file_are_put_right() -> None:
    bars = series()
    swapped = bars.rename({"open": "close", "close": "open"}).select(bars.columns)
    result = cleanse(swapped)
    assert_frame_equal(result.clean.drop("instrument"), bars.drop("instrument"))
    assert set(result.corrections["rule"]) == {"swapped_open_close"}


def test_spelling_is_made_one_and_recorded() -> None:
    bars = series()
    odd = bars.with_columns(instrument=pl.when(pl.int_range(pl.len()) == 3).then(pl.lit(" a")).otherwise("instrument"))
    result = cleanse(odd)
    assert result.clean["instrument"].unique().to_list() == ["A"]
    assert result.corrections.select("row", "before", "after", "rule").rows() == [(3, " a", "A", "instrument_spelling")]


def test_names_whose_bars_contradict_each_other_are_two_instruments() -> None:
    result = cleanse(pl.concat([series("BCP"), series("BCp", 25.0, seed=3)]))
    assert result.clean["instrument"].n_unique() == 2
    assert result.quarantine.is_empty()


def test_one_series_under_several_names_is_set_aside_in_all() -> None:
    bars = pl.concat([series("A"), series("B"), series("C", 30.0, seed=4)])
    result = cleanse(bars)
    assert result.clean["instrument"].unique().to_list() == ["C"]
    assert set(result.quarantine["rule"]) == {"several_names"}


def test_a_stretch_of_another_names_bars_is_set_aside_where_it_does_not_belong() -> None:
    one, other = series("A"), series("B", 20.0, seed=5)
    mixed = pl.concat([other[:40], one[40:70].with_columns(instrument=pl.lit("B")), other[70:]])
    result = cleanse(pl.concat([one, mixed]))
    assert aside(result) == [(row, "several_names") for row in range(140, 170)]


def test_time_rules() -> None:
    bars = series()
    odd = bars.with_columns(
        timestamp=pl.when(pl.int_range(pl.len()) == 10)
        .then(pl.col("timestamp").dt.offset_by("-5h"))
        .when(pl.int_range(pl.len()) == 20)
        .then(pl.col("timestamp").dt.offset_by("50y"))
        .otherwise("timestamp")
    )
    weekend = bars[24:25].with_columns(pl.lit(np.datetime64("2020-02-08")).cast(pl.Datetime("us")).alias("timestamp"))
    result = cleanse(pl.concat([odd, weekend]))
    assert aside(result) == [(20, "future_timestamp"), (100, "not_a_session")]
    moved = result.corrections.filter(pl.col("rule") == "shifted_time").select("row", "before", "after").rows()
    assert [row for row, _, _ in moved] == [10]
    assert result.clean["timestamp"].to_list() == [day for at, day in enumerate(bars["timestamp"]) if at != 20]
    assert result.gaps.rows() == [("A", bars["timestamp"][20])]


def test_a_day_of_hours_shifted_as_a_whole_is_put_back() -> None:
    hours = (DAYS[:20, None] + np.arange(9, 16) * np.timedelta64(1, "h")).ravel()
    bars = pl.concat([series(), series(seed=9)])[: len(hours)].with_columns(timestamp=pl.Series(hours))
    shifted = bars.with_columns(
        timestamp=pl.when(pl.col("timestamp").dt.date() == pl.lit(DAYS[4].astype(object)).cast(pl.Date))
        .then(pl.col("timestamp").dt.offset_by("5h"))
        .otherwise("timestamp")
    )
    result = cleanse(shifted)
    assert result.clean["timestamp"].to_list() == bars["timestamp"].to_list()
    assert len(result.corrections) == 7


def test_rows_out_of_order_are_put_in_order_and_named() -> None:
    bars = series()
    late = pl.concat([bars[:30], bars[31:40], bars[30:31], bars[40:]])
    result = cleanse(late)
    assert result.clean["timestamp"].is_sorted()
    assert result.corrections.select("row", "rule").rows() == [(39, "out_of_order")]
    assert cleanse(bars.reverse()).corrections.is_empty(), "from new to old is an order"


def test_a_name_silent_for_half_a_year_starts_anew() -> None:
    old = series().with_columns(pl.col("timestamp").dt.offset_by("-2y"))
    result = cleanse(pl.concat([old, series()]), calendar=None)
    assert aside(result) == [(row, "ticker_reuse") for row in range(100)]


def test_numbers_in_other_conventions_are_read_where_that_is_certain() -> None:
    bars = series()
    comma = {name: str(bars[name][7]).replace(".", ",") for name in PRICES}
    notes = {7: comma, 8: {"volume": f"{bars['volume'][8]:,.0f}"}, 9: {"close": "n/a?"}, 99: {"cut": "1"}}
    marked = bars.with_columns(
        pl.when(~pl.int_range(pl.len()).is_in([at for at, note in notes.items() if name in note])).then(name)
        for name in [*PRICES, "volume"]
    ).with_columns(notes=pl.Series([json.dumps(notes[at]) if at in notes else None for at in range(100)]))
    result = cleanse(marked)
    assert aside(result) == [(9, "unreadable_number")]
    assert result.quarantine["reason"].to_list() == ["close: 'n/a?' is no number"]
    assert_frame_equal(result.clean.drop("instrument"), bars.filter(pl.int_range(pl.len()) != 9).drop("instrument"))
    assert set(result.corrections["before"]) == {*comma.values(), notes[8]["volume"]}


def test_a_last_row_that_was_cut_is_set_aside() -> None:
    cut = edited(series(), [99], volume=0.001)
    notes = pl.Series([None] * 99 + [json.dumps({"cut": "1"})])
    assert aside(cleanse(cut.with_columns(notes=notes))) == [(99, "truncated_row")]


def test_released_rows_pass_every_rule() -> None:
    bad = edited(series(), [47, 60], **all_prices(1.3))
    assert aside(cleanse(bad, released=frozenset({47}))) == [(60, "reverting_spike")]


def test_every_rule_says_why() -> None:
    for rule in engine.RULES:
        assert len(rule.reasoning) > 50, rule.id
    assert len({rule.id for rule in engine.RULES}) == len(engine.RULES)


values = st.one_of(st.floats(1, 1000), st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -1.0, 1e300, None]))
stamps = st.one_of(st.none(), st.integers(0, 5).map(lambda day: DAYS[day].astype(object)))
instruments = st.sampled_from(["A", "a ", "B", "", None])


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(stamps, instruments, values, values, values, values), min_size=1))
def test_accounting_closes_on_any_delivery(rows: list[tuple[object, ...]]) -> None:
    columns = {"timestamp": pl.Datetime("us"), "instrument": pl.String} | dict.fromkeys(PRICES, pl.Float64)
    raw = pl.DataFrame(rows, schema=columns, orient="row")
    result = cleanse(raw)
    assert len(result.clean) + len(result.quarantine) + result.exact_duplicates == len(raw)
    assert not result.clean.select("instrument", "timestamp").is_duplicated().any()
    assert result.clean.select(pl.col(PRICES).is_finite().all()).row(0) in ((True,) * 4, ())
    delivered = raw.with_columns(pl.col(PRICES).fill_nan(None))[result.quarantine["row"].to_list()]
    assert_frame_equal(result.quarantine.select(raw.columns), delivered)
