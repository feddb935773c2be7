"""Drift: profiles a person can check, breaks that must be found, and a false-alarm rate that is kept."""

from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from tasks.domain.drift import (
    BASELINE,
    ERROR_RATE,
    Finding,
    Profile,
    breaks,
    drift,
    edges,
    from_text,
    middles,
    profile,
    to_text,
)
from tasks.domain.errors import VerificationFailed

FIRST = date(2015, 1, 1)


def market(names: int = 60, sessions: int = 420, seed: int = 5, clustering: float = 0.06) -> pl.DataFrame:
    """Bars in key order with clustered volatility, a common factor, and fat tails."""
    rng = np.random.default_rng(seed)
    common = np.zeros(sessions)
    for day in range(1, sessions):
        common[day] = 0.97 * common[day - 1] + clustering * rng.normal()
    size = 0.01 * np.exp(common)[:, None]
    moves = size * (0.6 * rng.normal(size=(sessions, 1)) + rng.standard_t(4, size=(sessions, names)) / np.sqrt(2))
    return as_bars(100 * np.exp(np.cumsum(moves, axis=0)))


def as_bars(close: np.ndarray) -> pl.DataFrame:
    sessions, names = close.shape
    days = [datetime(2015, 1, 1) + timedelta(days=day) for day in range(sessions)]
    return pl.DataFrame(
        {
            "timestamp": pl.Series(days * names, dtype=pl.Datetime("us")),
            "instrument": np.repeat([f"N{name:03d}" for name in range(names)], sessions),
            "close": close.T.ravel(),
            "volume": 1e6,
        }
    )


def until(bars: pl.DataFrame, sessions: int) -> pl.DataFrame:
    return bars.filter(pl.col("timestamp") < datetime(2015, 1, 1) + timedelta(days=sessions))


def failed(findings: list[Finding]) -> dict[str, str]:
    return {finding.name: finding.severity for finding in findings if not finding.passed}


def test_a_profile_by_hand() -> None:
    bars = pl.DataFrame(
        {
            "timestamp": [
                datetime(2020, 1, 1, 9),
                datetime(2020, 1, 1, 15),
                datetime(2020, 1, 2),
                datetime(2020, 1, 2),
            ],
            "instrument": ["A", "A", "A", "B"],
            "close": [10.0, 10.0, 11.0, 5.0],
            "volume": [None, 1.0, float("nan"), 2.0],
        }
    )
    told = profile(bars)
    assert told.sessions.select("session", "rows", "names", "missing", "still").rows() == [
        (date(2020, 1, 1), 2, 1, 0.25, 1.0),
        (date(2020, 1, 2), 2, 2, 0.25, 0.0),
    ]
    assert told.instruments.rows() == [
        ("A", 3, date(2020, 1, 1), date(2020, 1, 2)),
        ("B", 1, date(2020, 1, 2), date(2020, 1, 2)),
    ]
    assert told.returns.sum() == 2
    assert told.sessions["spread"].to_list() == pytest.approx([0.0, np.log(1.1)], rel=0.05)
    assert told.rows == 4


def test_bins_enclose_their_middles() -> None:
    assert (edges()[:-1] < middles()).all()
    assert (middles() < edges()[1:]).all()


def test_pieces_do_not_change_a_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    bars = market(7, 50)
    whole = profile(bars)
    monkeypatch.setattr("tasks.domain.drift.pieces.__defaults__", (13,))
    assert_equal(profile(bars), whole)


def assert_equal(one: Profile, other: Profile) -> None:
    assert one.sessions.equals(other.sessions)
    assert one.instruments.equals(other.instruments)
    assert (one.returns == other.returns).all()


def test_centre_and_spread_are_close_to_the_exact_ones() -> None:
    bars = market()
    moves = np.diff(np.log(bars["close"].to_numpy().reshape(60, -1)), axis=1)
    told = profile(bars).sessions[1:]
    middle = np.median(moves, axis=0)
    assert np.abs(told["centre"].to_numpy() - middle).max() < 0.002
    spread = np.abs(moves - middle).mean(axis=0)
    np.testing.assert_allclose(told["spread"].to_numpy(), spread, rtol=0.03)


def test_a_profile_survives_being_written() -> None:
    told = profile(market(5, 30))
    assert_equal(from_text(to_text(told)), told)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"sessions": {}, "instruments": {}, "returns": []}'])
def test_a_profile_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(VerificationFailed, match="cannot be read"):
        from_text(text)


def test_no_bars_have_an_empty_profile_and_nothing_to_compare() -> None:
    empty = profile(market(2, 3).clear())
    assert empty.rows == 0
    assert failed(drift(empty, empty)) == {}


def test_more_of_the_same_is_no_drift() -> None:
    bars = market()
    findings = drift(profile(until(bars, 400)), profile(bars))
    assert failed(findings) == {}
    assert all(finding.words for finding in findings)


def test_the_same_snapshot_is_no_drift_and_says_that_nothing_was_new() -> None:
    told = profile(market())
    findings = drift(told, told)
    assert failed(findings) == {}
    assert all("0 new sessions" in finding.words for finding in findings if finding.name.startswith("break_"))


def changed(bars: pl.DataFrame, names: int, factor: float = 1.0, shift: float = 0.0) -> pl.DataFrame:
    """The last 20 sessions' returns made larger by a factor or moved by a constant."""
    close = bars["close"].to_numpy().reshape(names, -1).T
    moves = np.diff(np.log(close), axis=0)
    moves[-20:] = moves[-20:] * factor + shift
    return as_bars(np.vstack([close[:1], close[:1] * np.exp(np.cumsum(moves, axis=0))]))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_breaks_are_found(seed: int) -> None:
    bars = market(seed=seed, sessions=820, clustering=0.03)
    new = pl.col("timestamp") >= datetime(2015, 1, 1) + timedelta(days=800)
    before = profile(until(bars, 800))
    doubled = failed(drift(before, profile(changed(bars, 60, factor=2.0))))
    assert doubled["break_spread"] == "warning"
    shifted = failed(drift(before, profile(changed(bars, 60, shift=0.02))))
    assert shifted["break_centre"] == "warning"
    thinner = profile(bars.filter(~(new & (pl.col("instrument") < "N006"))))
    assert failed(drift(before, thinner))["break_names"] == "warning"
    holes = bars.with_columns(volume=pl.when(new & (pl.col("instrument") < "N006")).then(None).otherwise("volume"))
    assert failed(drift(before, profile(holes)))["break_missing"] == "warning"
    stale = bars.with_columns(
        close=pl.when(new & (pl.col("instrument") < "N012"))
        .then(pl.col("close").first().over("instrument"))
        .otherwise("close")
    )
    assert "break_still" in failed(drift(before, profile(stale)))


def test_one_name_of_many_is_not_worth_a_warning() -> None:
    bars = market(200, 300)
    new = pl.col("timestamp") >= datetime(2015, 1, 1) + timedelta(days=280)
    thinner = bars.filter(~(new & (pl.col("instrument") == "N000")))
    assert failed(drift(profile(until(bars, 280)), profile(thinner))) == {}


def test_what_is_gone_is_counted_and_gross_losses_are_critical() -> None:
    bars = market(10, 100)
    before = profile(bars)
    fewer = profile(bars.filter(pl.col("instrument") != "N003"))
    assert failed(drift(before, fewer)) == {"rows_gone": "warning", "instruments_gone": "warning"}
    later = profile(bars.filter(pl.col("timestamp") >= datetime(2015, 3, 1)))
    assert failed(drift(before, later)) == {"rows_gone": "critical", "sessions_gone": "critical"}
    assert failed(drift(before, before, restated=0.02)) == {"restated": "warning"}
    assert failed(drift(before, before, restated=0.7)) == {"restated": "critical"}
    assert failed(drift(before, before, restated=0.0005)) == {}


def test_a_short_history_is_not_judged_and_says_so() -> None:
    bars = market(10, 60)
    findings = drift(profile(until(bars, 40)), profile(bars))
    assert failed(findings) == {}
    assert "too few" in findings[-1].words


def sessions_like_real_ones(rng: np.random.Generator, count: int, runs: int) -> list[pl.DataFrame]:
    """Profiles' sessions of `runs` markets, none of which breaks.

    Volatility clusters (two components with half-lives of about 7 and 70 sessions and skewed shocks), returns are fat-
    tailed and scaled by it, the number of names is a slow staircase with a rare missing one, absent values come in
    rare bursts.
    """
    slow, fast = np.zeros((count, runs)), np.zeros((count, runs))
    slow[0], fast[0] = 0.3 * rng.normal(size=runs), 0.2 * rng.normal(size=runs)
    for day in range(1, count):
        slow[day] = 0.99 * slow[day - 1] + 0.042 * rng.normal(size=runs)
        fast[day] = 0.90 * fast[day - 1] + 0.1 * (rng.gamma(2.0, size=runs) - 2.0)
    level = 0.01 * np.exp(slow + fast)
    spread = level * np.exp(0.12 * rng.normal(size=(count, runs)))
    centre = 0.8 * level * rng.standard_t(5, size=(count, runs))
    names = 400 + np.cumsum(rng.random((count, runs)) < 0.02, axis=0) - (rng.random((count, runs)) < 0.03)
    bursts = (rng.random((count, runs)) < 0.02) * rng.exponential(0.002, size=(count, runs))
    still = rng.binomial(400, 0.01, size=(count, runs)) / 400
    days = pl.Series("session", [FIRST + timedelta(days=day) for day in range(count)])
    return [
        pl.DataFrame(
            {
                "session": days,
                "rows": names[:, run],
                "names": names[:, run],
                "missing": bursts[:, run],
                "centre": centre[:, run],
                "spread": spread[:, run],
                "still": still[:, run],
            }
        )
        for run in range(runs)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("new", [1, 5, BASELINE])
def test_false_alarms_are_as_rare_as_stated(new: int) -> None:
    """Of 1,000 markets without a break at most the stated share warns, within three standard errors of the count."""
    runs, count = 1_000, 500 + new
    alarms = 0
    nothing = pl.DataFrame(schema={"instrument": pl.String})
    for sessions in sessions_like_real_ones(np.random.default_rng(new), count, runs):
        previous = Profile(sessions[: count - new], nothing, np.zeros(0, dtype=np.int64))
        current = Profile(sessions, nothing, np.zeros(0, dtype=np.int64))
        alarms += bool(failed(breaks(previous, current, ERROR_RATE)))
    expected = runs * ERROR_RATE
    assert alarms <= expected + 3 * np.sqrt(expected)
