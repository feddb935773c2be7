"""How far two engines are apart on the same targets, and the rule of docs/fills.md to look at where they are."""

import numpy as np
import pandas as pd

from tasks.domain.simulate.contract import SMALLEST_ORDER, Result

BP = 1e4
KEYS = ["timestamp", "instrument", "side", "reason"]
SAME = 1e-7  # of a price, a quantity or a cost: the engines round differently,
NOTHING = SMALLEST_ORDER  # and by so much of equity, where a small order is the difference of large positions
# What a fill is there for, and what can be wrong with one that both have.
RULES_OF_REASON = {
    "decision": "F1, F2, F5, F7",
    "stop_loss": "F9, F10, F11",
    "take_profit": "F9, F10, F11",
    "holding_bars": "F13",
    "drawdown_stop": "F14",
}
RULES_OF_COLUMN = {"quantity": "F2, F3, F4, F7", "price": "F6, or F10 for a stop", "cost": "F8"}


def gap_bp(one: Result, two: Result) -> float:
    """Largest difference of equity on any session, in basis points; infinite if the fills are not the same ones."""
    if not one.fills[KEYS].reset_index(drop=True).equals(two.fills[KEYS].reset_index(drop=True)):
        return np.inf
    gaps = (one.equity - two.equity).abs() / one.equity.where(one.equity > 0)
    return float(gaps.max() * BP)


def first_difference(one: Result, two: Result) -> str | None:
    """The first fill that is not the same in both, with the rules that say what it should be; None where there is none.

    Where all fills are the same but equity is not, the first session of which that is so.
    """
    mine, theirs = one.fills, two.fills
    shared = min(len(mine), len(theirs))
    other = (mine[KEYS].iloc[:shared].to_numpy() != theirs[KEYS].iloc[:shared].to_numpy()).any(axis=1)
    slack = NOTHING * one.equity.reindex(mine["timestamp"].iloc[:shared]).to_numpy()
    slacks = {"quantity": slack / mine["price"].iloc[:shared].to_numpy(), "price": 0.0, "cost": slack}
    unlike = {
        column: ~np.isclose(mine[column].iloc[:shared], theirs[column].iloc[:shared], rtol=SAME, atol=slacks[column])
        for column in RULES_OF_COLUMN
    }
    wrong = np.flatnonzero(np.logical_or.reduce([other, *unlike.values()]))
    if len(wrong) == 0 and len(mine) == len(theirs):
        return equity_difference(one.equity, two.equity)
    at = int(wrong[0]) if len(wrong) else shared
    told = f"fill {at + 1}: {words(mine, at)} in the first engine, {words(theirs, at)} in the second"
    if at < shared and not other[at]:
        columns = [column for column, found in unlike.items() if found[at]]
        return f"{told}; {columns[0]} differs: rule {RULES_OF_COLUMN[columns[0]]}"
    reasons = sorted({fills["reason"].iloc[at] for fills in (mine, theirs) if at < len(fills)})
    return f"{told}; rule {', '.join(RULES_OF_REASON[reason] for reason in reasons)}"


def words(fills: pd.DataFrame, at: int) -> str:
    if at >= len(fills):
        return "none"
    fill = fills.iloc[at]
    return (
        f"{fill['timestamp']} {fill['side']} {fill['quantity']:.9g} {fill['instrument']} at {fill['price']:.9g}, cost "
        f"{fill['cost']:.6g} ({fill['reason']})"
    )


def equity_difference(one: pd.Series, two: pd.Series) -> str | None:
    wrong = ~np.isclose(one, two, rtol=SAME, atol=0)
    if not wrong.any():
        return None
    session = one.index[wrong][0]
    return f"equity at {session}: {one[session]:.9g} and {two[session]:.9g} after the same fills; rule F15, F16, F17"
