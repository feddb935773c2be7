"""Suites over tables: exact whatever the slices, loud about what is unknown, pages that are safe to open."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tasks import checks, suites
from tasks.domain.errors import DataRefused, UsageError
from tasks.slices import SLICE, evaluate

START = datetime(2020, 1, 1)


def bars(names: int = 6, sessions: int = 80) -> pl.DataFrame:
    """Faultless bars in key order."""
    rng = np.random.default_rng(3)
    close = np.exp(rng.normal(size=names * sessions) * 0.02) * 50
    return pl.DataFrame(
        {
            "timestamp": [START + timedelta(days=day) for _ in range(names) for day in range(sessions)],
            "instrument": [f"N{name:02d}" for name in range(names) for _ in range(sessions)],
            "open": close,
            "high": close * 1.01,
            "low": close * 0.99,
            "close": close,
            "volume": np.full(len(close), 1e6),
        }
    )


def spoiled() -> pl.DataFrame:
    """Bars with every kind of fault that the suite for raw bars knows, in key order."""
    row = pl.int_range(pl.len())
    return (
        bars()
        .with_columns(
            close=pl.when(row % 9 == 0).then(None).when(row % 50 == 1).then(-1.0).otherwise("close"),
            open=pl.when(row % 70 == 3).then(float("inf")).when(row == 11).then(float("nan")).otherwise("open"),
            high=pl.when(row % 31 == 0).then(pl.col("low") - 1).otherwise("high"),
            timestamp=pl.when(row % 77 == 5).then(pl.col("timestamp").shift()).otherwise("timestamp"),
            instrument=pl.when(row >= 400).then(pl.lit("\tbad name")).otherwise("instrument"),
        )
        .sort("instrument", "timestamp")
    )


def whole(table: pl.DataFrame, suite: str) -> Any:
    """What Great Expectations says when it gets the whole table at once, in its ordinary way."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    loaded = suites.load(suite, table.columns)
    chosen = context.suites.add(gx.ExpectationSuite(name=suite, expectations=loaded.expectations))
    asset = context.data_sources.add_pandas("memory").add_dataframe_asset("table")
    frame = table.to_pandas().astype({"timestamp": "datetime64[ns]"})
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
    return batch.validate(chosen, result_format="SUMMARY")


def figures(result: Any) -> list[tuple[Any, ...]]:
    """What must agree: verdicts and counts of each expectation."""
    keys = ("element_count", "missing_count", "unexpected_count", "unexpected_percent", "observed_value")
    return sorted(
        (
            one.success,
            one.expectation_config.type,
            str(one.expectation_config.kwargs),
            *(one.result.get(key) for key in keys),
        )
        for one in result.results
    )


@pytest.mark.parametrize("suite", [checks.RAW, checks.CLEAN])
@pytest.mark.parametrize("order", ["by key", "by chance"])
@pytest.mark.parametrize("size", [SLICE, 40])
def test_slices_say_what_great_expectations_says_of_the_whole(suite: str, order: str, size: int) -> None:
    table = spoiled() if order == "by key" else spoiled().sample(fraction=1, shuffle=True, seed=1)
    sliced, reference = evaluate(table, suites.load(suite, table.columns), size), whole(table, suite)
    for one in reference.results:
        one.expectation_config.kwargs.pop("batch_id", None)
    assert figures(sliced) == figures(reference)
    assert sliced.statistics == reference.statistics
    assert not sliced.success


def test_mostly_is_the_share_of_the_whole_table() -> None:
    """One slice with nothing but faults does not fail a table in which they are few."""
    table = bars(100, 10).with_columns(close=pl.when(pl.col("instrument") == "N03").then(None).otherwise("close"))
    result = evaluate(table, suites.load(checks.RAW, table.columns), size=100)
    missing = [one for one in result.results if one.expectation_config.kwargs.get("mostly") == 0.95]
    assert [(one.success, one.result["unexpected_count"]) for one in missing] == [(True, 10)]


def test_examples_name_the_rows_of_the_table() -> None:
    table = bars().with_columns(low=pl.when(pl.int_range(pl.len()) == 321).then(-5.0).otherwise("low"))
    result = evaluate(table, suites.load(checks.RAW, table.columns), size=50)
    (failed,) = [one for one in result.results if not one.success]
    assert failed.result["partial_unexpected_list"] == [-5.0]
    assert failed.result["partial_unexpected_index_list"] == [321]


def test_times_beyond_nanoseconds_are_counted_too() -> None:
    table = bars().with_columns(
        timestamp=pl.when(pl.int_range(pl.len()) == 479).then(datetime(9999, 1, 1)).otherwise("timestamp")
    )
    result = evaluate(table, suites.load(checks.CLEAN, table.columns), size=100)
    assert [checks.words(one) for one in result.results if not one.success] == [
        "timestamp: column values to be between failed (1 of 480)"
    ]


def test_close_only_bars_pass() -> None:
    table = bars().select("timestamp", "instrument", "close")
    for suite in (checks.RAW, checks.CLEAN):
        assert evaluate(table, suites.load(suite, table.columns)).success


def test_an_absent_column_or_one_of_another_type_fails_in_words(tmp_path: Path) -> None:
    with pytest.raises(DataRefused, match=r"close: column to exist.*column close is missing; the table has"):
        checks.check.fn(bars().drop("close"), checks.RAW, tmp_path)
    with pytest.raises(DataRefused, match=r"volume: column values to be between failed \("):
        checks.check.fn(bars().with_columns(volume=pl.lit("many")), checks.CLEAN, tmp_path)
    with pytest.raises(DataRefused, match=r"column volume is of type List"):
        checks.check.fn(bars().with_columns(volume=pl.concat_list("open")), checks.CLEAN, tmp_path)


def test_an_empty_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataRefused, match=r"table: table row count to be between failed \(0\)"):
        checks.check.fn(bars().clear(), checks.RAW, tmp_path)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ('{"name": "x", "expectations": [{"type": "expect_the_unexpected", "kwargs": {}}]}', "expect_the_unexpected"),
        ('{"name": "x", "expectations": [{"type": "expect_column_to_exist", "kwargs": {"colum": "a"}}]}', "colum"),
        ('{"name": "x", "expectations": [{"kwargs": {}}]}', "without a type"),
        ('{"name": "x", "expectations": []}', "no expectation applies"),
        ('{"expectations": 3}', "is not a suite"),
        ("not json", "is not a suite"),
    ],
)
def test_what_is_not_understood_is_refused(
    written: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "odd.json").write_text(written)
    monkeypatch.setattr(suites, "FOLDER", tmp_path)
    with pytest.raises(UsageError, match=words):
        suites.load("odd", ["a"])


def test_evidence_is_whole_and_the_page_opens_offline_and_runs_nothing(tmp_path: Path) -> None:
    hostile = " <script>alert(1)</script><img src=x onerror=alert(2)>"
    row = pl.int_range(pl.len())
    table = bars().with_columns(instrument=pl.when(row % 3 == 0).then(pl.lit(hostile)).otherwise("instrument"))
    checked = checks.check.fn(table.sort("instrument", "timestamp"), checks.RAW, tmp_path)
    assert checked.critical == []
    assert any("instrument" in warning for warning in checked.warnings)
    page = (tmp_path / "bars_raw.html").read_text()
    assert "<script" not in page
    assert "<img" not in page
    assert "http" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "why it is expected" in page
    written = json.loads((tmp_path / "bars_raw.json").read_text())
    assert written["statistics"]["evaluated_expectations"] == checked.expectations


def test_digests_cover_every_suite() -> None:
    every = (checks.RAW, checks.CLEAN, checks.ORDERS, checks.SERIES, checks.FEATURES, checks.SCORES)
    digests = checks.suite_digests(every)
    assert {Path(name).stem for name in digests} == {path.stem for path in suites.FOLDER.glob("*.json")}
    assert set(checks.suite_digests()) == {"suites/bars_raw.json", "suites/bars_clean.json"}


def test_every_expectation_says_why_and_how_severe() -> None:
    for path in suites.FOLDER.glob("*.json"):
        for expectation in json.loads(path.read_text())["expectations"]:
            assert expectation["meta"]["why"].endswith("."), path
            assert expectation["severity"] in ("critical", "warning"), path


def failed(table: pl.DataFrame, suite: str, severity: str = "critical") -> list[str]:
    result = evaluate(table, suites.load(suite, table.columns), size=100)
    return [checks.words(one) for one in result.results if not one.success and checks.severity(one) == severity]


def orders() -> pl.DataFrame:
    """An order filled in two parts, and another that is cancelled."""
    return pl.DataFrame(
        {
            "time": [START + timedelta(minutes=minute) for minute in range(5)],
            "kind": ["order", "fill", "fill", "order", "cancel"],
            "order_id": ["1", "1", "1", "2", "2"],
            "execution_id": [None, "a", "b", None, None],
            "instrument": ["ABC"] * 5,
            "side": ["buy", "buy", "buy", "sell", None],
            "quantity": [10.0, 4.0, 6.0, 5.0, None],
            "price": [None, 20.0, 20.1, 19.0, None],
            "cumulative_quantity": [0.0, 4.0, 10.0, 0.0, 0.0],
            "venue": [None, "X", "X", None, None],
            "account": ["main"] * 5,
        }
    )


@pytest.mark.parametrize(
    ("row", "column", "value", "words"),
    [
        (1, "execution_id", None, "execution_id"),
        (2, "execution_id", "a", "order_id and execution_id"),
        (0, "kind", "amend", "kind"),
        (1, "side", "BUY", "side"),
        (2, "price", 0.0, "price"),
        (2, "price", None, "price"),
        (3, "quantity", -5.0, "quantity"),
        (2, "cumulative_quantity", 4.0, "cumulative_quantity and quantity"),
        (0, "instrument", " ABC", "instrument"),
        (0, "time", None, "time"),
    ],
)
def test_a_wrong_order_is_found(row: int, column: str, value: object, words: str) -> None:
    table = orders()
    assert failed(table, checks.ORDERS) == []
    changed = table.with_columns(pl.Series(column, [*table[column][:row], value, *table[column][row + 1 :]]))
    (found,) = failed(changed, checks.ORDERS)
    assert found.startswith(f"{words}: ")


def test_a_series_known_before_it_happened_is_found() -> None:
    day = pl.Series("date", [START + timedelta(days=n) for n in range(30)]).cast(pl.Date)
    table = pl.DataFrame({"series": "CPI", "date": day, "value": np.arange(30.0)}).with_columns(
        known_at=pl.col("date").cast(pl.Datetime("us")) + pl.duration(days=14)
    )
    assert failed(table, checks.SERIES) == []
    early = table.with_columns(known_at=pl.col("date").cast(pl.Datetime("us")) - pl.duration(days=1))
    assert failed(early, checks.SERIES) == [
        "known_at and date: column pair values a to be greater than b failed (30 of 30)"
    ]
    assert len(failed(pl.concat([table, table[:1]]), checks.SERIES)) == 1
    assert len(failed(table.with_columns(value=pl.lit(float("inf"))), checks.SERIES)) == 1


def features() -> pl.DataFrame:
    rng = np.random.default_rng(1)
    return bars().select("timestamp", "instrument", momentum=rng.normal(size=480), size=rng.normal(size=480))


def test_each_feature_column_is_asked() -> None:
    table = features()
    assert failed(table, checks.FEATURES) == []
    row = pl.int_range(pl.len())
    assert failed(table.with_columns(size=pl.lit(1.0)), checks.FEATURES) == [
        "size: column unique value count to be between failed (1)"
    ]
    assert failed(
        table.with_columns(size=pl.when(row == 7).then(float("-inf")).otherwise("size")), checks.FEATURES
    ) == ["size: column values to be between failed (1 of 480)"]
    holes = table.with_columns(momentum=pl.when(row % 4 > 0).then(None).otherwise("momentum"))
    assert failed(holes, checks.FEATURES) == ["momentum: column values to not be null failed (360 of 480)"]
    tenth = table.with_columns(momentum=pl.when(row % 5 == 0).then(None).otherwise("momentum"))
    assert len(failed(tenth, checks.FEATURES, "warning")) == 1


def test_scores_are_judged_session_by_session() -> None:
    table = features().select("timestamp", "instrument", score="momentum")
    assert failed(table, checks.SCORES) == []
    first = pl.col("timestamp") == START
    assert failed(table.with_columns(score=pl.when(first).then(0.5).otherwise("score")), checks.SCORES) == [
        "distinct score per timestamp: column values to be between failed (1 of 80)"
    ]
    lonely = table.filter(~first | (pl.col("instrument") == "N00"))
    assert [words.split(":")[0] for words in failed(lonely, checks.SCORES)] == [
        "distinct instrument per timestamp",
        "distinct score per timestamp",
    ]
    few = table.filter(~first | (pl.col("instrument") < "N03"))
    assert len(failed(few, checks.SCORES, "warning")) == 1
    assert failed(pl.concat([table, table[:2]]), checks.SCORES) == [
        "timestamp and instrument: compound columns to be unique failed (4 of 482)"
    ]
    assert len(failed(table.with_columns(score=pl.lit(float("nan"))), checks.SCORES)) >= 1
