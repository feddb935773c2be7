"""Accuracy on the lockbox and against the champion: by hand on few rows, and where the answer was planted."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tasks.domain import accuracy, metrics, statistics
from tasks.domain.accuracy import Lockbox
from tasks.domain.labels import forward_return
from tasks.domain.lockbox import champion, decay, known_factors, stability, yardsticks
from tasks.domain.simulate.contract import Prices
from tasks.domain.strategy import Costs, Strategy
from tasks.domain.targets import ForwardReturn, SessionRank, TripleBarrier

SHARED = Path(os.environ.get("COUNTERSIGN_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
NO = np.nan
Model = Callable[[pd.DataFrame], pd.DataFrame]
NAMES = list("ABCDEFGHIJKL")


def sessions(count: int, start: str = "2020-01-01") -> pd.DatetimeIndex:
    return pd.bdate_range(start, periods=count)


def noise(seed: int, count: int, names: list[str] | None = None) -> pd.DataFrame:
    columns = names or NAMES
    return pd.DataFrame(np.random.default_rng(seed).normal(size=(count, len(columns))), sessions(count), columns)


def box_of(scores: pd.DataFrame, labels: pd.DataFrame) -> Lockbox:
    return Lockbox(scores, labels, labels.notna())


def one_session(*values: float) -> pd.DataFrame:
    return pd.DataFrame([values], sessions(1), NAMES[: len(values)])


def market(seed: int, count: int = 700, names: int = 12) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    moves = 0.01 * rng.normal(size=(count, names)) + 0.01 * rng.normal(size=(count, 1)) * np.linspace(0.5, 1.5, names)
    return pd.DataFrame(np.exp(moves.cumsum(axis=0)), sessions(count), NAMES[:names])


# --- yardsticks of a session --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scores", "labels", "expected"),
    [
        ((1, 3, 2, 4), (1, 2, 3, 4), 0.75),  # of C, D against A, B only C against B is the wrong way round
        ((5, 5, 5, 6), (1, 2, 3, 4), 0.75),  # C ties with A and B (a half each), D beats both
        ((1, 9, 2), (1, 2, 3), 1.0),  # B is at the median and in neither half
        ((1, NO, 2, 0), (1, 2, 3, NO), 1.0),  # A and C alone have both
    ],
)
def test_auc_by_hand(scores: tuple[float, ...], labels: tuple[float, ...], expected: float) -> None:
    assert metrics.auc_series(one_session(*scores), one_session(*labels)).tolist() == [expected]


few = st.lists(st.integers(-3, 3), min_size=2, max_size=12)


@settings(max_examples=25, deadline=None)
@given(few, st.integers(0, 999))
def test_auc_is_mann_whitney_and_a_reversed_score_mirrors_every_yardstick(given: list[int], seed: int) -> None:
    scores = one_session(*given)
    labels = one_session(*np.random.default_rng(seed).integers(-3, 4, len(given)))
    found = metrics.auc_series(scores, labels)
    x, y = scores.to_numpy()[0], labels.to_numpy()[0]
    better, worse = x[y > np.median(y)], x[y < np.median(y)]
    assert (len(found) == 1) == (len(better) > 0 and len(worse) > 0)
    if len(found):
        expected = stats.mannwhitneyu(better, worse).statistic / len(better) / len(worse)
        assert found.iloc[0] == pytest.approx(expected)
    assert metrics.auc_series(-scores, labels).tolist() == pytest.approx([1 - value for value in found])
    reversed_ic, ic = (metrics.ic_series(each, labels).to_numpy() for each in (-scores, scores))
    assert reversed_ic == pytest.approx(-ic)
    (hit, counted), (missed, _) = (metrics.hits(each, labels) for each in (scores, -scores))
    assert (hit + missed).tolist() == counted.tolist()


def test_ic_is_pearson_and_needs_two_that_differ() -> None:
    scores, labels = noise(1, 5), noise(2, 5)
    scores.iloc[1] = 0.1 + 0.2
    scores.iloc[2, 1:] = NO
    labels.iloc[4, :3] = NO
    found = metrics.ic_series(scores * 1e300, labels)
    assert found.index.tolist() == scores.index[[0, 3, 4]].tolist()
    assert found.iloc[0] == pytest.approx(np.corrcoef(scores.iloc[0], labels.iloc[0])[0, 1])
    assert found.iloc[2] == pytest.approx(np.corrcoef(scores.iloc[4, 3:], labels.iloc[4, 3:])[0, 1])


# --- yardsticks with intervals ------------------------------------------------------------------------------


@pytest.mark.slow
def test_values_and_the_interval_of_the_rank_ic_are_those_of_accuracy_to_the_last_digit() -> None:
    labels = noise(3, 120)
    scores = (0.1 * labels + noise(4, 120)).mask(noise(5, 120) > 1.5)
    scores.iloc[7] = NO
    told = accuracy.accuracy(box_of(scores, labels), 5, 0.2, 7)
    found = yardsticks.table(box_of(scores, labels), 5, 0.2, SessionRank(), 7)
    assert found.loc["rank_ic", ["lower", "upper"]].tolist() == [
        told["lockbox.rank_ic_lower"],
        told["lockbox.rank_ic_upper"],
    ]
    for name in yardsticks.ELSEWHERE:
        assert found.loc[name, "value"] == told[f"lockbox.{name}"]
    assert (found["lower"] < found["value"]).all()
    assert (found["value"] < found["upper"]).all()
    figures = yardsticks.figures(found)
    assert {"lockbox.auc", "lockbox.auc_lower", "lockbox.auc_upper", "lockbox.hit_rate_lower"} < figures.keys()
    assert not figures.keys() & told.keys()


def test_guesses_are_what_random_scores_come_to() -> None:
    labels = noise(6, 1000)
    found = yardsticks.table(box_of(noise(7, 1000), labels), 1, 0.25, SessionRank(), 7)
    assert found.loc["precision", "without_skill"] == pytest.approx(1 / 3)
    assert found.loc["recall", "without_skill"] == pytest.approx(1 / 4)
    assert (found["value"] - found["without_skill"]).abs().max() < 0.02


def test_a_forecast_twice_as_bold_as_it_should_be_has_half_the_slope() -> None:
    labels = noise(8, 40) + 5
    labels.iloc[0, 0] = NO
    for boldness in (2.0, 1e-200):
        box = box_of(boldness * labels, labels)
        found = yardsticks.table(box, 1, 0.2, ForwardReturn(), 7)
        assert found.loc["calibration_slope", ["value", "lower", "upper"]].tolist() == pytest.approx([1 / boldness] * 3)
    assert "calibration_slope" not in yardsticks.table(box, 1, 0.2, TripleBarrier(), 7).index


def test_each_value_of_one_resampling_has_the_interval_that_it_would_have_alone() -> None:
    series = [pd.Series(np.random.default_rng(seed).normal(size=60)) for seed in (1, 2)]
    values = np.array(series)
    lower, upper = statistics.bootstrap_intervals(lambda drawn: values.take(drawn, axis=1).mean(axis=1), 60, 10)
    for place, alone in enumerate(series):
        assert (lower[place], upper[place]) == statistics.bootstrap_mean_interval(alone, 10)
    for wrong in ((1, 5), (60, 0)):
        with pytest.raises(ValueError, match="at least"):
            statistics.bootstrap_intervals(lambda drawn: drawn.mean(), *wrong)


# --- stability ----------------------------------------------------------------------------------------------


def test_a_model_right_in_one_sector_and_wrong_in_another_is_told_apart() -> None:
    labels = noise(9, 60)
    scores = labels.copy()
    scores[NAMES[4:8]] *= -1
    sectors = {"right": NAMES[:4], "wrong": NAMES[4:8]}
    found = stability.table(box_of(scores, labels), market(1, 60), None, sectors, 5)
    by_sector = found[found["kind"] == "sector"].set_index("state")
    assert by_sector["rank_ic"].tolist() == pytest.approx([1.0, -1.0, 1.0])
    assert by_sector.index.tolist() == ["right", "wrong", stability.OTHERS]
    assert by_sector["sessions"].tolist() == [60, 60, 60]
    assert not (found["kind"] == "size").any()


def test_skill_in_large_names_only_is_seen_in_the_largest_fifth() -> None:
    names = [f"N{number:02}" for number in range(20)]
    labels = noise(10, 60, names)
    scores = noise(11, 60, names)
    scores[names[16:]] = labels[names[16:]]
    volume = pd.DataFrame(np.tile(np.arange(1.0, 21.0), (60, 1)), labels.index, names)
    found = stability.table(box_of(scores, labels), volume * 0 + 1, volume, {}, 5)
    by_size = found[found["kind"] == "size"].set_index("state")["rank_ic"]
    assert by_size["largest fifth"] == pytest.approx(1.0)
    assert by_size.drop("largest fifth").abs().max() < 0.4
    assert (by_size.index[0], len(by_size)) == ("smallest fifth", 5 if found["sessions"].min() >= 20 else 4)


def test_size_is_that_of_the_quarter_up_to_the_session() -> None:
    traded = pd.DataFrame({"A": [1.0] * 100, "B": [2.0] * 70 + [0.5] * 30}, sessions(100))
    fifths = stability.size_fifths(traded, traded.index[60:])
    assert fifths[0].tolist() == [3, 5]
    assert fifths[-1].tolist() == [3, 5], "thirty of the last 63 sessions are fewer than half"
    assert stability.size_fifths(traded, traded.index)[10].tolist() == [0, 0], "too little is known"


def test_years_and_halves_by_hand() -> None:
    days = pd.bdate_range("2019-01-01", "2020-12-31")
    labels = pd.DataFrame(np.tile([1.0, 2.0, 3.0], (len(days), 1)), days, list("ABC"))
    scores = labels.mul(np.where(days.year == 2019, 1, -1), axis=0)
    box = box_of(scores, labels)
    found = stability.table(box, labels, None, {}, 5)
    years = found[found["kind"] == "year"]
    assert list(zip(years["state"], years["rank_ic"], strict=True)) == [("2019", 1.0), ("2020", -1.0)]
    told = stability.figures(box, found, 5)
    assert told["lockbox.positive_years_share"] == told["lockbox.positive_half_years_share"] == 0.5
    assert told["lockbox.worst_year_rank_ic"] == -1.0
    assert told["lockbox.half_difference"] == pytest.approx(2.0, abs=0.02)


# --- decay --------------------------------------------------------------------------------------------------


def test_a_score_that_foresees_its_own_horizon_is_best_there() -> None:
    close = market(2, 200)
    scores = forward_return(close, 10)
    found = decay.horizons(accuracy.inside(scores, close, forward_return(close, 5), close.index[60]), close, 5)
    assert found["horizon"].tolist() == [1, 2, 5, 10, 21, 63]
    by_horizon = found.set_index("horizon")
    assert by_horizon.loc[10, "rank_ic"] == pytest.approx(1.0)
    assert by_horizon["rank_ic"].idxmax() == 10
    assert by_horizon.loc[1, "sessions"] == 140 - 11
    assert decay.horizons(accuracy.inside(scores, close, scores, close.index[60]), close, 7)["horizon"].tolist() == [
        *[1, 2, 5, 7, 10, 21, 63]
    ]


def test_a_score_that_comes_two_sessions_early_is_best_two_sessions_late() -> None:
    labels = noise(12, 80)
    late = decay.delays(box_of(labels.shift(-2), labels), 1).set_index("sessions_late")
    assert late.loc[2, "rank_ic"] == pytest.approx(1.0)
    assert late["rank_ic"].drop(2).abs().max() < 0.2
    told = decay.figures(decay.horizons(box_of(labels, labels), market(3, 80), 1), late.reset_index())
    assert told["lockbox.rank_ic_late_2"] == pytest.approx(1.0)
    assert "lockbox.rank_ic_late_0" not in told


def test_overlapping_labels_widen_the_interval() -> None:
    close = market(4, 400)
    box = accuracy.inside(close.pct_change(60), close, forward_return(close, 1), close.index[100])
    errors = decay.horizons(box, close, 1).set_index("horizon")["standard_error"]
    assert errors[63] > 1.5 * errors[1]


# --- known factors ------------------------------------------------------------------------------------------


def test_factors_are_their_plain_formulas_and_see_no_future() -> None:
    close = market(5)
    at = close.index[600:]
    found = known_factors.factors(close, at)
    returns = close.pct_change()
    assert found["momentum"].loc[at[0], "A"] == pytest.approx(close["A"].iloc[579] / close["A"].iloc[348] - 1)
    assert found["reversal"].loc[at[0], "B"] == pytest.approx(1 - close["B"].iloc[600] / close["B"].iloc[579])
    assert found["volatility"].loc[at[0], "C"] == pytest.approx(returns["C"].iloc[538:601].std())
    expected = metrics.beta(returns["D"].iloc[349:601], returns.mean(axis=1).iloc[349:601])
    assert found["beta"].loc[at[0], "D"] == pytest.approx(expected)
    changed = close.copy()
    changed.iloc[650:] *= 1.5
    for name, table in known_factors.factors(changed, at).items():
        pd.testing.assert_frame_equal(table.iloc[:50], found[name].iloc[:50])


def test_what_is_left_is_what_a_regression_of_one_session_leaves() -> None:
    scores, one, two = noise(13, 3), noise(14, 3), noise(15, 3)
    scores.iloc[0, 0] = one.iloc[0, 1] = NO
    flat = one * 0 + 4.0
    left = known_factors.regress(scores, {"one": one, "two": two, "flat": flat})
    for at in range(3):
        whole = (scores.iloc[at].notna() & one.iloc[at].notna()).to_numpy()
        y, *x = (stats.rankdata(table.iloc[at][whole]) for table in (scores, one, two))
        design = np.column_stack([np.ones(len(y)), *x])
        plain = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
        length = np.sqrt(((y - y.mean()) ** 2).sum())
        assert left.residual.iloc[at].dropna().to_numpy() == pytest.approx(plain / length, abs=1e-8)
        assert left.correlation["one"].iloc[at] == pytest.approx(np.corrcoef(y, x[0])[0, 1])
        r_squared = 1 - (plain**2).sum() / length**2
        assert left.r_squared.iloc[at] == pytest.approx(1 - (1 - r_squared) * (len(y) - 1) / (len(y) - 4))
    assert (left.correlation["flat"] == 0).all()


def test_momentum_and_noise_leave_nothing_and_a_skill_of_its_own_is_left() -> None:
    momentum, skill = noise(16, 300), noise(17, 300)
    labels = momentum + skill + noise(18, 300)
    known = {"momentum": momentum, "reversal": noise(19, 300)}

    def told(scores: pd.DataFrame) -> accuracy.Figures:
        box = box_of(scores, labels)
        return known_factors.figures(box, known_factors.regress(scores, known), 5, 7)

    borrowed, own = told(momentum + 0.5 * noise(20, 300)), told(skill)
    assert metrics.rank_ic_series(momentum, labels).mean() > 0.4
    assert borrowed["lockbox.residual_rank_ic_lower"] < 0 < borrowed["lockbox.residual_rank_ic_upper"]
    assert borrowed["lockbox.correlation_with_momentum"] > 0.8
    assert borrowed["lockbox.explained_by_factors"] > 0.6
    assert own["lockbox.residual_rank_ic_lower"] > 0.3
    assert abs(own["lockbox.explained_by_factors"]) < 0.03, "chance explains nothing"


def test_a_score_that_is_a_factor_leaves_no_order_at_all() -> None:
    momentum = noise(21, 30)
    left = known_factors.regress(momentum**3, {"momentum": momentum, "again": momentum})
    assert (left.residual == 0).all(axis=None)
    figures = known_factors.figures(box_of(momentum, noise(22, 30)), left, 1, 7)
    assert np.isnan(figures["lockbox.residual_rank_ic"])
    assert figures["lockbox.explained_by_factors"] == pytest.approx(1.0)


# --- the champion -------------------------------------------------------------------------------------------

FREE = Strategy(long_fraction=0.3, short_fraction=0.3, rebalance_sessions=1, name_limit=1.0)


def rivals(*scores: pd.DataFrame, strategy: Strategy = FREE) -> list[champion.Rival]:
    close = market(6, 160)
    labels, start = forward_return(close, 1), close.index[20]
    return [champion.rival(accuracy.inside(each, close, labels, start), Prices(close), strategy) for each in scores]


@pytest.mark.slow
def test_the_same_model_differs_by_nothing() -> None:
    mine, theirs = rivals(noise(23, 160), noise(23, 160) * 3 + 1)
    found = champion.compare(mine, theirs, 1, 7)
    differences = [value for name, value in found.items() if "difference" in name or "share" in name]
    assert len(differences) == 12
    assert differences == [0.0] * 12
    assert (found["champion.score_correlation"], found["champion.distance"]) == (1.0, 0.0)
    assert champion.answers(found, -0.005) == {
        "rank_ic": "not worse",
        "net_return": "not worse",
        "sharpe_ratio": "not worse",
        "positions": "the same",
    }


@pytest.mark.slow
def test_who_knows_the_future_is_better_and_who_reverses_it_is_not() -> None:
    future = forward_return(market(6, 160), 1)
    better, worse = rivals(future, -future)
    up, down = champion.compare(better, worse, 1, 7), champion.compare(worse, better, 1, 7)
    assert set(champion.answers(up, -0.005).values()) == {"better beyond noise", "different"}
    assert set(champion.answers(down, -0.005).values()) == {"worse or not known", "different"}
    assert up["champion.distance"] == 2.0
    assert up["champion.other_side_share"] == up["champion.positions_differing_share"] == 1.0
    assert up["champion.active_share"] == pytest.approx(1.0, abs=0.02), "gross 1 against its reverse"
    assert champion.answers({}, -0.005)["net_return"] == "worse or not known"


def test_costs_are_the_problems_own() -> None:
    scores = noise(24, 160)
    dear = FREE.model_copy(update={"costs": Costs(commission_bp=50)})
    [cheap], [costly] = rivals(scores), rivals(scores, strategy=dear)
    assert costly.returns.mean() < cheap.returns.mean() - 0.001


def test_a_paired_interval_is_narrower_than_an_unpaired_one() -> None:
    scores = noise(25, 160)
    mine, theirs = rivals(scores, scores + 0.3 * noise(26, 160))
    found = champion.compare(mine, theirs, 1, 7)
    paired = found["champion.net_return_difference_upper"] - found["champion.net_return_difference_lower"]
    ends = [statistics.bootstrap_mean_interval(each.returns * mine.periods, 10) for each in (mine, theirs)]
    unpaired = np.hypot(*(upper - lower for lower, upper in ends))
    assert 0 < paired < 0.8 * unpaired


@pytest.mark.parametrize(
    ("line", "at", "expected"),
    [
        ([(True, NO)], 0, 0.1),  # the champion itself was fully validated
        ([(True, NO), (False, 0.2), (False, 0.3)], 0, 0.6),
        ([(True, NO), (True, 0.2), (False, 0.3)], 1, 0.4),
        ([(False, NO), (False, 0.2)], 0, 0.3),  # none was: from the first
        ([(True, NO), (False, NO)], 0, NO),  # a step that is not known
    ],
)
def test_small_steps_add_up(line: list[tuple[bool, float]], at: int, expected: float) -> None:
    steps = [champion.Step(*each) for each in line]
    assert champion.reference(steps) == at
    assert champion.cumulative(steps, 0.1) == pytest.approx(expected, nan_ok=True)


# --- real data ----------------------------------------------------------------------------------------------


@pytest.mark.skipif(not (SHARED / "sp500_5yr_daily.parquet").exists(), reason="the shared data is not here")
@pytest.mark.slow
def test_on_real_stocks_a_factor_is_known_as_what_it_is() -> None:
    bars = pd.read_parquet(SHARED / "sp500_5yr_daily.parquet", filters=[("instrument", "<", "AT")])
    close, volume = (bars.pivot(index="date", columns="instrument", values=each) for each in ("close", "volume"))
    close.index = volume.index = pd.DatetimeIndex(close.index)
    start = close.index[-250]
    momentum = close.shift(21) / close.shift(252) - 1
    box = accuracy.inside(momentum, close, forward_return(close, 5), start)
    left = known_factors.regress(box.scores, known_factors.factors(close, box.scores.index))
    told = known_factors.figures(box, left, 5, 7)
    assert told["lockbox.explained_by_factors"] == pytest.approx(1.0)
    assert told["lockbox.correlation_with_momentum"] == pytest.approx(1.0)
    last = box.labels.index[-7]
    both = box.scores.loc[last].notna() & box.labels.loc[last].notna()
    plain = stats.spearmanr(box.scores.loc[last][both], box.labels.loc[last][both]).statistic
    assert accuracy.rank_ic(box)[last] == pytest.approx(plain)
    by_size = stability.table(box, close, volume, {}, 5).query("kind == 'size'")
    assert len(by_size) == 5


# --- models that misbehave ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "misbehaves",
    [
        lambda close: close * NO,
        lambda close: close * 0 + 1,
        lambda close: close[["A"]],
        lambda close: close[["A", "B", "C"]].iloc[-15:],
        lambda close: close * np.inf,
    ],
)
def test_a_model_that_says_nothing_gets_no_figure_and_no_fault(
    misbehaves: Callable[[pd.DataFrame], pd.DataFrame],
) -> None:
    close = market(7, 320)
    box = accuracy.inside(misbehaves(close), close, forward_return(close, 5), close.index[280])
    marks = yardsticks.table(box, 5, 0.2, SessionRank(), 7)
    by_state = stability.table(box, close, close, {"some": NAMES[:3]}, 5)
    by_horizon, late = decay.horizons(box, close, 5), decay.delays(box, 5)
    left = known_factors.regress(box.scores, known_factors.factors(close, box.scores.index))
    every = yardsticks.figures(marks) | stability.figures(box, by_state, 5) | decay.figures(by_horizon, late)
    every |= known_factors.figures(box, left, 5, 7)
    kept = accuracy.finite(every)
    assert not {"lockbox.auc_lower", "lockbox.residual_rank_ic", "lockbox.positive_years_share"} & kept.keys()
    traded = champion.rival(box, Prices(close), FREE)
    assert champion.apart(traded, traded)["champion.active_share"] == 0
