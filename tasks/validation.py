"""Validate stage: a sceptic's questions to a black box, under the validator's key, in the validator's process."""

import json
from typing import Any

import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks import aliases, evidence, ledger, models, plots
from tasks.candidates import Candidate, candidate
from tasks.cases import Case
from tasks.domain import accuracy, names, probes
from tasks.domain.errors import VerificationFailed
from tasks.domain.trading import prices_of, trade
from tasks.home import as_json, write_whole
from tasks.recording import Record, attest, signed_file

CUTS = 5


@task(cache_policy=NO_CACHE)
def probe(case: Case) -> dict[str, probes.Finding]:
    """Put the questions that a causal, deterministic model answers the same."""
    sessions = pd.DatetimeIndex(case.lockbox.scores.index)
    cuts = probes.cut_dates(sessions, CUTS)
    seed = case.problem.seed
    return {
        "truncation": probes.truncation(case.score, case.bars, case.scores, cuts),
        "perturbation": probes.perturbation(case.score, case.bars, case.scores, cuts, seed),
        "repetition": probes.repetition(case.score, case.bars, case.scores),
    }


@task(cache_policy=NO_CACHE)
def measure(case: Case, trials: dict[str, float]) -> accuracy.Figures:
    """Accuracy on the lockbox, and its net Sharpe ratio deflated by every trial ever recorded."""
    problem = case.problem
    figures = accuracy.accuracy(case.lockbox, problem.horizon, problem.strategy.long_fraction, problem.seed)
    traded = trade(case.lockbox.scores, prices_of(case.bars), problem.strategy)
    return figures | accuracy.deflated_sharpe(traded.returns, list(trials.values()))


def every_trial(case: Case) -> dict[str, float]:
    """Trials that MLflow holds, joined with those the trainer signed: leaving some out of either doesn't help."""
    signed = json.loads(signed_file(case.candidate.folder, names.TRAIN, names.TRIALS))["trials"]
    declared = {trial["key"]: trial["train.session_sharpe_ratio"] for trial in signed}
    return ledger.recorded_trials(case.problem.name) | declared


@task(cache_policy=NO_CACHE)
def compare_with_champion(case: Case) -> tuple[accuracy.Figures, dict[str, str]]:
    """Paired comparison on the same lockbox; figures and the champion's files. No champion is a figure too."""
    found = champion(case.problem.name)
    if found is None:
        return {"champion.present": 0.0}, {}
    signed = found.signed_model()
    scores = models.load(found.model, found.version, signed)(case.bars)
    mine, theirs = accuracy.rank_ic(case.lockbox), accuracy.rank_ic(case.inside(scores))
    figures = accuracy.against_champion(mine, theirs, case.problem.horizon, case.problem.seed)
    return figures, {f"champion/{name}": value for name, value in signed.items()}


def champion(problem: str) -> Candidate | None:
    """The candidate that is champion by the signed log.

    Raises:
        VerificationFailed: the live aliases are not where the log says.
    """
    live = names.live(problem)
    if faults := aliases.unauthorised(problem, (live,)):
        raise VerificationFailed("; ".join(faults))
    version = ledger.aliases(live).get(names.CHAMPION)
    if version is None:
        return None
    tag = ledger.get_version(live, version).tags[names.TAG_CANDIDATE]
    source = ledger.version_of_candidate(problem, tag)
    if source is None:
        raise VerificationFailed(f"{live}/{version}: the candidate it was copied from is gone")
    return candidate(problem, source)


@task(cache_policy=NO_CACHE)
def report(case: Case, found: dict[str, probes.Finding], figures: accuracy.Figures, record: Record) -> accuracy.Figures:
    """Write validation.json and the pictures; returns the figures that could be computed."""
    gaps = {f"probe.{name}_gap": finding.gap for name, finding in found.items()}
    kept = accuracy.finite(gaps | figures)
    content: dict[str, Any] = {
        "model": case.candidate.reference,
        "candidate": case.candidate.id,
        "lockbox_starts": str(case.start.date()),
        "bootstrap_block_sessions": accuracy.block_length(case.problem.horizon),
        "probes": {name: finding.words for name, finding in found.items()},
        "figures": kept,
        "not_computable": sorted((gaps | figures).keys() - kept.keys()),
    }
    write_whole(record.folder / names.VALIDATION, as_json(content))
    write_whole(record.folder / "rank_ic.png", plots.cumulative_ic(accuracy.rank_ic(case.lockbox)))
    calibration = accuracy.calibration(case.lockbox)
    write_whole(record.folder / "calibration.png", plots.calibration(calibration, case.problem.horizon))
    record.run.figures(kept)
    return kept


@task(cache_policy=NO_CACHE)
def complete(case: Case, champion_files: dict[str, str], record: Record) -> None:
    """Sign the validation link."""
    trials = f"{names.TRAIN}/{names.TRIALS}"
    trained = evidence.read_statement(case.candidate.folder, names.TRAIN).products
    materials = case.materials | {trials: trained[trials]} | champion_files
    attest(record, case.candidate.folder, materials, model=case.candidate.reference)
