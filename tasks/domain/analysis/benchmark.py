"""What a book is held against: an instrument or all of them, and the styles that returns are commonly due to."""

import numpy as np
import pandas as pd

from tasks.domain.strategy import UNIVERSE

FEWEST = 6  # names, for the thirds of a style
YEAR, MONTH, QUARTER = 252, 21, 63  # bars


def benchmark_returns(close: pd.DataFrame, name: str) -> pd.Series:
    """From bar to bar: of an instrument, or the mean of all that have both closes ("universe"); before costs."""
    changes = close.pct_change(fill_method=None)
    found = changes.mean(axis=1) if name == UNIVERSE else changes[name]
    return found.fillna(0.0).rename("benchmark")


def style_returns(close: pd.DataFrame) -> pd.DataFrame:
    """Returns from bar to bar of the market and of three styles made of the same names, bars × styles.

    Each style is long the third of names with most of a property and short the third with least, in equal parts,
    ranked at the close before. `momentum`: return of the last 252 bars without the newest 21 (Jegadeesh & Titman 1993);
    `reversal`: minus that of the newest 21 (Jegadeesh 1990); `volatility`: standard deviation of 63 returns (Ang et al.
    2006). The market is the mean of all names. With fewer than six names there is only the market; bars at which a
    style cannot be told are NaN.
    """
    changes = close.pct_change(fill_method=None)
    market = benchmark_returns(close, UNIVERSE).rename("market")
    if close.shape[1] < FEWEST:
        return market.to_frame()
    newest = close / close.shift(MONTH) - 1
    properties = {
        "momentum": close.shift(MONTH) / close.shift(YEAR) - 1,
        "reversal": -newest,
        "volatility": changes.rolling(QUARTER).std(),
    }
    return pd.DataFrame({"market": market} | {name: spread(each, changes) for name, each in properties.items()})


def spread(property_: pd.DataFrame, changes: pd.DataFrame) -> pd.Series:
    """Mean change of the third of names with most of a property a bar earlier, less that of the third with least."""
    standing = property_.shift().rank(axis=1, pct=True).where(property_.shift().notna().sum(axis=1) >= FEWEST)
    top, bottom = changes.where(standing > 2 / 3), changes.where(standing <= 1 / 3)
    return top.mean(axis=1) - bottom.mean(axis=1)


def due_to_styles(returns: pd.Series, styles: pd.DataFrame, periods: float, lags: int) -> pd.DataFrame | None:
    """What a book's returns are due to, by ordinary least squares.

    Args:
        returns: from bar to bar, fractions. styles: the same or more bars; bars with a NaN are left out.
        periods: bars a year. lags: over which errors may depend on one another (Newey & West 1987).

    Returns:
        one line for each style and `alpha`, what is left: `beta`, `t`, `contribution` (a year, fraction); None with
        fewer than 30 bars, or where the styles do not move or are copies of one another.
    """
    # An import of 1 s that only this needs.
    from statsmodels.regression.linear_model import OLS

    table = styles.reindex(returns.index).assign(alpha=1.0, returns=returns).dropna()
    named = table.drop(columns="returns")
    if len(table) < 30 or np.linalg.matrix_rank(named.to_numpy()) < named.shape[1]:
        return None
    fitted = OLS(table["returns"], named).fit(cov_type="HAC", cov_kwds={"maxlags": lags})
    contribution = fitted.params * named.mean() * periods
    return pd.DataFrame({"beta": fitted.params, "t": fitted.tvalues, "contribution": contribution})
