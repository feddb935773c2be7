"""How large positions are, what limits cut off and when is decided, on rows that a person can check; and no future."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks.domain.simulate.contract import Prices, check_weights
from tasks.domain.simulate.past import Past, decide
from tasks.domain.simulate.portfolio import target_weights
from tasks.domain.strategy import Strategy

NO = float("nan")
SIZINGS = ("equal", "score", "inverse_volatility")


def scores(rows: list[list[float]], start: str = "2024-02-26") -> pd.DataFrame:
    return pd.DataFrame(rows, pd.bdate_range(start, periods=len(rows)), list("ABCDEFGHIJ"[: len(rows[0])]), dtype=float)


def strategy(**fields: object) -> Strategy:
    known = {"long_fraction": 0.5, "short_fraction": 0.5, "exit_fraction": 0.5, "name_limit": 1.0}
    return Strategy.model_validate(known | {"rebalance_sessions": 1} | fields)


def walks(names: str, moves: list[float], sessions: int = 40) -> pd.DataFrame:
    """Closes up to the first decision that go up and down by turns, each name by its own fraction."""
    signs = np.resize([1.0, -1.0], (sessions, 1))
    close = 100 * np.cumprod(1 + signs * np.array(moves), axis=0)
    return pd.DataFrame(close, pd.bdate_range(end="2024-02-26", periods=sessions), list(names))


def first(weights: pd.DataFrame) -> list[float]:
    return [float(weight) for weight in weights.iloc[0]]


# Sizes


def test_by_score_in_proportion_to_the_distance_from_the_median() -> None:
    # median 3: A is 3 above it, B 1, C 1 below, D 3
    weights = target_weights(scores([[6, 4, 2, 0]]), strategy(sizing="score"))
    assert first(weights) == pytest.approx([0.375, 0.125, -0.125, -0.375])


def test_by_score_with_all_scores_alike_is_equal() -> None:
    weights = target_weights(scores([[2, 2, 2, 2]]), strategy(sizing="score"))
    assert first(weights) == [0.25, 0.25, -0.25, -0.25]


def test_by_inverse_volatility() -> None:
    # B moves three times as far as A, D as far as C
    close = walks("ABCD", [0.01, 0.03, 0.02, 0.02])
    weights = target_weights(scores([[4, 3, 2, 1]]), strategy(sizing="inverse_volatility"), close)
    assert first(weights) == pytest.approx([0.375, 0.125, -0.25, -0.25], rel=1e-3)


@pytest.mark.parametrize("field", [{"sizing": "inverse_volatility"}, {"target_volatility": 0.5}])
def test_a_name_that_never_moved_or_moved_too_seldom_is_not_held(field: dict[str, object]) -> None:
    close = walks("ABCD", [0.01, 0.0, 0.01, 0.01])
    close.loc[close.index[:-15], "C"] = NO
    weights = target_weights(scores([[1, 4, 3, 2]]), strategy(**field), close)
    assert [name for name, weight in weights.iloc[0].items() if weight] == ["A", "D"]


@pytest.mark.slow
def test_least_variance_hedges_what_moves_together() -> None:
    """A and C move as one, B and D each on its own and much: the book is long A, short C."""
    rng = np.random.default_rng(3)
    common, own = rng.normal(0, 0.02, 300), rng.normal(0, 0.02, (2, 300))
    moves = np.column_stack([common, own[0], common + rng.normal(0, 0.001, 300), own[1]])
    close = pd.DataFrame(100 * np.cumprod(1 + moves, axis=0), pd.bdate_range(end="2024-02-26", periods=300))
    close.columns = pd.Index(list("ABCD"))
    asked = strategy(sizing="minimum_variance", volatility_sessions=250)
    found = first(target_weights(scores([[4, 3, 2, 1]]), asked, close))
    assert found[0] > 0.45
    assert found[2] < -0.45
    assert sum(found) == pytest.approx(0, abs=1e-6)
    equal = np.array([0.25, 0.25, -0.25, -0.25])
    assert (moves[-250:] @ found).std() < 0.2 * (moves[-250:] @ equal).std()


@pytest.mark.slow
def test_least_variance_keeps_the_name_limit_and_leaves_the_rest_in_cash() -> None:
    close = walks("ABCD", [0.01, 0.03, 0.02, 0.02])
    found = first(target_weights(scores([[4, 3, 2, 1]]), strategy(sizing="minimum_variance", name_limit=0.2), close))
    assert found == pytest.approx([0.2, 0.2, -0.2, -0.2], abs=1e-6)


def test_the_book_is_scaled_down_to_its_volatility_and_never_up() -> None:
    close = walks("AB", [0.01, -0.01])
    # long A, short B, half each: the book moves 1 % a session, 252 sessions a year
    yearly = np.tile([0.01, -0.01], 30).std(ddof=1) * math.sqrt(252)
    half = target_weights(scores([[2, 1]]), strategy(target_volatility=yearly / 2), close)
    assert first(half) == pytest.approx([0.25, -0.25], rel=0.01)
    assert first(target_weights(scores([[2, 1]]), strategy(target_volatility=9.0), close)) == [0.5, -0.5]


# Limits


def test_a_sector_is_cut_to_its_limit_and_those_in_none_are_one_too() -> None:
    fields = {"sectors": {"oil": ["A", "C"]}, "sector_limit": 0.3}
    # a quarter each; oil holds A and C, 0.5: each comes down to 0.15; B and D are the rest, likewise
    assert first(target_weights(scores([[4, 3, 2, 1]]), strategy(**fields))) == pytest.approx(
        [0.15, 0.15, -0.15, -0.15]
    )


def test_the_net_is_cut_on_its_larger_side() -> None:
    # longs 0.5 each less what the name limit cuts: 1 long at 0.5, 1 short at 0.5; of five names 2 and 1
    asked = strategy(long_fraction=0.4, short_fraction=0.2, name_limit=0.3, net_limit=0.1)
    # longs 0.25 each, the short 0.3 by the name limit; net 0.2, so longs come down to 0.4 in all
    assert first(target_weights(scores([[5, 4, 3, 2, 1]]), asked)) == pytest.approx([0.2, 0.2, 0, 0, -0.3])


def test_a_book_of_one_side_is_cut_to_the_net() -> None:
    asked = strategy(short_fraction=0.0, net_limit=0.6)
    assert first(target_weights(scores([[2, 1]]), asked)) == pytest.approx([0.6, 0])


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    sizing=st.sampled_from(SIZINGS),
    net=st.one_of(st.none(), st.floats(0, 0.5)),
    sector=st.one_of(st.none(), st.floats(0.05, 1)),
    target=st.one_of(st.none(), st.floats(0.01, 0.5)),
)
def test_every_limit_holds_and_the_future_changes_nothing(
    seed: int, sizing: str, net: float | None, sector: float | None, target: float | None
) -> None:
    rng = np.random.default_rng(seed)
    close = pd.DataFrame(100 * np.exp(np.cumsum(rng.normal(0, 0.02, (60, 6)), axis=0)), columns=list("ABCDEF"))
    close.index = pd.bdate_range("2024-01-01", periods=60)
    close = close.where(rng.random(close.shape) > 0.1)
    given = pd.DataFrame(rng.normal(size=close.shape), close.index, close.columns)
    sectors = {} if sector is None else {"one": ["A", "B"], "two": ["C"]}
    limits = {"net_limit": net, "sector_limit": sector, "sectors": sectors, "target_volatility": target}
    asked = strategy(sizing=sizing, name_limit=0.2, volatility_sessions=25, **limits)
    weights = target_weights(given, asked, close)
    check_weights(weights, Prices(close), asked)
    later = close.copy()
    later.iloc[40:] *= rng.uniform(0.5, 2, later.iloc[40:].shape)
    pd.testing.assert_frame_equal(target_weights(given, asked, later).iloc[:40], weights.iloc[:40], check_exact=True)


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"net_limit": 0.1}, "net limit"), ({"sectors": {"x": ["A"]}, "sector_limit": 0.4}, "sector")],
)
def test_weights_beyond_net_or_sector_are_refused(fields: dict[str, object], message: str) -> None:
    weights = scores([[0.5, 0.0]])
    with pytest.raises(ValueError, match=message):
        check_weights(weights, Prices(weights + 10), strategy(**fields))


# Who enters and leaves by score


def test_a_single_name_is_held_long_short_or_not_by_its_score() -> None:
    asked = strategy(entry_score=1.0, exit_score=0.5)
    rows = [[0.9], [1.0], [0.5], [0.4], [-1.0], [-0.5], [-0.4], [2.0], [-2.0]]
    held = target_weights(scores(rows), asked)["A"].tolist()
    assert held == [0, 1, 1, 0, -1, -1, 0, 1, -1]


def test_names_of_low_score_do_not_fill_up() -> None:
    asked = strategy(entry_score=3.0)
    assert first(target_weights(scores([[4, 2, 1, -5]]), asked)) == [0.5, 0, 0, -0.5]


# When


@pytest.mark.parametrize(
    ("every", "days"),
    [
        ("weekly", ["2024-02-26", "2024-03-04", "2024-03-11"]),
        ("monthly", ["2024-02-26", "2024-03-01"]),
        ("quarterly", ["2024-02-26"]),
    ],
)
def test_decisions_fall_on_the_first_session_of_a_period(every: str, days: list[str]) -> None:
    weights = target_weights(scores([[2, 1]] * 12), strategy(rebalance_sessions=every))
    assert weights.index.strftime("%Y-%m-%d").tolist() == days


# What may not be asked for


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"exit_score": 0.5}, "entry_score"),
        ({"entry_score": 0.5, "exit_score": 0.6}, "entry_score"),
        ({"sector_limit": 0.5}, "belong together"),
        ({"sectors": {"x": ["A"]}}, "belong together"),
        ({"sectors": {"x": ["A"], "y": ["A"]}, "sector_limit": 0.5}, "A stands there twice"),
        ({"rebalance_sessions": "daily"}, "weekly"),
        ({"volatility_sessions": 5}, "20"),
        ({"sizing": "kelly"}, "minimum_variance"),
    ],
)
def test_contradictions_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        strategy(**fields)


def test_sizing_by_volatility_without_closes_is_refused() -> None:
    with pytest.raises(ValueError, match="need closes"):
        target_weights(scores([[2, 1]]), strategy(sizing="inverse_volatility"))


def test_a_decision_outside_the_calendar_is_refused() -> None:
    with pytest.raises(ValueError, match="no session of the closes"):
        target_weights(scores([[2, 1]]), strategy(target_volatility=0.1), walks("AB", [0.1, 0.1]).iloc[:-1])


# Looking ahead


def market() -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(0)
    close = pd.DataFrame(100 * np.exp(np.cumsum(rng.normal(0, 0.02, (50, 3)), axis=0)), columns=list("ABC"))
    close.index = pd.bdate_range("2024-01-01", periods=50)
    return close * 0 + 1, close


def next_bar(past: Past) -> np.ndarray:
    """An oracle: all in the name that will rise most."""
    best = np.argmax(past.close[len(past.close)] / past.close[-1])
    return np.eye(past.close.shape[1])[best]


def beyond_its_own_array(past: Past) -> np.ndarray:
    """An oracle that looks for the table that its closes were cut from."""
    whole = past.close.base
    assert whole is not None, "nothing behind it"
    return np.eye(3)[np.argmax(whole[len(past.close)])]


@pytest.mark.parametrize(("oracle", "error"), [(next_bar, IndexError), (beyond_its_own_array, AssertionError)])
def test_an_oracle_gets_an_error_not_a_profit(oracle: object, error: type[Exception]) -> None:
    given, close = market()
    with pytest.raises(error):
        decide(oracle, given, close, 20)  # type: ignore[arg-type]


def test_a_rule_sees_the_close_it_decides_at_and_what_it_writes_is_its_own() -> None:
    given, close = market()
    seen: list[float] = []

    def rule(past: Past) -> np.ndarray:
        seen.append(float(past.close[-1, 0]))
        past.close[:], past.score[:] = 0.0, 0.0
        return np.zeros(3)

    decide(rule, given, close, 20)
    assert seen == close["A"].tolist()
    assert (given == 1).all(axis=None)


@pytest.mark.parametrize("sizing", [*SIZINGS, pytest.param("minimum_variance", marks=pytest.mark.slow)])
def test_every_sizing_decides_the_same_with_the_future_cut_off(sizing: str) -> None:
    given, close = market()
    given = given * [3, 2, 1]
    asked = strategy(sizing=sizing, target_volatility=0.2, volatility_sessions=20)
    whole = target_weights(given, asked, close)
    cut = target_weights(given.iloc[:30], asked, close.iloc[:30])
    assert (whole.iloc[:30] != 0).any(axis=None)
    pd.testing.assert_frame_equal(whole.iloc[:30], cut, check_exact=True)
