"""How often the gates let a worthless model through, how often they find a good one, and which cheats they miss.

Whole synthetic markets (Student returns, volatility clusters, common and sector moves, delistings, gaps) go through
training's own search, choice and fit, the black-box probes, the lockbox's figures, both engines and the decision of the
shipped problem under the shipped policy; only Prefect, MLflow and signatures are left out.

- worthless: no signal; the usual search, or the best of 50 or of 500 models of noise.
- nightly: one worthless (and smaller) market, retrained every night for 50 nights; accepted on any of them counts.
- worthy: a signal of a known rank IC drives returns; an oracle that knows it tests it on the same lockbox, by the same
  test at the same error rate of 1 %. What a fitted model lacks is then what it could not learn.
- cheating: models that know what they should not, each of which must be refused, and a gate that names why among those
  that failed.

The same worlds are judged as users would without this: a bare threshold on the lockbox's rank IC (as in a check of
metrics against limits), the best validation IC wins (as where each rolling update replaces the last), and a plain
t-test of daily rank ICs. Prints tables; writes a picture to --out; the last line is one JSON object.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.tree import DecisionTreeRegressor

sys.path.insert(0, str(Path(__file__).parents[1]))

from tasks.configuration import load_policy, load_problem
from tasks.domain import accuracy, criteria, evaluation, metrics, probes, statistics, trading
from tasks.domain.criteria import Criterion
from tasks.domain.families.catalogue import fit
from tasks.domain.families.trial import Trial, grid
from tasks.domain.features.engine import compute
from tasks.domain.gates import Policy, decide
from tasks.domain.inference.catalogue import load
from tasks.domain.labels import forward_return, reach
from tasks.domain.problem import Problem
from tasks.domain.selection import Scored, one_standard_error
from tasks.domain.simulate.portfolio import target_weights
from tasks.domain.simulate.research import simulate
from tasks.domain.spending import ERROR, Look, session_rank_ic, skill

SECTORS, NIGHTS = 5, 50


class Size(NamedTuple):
    names: int
    sessions: int


LARGE, SMALL = Size(100, 2520), Size(30, 1500)
PLANTED = (0.01, 0.02, 0.03, 0.05)
NOISE_MODELS = (50, 500)
VERDICTS = 30  # looks at one lockbox that a cheat learns from
LAGS = 12  # returns that a model of noise looks at
THRESHOLD = 0.01  # of the lockbox's rank IC, as people set it
WINDOW = 21  # sessions whose return is the signal

Model = Callable[[pd.DataFrame], pd.DataFrame]


class Trained(NamedTuple):
    """A candidate as its trainer hands it over: session Sharpe ratios of all `trials`, and what cross-validation says
    of the chosen one."""

    model: Model
    trials: list[float]
    rank_ic: float
    error: float


class World(NamedTuple):
    """`bars`: long; `signal`: what drives the next returns, sessions × names, known at the close."""

    bars: pd.DataFrame
    signal: pd.DataFrame


class Judged(NamedTuple):
    """`accepted` by the gates, `failed` ones; `rank_ic` of the lockbox, `t` of its daily values, `validation_ic`;
    `deflated`: Sharpe ratio of the lockbox by all trials; `p`: of the lockbox's rank IC; `oracle`: that of the signal,
    after earlier looks."""

    accepted: bool
    failed: tuple[str, ...]
    rank_ic: float
    t: float
    validation_ic: float
    deflated: float
    p: float
    oracle: float


def world(seed: int, rank_ic: float = 0.0, size: Size = LARGE) -> World:
    """A market of stocks; with a `rank_ic`, a name's last month moves its next returns by so much.

    Returns are Student (5 degrees) around a drift of strength × the signal's cross-sectional score; a drift that lasts
    the horizon of h sessions has a correlation of strength × √h with the return over it.
    """
    rng = np.random.default_rng(seed)
    count, sessions = size
    strength = rank_ic / np.sqrt(HORIZON)
    sector = rng.integers(0, SECTORS, count)
    shocks = rng.standard_t(5, (sessions, count)) / np.sqrt(5 / 3)
    common = rng.standard_t(5, sessions) / np.sqrt(5 / 3)
    groups = rng.standard_t(5, (sessions, SECTORS)) / np.sqrt(5 / 3)
    level, own = 0.0, 0.012 * np.exp(0.3 * rng.normal(size=count))
    moves, past = np.zeros((sessions, count)), np.zeros((WINDOW, count))
    signal = np.zeros((sessions, count))
    for t in range(sessions):
        level = 0.97 * level + 0.12 * rng.normal()  # log volatility
        drift = strength * own * signal[t - 1] if t else 0.0
        noise = own * shocks[t] + 0.008 * common[t] + 0.006 * groups[t][sector]
        moves[t] = drift * np.exp(level) + np.exp(level) * noise
        past[t % WINDOW] = moves[t]
        summed = past.sum(axis=0)
        signal[t] = (summed - summed.mean()) / summed.std()
    close = 50 * np.exp(np.cumsum(moves, axis=0))
    opened = np.vstack([close[:1], close[:-1]]) * np.exp(0.002 * rng.normal(size=close.shape))
    high = np.maximum(opened, close) * np.exp(0.003 * np.abs(rng.normal(size=close.shape)))
    low = np.minimum(opened, close) * np.exp(-0.003 * np.abs(rng.normal(size=close.shape)))
    volume = np.exp(13 + 0.4 * rng.normal(size=close.shape))
    calendar = pd.bdate_range("2010-01-01", periods=sessions)
    names = [f"N{number:03}" for number in range(count)]
    alive = np.ones(close.shape, dtype=bool)
    for name in rng.choice(count, 2, replace=False):
        alive[rng.integers(sessions // 2, sessions) :, name] = False
    alive &= rng.random(close.shape) > 0.001
    tables = {"open": opened, "high": high, "low": low, "close": close, "volume": volume}
    long = pd.DataFrame({field: values[alive] for field, values in tables.items()})
    at, name = np.nonzero(alive)
    long.insert(0, "timestamp", calendar[at])
    long.insert(1, "instrument", pd.array(np.array(names, dtype=object)[name], dtype="str"))
    bars = long.sort_values(["instrument", "timestamp"], ignore_index=True)
    return World(bars, pd.DataFrame(np.where(alive, signal, np.nan), calendar, names))


@cache
def setting() -> tuple[Problem, Policy]:
    """The shipped problem with its linear family, and the shipped policy."""
    problem = load_problem("sp500_alpha")
    return problem.model_copy(update={"families": problem.families[:1]}), load_policy(problem.policy)


HORIZON = 5


def searched(bars: pd.DataFrame, start: pd.Timestamp) -> Trained:
    """What training makes of the development part."""
    problem, _ = setting()
    known = evaluation.panel(bars[bars["timestamp"] < start], problem)
    trials = [trial for family in problem.families for trial in grid(family)]
    found = [evaluation.evaluate(trial, known, problem) for trial in trials]
    scored = [
        Scored(number, trial.family, each.rank_ic, each.standard_error)
        for number, (trial, each) in enumerate(zip(trials, found, strict=True))
    ]
    chosen = one_standard_error(scored).number
    files = fit(trials[chosen], known.sample(np.ones(len(known.y), dtype=bool)), problem.seed)
    best = found[chosen]
    ratios = [each.session_sharpe_ratio for each in found]
    return Trained(box(trials[chosen], files), ratios, best.rank_ic, best.standard_error)


def box(trial: Trial, files: dict[str, bytes]) -> Model:
    predictor, features = load(trial.family, files), setting()[0].features

    def score(bars: pd.DataFrame) -> pd.DataFrame:
        rows = compute(features, bars)
        table = pd.DataFrame(
            {"timestamp": rows.timestamp, "instrument": rows.instrument, "score": predictor(rows.x, rows.previous)}
        )
        return table.pivot(index="timestamp", columns="instrument", values="score")

    return score


def judge(
    made: World,
    start: pd.Timestamp,
    trained: Trained,
    earlier: Sequence[Look] = (),
    brief: bool = False,
) -> Judged:
    """All that the validator and the decision do, on one candidate, after `earlier` looks at the lockbox.

    `brief`: where skill is not shown, no probe is asked any more. The verdict is a refusal with or without them.
    """
    problem, policy = setting()
    bars, close = made.bars, made.bars.pivot(index="timestamp", columns="instrument", values="close")
    scores, labels = trained.model(bars), forward_return(close, problem.horizon)
    inside = accuracy.inside(scores, close, labels, start)
    told = skill(inside.scores, close, problem.horizon, earlier)
    lost = brief and told["lockbox.adjusted_p_value"] > ERROR
    told |= accuracy.surprise(accuracy.rank_ic(inside), trained.rank_ic, trained.error, problem.horizon)
    told |= traded(bars, inside, trained.trials) | ({} if lost else asked(bars, inside, trained.model, scores))
    verdict = decide(policy, accuracy.finite(told), asked_of_worlds(problem))
    daily = accuracy.rank_ic(inside)
    known = made.signal.loc[inside.labels.index, close.columns]
    oracle = skill(known, close, problem.horizon, earlier)["lockbox.adjusted_p_value"]
    return Judged(
        verdict.accepted,
        tuple(finding.figure for finding in verdict.findings if finding.outcome == "fail"),
        float(daily.mean()),
        float(stats.ttest_1samp(daily, 0).statistic),
        trained.rank_ic,
        told["lockbox.deflated_sharpe_ratio"],
        told["lockbox.p_value"],
        oracle,
    )


def asked_of_worlds(problem: Problem) -> list[Criterion]:
    """The problem's own criteria, but for the time a score takes: that is of the machine."""
    return [each for each in problem.criteria() if each.figure != criteria.LATENCY]


def asked(bars: pd.DataFrame, inside: accuracy.Lockbox, model: Model, scores: pd.DataFrame) -> dict[str, float]:
    problem, _ = setting()
    judged = pd.DatetimeIndex(inside.scores.index)
    told = probes.figures(probes.every(model, bars, scores, judged, problem.seed))
    told["probe.rescaling_share"] = probes.rescaling(model, bars, scores)
    return told | accuracy.accuracy(inside, problem.horizon, problem.strategy.long_fraction, problem.seed)


def traded(bars: pd.DataFrame, inside: accuracy.Lockbox, trials: list[float]) -> dict[str, float]:
    problem, _ = setting()
    prices = trading.prices_of(bars)
    found = trading.trade(inside.scores, prices, problem.strategy)
    told = accuracy.deflated_sharpe(found.returns, trials)
    return told | trading.figures(found, trading.measure(found, prices, problem.strategy)) | {"champion.present": 0.0}


def lockbox_start(bars: pd.DataFrame) -> pd.Timestamp:
    sessions = np.sort(bars["timestamp"].unique())
    return pd.Timestamp(sessions[int(len(sessions) * (1 - setting()[0].lockbox_fraction))])


def searched_world(asked: tuple[int, float]) -> Judged:
    seed, rank_ic = asked
    made = world(seed, rank_ic)
    start = lockbox_start(made.bars)
    return judge(made, start, searched(made.bars, start))


def noise_world(asked: tuple[int, int]) -> Judged:
    """The best of so many models of noise, by their Sharpe ratio on the development part."""
    seed, count = asked
    made, (problem, _) = world(seed), setting()
    start = lockbox_start(made.bars)
    prices = trading.prices_of(made.bars[made.bars["timestamp"] < start])
    labels = forward_return(prices.close, problem.horizon)
    known = lagged(prices.close)
    drawn = np.random.default_rng(seed).normal(size=(count, LAGS))
    ratios, ranks = list[float](), list[pd.Series]()
    for weights in drawn:
        scores = weighted(known, weights, prices.close)
        equity = simulate(target_weights(scores, problem.strategy), prices, problem.strategy).equity
        ratios.append(float(np.nan_to_num(metrics.sharpe_ratio(metrics.simple_returns(equity), 1))))
        ranks.append(metrics.rank_ic_series(scores, labels))
    best = int(np.argmax(ratios))

    def model(bars: pd.DataFrame) -> pd.DataFrame:
        close = table(bars)
        return weighted(lagged(close), drawn[best], close)

    return judge(made, start, Trained(model, ratios, *promised(ranks[best])))


def promised(ranks: pd.Series) -> tuple[float, float]:
    """Mean and standard error of a rank IC by session."""
    values = ranks.to_numpy(dtype=float)
    return float(values.mean()), statistics.mean_error(values, np.arange(len(values)), reach(HORIZON))


def lagged(close: pd.DataFrame) -> np.ndarray:
    """Past returns of each name, lags × sessions × names, 0 where unknown."""
    moved = np.log(close).diff()
    return np.stack([moved.shift(lag).fillna(0.0).to_numpy() for lag in range(LAGS)])


def weighted(known: np.ndarray, weights: np.ndarray, close: pd.DataFrame) -> pd.DataFrame:
    """A model of noise: past returns at weights drawn at random, as causal as a fitted one and as worthless."""
    return pd.DataFrame(np.tensordot(weights, known, 1), close.index, close.columns).where(close.notna())


def nights_of(seed: int) -> tuple[int, list[Judged]]:
    """One worthless market, retrained every night: trials add up as they do in MLflow."""
    made, trials, found, earlier = (
        world(seed, size=Size(SMALL.names, SMALL.sessions + NIGHTS)),
        list[float](),
        list[Judged](),
        list[Look](),
    )
    sessions = np.sort(made.bars["timestamp"].unique())
    for night in range(NIGHTS):
        bars = made.bars[made.bars["timestamp"] <= sessions[SMALL.sessions - 1 + night]]
        start = lockbox_start(bars)
        model, ratios, validation_ic = searched(bars, start)
        trials += ratios
        found.append(
            judge(World(bars, made.signal), start, model, list(trials), validation_ic, list(earlier), brief=True)
        )
        earlier.append(Look(start, bars["timestamp"].max()))
    return seed, found


# Cheats: from a world and its lockbox's beginning to a model. `answers` are the returns that scores are judged by.


def answers(made: World) -> pd.DataFrame:
    return forward_return(table(made.bars), HORIZON)


def table(bars: pd.DataFrame) -> pd.DataFrame:
    return bars.pivot(index="timestamp", columns="instrument", values="close")


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


def cheating_world(asked: tuple[int, int]) -> Judged:
    """A cheat's cross-validation knows what it knows, but for rows of the lockbox, which it did not have."""
    seed, number = asked
    made, cheat = world(seed, size=SMALL), list(CHEATS)[number]
    start = lockbox_start(made.bars)
    model = cheat(made)
    known = made.bars[made.bars["timestamp"] < start]
    honest = cheat in (fitted_on_the_lockbox, made_of_verdicts)
    labels = forward_return(table(known), HORIZON)
    ranks = metrics.rank_ic_series(model(known).reindex_like(labels), labels)
    told = (0.0, promised(ranks)[1]) if honest else promised(ranks)
    looks = [Look(start, made.bars["timestamp"].max())] * (VERDICTS if cheat is made_of_verdicts else 0)
    return judge(made, start, Trained(model, [0.01], *told), looks)


def tell_cheats(found: list[list[Judged]]) -> float:
    """Prints each kind and returns the share that was refused with the right reason among others."""
    right = []
    for (cheat, reason), judged in zip(CHEATS.items(), found, strict=True):
        named = [not each.accepted and any(gate.startswith(reason) for gate in each.failed) for each in judged]
        ranks = np.mean([each.rank_ic for each in judged])
        print(
            f"{cheat.__name__:>24}: rank IC {ranks:+.2f}, refused for {reason}: {sum(named)} of {len(named)}",
            flush=True,
        )
        right += named
    return float(np.mean(right))


def interval(hits: int, of: int) -> tuple[float, float]:
    """95 % interval of a share (Clopper & Pearson 1934)."""
    found = stats.binomtest(hits, of).proportion_ci(method="exact")
    return float(found.low), float(found.high)


RULES: dict[str, Callable[[Judged], bool]] = {
    "these gates": lambda each: each.accepted,
    "bare threshold": lambda each: each.rank_ic >= THRESHOLD,
    "best validation IC": lambda each: each.validation_ic > 0,
    "plain t-test, 5 %": lambda each: each.t > stats.norm.ppf(0.95),
    "deflated Sharpe, 95 %": lambda each: each.deflated >= 0.95,
    "oracle, 1 %": lambda each: each.oracle <= ERROR,
}


def tell(title: str, found: list[Judged]) -> dict[str, float]:
    """Prints and returns the share that each rule accepts."""
    shares = {}
    for name, rule in RULES.items():
        hits = sum(map(rule, found))
        low, high = interval(hits, len(found))
        shares[name] = hits / len(found)
        print(
            f"{title:>24} {name:>20}: {hits:4d} of {len(found)} = {shares[name]:6.1%}  [{low:.1%}, {high:.1%}]",
            flush=True,
        )
    return shares


def many(function: Callable[[Any], Any], asked: Iterable[Any], title: str, count: int) -> list[Any]:
    found = []
    with ProcessPoolExecutor(2) as pool:
        for number, each in enumerate(pool.map(function, asked), start=1):
            found.append(each)
            if number % 25 == 0:
                print(f"  {title}: {number} of {count}", file=sys.stderr, flush=True)
    return found


def picture(worthless: list[Judged], worthy: dict[float, list[Judged]], path: Path) -> None:
    """Share of good models found against share of worthless ones let through, as a rule's threshold moves."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.5, 5), layout="constrained")
    axes = figure.subplots()
    for colour, (planted, found) in zip(("#56b4e9", "#009e73", "#e69f00", "#d55e00"), worthy.items(), strict=False):
        for name, value, style in (("the p-value", "p", "-"), ("the oracle's p-value", "oracle", ":")):
            good, bad = (-np.array([getattr(each, value) for each in part]) for part in (found, worthless))
            limits = np.sort(bad)[::-1]
            axes.plot(
                np.arange(1, len(limits) + 1) / len(limits), [(good >= limit).mean() for limit in limits],
                style, color=colour, lw=1.2, label=f"planted {planted:g}: threshold on {name}",
            )  # fmt: skip
        share = np.mean([each.accepted for each in found]), np.mean([each.accepted for each in worthless])
        axes.plot([max(share[1], 1e-3)], [share[0]], "o", color=colour, label=f"planted {planted:g}: these gates")
    axes.set_xscale("log")
    axes.set_xlabel("share of worthless models accepted")
    axes.set_ylabel("share of good models accepted")
    axes.legend(fontsize=7)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=500, help="worthless ones; a fifth as many of each worthy kind")
    parser.add_argument("--years", type=int, default=60, help="worthless markets retrained for 50 nights")
    parser.add_argument("--out", type=Path, default=Path("gate_power.png"), help="where the picture goes")
    options = parser.parse_args()
    part = max(10, options.worlds // 5)
    plain = many(
        searched_world, ((seed, 0.0) for seed in range(options.worlds - 2 * part)), "worthless", options.worlds
    )
    worthless = plain + [
        each
        for count in NOISE_MODELS
        for each in many(noise_world, ((10_000 + seed, count) for seed in range(part)), f"best of {count}", part)
    ]
    baselines = {"worthless": tell("worthless", worthless)}
    false_accepts = sum(each.accepted for each in worthless)
    worthy = {
        planted: many(searched_world, ((20_000 + seed, planted) for seed in range(part)), f"IC {planted:g}", part)
        for planted in PLANTED
    }
    for planted, found in worthy.items():
        baselines[f"planted {planted:g}"] = tell(f"planted {planted:g}", found)
    picture(worthless, worthy, options.out)
    each = max(2, options.worlds // 100)
    asked = [(40_000 + seed, number) for number in range(len(CHEATS)) for seed in range(each)]
    cheated = many(cheating_world, asked, "cheats", len(asked))
    refused = tell_cheats([cheated[at : at + each] for at in range(0, len(cheated), each)])
    years = many(nights_of, range(30_000, 30_000 + options.years), "years of nights", options.years)
    ever = {name: np.mean([any(map(rule, nights)) for _, nights in years]) for name, rule in RULES.items()}
    for name, share in ever.items():
        print(f"{'50 nights, worthless':>24} {name:>20}: {share:6.1%} of {len(years)} accepted on any", flush=True)
    print(json.dumps({
        "worthless_worlds": len(worthless),
        "false_accept_rate": false_accepts / len(worthless),
        "false_accept_upper": interval(false_accepts, len(worthless))[1],
        "yearly_false_accept_rate": float(ever["these gates"]),
        "power": {f"{planted:g}": baselines[f"planted {planted:g}"]["these gates"] for planted in PLANTED},
        "power_over_oracle": {
            f"{planted:g}": baselines[f"planted {planted:g}"]["these gates"]
            / max(baselines[f"planted {planted:g}"]["oracle, 1 %"], 1e-9)
            for planted in PLANTED
        },
        "cheat_kinds": len(CHEATS),
        "cheats_refused_share": refused,
        "baselines": baselines,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
