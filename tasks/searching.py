"""The search of the train stage: every trial that ends is an MLflow run, and these runs are all the search remembers.

So a search that was killed goes on where it stopped: trials of the same candidate that ended are read back, the one it
was killed in left nothing and is proposed again.
"""

import json
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks import lake, ledger
from tasks.domain import names
from tasks.domain.complexity import LINEAR
from tasks.domain.errors import UsageError
from tasks.domain.evaluation import Estimate, Panel, Score, estimate, folds, scored_folds
from tasks.domain.families.catalogue import fit, simplest_first
from tasks.domain.families.trial import Trial
from tasks.domain.hyperparameters import Family
from tasks.domain.inference.catalogue import load
from tasks.domain.monotone import broken, constrained
from tasks.domain.problem import Problem
from tasks.domain.search import Ended, budget, is_hopeless, propose
from tasks.domain.selection import Choice, Scored, one_standard_error
from tasks.home import sha256
from tasks.progress import step
from tasks.recording import Record
from tasks.snapshots import Snapshot

GROUP, PATH, SPLIT = "train.rank_ic_group_", "train.rank_ic_path_", "train.rank_ic_split_"
SHARPE, SECONDS = "train.session_sharpe_ratio", "train.seconds"


class Outcome(NamedTuple):
    """A trial that has ended. `key` names it for ever; `seconds` is what its fits and forecasts took; `scores` are its
    folds, kept for the best trial of each family and only by the process that ran it."""

    key: str
    ended: Ended
    estimate: Estimate
    seconds: float
    scores: Sequence[Score] = ()

    @property
    def trial(self) -> Trial:
        return self.ended.trial

    @property
    def figures(self) -> dict[str, float]:
        numbered = (
            (GROUP, self.estimate.group_rank_ic),
            (PATH, self.estimate.path_rank_ic),
            (SPLIT, self.ended.rank_ic),
        )
        parts = {f"{name}{at}": value for name, values in numbered for at, value in enumerate(values, start=1)}
        return parts | self.summary

    @property
    def row(self) -> dict[str, Any]:
        """As it stands in trials.json."""
        told = {"key": self.key, "family": self.trial.family, "parameters": self.trial.parameters}
        returns = {"returns_sha256": sha256(returns_file([self]))}
        return told | {"pruned": self.ended.pruned} | returns | self.summary

    @property
    def summary(self) -> dict[str, float]:
        return {
            "train.rank_ic": self.estimate.rank_ic,
            "train.rank_ic_standard_error": self.estimate.standard_error,
            SHARPE: self.estimate.session_sharpe_ratio,
            SECONDS: self.seconds,
        }


class Judged(NamedTuple):
    """What the choice goes by."""

    trial: Trial
    pruned: bool
    rank_ic: float
    standard_error: float


class Trials:
    """The trials of a problem on a panel, one after the other; nothing is recorded. `context`: digests of problem and
    development part, which name each trial besides its parameters."""

    def __init__(self, problem: Problem, context: tuple[str, str], known: Panel) -> None:
        self.problem, self.context, self.known = problem, context, known
        self.folds = sum(1 for _ in folds(known, problem))
        self.outcomes: list[Outcome] = []

    def run(self) -> list[Outcome]:
        families = simplest_first(self.problem.families)
        total = sum(budget(family) for family in families)
        for family in families:
            while trial := propose(family, self.past(family), self.problem.seed):
                step(f"trial {trial.title}", len(self.outcomes), total)
                self.keep(self.tried(family, trial))
        return self.outcomes

    def past(self, family: Family) -> list[Ended]:
        return [outcome.ended for outcome in self.outcomes if outcome.trial.family == family.family]

    def tried(self, family: Family, trial: Trial) -> Outcome:
        """Judge a trial split by split, and give it up where there is no hope."""
        past, begun = self.past(family), time.perf_counter()
        scores: list[Score] = []
        for score in scored_folds(obedient(self.problem, self.known, trial), self.known, self.problem):
            scores.append(score)
            if len(scores) < self.folds and is_hopeless(family, past, [each.mean for each in scores]):
                break
        found = estimate(scores, self.known, self.problem)
        ended = Ended(trial, [score.mean for score in scores], len(scores) < self.folds)
        return Outcome(trial.key(*self.context), ended, found, time.perf_counter() - begun, scores)

    def keep(self, outcome: Outcome) -> None:
        """Hold a trial's folds' fits only as long as it is its family's best."""
        self.outcomes.append(outcome)
        own = [at for at, each in enumerate(self.outcomes) if each.trial.family == outcome.trial.family]
        best = max(own, key=lambda at: (not self.outcomes[at].ended.pruned, self.outcomes[at].estimate.rank_ic))
        for at in own:
            if at != best:
                self.outcomes[at] = self.outcomes[at]._replace(scores=())


class Search(Trials):
    """A search for one candidate's configuration, each trial recorded as it ends."""

    def __init__(self, problem: Problem, snapshot: Snapshot, candidate: str, known: Panel, record: Record) -> None:
        super().__init__(problem, (problem.sha256, snapshot.digest(lake.DEVELOPMENT)), known)
        self.candidate, self.record = candidate, record
        self.outcomes = self.resumed()

    def keep(self, outcome: Outcome) -> None:
        tags = {names.TAG_KIND: "trial", names.TAG_CANDIDATE: self.candidate}
        tags |= {names.TAG_PRUNED: "true"} if outcome.ended.pruned else {}
        told = {"trial_key": outcome.key, "number": len(self.outcomes), "family": outcome.trial.family}
        told |= {"parameters": json.dumps(outcome.trial.parameters)} | outcome.trial.parameters
        title = f"trial-{outcome.trial.title}"
        files = {names.TRIAL_RETURNS: returns_file([outcome])}
        ledger.ended_run(self.problem.name, names.TRAIN, title, tags, told, outcome.figures, files, self.record.run.id)
        super().keep(outcome)

    def resumed(self) -> list[Outcome]:
        """What an earlier process ended of this very search; its runs move below this training run."""
        found = ledger.trial_runs(self.problem.name, self.candidate)
        for run in found.values():
            ledger.move_below(run.info.run_id, self.record.run.id)
        ordered = sorted(found.values(), key=lambda run: int(run.data.params["number"]))
        return [
            restored(
                run.data.params,
                run.data.metrics,
                pd.read_parquet(ledger.run_folder(run.info.run_id) / names.TRIAL_RETURNS).iloc[:, 0],
                names.TAG_PRUNED in run.data.tags,
            )
            for run in ordered
        ]


def returns_file(outcomes: Sequence[Outcome]) -> bytes:
    """Net returns from session to session, sessions × trials by their key, as Parquet."""
    columns = {each.key: each.estimate.returns for each in outcomes if each.estimate.returns is not None}
    return bytes(pd.DataFrame(columns).to_parquet())


def restored(told: dict[str, str], figures: dict[str, float], returns: pd.Series, pruned: bool) -> Outcome:
    trial = Trial(told["family"], json.loads(told["parameters"]))
    known = Estimate(numbered(figures, PATH), numbered(figures, GROUP), figures[SHARPE], returns)
    return Outcome(told["trial_key"], Ended(trial, numbered(figures, SPLIT), pruned), known, figures[SECONDS])


def numbered(figures: dict[str, float], name: str) -> list[float]:
    count = sum(each.startswith(name) for each in figures)
    return [figures[f"{name}{at}"] for at in range(1, count + 1)]


@task(cache_policy=NO_CACHE)
def search(problem: Problem, snapshot: Snapshot, candidate: str, known: Panel, record: Record) -> list[Outcome]:
    """Spend each family's budget; all trials of the candidate that ended, in their order."""
    return Search(problem, snapshot, candidate, known, record).run()


def choose(problem: Problem, known: Panel, outcomes: Sequence[Outcome]) -> Choice:
    """Which of the trials that ended becomes the candidate; see `choose_among`."""
    judged = [
        Judged(each.trial, each.ended.pruned, each.estimate.rank_ic, each.estimate.standard_error) for each in outcomes
    ]
    return choose_among(problem, known, judged)


def choose_among(problem: Problem, known: Panel, judged: Sequence[Judged]) -> Choice:
    """The simplest trial that no more complex one beats by more than its standard error, among those that were not
    given up and keep the problem's monotone constraints.

    Raises:
        UsageError: there is none.
    """
    wrong = disobedient(problem, known, [each.trial for each in judged])
    scored = [
        Scored(number, each.trial.family, each.rank_ic, each.standard_error)
        for number, each in enumerate(judged)
        if not each.pruned and number not in wrong
    ]
    features = ", ".join(sorted(set().union(*wrong.values())))
    if not scored:
        raise UsageError(f"{problem.name}: no trial keeps constraints.monotone on {features}; add lightgbm")
    choice = one_standard_error(scored)
    said = f"; {len(wrong)} linear trials left out: constraints.monotone is not kept on {features}"
    return choice._replace(reason=choice.reason + said) if wrong else choice


def disobedient(problem: Problem, known: Panel, trials: Sequence[Trial]) -> dict[int, list[str]]:
    """Linear trials, by number, whose fit on all development rows has a slope of the wrong sign, and on what."""
    if not problem.constraints.monotone:
        return {}
    linear = {number: trial for number, trial in enumerate(trials) if trial.family in LINEAR}
    found = {number: wrong_slopes(problem, known, trial) for number, trial in linear.items()}
    return {number: features for number, features in found.items() if features}


def wrong_slopes(problem: Problem, known: Panel, trial: Trial) -> list[str]:
    predictor = load(trial.family, fit_whole(problem, known, trial))
    signs = problem.constraints.monotone
    return broken(lambda x: predictor(x, np.full(len(x), -1)), known.x, signs, known.columns)


def fit_whole(problem: Problem, known: Panel, trial: Trial) -> dict[str, bytes]:
    """A trial's parameters, fitted on all development rows."""
    whole = known.sample(np.ones(len(known.y), dtype=bool))
    return fit(obedient(problem, known, trial), whole, problem.seed)


def obedient(problem: Problem, known: Panel, trial: Trial) -> Trial:
    """A trial as it is fitted: with the problem's monotone constraints, where its family takes them into account.

    Raises:
        UsageError: a constraint is on something that is no feature.
    """
    signs = problem.constraints.monotone
    return trial._replace(parameters=constrained(trial.family, trial.parameters, signs, known.columns))
