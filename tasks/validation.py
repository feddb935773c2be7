"""Validate stage: a sceptic's questions to a black box, under the validator's key, in the validator's process."""

import io
import json
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks import candidates, evidence, ledger, plots
from tasks.candidates import Candidate
from tasks.cases import Case
from tasks.clock import Clock
from tasks.domain import accuracy, criteria, names, probes
from tasks.domain.errors import VerificationFailed
from tasks.domain.spending import Look, skill
from tasks.domain.trading import prices_of, trade
from tasks.home import as_json, write_whole
from tasks.recording import Record, attest, signed_file

REPETITIONS, LEAST_REPETITIONS, PATIENCE_MS = 100, 20, 3000.0
SAME = 1e-9
SHARED = 0.5  # of the sessions of a candidate's trials
SESSIONS = 512  # about two years: what a desk keeps at hand to score a new session


@task(cache_policy=NO_CACHE)
def probe(case: Case, clock: Clock) -> dict[str, probes.Finding]:
    """Put the questions that a causal, deterministic model answers the same."""
    sessions = pd.DatetimeIndex(case.lockbox.scores.index)
    questions = probes.questions(case.score, case.bars, case.scores, sessions, case.problem.seed)
    return {name: clock(f"probe.{name}", ask) for name, ask in questions.items()}


@task(cache_policy=NO_CACHE)
def rescale(case: Case, clock: Clock) -> accuracy.Figures:
    """What splits would do to the scores."""
    share = clock("probe.rescaling", lambda: probes.rescaling(case.score, case.bars, case.scores))
    return {"probe.rescaling_share": share}


@task(cache_policy=NO_CACHE)
def time_scoring(case: Case) -> accuracy.Figures:
    """99th percentile (nearest rank) of the wall-clock time in ms that the lockbox's last session takes to be scored.

    Asked for that session alone, as a desk asks each day, each time with the newest SESSIONS sessions of bars, or
    twice, four times … as many where its scores need more; the first call, which may load or compile, is not counted.
    REPETITIONS times, or what PATIENCE_MS allow but LEAST_REPETITIONS at least: of so few, the slowest counts. Not
    measured where the problem asks nothing of it: it takes seconds.
    """
    if all(criterion.figure != criteria.LATENCY for criterion in case.problem.criteria()):
        return {}
    bars, last = needed(case), case.scores.index[-1]
    times: list[float] = []
    while len(times) < LEAST_REPETITIONS or (len(times) < REPETITIONS and sum(times) < PATIENCE_MS):
        begun = time.perf_counter()
        case.score(bars, last)
        times.append(1000 * (time.perf_counter() - begun))
    return {criteria.LATENCY: float(np.quantile(times, 0.99, method="inverted_cdf"))}


def needed(case: Case) -> pd.DataFrame:
    """The newest bars that suffice to give the last session the scores that all bars give it."""
    sessions = np.sort(case.bars["timestamp"].unique())
    last = case.scores.iloc[-1:]
    count = SESSIONS
    while count < len(sessions):
        part = case.bars[case.bars["timestamp"] >= sessions[-count]]
        if probes.compare(last, case.score(part, last.index[0])).gap <= SAME:
            return part
        count *= 2
    return case.bars


def instruments(case: Case) -> list[str]:
    """The instruments that got a score on the lockbox, by name."""
    scored = case.scores[case.scores.index >= case.start].notna().any()
    return sorted(str(name) for name in scored.index[scored])


def outside(case: Case, scored: Sequence[str]) -> list[str]:
    """Those that the problem doesn't allow, where it lists which it does."""
    allowed = case.problem.constraints.instruments
    return sorted(set(scored) - set(allowed)) if isinstance(allowed, list) else []


@task(cache_policy=NO_CACHE)
def measure(case: Case, trials: dict[str, float], earlier: Sequence[Look]) -> accuracy.Figures:
    """Accuracy on the lockbox, whether that is more than chance after all `earlier` looks, and the net Sharpe ratio
    deflated by every trial ever recorded."""
    problem = case.problem
    figures = accuracy.accuracy(case.lockbox, problem.horizon, problem.strategy.long_fraction, problem.seed)
    prices = prices_of(case.bars)
    figures |= skill(case.lockbox.scores, prices.close, problem.horizon, earlier)
    traded = trade(case.lockbox.scores, prices, problem.strategy)
    scored = instruments(case)
    counts = {criteria.INSTRUMENTS: float(len(scored)), criteria.OUTSIDE: float(len(outside(case, scored)))}
    deflated = accuracy.deflated_sharpe(traded.returns, list(trials.values()))
    figures |= accuracy.surprise(accuracy.rank_ic(case.lockbox), *promise(case), problem.horizon)
    returns, unreadable = trial_returns(case)
    tried = accuracy.overfitting(returns, problem.horizon, problem.seed)
    return figures | counts | deflated | tried | {"trials.candidates_unreadable": float(unreadable)}


def trial_returns(case: Case) -> tuple[pd.DataFrame, int]:
    """What each trial of every candidate up to this one would have earned from session to session, as the trainer
    signed it, on the sessions that they share; and how many earlier candidates' records cannot be read.

    Those of a candidate that shares less than half of the sessions are left out: it was another time.
    """
    own = signed_returns(case.candidate)
    joined, unreadable = {str(key): own[key] for key in own}, 0
    for earlier in candidates.before(case.candidate):
        try:
            table = signed_returns(earlier).reindex(own.index)
        except VerificationFailed:
            unreadable += 1  # told as a figure; the verdict warns
            continue
        joined |= {str(key): table[key] for key in table if table[key].notna().mean() >= SHARED}
    return pd.DataFrame(joined).dropna(), unreadable


def promise(case: Case) -> tuple[float, float]:
    """Rank IC of the chosen trial out of fold, and its standard error, as the trainer signed them."""
    found = json.loads(case.candidate.file(names.TRAIN, names.TRIALS))
    chosen = found["trials"][found["chosen"]]
    return chosen["train.rank_ic"], chosen["train.rank_ic_standard_error"]


def signed_returns(found: Candidate) -> pd.DataFrame:
    return pd.read_parquet(io.BytesIO(found.file(names.TRAIN, names.TRIAL_RETURNS)))


def every_trial(case: Case) -> dict[str, float]:
    """Trials that MLflow holds, joined with those the trainer signed: leaving some out of either doesn't help."""
    signed = json.loads(signed_file(case.candidate.folder, names.TRAIN, names.TRIALS))["trials"]
    declared = {trial["key"]: trial["train.session_sharpe_ratio"] for trial in signed}
    return ledger.recorded_trials(case.problem.name) | declared


@task(cache_policy=NO_CACHE)
def report(
    case: Case,
    found: dict[str, probes.Finding],
    figures: accuracy.Figures,
    told: dict[str, Any],
    clock: Clock,
    record: Record,
) -> accuracy.Figures:
    """Write validation.json, with what else is `told` and what took how long, and the pictures; returns the
    figures that could be computed."""
    gaps = probes.figures(found) | {names.FAULTS: 0.0}
    kept = accuracy.finite(gaps | figures)
    content: dict[str, Any] = {
        "model": case.candidate.reference,
        "candidate": case.candidate.id,
        "lockbox_starts": str(case.start.date()),
        "bootstrap_block_sessions": accuracy.block_length(case.problem.horizon),
        "probes": {name: finding.words for name, finding in found.items()},
        "walls": case.walls,
        "instruments_outside_list": outside(case, instruments(case)),
        "figures": kept,
        "not_computable": sorted((gaps | figures).keys() - kept.keys()),
    }
    content |= told | {"seconds": {name: round(seconds, 3) for name, seconds in clock.seconds.items()}}
    write_whole(record.folder / names.VALIDATION, as_json(content))
    write_whole(record.folder / names.LOCKBOX_SCORES, bytes(case.lockbox.scores.to_parquet()))
    write_whole(record.folder / "rank_ic.png", plots.cumulative_ic(accuracy.rank_ic(case.lockbox)))
    calibration = accuracy.calibration(case.lockbox)
    write_whole(record.folder / "calibration.png", plots.calibration(calibration, case.problem.horizon))
    record.run.figures(kept)
    return kept


@task(cache_policy=NO_CACHE)
def complete(found: Candidate, materials: dict[str, str], record: Record) -> None:
    """Sign the validation link over what was judged and what it was judged with."""
    trials = f"{names.TRAIN}/{names.TRIALS}"
    trained = evidence.read_statement(found.folder, names.TRAIN).products
    attest(record, found.folder, materials | {trials: trained[trials]}, model=found.reference)
