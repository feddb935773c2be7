"""How often the gates let a worthless model through, how often they find a good one, and which cheats they miss.

Whole synthetic markets (Student returns, volatility clusters, common and sector moves, delistings, gaps) go through
training's own search, choice and fit, the black-box probes, the lockbox's figures, both engines and the decision of the
shipped problem under the shipped policy; only Prefect, MLflow and signatures are left out. A few worlds go through the
whole chain as well, to the same figures (`--chain`).

- worthless: no signal; the usual search, or (in smaller markets) the best of 50 or of 500 models of noise.
- nightly: one worthless (and smaller) market, retrained every night for 50 nights; accepted on any of them counts.
- worthy: a signal of a known rank IC drives returns; an oracle that knows it tests it on the same lockbox, by the same
  test at the same error rate. What a fitted model lacks is then what it could not learn.
- cheating: models that know what they should not, each of which must be refused, and a gate that names why among those
  that failed.

The same worlds are judged as users would without this: a bare threshold on the lockbox's rank IC (as in a check of
metrics against limits), the best validation IC wins (as where each rolling update replaces the last), and a plain
t-test of daily rank ICs. Prints tables; writes a picture to --out; the last line is one JSON object.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import yaml
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[1]))

from cheats import CHEATS, VERDICTS, fitted_on_the_lockbox, made_of_verdicts
from families import retrain
from features import CHECKOUT
from worlds import (
    HORIZON,
    LAGS,
    SMALL,
    Model,
    Size,
    Trained,
    World,
    lagged,
    lockbox_start,
    promised,
    searched,
    setting,
    table,
    weighted,
    world,
)

from tasks.domain import accuracy, criteria, metrics, mishaps, names, probes, trading
from tasks.domain.criteria import Criterion
from tasks.domain.gates import decide
from tasks.domain.labels import forward_return
from tasks.domain.problem import Problem
from tasks.domain.simulate.portfolio import target_weights
from tasks.domain.simulate.research import simulate
from tasks.domain.spending import ERROR, Look, skill
from tasks.home import prepare, write_whole

NIGHTS = 50


PLANTED = (0.01, 0.02, 0.03, 0.05)
NOISE_MODELS = (50, 500)
THRESHOLD = 0.01  # of the lockbox's rank IC, as people set it


class Judged(NamedTuple):
    """`accepted` by the gates, `failed` ones; `rank_ic` of the lockbox, `t` of its daily values, `validation_ic`;
    `deflated`: Sharpe ratio of the lockbox by all trials; `p`: of the lockbox's rank IC; `oracle`: that of the signal,
    after earlier looks; `figures`: those that gates asked for."""

    accepted: bool
    failed: tuple[str, ...]
    rank_ic: float
    t: float
    validation_ic: float
    deflated: float
    p: float
    oracle: float
    figures: dict[str, float]


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
    bars, close = made.bars, table(made.bars)
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
        {finding.figure: finding.value for finding in verdict.findings if finding.value is not None},
    )


def asked_of_worlds(problem: Problem) -> list[Criterion]:
    """The problem's own criteria, but for the time a score takes: that is of the machine."""
    return [each for each in problem.criteria() if each.figure != criteria.LATENCY]


def asked(bars: pd.DataFrame, inside: accuracy.Lockbox, model: Model, scores: pd.DataFrame) -> dict[str, float]:
    problem, _ = setting()
    judged = pd.DatetimeIndex(inside.scores.index)
    told = probes.figures(probes.every(model, bars, scores, judged, problem.seed))
    told |= stressed(bars, model, scores)
    told["probe.rescaling_share"] = probes.rescaling(model, bars, scores)
    return told | accuracy.accuracy(inside, problem.horizon, problem.strategy.long_fraction, problem.seed)


def traded(bars: pd.DataFrame, inside: accuracy.Lockbox, trials: list[float]) -> dict[str, float]:
    problem, _ = setting()
    prices = trading.prices_of(bars)
    found = trading.trade(inside.scores, prices, problem.strategy)
    told = accuracy.deflated_sharpe(found.returns, trials)
    told |= trading.figures(found, trading.measure(found, prices, problem.strategy))
    return told | {"champion.present": 0.0, names.FAULTS: 0.0}


def stressed(bars: pd.DataFrame, model: Model, scores: pd.DataFrame) -> dict[str, float]:
    """The mishaps; scenarios take too long for hundreds of worlds, and theirs is a gate that no skill depends on."""
    panel = mishaps.panel(model, bars, scores)
    told = mishaps.figures(mishaps.every(model, panel)) | {"scenario.ran": 0.0, "backtest.restarted": 0.0}
    return told | probes.figures({"extra_rows": mishaps.extra_rows(model, panel)})


def searched_world(asked: tuple[int, float]) -> Judged:
    seed, rank_ic = asked
    made = world(seed, rank_ic)
    start = lockbox_start(made.bars)
    return judge(made, start, searched(made.bars, start), brief=True)


def noise_world(asked: tuple[int, int]) -> Judged:
    """The best of so many models of noise, by their Sharpe ratio on the development part."""
    seed, count = asked
    made, (problem, _) = world(seed, size=SMALL), setting()
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

    return judge(made, start, Trained(model, ratios, *promised(ranks[best])), brief=True)


def nights_of(seed: int) -> list[Judged]:
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
        trained = searched(bars, start)
        trials += trained.trials
        so_far = trained._replace(trials=list(trials))
        found.append(judge(World(bars, made.signal), start, so_far, list(earlier), brief=True))
        earlier.append(Look(start, bars["timestamp"].max()))
    return found


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
    "oracle": lambda each: each.oracle <= ERROR,
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


def many(function: Callable[[Any], Any], asked: Iterable[Any], title: str, count: int, keep: Path) -> list[Any]:
    """What comes of each, on two processes; what an earlier run kept below `keep` is not done again."""
    path = keep / f"{title.replace(' ', '_')}.json"
    if path.is_file():
        return list(map(restored, json.loads(path.read_text())))
    found = []
    with ProcessPoolExecutor(2) as pool:
        for number, each in enumerate(pool.map(function, asked), start=1):
            found.append(each)
            if number % 25 == 0:
                print(f"  {title}: {number} of {count}", file=sys.stderr, flush=True)
    write_whole(path, json.dumps(found).encode())
    return found


def restored(kept: list[Any]) -> Any:
    """A world as it was judged, or the nights of one."""
    if isinstance(kept[0], list):
        return list(map(restored, kept))
    judged = Judged(*kept)
    return judged._replace(failed=tuple(judged.failed))


def picture(worthless: list[Judged], worthy: dict[float, list[Judged]], path: Path) -> None:
    """Share of good models found against share of worthless ones let through, as a rule's threshold moves."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5), layout="constrained")
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
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.01, 0.5))
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def through_the_chain(seed: int, rank_ic: float, folder: Path) -> tuple[bool, float]:
    """One world retrained by the command that users run, and judged here on the same snapshot: whether the verdicts are
    the same, and the largest difference of a figure that both have, relative to its size."""
    from tasks import candidates, lake

    made, name = world(seed, rank_ic, SMALL), f"world_{seed}"
    made.bars.to_parquet(folder / f"{name}.parquet")
    fields = yaml.safe_load((CHECKOUT / "problems" / "sp500_alpha.yaml").read_text())
    source = {"kind": "files", "path": str(folder / f"{name}.parquet")}
    fields |= {"name": name, "calendar": None, "families": fields["families"][:1], "source": source}
    fields["constraints"].pop("score_latency_ms")
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(fields))
    retrain(folder / f"{name}.yaml", None)
    found = candidates.candidate(name, 1)
    development, lockbox = (found.snapshot().read(part) for part in (lake.DEVELOPMENT, lake.LOCKBOX))
    start = lockbox["timestamp"].min()
    bars = pd.concat([development, lockbox], ignore_index=True)
    here = judge(World(bars, made.signal), start, searched(bars, start))
    there = {each["figure"]: each["value"] for each in found.decision()["findings"] if each["value"] is not None}
    both = [(value, there[figure]) for figure, value in here.figures.items() if figure in there]
    apart = max(abs(mine - theirs) / max(abs(mine), abs(theirs), 1e-9) for mine, theirs in both)
    accepted = found.decision()["accepted"]
    print(
        f"world {seed}, rank IC {rank_ic:g}: {'accepted' if accepted else 'refused'} by the chain, "
        f"{'accepted' if here.accepted else 'refused'} here; {len(both)} figures, at most {apart:.1e} apart",
        flush=True,
    )
    return bool(accepted) == here.accepted, apart


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=500, help="worthless ones; a tenth as many of each worthy kind")
    parser.add_argument("--years", type=int, default=40, help="worthless markets retrained for 50 nights")
    parser.add_argument("--out", type=Path, default=Path("gate_power.png"), help="where the picture goes")
    parser.add_argument("--chain", type=int, default=4, help="worlds that go through the whole chain as well")
    parser.add_argument("--keep", type=Path, help="where to keep what is done, so that a run broken off can go on")
    options = parser.parse_args()
    keep = options.keep or Path(tempfile.mkdtemp(prefix="gate-power-"))
    part, few = max(10, options.worlds // 5), max(10, options.worlds // 10)
    plain = many(
        searched_world, ((seed, 0.0) for seed in range(options.worlds - 2 * part)), "worthless", options.worlds, keep
    )
    worthless = plain + [
        each
        for count in NOISE_MODELS
        for each in many(noise_world, ((10_000 + seed, count) for seed in range(part)), f"best of {count}", part, keep)
    ]
    baselines = {"worthless": tell("worthless", worthless)}
    false_accepts = sum(each.accepted for each in worthless)
    worthy = {
        planted: many(searched_world, ((20_000 + seed, planted) for seed in range(few)), f"IC {planted:g}", few, keep)
        for planted in PLANTED
    }
    for planted, found in worthy.items():
        baselines[f"planted {planted:g}"] = tell(f"planted {planted:g}", found)
    picture(worthless, worthy, options.out)
    each = max(2, options.worlds // 100)
    asked = [(40_000 + seed, number) for number in range(len(CHEATS)) for seed in range(each)]
    cheated = many(cheating_world, asked, "cheats", len(asked), keep)
    refused = tell_cheats([cheated[at : at + each] for at in range(0, len(cheated), each)])
    years = many(nights_of, range(30_000, 30_000 + options.years), "years of nights", options.years, keep)
    ever = {name: np.mean([any(map(rule, nights)) for nights in years]) for name, rule in RULES.items()}
    for name, share in ever.items():
        print(f"{'50 nights, worthless':>24} {name:>20}: {share:6.1%} of {len(years)} accepted on any", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["COUNTERSIGN_HOME"] = str(Path(scratch) / "state")
        prepare()
        chained = [
            through_the_chain(60_000 + number, (0.0, 0.2)[number % 2], Path(scratch)) for number in range(options.chain)
        ]
    print(json.dumps({
        "chain": {"worlds": len(chained), "same_verdict": sum(same for same, _ in chained),
                  "largest_difference": max((apart for _, apart in chained), default=0.0)},
        "worthless_worlds": len(worthless),
        "false_accept_rate": false_accepts / len(worthless),
        "false_accept_upper": interval(false_accepts, len(worthless))[1],
        "yearly_false_accept_rate": float(ever["these gates"]),
        "power": {f"{planted:g}": baselines[f"planted {planted:g}"]["these gates"] for planted in PLANTED},
        "power_over_oracle": {  # none where the oracle finds nothing either
            f"{planted:g}": shares["these gates"] / shares["oracle"] if shares["oracle"] else None
            for planted, shares in ((planted, baselines[f"planted {planted:g}"]) for planted in PLANTED)
        },
        "cheat_kinds": len(CHEATS),
        "cheats_refused_share": refused,
        "baselines": baselines,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
