"""Sample weights: rows whose labels overlap tell partly the same, so each counts for less."""

import numpy as np
import pandas as pd

FIRST_RETURN = 2  # sessions after the decision: bought at the close of t + 1, the first return is that of t + 2


def average_uniqueness(end: pd.DataFrame) -> pd.DataFrame:
    """Weight of each label: the mean, over the sessions whose returns make it up, of 1 / labels sharing the session.

    López de Prado 2018, sections 4.3 and 4.4. A label decided at t and complete at `end` is made up of the returns of
    t + 2 to `end`, of its instrument alone.

    Args:
        end: sessions × instruments, number of the session that completes the label, −1 for no label
            (`labelling.Target.end`).

    Returns:
        Same shape; mean 1 over all labels, NaN where there is none.
    """
    complete = end.to_numpy()
    decided, name = np.nonzero(complete >= 0)
    first, after = decided + FIRST_RETURN, complete[decided, name] + 1
    change = np.zeros((len(complete) + 1, complete.shape[1]))
    np.add.at(change, (first, name), 1)
    np.add.at(change, (after, name), -1)
    sharing = change.cumsum(axis=0)[:-1]
    share = np.divide(1.0, sharing, out=np.zeros_like(sharing), where=sharing > 0)
    summed = np.vstack([np.zeros(complete.shape[1]), share.cumsum(axis=0)])
    unique = (summed[after, name] - summed[first, name]) / (after - first)
    weight = np.full(complete.shape, np.nan)
    weight[decided, name] = unique / unique.mean() if len(unique) else unique
    return pd.DataFrame(weight, index=end.index, columns=end.columns)
