"""The search within a family: which configuration to try next, and when to give one up. Optuna proposes and prunes.

The state is the list of trials that have ended and nothing else: the same list gives the same proposal. So a search
that was killed goes on as if it had not been, and the trial it was killed in is proposed again.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tasks.domain.families.trial import Trial, grid
from tasks.domain.hyperparameters import Family, Range, size, space

ATTEMPTS = 20  # at a proposal that was not tried yet; a small space of choices runs dry
STARTUP_TRIALS = 5  # of a family before one may be given up
BLIND_TRIALS = 10  # of a searched family before results have a say in what is tried
WARMUP_SPLITS = 1  # that every trial is judged on


class Ended(NamedTuple):
    """A trial that is over. `rank_ic`: of each split in turn; `pruned`: it was given up before the last one."""

    trial: Trial
    rank_ic: list[float]
    pruned: bool


def budget(family: Family) -> int:
    """How many configurations of a family are tried: all there are, or as many as the problem allows."""
    most = size(family)
    return int(most if family.trials is None else min(most, family.trials))


def propose(family: Family, ended: Sequence[Ended], seed: int) -> Trial | None:
    """The next configuration to try, None when the budget is spent or nothing new is found.

    A space that the budget covers is tried whole, in its order; any other is searched by a tree-structured Parzen
    estimator (Bergstra et al. 2011).

    Args:
        ended: the family's trials so far, in their order.
    """
    if len(ended) >= budget(family):
        return None
    tried = {past.trial.key() for past in ended}
    options: Iterable[Trial] = grid(family) if size(family) <= budget(family) else suggestions(family, ended, seed)
    return next((trial for trial in options if trial.key() not in tried), None)


def blind(family: Family) -> int:
    """How many of a family's first trials have parameters that no result had a say in."""
    return budget(family) if size(family) <= budget(family) else BLIND_TRIALS


def suggestions(family: Family, ended: Sequence[Ended], seed: int) -> Iterator[Trial]:
    """Proposals for the next trial, the best first."""
    from optuna.samplers import TPESampler

    spread = space(family)
    for attempt in range(ATTEMPTS):
        drawn = np.random.SeedSequence([seed, len(ended), attempt]).generate_state(1)[0]
        sampler = TPESampler(n_startup_trials=BLIND_TRIALS, seed=int(drawn))
        asked = study(family, ended, sampler).ask(distributions(family))
        yield Trial(family.family, {name: asked.params.get(name, given) for name, given in spread.items()})


def is_hopeless(family: Family, ended: Sequence[Ended], rank_ic: Sequence[float]) -> bool:
    """Whether a trial may be given up after these splits: its mean so far is below the median of the family's trials
    that were judged on all splits, at the same split (the median rule of Golovin et al. 2017, section 3.2.2)."""
    asked = study(family, ended).ask()
    for split, mean in enumerate(running_means(rank_ic)):
        asked.report(mean, split)
    return bool(asked.should_prune())


def study(family: Family, ended: Sequence[Ended], sampler: Any = None) -> Any:
    """Optuna's study of a family's trials so far, in memory."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    searched = distributions(family)
    made = optuna.create_study(
        direction="maximize",
        sampler=sampler,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=WARMUP_SPLITS),
    )
    for past in ended:
        means = running_means(past.rank_ic)
        made.add_trial(
            optuna.trial.create_trial(
                params={name: past.trial.parameters[name] for name in searched},
                distributions=searched,
                state=optuna.trial.TrialState.PRUNED if past.pruned else optuna.trial.TrialState.COMPLETE,
                value=None if past.pruned else means[-1],
                intermediate_values=dict(enumerate(means)),
            )
        )
    return made


def distributions(family: Family) -> dict[str, Any]:
    """What is searched, in Optuna's terms; hyper-parameters with a fixed value are not."""
    return {name: distribution(given) for name, given in space(family).items() if isinstance(given, Range | tuple)}


def distribution(given: Any) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(given, tuple):
        return CategoricalDistribution(given)
    kind = IntDistribution if isinstance(given.low, int) and isinstance(given.high, int) else FloatDistribution
    return kind(given.low, given.high, log=given.log)


def running_means(values: Sequence[float]) -> list[float]:
    return [float(mean) for mean in np.cumsum(values) / np.arange(1, len(values) + 1)]
