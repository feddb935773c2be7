"""The data profile: it shows what is there, runs nothing that came with the data, and copes with little data."""

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tasks.domain.drift import drift, profile
from tasks.profile import Collected, coverage, over_time, page, pictures, stretches, within, write_profile

START = datetime(2020, 1, 1)
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"


def bars(names: int = 5, sessions: int = 100) -> pl.DataFrame:
    rng = np.random.default_rng(2)
    close = 50 * np.exp(np.cumsum(0.01 * rng.normal(size=(names, sessions)), axis=1))
    return pl.DataFrame(
        {
            "timestamp": pl.Series([START + timedelta(days=day) for day in range(sessions)] * names).cast(
                pl.Datetime("us")
            ),
            "instrument": np.repeat([f"N{name:02d}" for name in range(names)], sessions),
            "close": close.ravel(),
        }
    )


def aside(rows: pl.DataFrame, rule: str, reason: str = "it is wrong") -> pl.DataFrame:
    described = rows.with_row_index("row").with_columns(part=pl.lit("a.csv"), rule=pl.lit(rule), version=1)
    return described.with_columns(reason=pl.lit(reason))


def ledger(rows: pl.DataFrame, rule: str) -> pl.DataFrame:
    return rows.with_row_index("row").select(
        "row",
        "instrument",
        "timestamp",
        part=pl.lit("a.csv"),
        column=pl.lit("close"),
        before=pl.col("close").cast(pl.String),
        after=pl.lit("1.0"),
        rule=pl.lit(rule),
        version=1,
    )


def collected(**changes: Any) -> Collected:
    whole = bars()
    missing = pl.int_range(pl.len()).is_in([7, 8, 9, 250])
    clean = whole.filter(~missing)
    given: dict[str, Any] = {
        "title": "Profile of a test",
        "clean": clean,
        "quarantine": aside(whole[:8], "missing_field"),
        "corrections": ledger(whole[20:23], "decimal_comma"),
        "gaps": whole.filter(missing).select("instrument", "timestamp"),
        "current": profile(clean),
        "accounting": {"collected": 505, "clean": 496, "quarantined": 8, "exact_duplicates": 1, "corrections": 3},
    }
    return Collected(**(given | changes))


def test_page_and_pictures_are_written_and_nothing_is_loaded_from_elsewhere(tmp_path: Path) -> None:
    files = write_profile.fn(collected(), tmp_path)
    names = {"profile.html", "coverage.png", "missing_sessions.png", "corrections.png", "returns.png", "rows.png"}
    assert {file.name for file in files} == names
    text = (tmp_path / "profile.html").read_text()
    assert text.count("data:image/png;base64,") == 5
    assert re.findall(r'(?:src|href)="(?!data:)', text) == []
    assert "the account closes" in text
    assert "missing_field v1" in text
    assert "it is wrong" in text
    assert "There is none to compare with" in text


def test_an_account_that_does_not_close_is_said_loudly() -> None:
    told = collected(accounting={"collected": 510, "clean": 496, "quarantined": 8, "exact_duplicates": 1})
    assert "does not close: +5 rows" in page(told, {})


def test_what_came_with_the_data_is_shown_and_not_run() -> None:
    rows = bars()[:3].with_columns(instrument=pl.lit(HOSTILE))
    told = collected(
        title=HOSTILE,
        quarantine=aside(rows, HOSTILE, HOSTILE).rename({"close": HOSTILE}),
        corrections=ledger(rows, HOSTILE).with_columns(before=pl.lit(HOSTILE)),
        gaps=rows.select("instrument", "timestamp"),
        reasons={HOSTILE: HOSTILE},
    )
    text = page(told, pictures(told))
    assert "<script" not in text
    assert "onerror=alert(2)&gt;" in text
    assert re.findall(r"<img (?!alt=\"\w+\.png\" src=\"data:)", text) == []


def test_names_that_a_font_or_a_formula_can_not_hold_are_drawn() -> None:
    odd = bars(3, 60).with_columns(
        pl.col("instrument").replace({"N00": "$\\frac$ {x", "N01": "株式 😀", "N02": "a\tb" * 40})
    )
    clean = odd.sort("instrument", "timestamp")
    gaps = clean[::7].select("instrument", "timestamp")
    told = collected(
        clean=clean,
        current=profile(clean),
        quarantine=aside(clean[:9], "$^$"),
        corrections=ledger(clean[:9], "$"),
        gaps=gaps,
    )
    assert len(pictures(told)) == 5


def test_five_examples_of_each_rule_and_its_declared_reason() -> None:
    told = collected(reasons={"missing_field": "A bar without a field."})
    text = page(told, {})
    assert "A bar without a field." in text
    section = text.split("<h3>missing_field: 8</h3>")[1].split("</table>")[0]
    assert section.count("<tr>") == 1 + 5


def test_drift_is_told_in_words() -> None:
    told = collected()
    before = profile(told.clean.filter(pl.col("timestamp") < START + timedelta(days=90)))
    findings = drift(before, told.current, restated=0.9)
    text = page(collected(previous=before, findings=findings), pictures(collected(previous=before)))
    assert "CRITICAL" in text
    assert "90 % of the rows held before have other values now" in text


def test_coverage_counts_what_is_there_of_what_is_due() -> None:
    """A starts late (nothing is due before) and misses one of its sessions; B is whole."""
    whole = bars(2, 8)
    gone = (pl.col("instrument") == "N00") & pl.col("timestamp").is_in([START, START + timedelta(days=5)])
    clean = whole.filter(~gone)
    told = profile(clean)
    starts = np.array(["2020-01-01", "2020-01-02", "2020-01-05", "2020-01-09"], dtype="datetime64[D]")
    names = told.instruments.with_columns(group=pl.Series([0, 1]))
    shares = coverage(clean, names, told.sessions["session"], starts)
    np.testing.assert_allclose(shares, [[np.nan, 1.0, 0.75], [1.0, 1.0, 1.0]])
    together = coverage(clean, names.with_columns(group=0), told.sessions["session"], starts)
    np.testing.assert_allclose(together, [[1.0, 1.0, 7 / 8]])


def test_coverage_is_the_same_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    told = collected()
    sessions = told.current.sessions["session"]
    names = told.current.instruments.with_columns(group=pl.int_range(pl.len()))
    whole = coverage(told.clean, names, sessions, stretches(sessions))
    monkeypatch.setattr("tasks.domain.drift.pieces.__defaults__", (17,))
    np.testing.assert_array_equal(coverage(told.clean, names, sessions, stretches(sessions)), whole)


def test_times_outside_the_data_are_in_no_stretch() -> None:
    starts = np.array(["2020-01-01", "2020-01-05", "2020-01-09"], dtype="datetime64[D]")
    times = pl.Series([START, datetime(2020, 1, 8, 23), datetime(2020, 1, 9), None, datetime(9999, 1, 1)])
    assert within(times, starts).tolist() == [0, 1, -1, -1, -1]


def test_rare_rules_are_drawn_as_one() -> None:
    lines = pl.concat([aside(bars()[: number + 1], f"rule {number:02d}") for number in range(12)])
    counts = over_time(lines, stretches(collected().current.sessions["session"]))
    assert next(iter(counts)) == "rule 11"
    assert list(counts)[-1] == "other rules"
    assert sum(int(number.sum()) for number in counts.values()) == len(lines)


def test_a_spotless_snapshot_and_many_names() -> None:
    clean = bars(130, 30)
    told = collected(
        clean=clean,
        current=profile(clean),
        quarantine=aside(clean[:0], "none"),
        corrections=ledger(clean[:0], "none"),
        gaps=clean[:0].select("instrument", "timestamp"),
    )
    text = page(told, pictures(told))
    assert "No rule found anything" in text


def test_a_single_bar_and_none_at_all() -> None:
    for rows in (1, 0):
        clean = bars()[:rows]
        told = collected(clean=clean, current=profile(clean), gaps=clean[:0].select("instrument", "timestamp"))
        assert page(told, pictures(told)).count("data:image/png") == (5 if rows else 0)
