"""Backtest stage: the lockbox traded by two engines, net of costs, under the validator's key."""

import io
import json
from typing import Any

import pandas as pd
import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks import cases, evidence, tearsheet, third_opinion
from tasks.candidates import Candidate
from tasks.cases import Case
from tasks.domain import accuracy, names, probes, sensitivity, study, trading
from tasks.domain.bars import wide
from tasks.domain.errors import VerificationFailed
from tasks.domain.labels import forward_return, reach
from tasks.domain.targets import WalkForward
from tasks.home import as_json, write_whole
from tasks.recording import Record, attest

RESTARTED = "backtest.restarted"  # 1 where there are scores of another process to compare with


@task(cache_policy=NO_CACHE)
def run_engines(case: Case) -> trading.Traded:
    """Trade the lockbox's scores: fills at the session after the decision, both engines on the same targets."""
    return trading.trade(case.lockbox.scores, trading.prices_of(case.bars), case.problem.strategy)


@task(cache_policy=NO_CACHE)
def other_ways(case: Case, traded: trading.Traded) -> pd.DataFrame:
    """Equity of the same scores at other costs and acted on later, by title."""
    return sensitivity.equities(traded.weights, traded.prices, case.problem.strategy)


@task(cache_policy=NO_CACHE)
def look(case: Case, traded: trading.Traded, others: pd.DataFrame) -> study.Study:
    """Figures, and what a reader wants to know behind them; says where the engines part, if they do."""
    prices, scores = trading.prices_of(case.bars), case.lockbox.scores
    told = study.study(traded, scores, prices, case.problem.strategy, others, case.problem.seed)
    if told.difference is not None:
        print(f"the engines differ: {told.difference}")
    return told


@task(cache_policy=NO_CACHE)
def walk_forward(case: Case) -> study.WalkedForward | None:
    """Trade what the retraining walked forward had scored; None where the problem's splits have no order in time.

    Raises:
        VerificationFailed: its files are not what the trainer signed, or a step saw what it scores.
    """
    if not isinstance(case.problem.splits, WalkForward):
        return None
    told = json.loads(case.candidate.file(names.TRAIN, names.WALK_FORWARD))["steps"]
    scores = pl.read_parquet(case.candidate.file(names.TRAIN, names.WALK_FORWARD_SCORES)).to_pandas()
    table = scores.pivot(index="timestamp", columns="instrument", values="score")
    steps = [study.Step(each["family"], each["reason"], ends(each["trained"]), ends(each["scored"])) for each in told]
    bars = case.bars[case.bars["timestamp"] < case.start]
    labels = forward_return(wide(bars, "close"), case.problem.horizon)
    try:
        prices, ahead = trading.prices_of(bars), reach(case.problem.horizon)
        return study.walk_forward(steps, table, prices, labels, ahead, case.problem.strategy)
    except ValueError as fault:
        raise VerificationFailed(f"{case.candidate.reference}: {names.WALK_FORWARD}: {fault}") from None


@task(cache_policy=NO_CACHE)
def started_anew(case: Case) -> accuracy.Figures:
    """The lockbox's scores against those that the validation's process signed: a score may not hang on how, or when,
    its process was started. Where no validation signed any, there is nothing to compare."""
    found = case.candidate
    signed = evidence.read_statement(found.folder, names.VALIDATE).products if found.is_done(names.VALIDATE) else {}
    if f"{names.VALIDATE}/{names.LOCKBOX_SCORES}" not in signed:
        return {RESTARTED: 0.0}
    before = pd.read_parquet(io.BytesIO(found.file(names.VALIDATE, names.LOCKBOX_SCORES)))
    finding = probes.compare(before, case.lockbox.scores)
    return {RESTARTED: 1.0, "backtest.restart_gap": finding.gap, "backtest.restart_order": finding.order}


@task(cache_policy=NO_CACHE)
def ask_third(case: Case, traded: trading.Traded) -> third_opinion.Opinion:
    """What an engine of somebody else's makes of the same fills, where the environment names one."""
    return third_opinion.third_opinion(traded.result, traded.prices, case.problem.strategy)


def ends(told: list[str]) -> tuple[pd.Timestamp, pd.Timestamp]:
    first, last = map(pd.Timestamp, told)
    return first, last


@task(cache_policy=NO_CACHE)
def report(
    case: Case,
    told: study.Study,
    forward: study.WalkedForward | None,
    third: third_opinion.Opinion,
    again: accuracy.Figures,
    record: Record,
) -> accuracy.Figures:
    """Write backtest.json, the tear sheet with its pictures, equity and fills; returns the figures that there are."""
    figures = told.figures | (forward.figures if forward else {}) | again
    if third.gap_bp is not None:
        figures["backtest.third_opinion_gap_bp"] = third.gap_bp
    kept = accuracy.finite(figures)
    content: dict[str, Any] = {
        "model": case.candidate.reference,
        "candidate": case.candidate.id,
        "strategy": case.problem.strategy.model_dump(mode="json"),
        "figures": kept,
        "sensitivity": {title: accuracy.finite(each) for title, each in sensitivity.table(told.others).items()},
        "years": {str(year): accuracy.finite(dict(row)) for year, row in told.years.iterrows()},
        "engines_differ": told.difference,
        "third_opinion": third.words,
        "not_computable": sorted(figures.keys() - kept.keys()),
    }
    title = f"Backtest of {case.candidate.reference}: {case.problem.title}"
    sheet, pictures = tearsheet.tearsheet(title, told, forward, third.words)
    files = pictures | {names.BACKTEST_REPORT: as_json(content), tearsheet.PAGE: sheet.encode()}
    for name, given in files.items():
        write_whole(record.folder / name, given)
    result = told.measured.result
    result.equity.rename("equity").rename_axis("timestamp").to_csv(record.folder / "equity.csv")
    result.fills.to_csv(record.folder / "fills.csv", index=False)
    record.run.figures(kept)
    return kept


@task(cache_policy=NO_CACHE)
def complete(found: Candidate, record: Record) -> None:
    """Sign the backtest link."""
    attest(record, found.folder, cases.materials(found), model=found.reference)
