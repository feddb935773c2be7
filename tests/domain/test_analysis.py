"""What is told of a backtest, on ledgers that a person can check, and against empyrical-reloaded's figures."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.domain import metrics, sensitivity, statistics, trading
from tasks.domain.analysis.benchmark import benchmark_returns, due_to_styles, style_returns
from tasks.domain.analysis.book import book
from tasks.domain.analysis.measures import figures
from tasks.domain.analysis.stretches import by_month, by_state, by_year, rolling_sharpe
from tasks.domain.analysis.trips import round_trips
from tasks.domain.errors import UsageError
from tasks.domain.labels import forward_return
from tasks.domain.simulate.agreement import first_difference, gap_bp
from tasks.domain.simulate.contract import Prices, Result, fills_table
from tasks.domain.simulate.research import simulate
from tasks.domain.strategy import Costs, Risk, Strategy
from tasks.domain.study import Step, Study, WalkedForward, by_sector, study, walk_forward
from tests.support.simulated import NO, markets, random_strategy, random_weights, table

CALENDAR = pd.bdate_range("2024-01-01", periods=8)
FREE = Costs(commission_bp=0.0, half_spread_bp=0.0)
ONE = Strategy(
    long_fraction=0.5, short_fraction=0.5, exit_fraction=0.5, name_limit=1.0, rebalance_sessions=1, costs=FREE
)


def fills(*rows: tuple[int, str, float, float, float, str]) -> pd.DataFrame:
    """Bar, name, signed quantity, price, cost, reason."""
    bar, name, quantity, price, cost, reason = zip(*rows, strict=True)
    return fills_table(CALENDAR[list(bar)], list(name), quantity, price, cost, list(reason))


# Round trips


def test_a_round_trip_runs_from_the_first_fill_to_the_one_that_leaves_nothing() -> None:
    found = round_trips(
        fills(
            (1, "A", 10, 10, 1, "decision"),  # long 10
            (2, "A", 10, 12, 1, "decision"),  # adds: put in 100 + 120
            (3, "B", -5, 20, 1, "decision"),  # B short 5, put in 100
            (4, "A", -5, 14, 1, "decision"),  # takes 5 off
            (5, "A", -15, 13, 1, "stop_loss"),  # flat: 70 + 195 − 220 − 4 = 41
        ),
        CALENDAR,
    )
    assert found.to_dict("records") == [
        {
            "instrument": "A",
            "side": "long",
            "opened": CALENDAR[1],
            "closed": CALENDAR[5],
            "bars": 4,
            "entry": 220.0,
            "profit": 41.0,
            "reason": "stop_loss",
        }
    ]


def test_a_fill_that_turns_a_position_around_closes_one_trip_and_opens_the_next() -> None:
    found = round_trips(
        fills(
            (1, "A", 10, 10, 0, "decision"),
            (3, "A", -30, 12, 3, "decision"),  # closes 10 (cost 1), opens a short of 20 (cost 2)
            (4, "A", 20, 11, 2, "take_profit"),
        ),
        CALENDAR,
    )
    assert found["side"].tolist() == ["long", "short"]
    assert found["profit"].tolist() == pytest.approx([19, 16])  # 120 − 100 − 1; 240 − 220 − 2 − 2
    assert found["entry"].tolist() == pytest.approx([100, 240])
    assert found["bars"].tolist() == [2, 1]


def test_a_position_stopped_in_its_own_bar_took_no_bar_and_open_ones_do_not_count() -> None:
    found = round_trips(
        fills((1, "A", 10, 10, 0, "decision"), (1, "A", -10, 9, 0, "stop_loss"), (2, "A", 1, 10, 0, "decision")),
        CALENDAR,
    )
    assert (found["bars"].tolist(), found["profit"].tolist()) == ([0], [-10.0])


def test_without_fills_there_are_no_round_trips() -> None:
    idle = simulate(table({"A": [0.0]}, [0]), Prices(table({"A": [10, 11]})), ONE)
    assert round_trips(idle.fills, pd.DatetimeIndex(idle.equity.index)).empty


# The book


def test_profit_by_name_costs_by_kind_and_exposure() -> None:
    prices = Prices(table({"A": [10, 10, 12, 12], "B": [20, 20, 16, 16]}))
    weights = table({"A": [0.5], "B": [-0.5]}, [0])
    strategy = Strategy(
        gross_limit=1.0, name_limit=1.0, capital=1000.0, costs=Costs(commission_bp=4.0, half_spread_bp=6.0)
    )
    result = simulate(weights, prices, strategy)
    # 50 A bought at 10 and 25 B sold at 20, 500 each at 10 bp; A gains 100, B 100
    found = book(result, prices, strategy.costs)
    assert found.by_name.to_dict() == pytest.approx({"A": 99.5, "B": 99.5})
    assert found.costs == pytest.approx({"commission": 0.4, "half_spread": 0.6, "impact": 0, "financing": 0}, abs=1e-9)
    exposure = found.exposure(result.equity)
    assert exposure.iloc[2].to_dict() == pytest.approx(
        {"long": 600 / 1199, "short": -400 / 1199, "gross": 1000 / 1199, "net": 200 / 1199}
    )


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(prices=markets, seed=st.integers(0, 10**6), every=st.integers(1, 4))
def test_names_and_round_trips_add_up_to_what_was_earned(prices: Prices, seed: int, every: int) -> None:
    strategy = random_strategy(seed, 1.0, prices.volume is not None)
    result = simulate(random_weights(seed, prices, every, 1.0), prices, strategy)
    found = book(result, prices, strategy.costs)
    paid = sum(found.costs[kind] for kind in ("commission", "half_spread", "impact"))
    assert paid == pytest.approx(result.fills["cost"].sum(), abs=1e-6)
    trips = round_trips(result.fills, prices.calendar)
    assert (trips["bars"] >= 0).all()
    if (result.equity <= 0).any():
        return
    if not strategy.costs.interest_rate and not strategy.costs.borrow_rate:
        assert found.costs["financing"] == pytest.approx(0, abs=1e-3)
    flat = [name for name in found.value if abs(found.value[name].iloc[-1]) < 1e-6]
    earned = trips[trips["instrument"].isin(flat)].groupby("instrument")["profit"].sum().reindex(flat)
    assert earned.to_numpy() == pytest.approx(found.by_name[flat].to_numpy(), abs=1e-3)


# Figures


def series() -> tuple[pd.Series, pd.Series]:
    """Equity and a benchmark's returns over 100 bars, without randomness."""
    at = np.arange(100)
    returns = 0.01 * np.sin(at) + 0.001 * np.cos(3 * at) + 0.0004
    calendar = pd.bdate_range("2020-01-01", periods=101)
    equity = pd.Series(np.cumprod(np.append(1e6, 1 + returns)), calendar)
    return equity, pd.Series(0.008 * np.cos(at) + 0.0002, calendar[1:])


def test_measures_are_those_of_empyrical() -> None:
    """Figures of empyrical-reloaded 0.7.1 on the same returns."""
    equity, benchmark = series()
    returns = metrics.simple_returns(equity)
    found = {
        "annual_return": metrics.annual_return(equity),
        "annual_volatility": metrics.annual_volatility(returns),
        "sharpe_ratio": metrics.sharpe_ratio(returns),
        "sortino_ratio": metrics.sortino_ratio(returns),
        "calmar_ratio": metrics.calmar_ratio(equity),
        "max_drawdown": metrics.max_drawdown(equity),
        "beta": metrics.beta(returns, benchmark),
    }
    assert found == pytest.approx(
        {
            "annual_return": 0.11090647417445365,
            "annual_volatility": 0.11333510727422334,
            "sharpe_ratio": 0.9842864946926269,
            "sortino_ratio": 1.4764845629733871,
            "calmar_ratio": 5.6358297537885855,
            "max_drawdown": 0.019678819094898804,
            "beta": 0.008727277995680622,
        },
        rel=1e-10,
    )


def test_the_longest_drawdown_counts_bars_below_the_highest() -> None:
    equity = pd.Series([1.0, 2, 1, 1, 2, 3, 2, 2, 2.5])
    assert metrics.longest_drawdown(equity) == 3  # the last three, not made good
    assert metrics.longest_drawdown(pd.Series([1.0, 1, 2])) == 0
    assert metrics.longest_drawdown(pd.Series([1.0])) == 0


@pytest.mark.parametrize("returns", [[], [0.01], [0.01, 0.01], [0.0, 0.0]])
def test_undefined_ratios_are_not_numbers(returns: list[float]) -> None:
    told = pd.Series(returns, dtype=float)
    assert math.isnan(metrics.sortino_ratio(told))
    assert math.isnan(statistics.sharpe_ratio_error(told, 252))


def test_the_error_of_a_normal_sharpe_ratio_is_that_of_lo() -> None:
    """Lo (2002), eq. 9: √((1 + SR²/2) / n) per period, for normal returns."""
    returns = pd.Series(np.random.default_rng(4).normal(0.001, 0.01, 200_000))
    ratio = returns.mean() / returns.std()
    expected = math.sqrt((1 + ratio**2 / 2) / len(returns)) * math.sqrt(252)
    assert statistics.sharpe_ratio_error(returns, 252) == pytest.approx(expected, rel=0.01)


# Benchmarks and styles


def walk(names: int, sessions: int = 700, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    moves = rng.normal(0.0003, 0.01, (sessions, names)) + rng.normal(0, 0.008, (sessions, 1))
    close = 100 * np.cumprod(1 + moves, axis=0)
    return pd.DataFrame(close, pd.bdate_range("2018-01-01", periods=sessions), [f"N{n:02}" for n in range(names)])


def test_the_universe_is_the_mean_of_what_is_known() -> None:
    close = table({"A": [10, 11, 11], "B": [10, NO, 20]})
    assert benchmark_returns(close, "universe").tolist() == pytest.approx([0, 0.1, 0])
    assert benchmark_returns(close, "A").tolist() == pytest.approx([0, 0.1, 0])


def test_what_a_book_is_due_to_is_found_again() -> None:
    styles = style_returns(walk(30))
    assert list(styles) == ["market", "momentum", "reversal", "volatility"]
    noise = np.random.default_rng(2).normal(0, 1e-4, len(styles))
    returns = 0.0002 + 0.5 * styles["market"] - 0.3 * styles["reversal"] + noise
    found = due_to_styles(returns.dropna(), styles, 252, 5)
    assert found is not None
    assert found["beta"].to_dict() == pytest.approx(
        {"market": 0.5, "momentum": 0, "reversal": -0.3, "volatility": 0, "alpha": 0.0002}, abs=3e-3
    )
    assert found.loc["alpha", "contribution"] == pytest.approx(0.0002 * 252, rel=0.05)
    assert (found.loc[["market", "alpha"], "t"] > 10).all()


def test_styles_know_no_future() -> None:
    close = walk(12)
    later = close.copy()
    later.iloc[500:] *= 1.7
    pd.testing.assert_frame_equal(style_returns(later).iloc[:500], style_returns(close).iloc[:500])


def test_few_names_have_a_market_only_and_few_bars_nothing() -> None:
    assert list(style_returns(walk(3))) == ["market"]
    market = style_returns(walk(3))
    assert due_to_styles(market["market"].iloc[:20], market, 252, 1) is None


# Years, months, states


def test_years_and_months_compound_to_the_whole() -> None:
    close = walk(1, 600)["N00"]
    years, months = by_year(close, benchmark_returns(close.to_frame(), "N00"), 252), by_month(close)
    assert list(years.index) == [2018, 2019, 2020]
    assert np.prod(1 + years["total_return"]) == pytest.approx(close.iloc[-1] / close.iloc[0])
    assert np.nanprod(1 + months.to_numpy()) == pytest.approx(close.iloc[-1] / close.iloc[0])
    assert years["benchmark"].tolist() == pytest.approx(years["total_return"].tolist())
    assert years["bars"].sum() == len(close) - 1


def test_a_return_belongs_to_the_state_known_before_it() -> None:
    calendar = pd.bdate_range("2024-01-01", periods=81)
    states = pd.DataFrame({"market": np.resize(["rising", "falling"], 81)}, calendar)
    returns = pd.Series(np.resize([0.01, -0.01], 80), calendar[1:])  # up after "rising", down after "falling"
    found = by_state(returns, states, 252, 0).set_index("state")["annual_return"]
    assert found.to_dict() == pytest.approx({"rising": 2.52, "falling": -2.52})


def test_a_rolling_ratio_begins_when_its_window_is_full() -> None:
    returns = metrics.simple_returns(series()[0])
    found = rolling_sharpe(returns, 40)
    assert found.notna().sum() == len(returns) - 19
    assert found.iloc[-1] == pytest.approx(metrics.sharpe_ratio(returns.iloc[-20:], 40))


# Where two engines part


def agreeing() -> tuple[Result, Result]:
    prices = Prices(table({"A": [10, 11, 12, 9, 9], "B": [5, 5, 6, 6, 7]}))
    strategy = Strategy(gross_limit=1.0, name_limit=1.0, risk=Risk(stop_loss=0.1))
    result = simulate(table({"A": [0.5, 0.4], "B": [-0.5, -0.2]}, [0, 2]), prices, strategy)
    return result, Result(result.equity.copy(), result.fills.copy())


def test_where_there_is_no_difference_none_is_told() -> None:
    one, two = agreeing()
    assert first_difference(one, two) is None
    assert gap_bp(one, two) == 0


@pytest.mark.parametrize(
    ("column", "told"),
    [("price", "price differs: rule F6"), ("cost", "cost differs: rule F8"), ("quantity", "quantity differs: rule F2")],
)
def test_the_first_differing_fill_is_told_with_its_rule(column: str, told: str) -> None:
    one, two = agreeing()
    two.fills.loc[1, column] *= 1.001
    said = first_difference(one, two)
    assert said is not None
    assert said.startswith("fill 2: 2024-01-02")
    assert told in said


def test_a_fill_that_only_one_engine_has_is_told_with_the_rules_of_its_reason() -> None:
    one, two = agreeing()
    last = one.fills["reason"].iloc[-1]
    fewer = Result(two.equity, two.fills.iloc[:-1])
    said = first_difference(one, fewer)
    assert said is not None
    assert "none in the second" in said
    assert said.endswith({"stop_loss": "rule F9, F10, F11", "decision": "rule F1, F2, F5, F7"}[str(last)])
    assert gap_bp(one, fewer) == math.inf


def test_equity_that_differs_after_the_same_fills_is_told() -> None:
    one, two = agreeing()
    two.equity.iloc[3] += 1.0
    said = first_difference(one, two)
    assert said is not None
    assert said.startswith("equity at 2024-01-04")


# Other parameters, more capital


def test_the_strategys_own_cell_is_its_own_result() -> None:
    close = walk(10, 120)
    scores = -close.pct_change(5).iloc[10:]
    strategy = Strategy(name_limit=0.3, rebalance_sessions=5)
    found = sensitivity.parameters(scores, Prices(close), strategy)
    traded = trading.trade(scores, Prices(close), strategy)
    assert found.loc["20% long, 20% short", 5] == pytest.approx(metrics.sharpe_ratio(traded.returns))
    assert found.shape == (5, 5)


def test_with_thresholds_those_are_varied() -> None:
    close = walk(1, 200)
    scores = close / close.rolling(20).mean() - 1
    strategy = Strategy(entry_score=0.02, exit_score=0.01, name_limit=1.0, rebalance_sessions=1)
    found = sensitivity.parameters(scores.iloc[20:], Prices(close), strategy)
    assert list(found.index) == ["score 0.01", "score 0.015", "score 0.02", "score 0.03", "score 0.04"]


def test_more_capital_earns_less_where_size_costs() -> None:
    close = walk(10, 120)
    prices = Prices(close, volume=close * 0 + 1e5)
    strategy = Strategy(name_limit=0.3, costs=Costs(impact_bp=50.0))
    weights = trading.trade(-close.pct_change(5).iloc[10:], prices, strategy).weights
    found = sensitivity.capacity(weights, prices, strategy)
    assert found is not None
    assert (np.diff(found.to_numpy()) < 0).all()
    assert sensitivity.capacity(weights, prices, Strategy(name_limit=0.3)) is None


# The whole


def studied(strategy: Strategy, sessions: int = 400, flat: bool = False) -> Study:
    close = walk(10, sessions)
    scores = (-close.pct_change(5)).iloc[min(60, sessions - 1) :]
    prices = Prices(close, volume=close * 0 + 1e6)
    scores = scores * np.nan if flat else scores
    traded = trading.trade(scores, prices, strategy)
    others = sensitivity.equities(traded.weights, traded.prices, strategy)
    return study(traded, scores, prices, strategy, others, seed=7)


@pytest.mark.slow
def test_a_study_tells_all_and_its_figures_are_those_of_the_gates() -> None:
    sectors = {"one": ["N00", "N01"], "two": ["N02"]}
    told = studied(Strategy(name_limit=0.3, sectors=sectors, sector_limit=0.5, costs=Costs(impact_bp=5.0)))
    assert told.difference is None
    assert {name for name, value in told.figures.items() if math.isnan(value)} == set()
    assert told.figures["backtest.engine_gap_bp"] < 0.01
    assert told.sectors is not None
    assert told.sectors.sum() == pytest.approx(told.measured.book.by_name.sum())
    assert set(told.sectors.index) == {"one", "two", "none"}
    again = figures(told.measured)
    assert {f"backtest.{name}" for name in again} | {"backtest.engine_gap_bp"} <= set(told.figures)
    ratio, lower, upper = (told.figures[f"backtest.sharpe_ratio{end}"] for end in ("", "_lower", "_upper"))
    assert lower < ratio < upper


def test_a_book_that_never_traded_is_told_as_such() -> None:
    told = studied(Strategy(name_limit=0.3), flat=True)
    assert told.figures["backtest.trades"] == 0
    assert told.figures["backtest.total_return"] == 0
    assert math.isnan(told.figures["backtest.sharpe_ratio"])


def test_without_sectors_there_is_no_profit_by_sector() -> None:
    assert by_sector(pd.Series({"A": 1.0}), {}) is None


@pytest.mark.parametrize(
    ("fields", "message"), [({"benchmark": "SPY"}, "SPY is no instrument"), ({"costs": {"impact_bp": 1.0}}, "volumes")]
)
def test_what_the_bars_do_not_have_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        trading.refuse_unfit(Strategy.model_validate(fields), Prices(walk(2)))


# The retraining walked forward


def forward(steps: list[Step], scored: slice = slice(20, 60)) -> WalkedForward:
    close = walk(6, 80)
    scores = -close.pct_change(5).iloc[scored]
    strategy = Strategy(name_limit=0.3, rebalance_sessions=5)
    return walk_forward(steps, scores, Prices(close), forward_return(close, 2), 3, strategy)


def stretch(trained: tuple[int, int], scored: tuple[int, int]) -> Step:
    days = pd.bdate_range("2018-01-01", periods=80)
    return Step("ridge", "because", (days[trained[0]], days[trained[1]]), (days[scored[0]], days[scored[1]]))


def test_a_walk_forward_is_traded_as_one_history() -> None:
    told = forward([stretch((0, 16), (20, 39)), stretch((0, 30), (40, 59))])
    assert len(told.measured.result.equity) == 40
    assert told.figures["backtest.walk_forward_engine_gap_bp"] < 0.01
    assert told.figures["backtest.walk_forward_rank_ic"] == pytest.approx(told.rank_ic.mean())


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([stretch((0, 17), (20, 59))], "trained on labels that reach there"),
        ([stretch((0, 30), (20, 59))], "trained on labels that reach there"),
        ([stretch((0, 10), (20, 40)), stretch((0, 20), (40, 59))], "scored by two steps"),
        ([stretch((0, 10), (20, 58))], "2018-03-23 00:00:00 was scored by no step"),
    ],
)
def test_a_step_that_saw_what_it_scores_is_refused(steps: list[Step], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        forward(steps)
