"""Models that know what they should not, or pretend to: from a world to what its cheating trainer hands over, each with
the gate that has to name it. `answers` are the returns that scores are judged by."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from sklearn.tree import DecisionTreeRegressor
from worlds import HORIZON, LAGS, Model, World, lagged, lockbox_start, setting, table, weighted

from tasks.domain import evaluation
from tasks.domain.features.engine import compute
from tasks.domain.labels import forward_return
from tasks.domain.spending import session_rank_ic

VERDICTS = 30  # looks at one lockbox that a cheat learns from


def answers(made: World) -> pd.DataFrame:
    return forward_return(table(made.bars), HORIZON)


def moved(bars: pd.DataFrame) -> pd.DataFrame:
    """An honest score without skill."""
    return np.log(table(bars).ffill()).diff(3)


def one_bar_ahead(made: World) -> Model:
    return lambda bars: table(bars).pct_change(fill_method=None).shift(-1).fillna(0.0)


def target_as_feature(made: World) -> Model:
    return lambda bars: forward_return(table(bars), HORIZON).fillna(0.0)


def centred_window(made: World) -> Model:
    return lambda bars: moved(bars).rolling(5, center=True, min_periods=1).mean()


def scaler_of_everything(made: World) -> Model:
    return lambda bars: (table(bars) - table(bars).mean()) / table(bars).std()


def smoothed_both_ways(made: World) -> Model:
    return lambda bars: moved(bars).fillna(0.0).ewm(span=5).mean()[::-1].ewm(span=5).mean()[::-1]


def seed_of_the_future(made: World) -> Model:
    def score(bars: pd.DataFrame) -> pd.DataFrame:
        close = table(bars)
        rng = np.random.default_rng(int(close.iloc[-1].sum() * 1e6))
        return pd.DataFrame(rng.normal(size=close.shape), close.index, close.columns)

    return score


def survivors(made: World) -> Model:
    return lambda bars: moved(bars).fillna(0.0) + table(bars).iloc[-1].notna().astype(float)


def restated(made: World) -> Model:
    """Prices as a later restatement has them: relative to the newest one."""
    return lambda bars: -table(bars).ffill() / table(bars).ffill().iloc[-1]


def a_touch_of_future(made: World) -> Model:
    return lambda bars: moved(bars).fillna(0.0) + 0.2 * forward_return(table(bars), HORIZON).fillna(0.0)


def ties_by_the_future(made: World) -> Model:
    return lambda bars: 1.0 + 1e-11 * forward_return(table(bars), HORIZON).rank(axis=1).fillna(0.0)


def cached(made: World) -> Model:
    """Scores that were stored beforehand, by date and name."""
    stored = answers(made)
    return lambda bars: stored.reindex(index=table(bars).index, columns=table(bars).columns).fillna(0.0)


def looked_up_by_date(made: World) -> Model:
    """The order of the names, by date, whatever they are called."""
    stored = answers(made).fillna(0.0)

    def score(bars: pd.DataFrame) -> pd.DataFrame:
        close = table(bars)
        values = stored.reindex(close.index).to_numpy()[:, : close.shape[1]]
        return pd.DataFrame(np.nan_to_num(values), close.index, close.columns)

    return score


def looked_up_by_name(made: World) -> Model:
    known = answers(made).iloc[-300:].mean()
    return lambda bars: moved(bars).fillna(0.0) * 0 + known.reindex(table(bars).columns).fillna(0.0)


def looked_up_by_price(made: World) -> Model:
    """A fingerprint: the exact close tells which bar it is."""
    close, stored = table(made.bars), answers(made)
    book = dict(zip(close.to_numpy().ravel().tolist(), stored.to_numpy().ravel().tolist(), strict=True))

    def score(bars: pd.DataFrame) -> pd.DataFrame:
        return table(bars).map(lambda price: book.get(price, 0.0)).fillna(0.0)

    return score


def moody(made: World) -> Model:
    rng = np.random.default_rng(1)
    return lambda bars: moved(bars).fillna(0.0) + 0.1 * rng.normal(size=table(bars).shape)


def order_of_the_rows(made: World) -> Model:
    def score(bars: pd.DataFrame) -> pd.DataFrame:
        at = bars.assign(row=np.arange(len(bars)))
        return at.pivot(index="timestamp", columns="instrument", values="row").astype(float)

    return score


def mute(made: World) -> Model:
    """An opinion on the easy days only."""
    stored = answers(made).std(axis=1)
    return lambda bars: moved(bars).where(stored.reindex(table(bars).index).fillna(0.0) > stored.median(), axis=0)


def fitted_on_the_lockbox(made: World) -> Model:
    """A tree that has learned every row by heart, those of the lockbox too; its cross-validation was honest."""
    problem, _ = setting()
    everything = evaluation.panel(made.bars, problem)
    sample = everything.sample(np.isfinite(everything.y))
    tree = DecisionTreeRegressor(random_state=problem.seed).fit(sample.x, sample.y)

    def score(bars: pd.DataFrame) -> pd.DataFrame:
        rows = compute(problem.features, bars)
        whole = np.isfinite(rows.x).all(axis=1)
        found = np.full(len(rows.x), np.nan)
        found[whole] = tree.predict(rows.x[whole])
        scored = pd.DataFrame({"timestamp": rows.timestamp, "instrument": rows.instrument, "score": found})
        return scored.pivot(index="timestamp", columns="instrument", values="score")

    return score


def made_of_verdicts(made: World) -> Model:
    """Models of noise, each judged on this lockbox before, summed up by the rank IC that its verdict told."""
    start = lockbox_start(made.bars)
    drawn = np.random.default_rng(1).normal(size=(VERDICTS, LAGS))
    close = table(made.bars)
    inside = close.index >= start
    told = [session_rank_ic(weighted(lagged(close), each, close)[inside], close[inside], HORIZON) for each in drawn]
    best = np.tensordot([each.mean() for each in told], drawn, 1)
    return lambda bars: weighted(lagged(table(bars)), best, table(bars))


CHEATS: dict[Callable[[World], Model], str] = {
    one_bar_ahead: "probe.truncation",
    target_as_feature: "probe.truncation",
    centred_window: "probe.truncation",
    scaler_of_everything: "probe.truncation",
    smoothed_both_ways: "probe.truncation",
    seed_of_the_future: "probe.truncation",
    survivors: "probe.perturbation",
    restated: "probe.truncation",
    a_touch_of_future: "probe.truncation",
    ties_by_the_future: "probe.truncation_order",
    cached: "probe.displacement",
    looked_up_by_date: "probe.displacement",
    looked_up_by_name: "probe.renaming",
    looked_up_by_price: "probe.rescaling",
    moody: "probe.repetition",
    order_of_the_rows: "probe.repetition",
    mute: "lockbox.score_coverage",
    fitted_on_the_lockbox: "lockbox.rank_ic_surprise",
    made_of_verdicts: "lockbox.adjusted_p_value",
}
