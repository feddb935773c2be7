"""The tear sheet: it opens offline, runs nothing that came with the data, has its pictures, and flatters nobody."""

import re

import numpy as np
import pandas as pd
import pytest

from tasks.domain import sensitivity, trading
from tasks.domain.simulate.contract import Prices
from tasks.domain.strategy import Costs, Strategy
from tasks.domain.study import Study, study
from tasks.tearsheet import pictures, tearsheet

HOSTILE = '<script>alert(1)</script><img src="https://x.example/a.png"> $\\frac$'


def studied(names: list[str], sessions: int = 300, known: bool = False, **fields: object) -> Study:
    """Scores without any skill, or those that know the next returns."""
    rng = np.random.default_rng(8)
    calendar = pd.bdate_range("2020-01-01", periods=sessions)
    close = pd.DataFrame(100 * np.cumprod(1 + rng.normal(0, 0.02, (sessions, len(names))), axis=0), calendar, names)
    scores = close.shift(-3) / close.shift(-1) if known else pd.DataFrame(rng.normal(size=close.shape), calendar, names)
    strategy = Strategy.model_validate({"name_limit": 0.5, "rebalance_sessions": 2} | fields)
    prices = Prices(close, volume=close * 0 + 1e6)
    traded = trading.trade(scores, prices, strategy)
    others = sensitivity.equities(traded.weights, traded.prices, strategy)
    return study(traded, scores, prices, strategy, others, seed=7)


def test_everything_known_is_shown_with_its_picture() -> None:
    sectors = {"energy": ["A", "B"], "health": ["C"]}
    told = studied(list("ABCDEFGH"), costs=Costs(impact_bp=5.0), sectors=sectors, sector_limit=0.6)
    page, drawn = tearsheet("Backtest of a test", told)
    ways = {
        "equity",
        "drawdown",
        "rolling_sharpe",
        "luck",
        "months",
        "states",
        "names",
        "sectors",
        "exposure",
        "trips",
        "costs",
    }
    assert set(drawn) == {f"{name}.png" for name in ways | {"sensitivity", "parameters", "capacity"}}
    assert page.count("<img ") == len(drawn)
    assert all(content.startswith(b"\x89PNG") for content in drawn.values())


def test_it_loads_and_runs_nothing_and_keeps_the_data_s_words_harmless() -> None:
    page, _ = tearsheet(HOSTILE, studied([HOSTILE, "B", "C", "D"], sectors={HOSTILE: ["B"]}, sector_limit=1.0))
    assert "<script" not in page
    assert not re.search(r'(src|href)="(?!data:image/png;base64,)', page)


def test_no_skill_is_called_no_proof_and_no_capacity_is_not_guessed() -> None:
    page, drawn = tearsheet("t", studied(list("ABCD")))
    assert "is no proof of skill" in page
    assert "Not known: the strategy names neither impact_bp nor volume_share" in page
    assert "Trades are taken to move no price" in page
    assert "capacity.png" not in drawn


@pytest.mark.parametrize(("known", "said"), [(True, "is above zero"), (False, "is no proof of skill")])
def test_the_first_line_says_what_the_standard_error_allows(known: bool, said: str) -> None:
    page, _ = tearsheet("t", studied(list("ABCDEF"), known=known, costs=Costs(commission_bp=0.0, half_spread_bp=0.0)))
    assert said in page


def test_a_loss_beyond_its_error_is_called_one() -> None:
    page, _ = tearsheet("t", studied(list("ABCDEF"), costs=Costs(commission_bp=100.0)))
    assert "is below zero" in page


@pytest.mark.parametrize("sessions", [1, 2, 3, 30])
def test_short_histories_have_a_page_too(sessions: int) -> None:
    page, drawn = tearsheet("t", studied(list("ABCD"), sessions))
    assert page.count("<img ") == len(drawn)


def test_pictures_depend_on_the_study_alone() -> None:
    assert pictures(studied(list("ABCD")), None) == pictures(studied(list("ABCD")), None)
