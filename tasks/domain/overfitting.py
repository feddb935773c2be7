"""How much of the best of many trials is the choosing: from the returns that each trial would have earned.

All take net returns from session to session, sessions × trials, out of fold, without gaps.
"""

from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.domain.metrics import varies

Floats = npt.NDArray[np.float64]
DRAWS = 1000
BLOCKS = 16  # 12,870 ways to halve them
ALIKE = 0.1  # a distance of trials: correlations above 0.98
CUTS = 64  # numbers of clusters that are tried
CHUNK = 1024  # halvings looked at together, which bounds memory


class Overfitting(NamedTuple):
    """Over all halvings of the sessions into two sets of blocks. `probability`: share in which the trial that was best
    in one half was below the median in the other; `logits`: of its relative rank there, one a halving."""

    probability: float
    logits: Floats


def probability_of_overfitting(returns: Floats, blocks: int = BLOCKS) -> Overfitting:
    """PBO by combinatorially symmetric cross-validation, on Sharpe ratios (Bailey, Borwein, López de Prado & Zhu 2015,
    "The probability of backtest overfitting", section 3).

    Sessions that do not fill a block are left out at the beginning. Ranks are those of the paper, 1 to N over N + 1; a
    trial that does not vary has a ratio of 0.

    Raises:
        ValueError: fewer than two trials, an odd number of blocks, or fewer than two sessions a block.
    """
    sessions, trials = returns.shape
    if trials < 2 or blocks % 2 or sessions < 2 * blocks:
        raise ValueError(f"expected at least 2 trials and {2 * blocks} sessions, found {trials} and {sessions}")
    size = sessions // blocks
    parts = returns[sessions - size * blocks :].reshape(blocks, size, trials)
    sums, squares = parts.sum(axis=1), (parts**2).sum(axis=1)
    halves = np.array(list(combinations(range(blocks), blocks // 2)))
    chosen = np.zeros((len(halves), blocks))
    np.put_along_axis(chosen, halves, 1.0, axis=1)
    logits = np.concatenate(
        [
            _logits(
                _ratios(part @ sums, part @ squares, size * blocks // 2),
                _ratios((1 - part) @ sums, (1 - part) @ squares, size * blocks // 2),
            )
            for part in np.array_split(chosen, -(-len(chosen) // CHUNK))
        ]
    )
    return Overfitting(float((logits <= 0).mean()), logits)


def _ratios(sums: Floats, squares: Floats, count: int) -> Floats:
    """Sharpe ratios per session from sums of returns and of their squares."""
    mean = sums / count
    variance = np.maximum((squares - count * mean**2) / (count - 1), 0.0)
    # Rounding leaves a little variance where there is none.
    moves = variance > 1e-24 + 1e-12 * mean**2
    ratios: Floats = np.divide(mean, np.sqrt(variance), out=np.zeros_like(mean), where=moves)
    return ratios


def _logits(inside: Floats, outside: Floats) -> Floats:
    """Of the relative rank, among those outside, of the trial that is best inside; ties share the middle of theirs."""
    best = np.take_along_axis(outside, inside.argmax(axis=1)[:, np.newaxis], axis=1)
    below, same = (outside < best).sum(axis=1), (outside == best).sum(axis=1)
    rank = (below + (same + 1) / 2) / (outside.shape[1] + 1)
    logits: Floats = np.log(rank / (1 - rank))
    return logits


def superior_predictive_ability(returns: Floats, benchmark: Floats, block: int, seed: int) -> float:
    """The chance of a best trial as far above a benchmark as this one, were none of them better, by the stationary
    bootstrap: the consistent p-value of Hansen (2005), "A test for superior predictive ability".

    Args:
        returns: sessions × trials. benchmark: returns of the same sessions.
        block: mean block length in sessions. seed: of the draws.

    Returns:
        NaN where no trial differs from the benchmark.
    """
    # A slow import that most callers never need.
    from arch.bootstrap import SPA

    apart = returns - benchmark[:, np.newaxis]
    differ = np.array([varies(column) for column in apart.T])
    if not differ.any():
        return float("nan")
    test = SPA(-benchmark, -returns[:, differ], block_size=block, reps=DRAWS, seed=seed)
    test.compute()
    return float(test.pvalues["consistent"])


def effective_trials(returns: Floats) -> int:
    """How many clusters of trials move alike: average linkage over √(½ (1 − correlation)), cut where the mean
    silhouette is largest (López de Prado & Lewis 2019, "Detection of false investment strategies using unsupervised
    learning methods", with hierarchical clusters in place of k-means).

    Every number of clusters is tried up to CUTS of them, beyond that so many, evenly on a logarithmic scale. Trials
    that do not vary are one cluster. Trials that are one another's copies are one.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform
    from sklearn.metrics import silhouette_score

    moving = np.array([varies(column) for column in returns.T])
    still = int((~moving).any())
    if moving.sum() < 2:
        return int(moving.sum()) + still
    distance = np.sqrt(np.clip(0.5 * (1 - np.corrcoef(returns[:, moving].T)), 0, None))
    np.fill_diagonal(distance, 0.0)
    if distance.max() < ALIKE:
        return 1 + still
    tree = linkage(squareform(distance, checks=False), "average")
    most = len(distance) - 1
    counts = range(2, most + 1) if most <= CUTS else np.unique(np.geomspace(2, most, CUTS).round().astype(int)).tolist()
    cuts = [fcluster(tree, count, "maxclust") for count in counts]
    scored = [silhouette_score(distance, cut, metric="precomputed") for cut in cuts if len(np.unique(cut)) > 1]
    best = int(np.unique(cuts[int(np.argmax(scored))]).size) if scored else len(distance)
    return best + still
