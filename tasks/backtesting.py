"""Backtest stage: the lockbox traded by two engines, net of costs, under the validator's key."""

from typing import Any

import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks import plots
from tasks.cases import Case
from tasks.domain import accuracy, metrics, names, sensitivity, trading
from tasks.home import as_json, write_whole
from tasks.recording import Record, attest


@task(cache_policy=NO_CACHE)
def run_engines(case: Case) -> trading.Traded:
    """Trade the lockbox's scores: fills at the session after the decision, both engines on the same targets."""
    return trading.trade(case.lockbox.scores, trading.prices_of(case.bars), case.problem.strategy)


@task(cache_policy=NO_CACHE)
def other_ways(case: Case, traded: trading.Traded) -> pd.DataFrame:
    """Equity of the same scores at other costs and acted on later, by title."""
    return sensitivity.equities(traded.weights, traded.prices, case.problem.strategy)


@task(cache_policy=NO_CACHE)
def report(case: Case, traded: trading.Traded, others: pd.DataFrame, record: Record) -> accuracy.Figures:
    """Write backtest.json, equity, fills and pictures; returns the figures that could be computed."""
    figures = trading.figures(traded)
    kept = accuracy.finite(figures)
    content: dict[str, Any] = {
        "model": case.candidate.reference,
        "candidate": case.candidate.id,
        "strategy": case.problem.strategy.model_dump(mode="json"),
        "figures": kept,
        "sensitivity": {title: accuracy.finite(told) for title, told in sensitivity.table(others).items()},
        "not_computable": sorted(figures.keys() - kept.keys()),
    }
    equity = traded.result.equity
    write_whole(record.folder / names.BACKTEST_REPORT, as_json(content))
    write_whole(record.folder / "equity.png", plots.equity(equity))
    write_whole(record.folder / "drawdown.png", plots.drawdown(metrics.drawdown(equity)))
    write_whole(record.folder / "sensitivity.png", plots.sensitivity(others))
    equity.rename("equity").rename_axis("timestamp").to_csv(record.folder / "equity.csv")
    traded.result.fills.to_csv(record.folder / "fills.csv", index=False)
    record.run.figures(kept)
    return kept


@task(cache_policy=NO_CACHE)
def complete(case: Case, record: Record) -> None:
    """Sign the backtest link."""
    attest(record, case.candidate.folder, case.materials, model=case.candidate.reference)
