"""docs/fills.md rule by rule: ledgers that a person can check, both engines against each other, and planted bugs."""

from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.domain.simulate import events, kernel, research
from tasks.domain.simulate.contract import Prices, Result
from tasks.domain.strategy import Costs, Risk, Strategy
from tests.support.simulated import NO, apart, markets, random_market, random_strategy, random_weights, table

FREE = Costs(commission_bp=0.0, half_spread_bp=0.0)
both = pytest.mark.parametrize("engine", [research, events], ids=["research", "events"])


def bars(
    close: list[float],
    opened: list[float] | None = None,
    high: list[float] | None = None,
    low: list[float] | None = None,
    volume: list[float] | None = None,
) -> Prices:
    """One instrument, A."""
    given = (None if each is None else table({"A": each}) for each in (opened, high, low, volume))
    return Prices(table({"A": close}), *given)


def held(risk: Risk, costs: Costs = FREE, gross: float = 1.0) -> Strategy:
    return Strategy(costs=costs, risk=risk, gross_limit=gross, name_limit=gross, capital=1000.0)


def asked(*decisions: tuple[int, float]) -> pd.DataFrame:
    return table({"A": [weight for _, weight in decisions]}, [session for session, _ in decisions])


def ledger(result: Result) -> list[tuple[int, float, float, str]]:
    """Session, signed quantity, price and reason of each fill."""
    sessions = result.equity.index.get_indexer(result.fills["timestamp"])
    signed = result.fills["quantity"].where(result.fills["side"] == "buy", -result.fills["quantity"])
    return list(zip(sessions.tolist(), signed, result.fills["price"], result.fills["reason"], strict=True))


def close_to(*rows: tuple[int, float, float, str]) -> list[object]:
    return [
        (t, pytest.approx(quantity, rel=1e-9), pytest.approx(price, rel=1e-9), why) for t, quantity, price, why in rows
    ]


@both
def test_f3_turnover_scales_all_orders_of_a_decision(engine: ModuleType) -> None:
    prices = Prices(table({"A": [10, 10], "B": [20, 20]}))
    result = engine.simulate(table({"A": [0.6], "B": [-0.4]}, [0]), prices, held(Risk(turnover_limit=0.5)))
    # orders: A 600 / 10 = 60, B −400 / 20 = −20; together 1000 at the closes, allowed 500: both are halved
    assert ledger(result) == close_to((1, 30, 10, "decision"), (1, -10, 20, "decision"))


@both
def test_f4_lots_are_cut_towards_zero_and_closing_is_whole(engine: ModuleType) -> None:
    result = engine.simulate(asked((0, 0.5), (1, -0.5), (2, 0.0)), bars([30, 30, 30, 30]), held(Risk(lot=10.0)))
    # 500 / 30 = 16.67 → 10; then −16.67 − 10 = −26.67 → −20, so −10 are held; closing them is 10
    assert ledger(result) == close_to((1, 10, 30, "decision"), (2, -20, 30, "decision"), (3, 10, 30, "decision"))


@both
def test_f5_rounding_is_no_position(engine: ModuleType) -> None:
    weights = asked((0, 0.1), (1, 0.3), (2, 0.2), (3, -0.1), (4, 0.0))
    result = engine.simulate(weights, bars([3, 3, 3, 3, 3, 3]), held(Risk(turnover_limit=0.1)))
    # ± 33.33…, three times: +1, +1, −1, −1 leave nothing, whatever a third is rounded to
    assert [row[1] for row in ledger(result)] == pytest.approx([100 / 3, 100 / 3, -100 / 3, -100 / 3], rel=1e-9)


@both
def test_f7_no_more_than_a_share_of_volume(engine: ModuleType) -> None:
    prices = bars([10, 10, 10, 10, 10], volume=[999, 200, 0, NO, 30])
    result = engine.simulate(
        asked((0, 0.5), (1, 0.5), (2, 0.5), (3, 0.5)), prices, held(Risk(volume_share=0.1, lot=2.0))
    )
    # target 50: session 1 takes a tenth of 200 = 20; sessions 2 and 3 have no volume; session 4 a tenth of 30 = 3 → 2
    assert ledger(result) == close_to((1, 20, 10, "decision"), (4, 2, 10, "decision"))


@both
def test_f8_impact_grows_with_the_root_of_size(engine: ModuleType) -> None:
    prices = bars([10, 10, 10], volume=[NO, 150, 1])
    costs = Costs(commission_bp=1.0, half_spread_bp=2.0, impact_bp=40.0)
    result = engine.simulate(asked((0, 0.5), (1, -0.5)), prices, held(Risk(), costs))
    # session 1: no volume before it, so the root counts as 1: 50 × 10 × (3 + 40) bp = 2.15
    # session 2: equity 1000 − 2.15 = 997.85, target −49.8925, order −99.8925; the average is 150:
    #            998.925 × (3 + 40 × √(99.8925 / 150)) bp = 998.925 × 35.642… bp
    root = (99.8925 / 150) ** 0.5
    assert result.fills["cost"].tolist() == pytest.approx([2.15, 998.925 * (3 + 40 * root) / 1e4], rel=1e-9)


@both
def test_f9_f10_a_stop_refers_to_the_average_entry_and_is_filled_there(engine: ModuleType) -> None:
    prices = bars([10, 10, 20, 16, 16], [10, 10, 20, 17, 16], [10, 10, 20, 17, 16], [10, 10, 20, 12, 16])
    result = engine.simulate(asked((0, 0.5), (1, 1.0)), prices, held(Risk(stop_loss=0.1)))
    # session 1: buy 50 at 10. Decision: 100 wanted, 50 more; session 2: buy 50 at 20, average 15, stop 13.5
    # session 3: opens at 17 above the stop, falls to 12: sold at 13.5
    assert ledger(result) == close_to((1, 50, 10, "decision"), (2, 50, 20, "decision"), (3, -100, 13.5, "stop_loss"))


@both
def test_f10_a_gap_is_filled_at_the_open(engine: ModuleType) -> None:
    prices = bars([10, 10, 7], [10, 10, 8], [10, 10, 9], [10, 10, 6])
    result = engine.simulate(asked((0, 0.5)), prices, held(Risk(stop_loss=0.1)))
    assert ledger(result) == close_to((1, 50, 10, "decision"), (2, -50, 8, "stop_loss"))


@both
def test_f10_the_stop_comes_before_the_target(engine: ModuleType) -> None:
    prices = bars([10, 10, 10], [10, 10, 10], [10, 10, 12], [10, 10, 8])
    result = engine.simulate(asked((0, 0.5)), prices, held(Risk(stop_loss=0.1, take_profit=0.1)))
    assert ledger(result) == close_to((1, 50, 10, "decision"), (2, -50, 9, "stop_loss"))


@both
def test_f10_shorts_are_mirrored(engine: ModuleType) -> None:
    prices = bars([10, 10, 9, 10, 11], [10, 10, 10, 10, 10], [10, 10, 10, 10, 11.5], [10, 10, 8.5, 10, 10])
    result = engine.simulate(asked((0, -0.5), (2, -0.5)), prices, held(Risk(stop_loss=0.1, take_profit=0.1)))
    # session 1: sell 50 at 10; session 2: the low 8.5 passes the target 9: bought back at 9, equity 1050
    # its close 9: −525 / 9 = −58.33; session 3: sold at 10, stop 11; session 4: the high 11.5 passes it
    assert ledger(result) == close_to(
        (1, -50, 10, "decision"),
        (2, 50, 9, "take_profit"),
        (3, -525 / 9, 10, "decision"),
        (4, 525 / 9, 11, "stop_loss"),
    )


@both
def test_f10_without_opens_only_closes_are_seen(engine: ModuleType) -> None:
    prices = bars([10, 10, 9.5, 8], None, [10, 10, 10, 10], [10, 10, 8, 8])
    result = engine.simulate(asked((0, 0.5)), prices, held(Risk(stop_loss=0.1)))
    # the low 8 of session 2 is not looked at; session 3 closes at 8, below the stop 9
    assert ledger(result) == close_to((1, 50, 10, "decision"), (3, -50, 8, "stop_loss"))


@both
def test_f11_f12_stopped_on_the_entry_bar_and_asked_for_again(engine: ModuleType) -> None:
    prices = bars([10, 8, 8, 8], [10, 10, 8, 8], [10, 10, 8, 8], [10, 7, 8, 8])
    result = engine.simulate(asked((0, 0.5), (1, 0.5)), prices, held(Risk(stop_loss=0.1)))
    # session 1: buy 50 at the open 10, stopped at 9 in the same session: equity 950; its close asks again: 475 / 8
    assert ledger(result) == close_to((1, 50, 10, "decision"), (1, -50, 9, "stop_loss"), (2, 475 / 8, 8, "decision"))


@both
def test_f13_a_position_is_left_when_its_time_is_over(engine: ModuleType) -> None:
    prices = bars([10, 10, 10, NO, 10, 10], [10] * 6)
    result = engine.simulate(asked((0, 0.5), (1, 0.5), (2, 0.5)), prices, held(Risk(holding_bars=3)))
    # opened in session 1; session 3 would be the third, but has no close; session 4 orders, session 5 fills
    assert ledger(result) == close_to((1, 50, 10, "decision"), (5, -50, 10, "holding_bars"))


@both
def test_f14_a_drawdown_ends_trading(engine: ModuleType) -> None:
    prices = bars([10, 10, 7, 7, 7, 7])
    result = engine.simulate(asked((0, 1.0), (3, 1.0), (4, 1.0)), prices, held(Risk(drawdown_stop=0.2)))
    # session 2: equity 700 of 1000; session 3: all is sold, and no later decision counts
    assert ledger(result) == close_to((1, 100, 10, "decision"), (3, -100, 7, "drawdown_stop"))
    assert result.equity.tolist() == pytest.approx([1000, 1000, 700, 700, 700, 700])


@both
def test_f15_interest_and_borrow_follow_the_calendar(engine: ModuleType) -> None:
    prices = bars([10, 10, 10, 10, 10, 10])
    costs = Costs(commission_bp=0.0, half_spread_bp=0.0, interest_rate=0.0365, borrow_rate=0.073)
    result = engine.simulate(asked((0, -0.5)), prices, held(Risk(), costs))
    # Monday 2024-01-01; session 1: a day's interest 1000 × 0.0001 = 0.1, then 50 sold short: cash 1500.1
    # sessions 2 to 4: interest 0.0001 of cash, borrow 500 × 0.0002 = 0.1; session 5 is Monday: three days
    cash = 1000 * 1.0001 + 500
    expected = [1000, cash - 500]
    for days in (1, 1, 1, 3):
        cash += cash * 0.0001 * days - 0.1 * days
        expected.append(cash - 500)
    assert result.equity.tolist() == pytest.approx(expected, rel=1e-12)


@both
def test_volumes_are_asked_for(engine: ModuleType) -> None:
    with pytest.raises(ValueError, match="need volumes"):
        engine.simulate(asked((0, 0.5)), bars([10, 10]), held(Risk(volume_share=0.1)))


def agree(prices: Prices, seed: int, every: int, gross: float) -> str:
    weights = random_weights(seed, prices, every, gross)
    strategy = random_strategy(seed, gross, prices.volume is not None)
    one, two = (engine.simulate(weights, prices, strategy) for engine in (research, events))
    return apart(one, two, strategy.capital)


anything = given(
    prices=markets, seed=st.integers(0, 10**6), every=st.integers(1, 7), gross=st.sampled_from([0.5, 1.0, 8.0])
)


@settings(max_examples=60, deadline=None)
@anything
def test_the_engines_agree(prices: Prices, seed: int, every: int, gross: float) -> None:
    assert agree(prices, seed, every, gross) == ""


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@anything
def test_the_engines_agree_on_a_thousand(prices: Prices, seed: int, every: int, gross: float) -> None:
    assert agree(prices, seed, every, gross) == ""


@settings(max_examples=20, deadline=None)
@given(prices=markets, seed=st.integers(0, 10**6))
def test_a_sweep_is_many_single_runs(prices: Prices, seed: int) -> None:
    weights = random_weights(seed, prices, 2, 1.0)
    paths = [(weights, random_strategy(seed + k, 1.0, prices.volume is not None)) for k in range(3)]
    swept = research.sweep(paths, prices)
    for equity, (targets, strategy) in zip(swept, paths, strict=True):
        assert equity.tolist() == research.simulate(targets, prices, strategy).equity.tolist()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), every=st.integers(1, 4), tick=st.sampled_from([0.0, 0.5]))
def test_a_sweep_of_costs_stops_and_limits_is_many_single_runs(seed: int, every: int, tick: float) -> None:
    """Where it looks at the single path only if it must: levels, volumes, names that are only left."""
    rng, prices = np.random.default_rng(seed), random_market(seed, 80, 6, 0.1 * (seed % 2), 2, tick)
    weights = random_weights(seed, prices, every, 1.0)
    weights = weights.where(rng.random(weights.shape) < 0.4, 0.0)

    def one_of(*values: float | None) -> float | None:
        return values[rng.integers(len(values))]

    kept = {
        "stop_loss": bool(rng.random() < 0.7),
        "take_profit": bool(rng.random() < 0.7),
        "turnover_limit": bool(rng.random() < 0.7),
        "volume_share": bool(rng.random() < 0.5),
    }
    values = {
        "stop_loss": (None, 0.02, 0.1, 0.25),
        "take_profit": (None, 0.03, 0.1, 1.5),
        "turnover_limit": (0.05, 0.2, 0.7),
        "volume_share": (None, 0.05, 1.0),
    }
    paths, capital = [], float(rng.choice([1e3, 1e4, 1e5, 1e6]))
    for _ in range(int(rng.integers(1, 12))):
        costs = Costs(commission_bp=float(rng.choice([0.0, 4.0, 50.0])), half_spread_bp=1.0)
        risk = Risk(**{rule: one_of(*values[rule]) for rule, there in kept.items() if there})
        paths.append((weights, Strategy(costs=costs, risk=risk, gross_limit=1.0, name_limit=1.0, capital=capital)))
    swept = research.sweep(paths, prices)
    for equity, (targets, strategy) in zip(swept, paths, strict=True):
        assert equity.tolist() == research.simulate(targets, prices, strategy).equity.tolist()


BUGS = {
    "F1 the last decision but one is dropped": (
        "decision, alive = decisions[t], 0",
        "decision, alive = decisions[t] if t < bars - 2 else -1, 0",
    ),
    "F2 sized on the highest equity": ("size[v], least[v] = value[v]", "size[v], least[v] = peak[v]"),
    "F3 what is sold does not count": ("return abs(order) * close\n", "return max(order, 0.0) * close\n"),
    "F4 lots are rounded up": ("math.floor(abs(quantity) / lot + TOLERANCE)", "math.ceil(abs(quantity) / lot)"),
    "F6 a missing open lapses": ("price = opened if opened == opened else close  # F6", "price = opened"),
    "F8 impact without the root": ("math.sqrt(abs(quantity) / average)", "(abs(quantity) / average)"),
    "F9 entry is the last price": ("mean if abs(after) > abs(before)", "price if abs(after) > abs(before)"),
    "F10 the target comes first": (
        "found = side * stop if ranged and worst <= stop + slack else found",
        "found = side * stop if ranged and worst <= stop + slack and found == 0.0 else found",
    ),
    "F10 a gap is filled at the stop": (
        "first >= target - slack\n",
        "first >= target - slack\n                        price = side * stop if first < stop else price\n",
    ),
    "F11 a fill at the close is stopped": ("(ranged or not filled or quantity[v] == 0.0)", "True"),
    "F13 a bar too long": ("t - since >= holding_bars - 1.0", "t - since >= holding_bars"),
    "F14 the fall is measured from the start": (
        "(1.0 - drawdown_stop[v]) * peak[v]",
        "(1.0 - drawdown_stop[v]) * capital[v]",
    ),
    "F15 shorts are lent for nothing": (
        "short[v] -= min(held[j, v], 0.0)",
        "short[v] -= 0.0 * min(held[j, v], 0.0)",
    ),
    "F16 a halted name is worth nothing": ("if close == close else mark[j]", "if close == close else 0.0"),
}


def interpreted(right: str, wrong: str) -> ModuleType:
    """The kernel as plain Python, with one piece of it replaced."""
    source = Path(kernel.__file__).read_text()
    assert source.count(right) == 1
    module = ModuleType("interpreted")
    vars(module)["numba"] = SimpleNamespace(njit=lambda **_: lambda function: function)
    exec(compile(source.replace(right, wrong).replace("import numba\n", ""), "interpreted", "exec"), vars(module))
    return module


def first_difference() -> str:
    with np.errstate(all="ignore"):  # as in compiled code
        for seed in range(60):
            found = agree(random_market(seed, 30, 4, 0.1, 2, 0.5 * (seed % 2)), seed, 1 + seed % 4, 1.0)
            if found:
                return found
    return ""


@pytest.mark.slow
@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_caught(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = interpreted(*BUGS[bug])
    monkeypatch.setattr(research, "compiled", lambda: broken)
    assert first_difference()


@pytest.mark.slow
def test_without_a_bug_nothing_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = interpreted("import numba\n", "")
    monkeypatch.setattr(research, "compiled", lambda: whole)
    assert first_difference() == ""
