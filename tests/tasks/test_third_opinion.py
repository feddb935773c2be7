"""A third engine replays the fills: it agrees, says what it cannot tell, and never fails in silence."""

import os
import sys

import numpy as np
import pandas as pd
import pytest

from tasks.domain import trading
from tasks.domain.errors import UsageError
from tasks.domain.simulate.contract import Prices, Result
from tasks.domain.strategy import Costs, Risk, Strategy
from tasks.third_opinion import PYTHON, third_opinion

STRATEGY = Strategy(name_limit=0.3, rebalance_sessions=2)


def traded(with_opens: bool = True) -> tuple[Result, Prices]:
    rng = np.random.default_rng(1)
    calendar = pd.bdate_range("2020-01-01", periods=120)
    names = [f"N {number}" for number in range(8)]
    close = pd.DataFrame(100 * np.cumprod(1 + rng.normal(0, 0.02, (120, 8)), axis=0), calendar, names)
    close = close.where(rng.random(close.shape) > 0.05)
    prices = Prices(close, close.shift() * 1.001 if with_opens else None)
    found = trading.trade(pd.DataFrame(rng.normal(size=close.shape), calendar, names), prices, STRATEGY)
    return found.result, found.prices


@pytest.mark.skipif(PYTHON not in os.environ, reason=f"{PYTHON} names no Python with nautilus_trader")
@pytest.mark.parametrize("with_opens", [True, False])
def test_nautilus_keeps_the_same_books(with_opens: bool) -> None:
    gap = third_opinion(*traded(with_opens), STRATEGY).gap_bp
    assert gap is not None
    assert gap < 0.01


@pytest.mark.skipif(PYTHON not in os.environ, reason=f"{PYTHON} names no Python with nautilus_trader")
def test_a_wrong_cost_does_not_pass() -> None:
    result, prices = traded()
    gap = third_opinion(result, prices, STRATEGY.model_copy(update={"costs": Costs(commission_bp=9.0)})).gap_bp
    assert gap is not None
    assert gap > 1


def test_nobody_is_asked_where_nobody_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PYTHON, raising=False)
    found = third_opinion(*traded(), STRATEGY)
    assert found == (None, "No third engine was asked")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"costs": Costs(impact_bp=5.0)}, "impact_bp"),
        ({"risk": Risk(stop_loss=0.1, take_profit=0.1)}, "stop_loss, take"),
    ],
)
def test_what_a_replay_cannot_tell_is_not_asked(
    fields: dict[str, object], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PYTHON, sys.executable)
    found = third_opinion(*traded(), STRATEGY.model_copy(update=fields))
    assert found.gap_bp is None
    assert told in found.words


@pytest.mark.parametrize(
    ("python", "said"), [(sys.executable, "No module named 'nautilus_trader'"), ("/nowhere/python", "no answer")]
)
def test_whoever_is_named_and_does_not_answer_is_told_in_one_line(
    python: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PYTHON, python)
    with pytest.raises(UsageError, match=f"^{PYTHON}={python}: .*{said}"):
        third_opinion(*traded(), STRATEGY)
