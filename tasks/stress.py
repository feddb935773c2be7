"""Stress: mishaps, scenarios and robustness of a black box, on the newest bars and on the market's own history."""

import json
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks import configuration, plots
from tasks.cases import Case
from tasks.clock import Clock
from tasks.domain import blame, mishaps, names, probes, robustness
from tasks.domain.accuracy import Figures
from tasks.domain.bars import wide
from tasks.domain.scenarios import judged
from tasks.domain.trading import prices_of
from tasks.home import as_json, write_whole
from tasks.progress import step
from tasks.recording import Record

MORE_CUTS = 5  # dates of the newest bars at which the future is cut off besides
LEAST = 20  # scored sessions
PICTURE, LIBRARY = "scenarios.png", "scenarios.json"
OF_THE_FUTURE = ("truncation", "perturbation", "extra_rows")


class Stressed(NamedTuple):
    """`findings`: those of the probes, with what was found besides; `figures` of the rest; `told`: for the report."""

    findings: dict[str, probes.Finding]
    figures: Figures
    told: dict[str, Any]


@task(cache_policy=NO_CACHE)
def stress(case: Case, found: dict[str, probes.Finding], clock: Clock, record: Record) -> Stressed:
    """Do to the bars what feeds and markets do, and see what becomes of the scores and of the book."""
    if np.isfinite(case.scores.to_numpy(dtype=float)).any(axis=1).sum() < LEAST:
        return Stressed(found, {}, {"robustness": {"in_words": "It scores too few sessions to be asked anything."}})
    panel = clock("probe.panel", lambda: mishaps.panel(case.score, case.bars, case.scores))
    answers = {name: clock(f"probe.{name}", ask) for name, ask in mishaps.questions(case.score, panel).items()}
    dense = clock("probe.truncation", lambda: mishaps.denser(case.score, panel, MORE_CUTS))
    extra = clock("probe.extra_rows", lambda: mishaps.extra_rows(case.score, panel))
    findings = found | {"truncation": probes.worst([found["truncation"], dense]), "extra_rows": extra}
    words = {name: clock("probe.blame", lambda name=name: said(case, panel, findings, name)) for name in findings}
    ready, outcomes = scenarios(case, clock)
    figures, told = robust(case, panel, ready, clock)
    table = judged.table(outcomes)
    falls = {name: each["figures"]["max_drawdown"] for name, each in table.items() if "max_drawdown" in each["figures"]}
    limits = {name: each["limits"]["max_drawdown"] for name, each in table.items()}
    write_whole(record.folder / PICTURE, clock("picture", lambda: plots.scenarios(falls, limits)))
    write_whole(record.folder / LIBRARY, as_json(ready.library.model_dump(mode="json")))
    content = {
        "probes": words | {name: answer.words or "scores are kept" for name, answer in answers.items()},
        "scenarios": table,
        "robustness": told,
    }
    return Stressed(findings, mishaps.figures(answers) | judged.figures(outcomes) | figures, content)


def said(case: Case, panel: mishaps.Panel, findings: dict[str, probes.Finding], name: str) -> str:
    """A finding in words; where the past depends on the future, with the column, the name and the date it rests on."""
    finding = findings[name]
    if finding.first is None or name not in OF_THE_FUTURE:
        return finding.words
    judged_sessions = pd.DatetimeIndex(case.lockbox.scores.index)
    recent = probes.cut_dates(pd.DatetimeIndex(panel.scores.index), probes.CUTS)
    if blame.first_cut(case.score, panel.bars, panel.scores, recent) is not None:  # fewer bars, the same answer
        return blame.told(case.score, panel.bars, panel.scores, finding, recent)
    cuts = probes.cut_dates(judged_sessions, probes.CUTS)
    return blame.told(case.score, case.bars, case.scores, finding, cuts)


def scenarios(case: Case, clock: Clock) -> tuple[judged.Judge, list[judged.Outcome]]:
    """Put the model through the library of its objective, one scenario after the other."""
    library = configuration.load_scenarios(case.problem.objective)
    prices, strategy = prices_of(case.bars), case.problem.strategy
    ready = clock(
        "scenario.preparation",
        lambda: judged.judge(
            case.score, library, case.bars, case.scores, prices, case.start, strategy, case.problem.seed
        ),
    )
    outcomes, total = [], len(library.scenarios)
    for done, scenario in enumerate(library.scenarios):
        step(f"scenario {scenario.name.replace('_', ' ')}", done, total)
        outcomes.append(clock(f"scenario.{scenario.name}", lambda scenario=scenario: judged.outcome(ready, scenario)))
    return ready, outcomes


def robust(case: Case, panel: mishaps.Panel, ready: judged.Judge, clock: Clock) -> tuple[Figures, dict[str, Any]]:
    """How firmly the scores stand, what they amount to in words, and whether the complexity earned its place."""
    problem = case.problem
    close, volume = wide(case.bars, "close"), wide(case.bars, "volume") if "volume" in case.bars else None
    noise = clock("robustness.noise", lambda: robustness.noise_agreement(case.score, panel, problem.seed))
    base = ready.base
    inputs = clock("robustness.inputs", lambda: {} if base is None else robustness.inputs(case.score, base))
    explained = clock("robustness.surrogate", lambda: robustness.explain(case.scores, close, volume))
    slopes = clock("robustness.sense", lambda: robustness.sense(case.scores, close, problem.constraints.monotone))
    signed = json.loads(case.candidate.file(names.TRAIN, names.TRIALS))
    earned, why = robustness.justified(signed["trials"], signed["chosen"])
    wrong = robustness.against_sense(slopes, problem.constraints.monotone)
    figures = {
        "robustness.noise_rank_correlation": noise,
        "robustness.complexity_justified": earned,
        "robustness.sense_violations": float(len(wrong)),
        "robustness.surrogate_fidelity": np.nan if explained is None else explained.fidelity,
        "robustness.explanation_concentration": np.nan if explained is None else explained.concentration,
        "robustness.explanation_stability": np.nan if explained is None else explained.stability,
    }
    told: dict[str, Any] = {
        "in_words": robustness.in_words(explained),
        "importance": {} if explained is None else explained.importance,
        "direction": {} if explained is None else known(explained.direction),
        "inputs": known(inputs),
        "complexity": why,
        "sense_slopes": slopes,
        "sense_violations": wrong,
        "sense_not_checked": sorted(set(problem.constraints.monotone) - set(slopes)),
    }
    return figures, told


def known(values: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if np.isfinite(value)}
