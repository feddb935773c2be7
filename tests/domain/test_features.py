"""Features: oracles by hand, Qlib's own output, no future, no row order, the same values for a part as for all."""

import inspect
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasks.domain.features import alpha158
from tasks.domain.features.engine import Rows, compute, own_features
from tasks.domain.features.price_only import LONGEST_WINDOW
from tests.support.market import bars as market_bars
from tests.support.market import canonical

GOLDEN = Path(__file__).parent / "golden"
FIELDS = ("open", "high", "low", "close", "volume")
compiled = pytest.mark.slow  # the first call of alpha158 compiles for seconds


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    table = market_bars(0.003, names=6, sessions=420).rename(columns={"date": "timestamp", "symbol": "instrument"})
    return canonical(table)


@pytest.fixture(scope="module")
def panel() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "panel.npz") as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def holed(panel: dict[str, np.ndarray]) -> pd.DataFrame:
    """The golden panel as bars: gaps, constant stretches, ties, missing cells."""
    session, name = np.nonzero(~np.isnan(panel["close"]))
    keys = {
        "timestamp": panel["days"][session].astype("datetime64[us]"),
        "instrument": panel["names"][name].astype(str),
    }
    return pd.DataFrame(keys | {field: panel[field][session, name] for field in FIELDS})


def ramp(sessions: int = 62) -> pd.DataFrame:
    """One name whose close is 1, 2, 3, …; open one below, high one above; volume doubles every session in turn."""
    close = np.arange(1.0, sessions + 1)
    days = pd.bdate_range("2020-01-01", periods=sessions).astype("datetime64[us]")
    volume = np.where(np.arange(sessions) % 2, 200.0, 100.0)
    prices = {"open": close - 1, "high": close + 1, "low": close - 1, "close": close}
    return pd.DataFrame({"timestamp": days, "instrument": "A"} | prices | {"volume": volume})


def value(rows: Rows, name: str, row: int = -1) -> float:
    return float(rows.x[row, rows.names.index(name)])


def same(a: Rows, b: Rows) -> bool:
    return all(
        np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in zip(a, b, strict=True) if x is not a.names
    )


def test_price_only_needs_no_future_and_no_row_order(bars: pd.DataFrame) -> None:
    full = compute(["price_only"], bars)
    for cut in (LONGEST_WINDOW + 5, 380):
        day = np.sort(bars["timestamp"].unique())[cut]
        past = compute(["price_only"], bars[bars["timestamp"] <= day].iloc[::-1])
        until = full.timestamp <= day
        assert np.array_equal(past.x, full.x[until])
        assert np.array_equal(past.instrument, full.instrument[until])


def test_price_only_gives_centred_ranks(bars: pd.DataFrame) -> None:
    for column in compute(["price_only"], bars).x[-6:].T:
        assert sorted(column) == pytest.approx([-0.5, -0.3, -0.1, 0.1, 0.3, 0.5])


def test_a_missing_session_costs_no_other_row(bars: pd.DataFrame) -> None:
    hole = (bars["instrument"] == "N01") & (bars["timestamp"] == bars["timestamp"].unique()[330])
    assert len(compute(["price_only"], bars[~hole]).x) == len(compute(["price_only"], bars).x) - 1


def test_price_only_of_the_last_days_are_those_of_the_full_computation(bars: pd.DataFrame) -> None:
    full = compute(["price_only"], bars)
    days = pd.Series(full.timestamp).unique()
    for day in days[[-1, -3]]:
        part = compute(["price_only"], bars, since=day)
        assert np.array_equal(part.x, full.x[full.timestamp >= day])


def test_previous_is_the_row_of_the_bar_before(bars: pd.DataFrame) -> None:
    rows = compute(["price_only"], bars)
    linked = rows.previous >= 0
    assert (~linked).sum() == 6
    assert (rows.instrument[linked] == rows.instrument[rows.previous[linked]]).all()
    assert (rows.previous[linked] == np.flatnonzero(linked) - 6).all()


def test_bars_without_volume_ask_for_price_only(bars: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match=r"alpha158 needs the bar columns volume, which are missing; .*price_only"):
        compute(["alpha158"], bars.drop(columns="volume"))


def test_an_unknown_name_and_a_repeated_bar_are_refused(bars: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="'alpha360' is unknown; expected one of price_only, alpha158"):
        compute(["alpha360"], bars)
    with pytest.raises(ValueError, match="N00 has two rows at 2015-01-01"):
        compute(["price_only"], pd.concat([bars, bars[:1]]))


def test_names_are_qlibs_in_qlibs_order() -> None:
    with np.load(GOLDEN / "alpha158.npz") as golden:
        assert tuple(golden["names"]) == alpha158.NAMES


@compiled
def test_alpha158_by_hand_on_a_rising_line() -> None:
    """Close 62 on the last day of 1, 2, 3, …: every window is a straight line with slope 1."""
    rows = compute(["alpha158"], ramp())
    assert len(rows.x) == 2
    expected = {
        "KMID": 1 / 61,  # close 62 over open 61
        "KLEN": 2 / 61,
        "KUP": 1 / 61,
        "KLOW": 0.0,
        "VWAP0": (61 + 63 + 61 + 62) / 4 / 62,
        "ROC5": 57 / 62,
        "MA5": 60 / 62,
        "STD5": np.sqrt(2.5) / 62,
        "BETA60": 1 / 62,
        "RSQR10": 1.0,
        "RESI20": 0.0,
        "MAX5": 63 / 62,
        "MIN5": 57 / 62,
        "QTLU5": (61 + 0.2) / 62,  # 80 % of the way from 58 to 62 is 61.2
        "QTLD5": (58 + 0.8) / 62,
        "RANK30": 1.0,
        "RSV5": (62 - 57) / (63 - 57),
        "IMAX10": 1.0,
        "IMIN10": 0.1,
        "IMXD10": 0.9,
        "CNTP20": 1.0,
        "CNTN20": 0.0,
        "CNTD20": 1.0,
        "SUMP60": 1.0,
        "SUMN60": 0.0,
        "SUMD60": 1.0,
        "VMA10": 150 / 200,
        "VSTD10": np.std([100, 200] * 5, ddof=1) / 200,
        "VSUMP10": 0.5,
        "VSUMD10": 0.0,
    }
    assert {name: value(rows, name) for name in expected} == pytest.approx(expected, abs=1e-7)


@compiled
def test_alpha158_takes_the_bars_own_vwap() -> None:
    assert value(compute(["alpha158"], ramp().assign(vwap=31.0)), "VWAP0") == 0.5


@compiled
def test_alpha158_in_a_flat_stretch() -> None:
    """Nothing moves: no deviation, no line, no share of rises; the middle rank; the first of equal highs."""
    flat = ramp().assign(open=5.0, high=5.0, low=5.0, close=5.0, volume=100.0)
    rows = compute(["alpha158"], flat)
    expected = {"STD60": 0.0, "BETA60": 0.0, "RANK5": 0.6, "RSV5": 0.0, "IMAX5": 0.2, "SUMP5": 0.0, "KMID2": 0.0}
    assert {name: value(rows, name) for name in expected} == pytest.approx(expected)
    assert all(np.isnan(value(rows, name)) for name in ("RSQR5", "CORR5", "CORD5"))


@compiled
def test_alpha158_equals_qlib(panel: dict[str, np.ndarray], holed: pd.DataFrame) -> None:
    rows = compute(["alpha158"], holed)
    with np.load(GOLDEN / "alpha158.npz") as golden:
        theirs = pd.MultiIndex.from_arrays(
            [panel["days"][golden["session"]], panel["names"][golden["name"]].astype(str)]
        )
        x = golden["x"]
    mine = pd.MultiIndex.from_arrays([rows.timestamp.astype(panel["days"].dtype), rows.instrument.astype(str)])
    assert len(rows.x) == 218
    np.testing.assert_allclose(rows.x, x[theirs.get_indexer(mine)], rtol=1e-5, atol=1e-7)


@compiled
def test_alpha158_of_a_part_are_those_of_the_full_computation(holed: pd.DataFrame) -> None:
    full = compute(["alpha158"], holed)
    for day in pd.Series(full.timestamp).unique()[[0, 1, 20, -1]]:
        part, after = compute(["alpha158"], holed, since=day), full.timestamp >= day
        assert np.array_equal(part.x, full.x[after], equal_nan=True)
        assert np.array_equal(part.instrument, full.instrument[after])


@compiled
def test_alpha158_of_long_histories_are_cut_without_a_seam(bars: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = compute(["alpha158"], bars)
    monkeypatch.setattr(alpha158, "COLUMNS_PER_BLOCK", 70)
    assert same(compute(["alpha158"], bars), whole)


@compiled
def test_alpha158_depends_neither_on_row_order_nor_on_threads(holed: pd.DataFrame) -> None:
    full = compute(["alpha158"], holed)
    assert same(compute(["alpha158"], holed.sample(frac=1, random_state=1), threads=1), full)


@compiled
def test_sets_stand_side_by_side(bars: pd.DataFrame) -> None:
    both = compute(["alpha158", "price_only"], bars)
    ranks = compute(["price_only"], bars)
    assert both.x.dtype == np.float32
    assert both.x.flags.c_contiguous
    assert np.array_equal(both.x[:, 158:], ranks.x.astype("float32"))
    assert np.array_equal(both.timestamp, ranks.timestamp)


def range_5(bars, history=5):  # type: ignore[no-untyped-def]
    spread = bars["high"] / bars["low"] - 1
    return spread.groupby(bars["instrument"]).transform(lambda x: x.rolling(history).mean())


def test_an_own_feature_stands_beside_the_sets(bars: pd.DataFrame) -> None:
    found = own_features(inspect.getsource(range_5))
    assert list(found) == ["range_5"]
    rows = compute(["price_only", "range_5"], bars, own=found)
    assert rows.names[-1] == "range_5"
    last = bars[bars["instrument"] == "N05"].tail(5)
    assert rows.x[-1, -1] == pytest.approx((last["high"] / last["low"] - 1).mean())


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda bars: bars["close"], "say how many sessions it looks back"),
        (lambda bars, history=3: bars["close"].iloc[1:], r"another order"),
        (lambda bars, history=3: np.zeros(3), r"returned shape \(3,\); expected one number per bar, \(2520,\)"),
        (lambda bars, history=3: bars["instrument"], "expected numbers"),
        (lambda bars, history=3: bars["turnover"], "the bars have no column 'turnover'"),
    ],
)
def test_an_own_feature_that_is_none_is_refused_in_words(bars: pd.DataFrame, function: object, said: str) -> None:
    with pytest.raises(ValueError, match=f"own feature mine: .*{said}"):
        compute(["mine"], bars, own={"mine": function})  # type: ignore[dict-item]
