"""Each scenario does what it says, by hand; the library is checked; a model that fails is told from one that loses."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tasks.configuration import load_policy, load_scenarios
from tasks.domain.bars import wide
from tasks.domain.errors import UsageError
from tasks.domain.scenarios import judged, plan, worlds
from tasks.domain.scenarios.market import market_of
from tasks.domain.simulate.contract import Prices
from tasks.domain.strategy import Costs, Strategy
from tests.support.market import bars as market_bars
from tests.support.market import canonical

STRATEGY = Strategy(name_limit=0.5, rebalance_sessions=1)
LIMITS = {"max_drawdown": 0.3, "turnover": 1000.0, "gross_exposure": 1.5, "score_shift": 0.9, "outside_share": 0.9}
WHY = "because it happens"


def library(*scenarios: dict[str, Any], **changes: Any) -> plan.Library:
    fields = {"name": "x", "objective": "alpha", "sessions": 60, "limits": LIMITS}
    return plan.parse_scenarios(fields | {"scenarios": [{"why": WHY} | each for each in scenarios]} | changes, "x.yaml")


def one(**fields: Any) -> plan.Scenario:
    return library({"name": "it"} | fields).scenarios[0]


def momentum(bars: pd.DataFrame) -> pd.DataFrame:
    close = wide(bars, "close")
    return np.log(close.ffill(limit=5)).diff(10).where(close.notna()).iloc[10:]


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    made = market_bars(0.0, names=10, sessions=120)
    return canonical(made.rename(columns={"date": "timestamp", "symbol": "instrument"}))


@pytest.fixture(scope="module")
def base(bars: pd.DataFrame) -> worlds.Base:
    found = judged.base_of(momentum, 60, bars, momentum(bars), STRATEGY, 7)
    assert found is not None
    return found


def judge(bars: pd.DataFrame, asked: plan.Library, model: Any = momentum) -> judged.Judge:
    prices = Prices(**{name: wide(bars, name) for name in ("close", "open", "high", "low", "volume")})
    return judged.judge(model, asked, bars, model(bars), prices, pd.Timestamp("2015-05-01"), STRATEGY, 7)


def moves(made: worlds.World) -> pd.DataFrame:
    return np.log(made.prices.close).diff()


def test_the_market_is_rebuilt_as_it_was(bars: pd.DataFrame) -> None:
    market = market_of(bars)
    pd.testing.assert_frame_equal(market.bars()[list(bars.columns)], bars, check_freq=False)


def test_holes_do_not_move_and_names_with_few_bars_stay_out(bars: pd.DataFrame) -> None:
    hole = (bars["instrument"] == "N01") & (bars["timestamp"] == bars["timestamp"].unique()[5])
    rare = (bars["instrument"] == "N02") & (bars["timestamp"] > bars["timestamp"].unique()[30])
    market = market_of(bars[~hole & ~rare])
    assert "N02" not in market.names
    assert market.moves[5, 1] == 0.0
    assert np.isfinite(market.bars()["close"]).all()


def test_as_it_was_and_costs_score_the_very_same_bars(base: worlds.Base) -> None:
    assert worlds.world(one(kind="ordinary"), base).seen is base.bars
    dry = worlds.world(one(kind="liquidity", factor=5.0), base)
    assert dry.strategy.costs == Costs(commission_bp=5.0, half_spread_bp=10.0)
    volume = wide(dry.seen, "volume") / base.market.table(base.market.volume)
    assert volume.iloc[: base.since].to_numpy().min() == 1.0
    assert volume.iloc[base.since :].to_numpy().max() == pytest.approx(0.2)


def test_another_order_keeps_sessions_whole(base: worlds.Base) -> None:
    made = worlds.world(one(kind="bootstrap", block=5.0), base)
    known = {tuple(np.round(row, 9)) for row in base.market.moves[1:]}
    drawn = [tuple(np.round(row, 9)) for row in moves(made).iloc[1:].to_numpy()]
    assert all(row in known for row in drawn)
    assert len(set(drawn)) < len(drawn), "drawn with replacement"


def test_a_volatility_shock_begins_high_and_dies_down() -> None:
    rng = np.random.default_rng(1)
    sigma, returns = 0.01, []
    for _ in range(3000):
        returns.append(sigma * rng.normal())
        sigma = np.sqrt(2e-6 + 0.1 * returns[-1] ** 2 + 0.88 * sigma**2)
    fitted = worlds.garch(np.array(returns))
    assert 0.8 < fitted.beta < 0.95
    assert 0.05 < fitted.alpha < 0.15
    assert fitted.omega / (1 - fitted.alpha - fitted.beta) == pytest.approx(fitted.usual)
    still = worlds.garch(np.zeros(50))
    assert (still.alpha, still.beta, still.path.tolist()) == (0.0, 1.0, [1.0] * 50)


def test_shocks_are_three_times_the_usual_at_first(base: worlds.Base) -> None:
    calm, wild = (worlds.world(one(kind="garch", start=start), base) for start in (1.0, 3.0))
    first = [np.abs(moves(made).iloc[base.since] - base.market.moves[1:].mean(axis=0)) for made in (calm, wild)]
    assert (first[1] / first[0]).to_numpy() == pytest.approx(np.full(10, 3.0))


def test_names_move_as_one(base: worlds.Base) -> None:
    made = moves(worlds.world(one(kind="correlation", correlation=0.95), base)).iloc[base.since :]
    correlations = np.corrcoef(made.to_numpy().T)[np.triu_indices(10, 1)]
    assert correlations.mean() == pytest.approx(0.95, abs=0.01)
    assert made.std(ddof=0).to_numpy() == pytest.approx(base.market.moves[base.since :].std(axis=0))


def test_returns_are_three_times_as_large_after_an_ordinary_history(base: worlds.Base) -> None:
    made = moves(worlds.world(one(kind="volatility", factor=3.0), base))
    assert made.iloc[1 : base.since].to_numpy() == pytest.approx(base.market.moves[1 : base.since])
    assert made.iloc[base.since :].std().to_numpy() == pytest.approx(
        3 * base.market.moves[base.since :].std(axis=0, ddof=1)
    )


def test_late_bars_stand_under_the_date_of_their_arrival(base: worlds.Base) -> None:
    made = worlds.world(one(kind="late", share=0.2, sessions=2), base)
    seen, true = wide(made.seen, "close"), base.prices.close
    late = [name for name in true if not seen[name].equals(true[name])]
    assert late == ["N00", "N05"]
    for name in late:
        assert seen[name].iloc[2:].tolist() == true[name].iloc[:-2].tolist()
        assert seen[name].iloc[:2].isna().all()
    assert made.prices is base.prices, "the market is not late"


@pytest.mark.parametrize(("share", "robbed", "lost"), [(1.0, 0, 50), (0.3, 3, 15)])
def test_an_outage_takes_bars_from_the_model_alone(base: worlds.Base, share: float, robbed: int, lost: int) -> None:
    made = worlds.world(one(kind="outage", share=share, sessions=5), base)
    assert len(made.robbed) == robbed
    assert len(base.bars) - len(made.seen) == lost
    assert made.prices is base.prices


def test_the_favourite_halves(base: worlds.Base) -> None:
    made = worlds.world(one(kind="crash", fall=0.5), base)
    ratio = made.prices.close / base.prices.close
    name = base.scores.iloc[base.event - 5].idxmax()
    assert ratio[name].iloc[base.event :].to_numpy() == pytest.approx(0.5)
    assert ratio.drop(columns=name).to_numpy() == pytest.approx(1.0)
    assert ratio[name].iloc[: base.event].to_numpy() == pytest.approx(1.0)
    assert (made.prices.low.to_numpy() <= made.prices.close.to_numpy()).all()


def test_a_bad_tick_is_one_close_that_nobody_traded_at(base: worlds.Base) -> None:
    made = worlds.world(one(kind="bad_tick", factor=10.0), base)
    ratio = (wide(made.seen, "close") / base.prices.close).to_numpy().ravel()
    assert sorted(ratio)[-2:] == [1.0, 10.0]
    assert made.prices is base.prices


def test_a_crash_of_a_held_name_costs_its_weight(bars: pd.DataFrame) -> None:
    told = judge(bars, library({"name": "it", "kind": "ordinary"}, {"name": "crash", "kind": "crash", "fall": 0.5}))
    usual, crash = (judged.outcome(told, each) for each in told.library.scenarios)
    # Two of ten names are long, at a quarter of equity each.
    assert crash.figures["max_drawdown"] - usual.figures["max_drawdown"] > 0.08
    assert crash.figures["finite_share"] == usual.figures["finite_share"] == 1.0
    assert usual.figures["score_shift"] == 0.0


def test_windows_and_regimes_are_parts_of_one_history(bars: pd.DataFrame) -> None:
    window = {"name": "window", "kind": "window", "first": "2015-03-02", "last": "2015-04-30"}
    before = {"name": "before", "kind": "window", "first": "1990-01-01", "last": "1990-12-31"}
    after = {"name": "after", "kind": "window", "first": "2015-05-01", "last": "2016-12-31"}
    told = judge(bars, library(window, before, after))
    found = {each.name: judged.outcome(told, each) for each in told.library.scenarios}
    inside = told.history.run.equity["2015-03-02":"2015-04-30"]
    assert found["window"].sessions == len(inside)
    fall = 1 - (inside / told.history.run.equity["2015-02-27":"2015-04-30"].cummax().loc[inside.index]).min()
    assert found["window"].figures["max_drawdown"] == pytest.approx(fall)
    assert "in sample: training had these sessions" in found["window"].words
    assert found["after"].words.startswith("out of sample")
    assert (found["before"].figures, found["before"].sessions) == ({}, 0)
    assert "too few" in found["before"].words


def test_a_silent_model_is_a_defect_and_a_losing_one_a_warning(bars: pd.DataFrame) -> None:
    def thrown_by_jumps(table: pd.DataFrame) -> pd.DataFrame:
        close = wide(table, "close")
        if (close.pct_change(fill_method=None).abs() > 0.4).to_numpy().any():
            raise FloatingPointError("beyond\nthe range")
        return momentum(table)

    strict = LIMITS | {"max_drawdown": 0.01}
    asked = library({"name": "it", "kind": "ordinary"}, {"name": "crash", "kind": "crash", "fall": 0.5}, limits=strict)
    told = judge(bars, asked, thrown_by_jumps)
    found = [judged.outcome(told, each) for each in asked.scenarios]
    figures, table = judged.figures(found), judged.table(found)
    assert figures["scenario.finite_share"] == 0.0
    assert table["crash"]["words"] == "the model fails: FloatingPointError: beyond the range"
    assert figures["scenario.it.finite_share"] == 1.0
    assert figures["scenario.breaches"] == 1.0
    assert table["it"]["breaches"][0].startswith("max_drawdown 0.0")


def test_infinite_scores_count_wherever_they_stand(base: worlds.Base) -> None:
    due = judged.expected(base, base.bars, ("N03",))
    scores = base.scores.iloc[base.since :].copy()
    assert judged.finite_share(scores, due) == 1.0
    scores.iloc[4, 3] = np.inf
    assert judged.finite_share(scores, due) == pytest.approx(1 - 1 / (9 * len(scores) + 1))


def test_too_few_bars_leave_no_figure_for_the_gates(bars: pd.DataFrame) -> None:
    few = bars[bars["timestamp"] < bars["timestamp"].unique()[40]]
    told = judge(few, library({"name": "it", "kind": "ordinary"}))
    assert judged.figures([judged.outcome(told, told.library.scenarios[0])]) == {}


def test_the_same_seed_gives_the_same_worlds(base: worlds.Base) -> None:
    for fields in ({"kind": "bootstrap", "block": 5.0}, {"kind": "garch", "start": 2.0}):
        first, second, other = (
            worlds.world(one(**fields), base._replace(seed=seed)).prices.close for seed in (7, 7, 8)
        )
        assert first.equals(second)
        assert not first.equals(other)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kind": "crash", "fall": 1.5}, "fall"),
        ({"kind": "crash", "fall": 0.5, "depth": 1}, "depth: unknown key"),
        ({"kind": "flood"}, "kind"),
        ({"kind": "window", "first": "2020-02-01", "last": "2020-01-01"}, "first must not be after last"),
        ({"kind": "regime", "of": "market", "state": "high"}, "expected one of"),
        ({"kind": "ordinary", "limits": {"max_drawdown": 2.0}}, "limits.max_drawdown"),
    ],
)
def test_a_library_that_says_nonsense_is_refused_in_one_line(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=r"^x\.yaml: ") as fault:
        one(**fields)
    assert said in str(fault.value)
    assert "\n" not in str(fault.value)


def test_two_scenarios_of_one_name_are_refused() -> None:
    with pytest.raises(UsageError, match="it stands there twice"):
        library({"name": "it", "kind": "ordinary"}, {"name": "it", "kind": "ordinary"})


def test_the_shipped_library_holds_every_kind_and_is_no_policy() -> None:
    shipped = load_scenarios("alpha")
    kinds = {each.kind for each in shipped.scenarios}
    assert {"window", "regime", "bootstrap", "garch", "correlation", "volatility", "liquidity"} <= kinds
    assert {"late", "outage", "crash", "bad_tick", "ordinary"} <= kinds
    with pytest.raises(UsageError):
        load_policy("scenarios")
    with pytest.raises(UsageError, match="scenarios/flood"):
        load_scenarios("flood")
