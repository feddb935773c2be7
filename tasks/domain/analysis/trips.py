"""Round trips: from the fill that opens a position in a name to the one that closes it."""

import numpy as np
import pandas as pd

from tasks.domain.analysis.book import signed

ROUNDING = 1e-9  # of a name's largest position


def round_trips(fills: pd.DataFrame, calendar: pd.DatetimeIndex) -> pd.DataFrame:
    """Closed round trips, by the bar they were closed in.

    A fill that turns a position around closes one trip and opens the next, and its cost is shared by quantity.

    Returns:
        `instrument`; `side` ("long" or "short"); `opened`, `closed` (bars of the fills); `bars` between them, 0 within
        one bar; `entry`, notional of the fills that built the position up; `profit`, net of costs (both currency);
        `reason` of the closing fill.
    """
    legs = legs_of(fills)
    opens = legs["before"] == 0
    legs["trip"] = opens.cumsum()
    built = np.where(
        legs["quantity"] * np.sign(legs["before"].where(~opens, legs["quantity"])) > 0, legs["notional"], 0
    )
    legs = legs.assign(
        entry=built,
        profit=-legs["quantity"] * legs["price"] - legs["cost"],
        side=np.where(legs["quantity"] > 0, "long", "short"),
    )
    trips = legs.groupby("trip").agg(
        instrument=("instrument", "first"),
        side=("side", "first"),
        opened=("timestamp", "first"),
        closed=("timestamp", "last"),
        entry=("entry", "sum"),
        profit=("profit", "sum"),
        reason=("reason", "last"),
        left=("after", "last"),
    )
    trips = trips[trips["left"] == 0].drop(columns="left").sort_values("closed", kind="stable", ignore_index=True)
    first, last = (calendar.get_indexer(pd.Index(trips[column])).astype(np.int64) for column in ("opened", "closed"))
    trips.insert(4, "bars", last - first)
    return trips


def legs_of(fills: pd.DataFrame) -> pd.DataFrame:
    """Fills by name in order of time, `quantity` signed, with the position `before` and `after` each; those that go
    through zero in two parts."""
    legs = fills.assign(quantity=signed(fills)).sort_values("instrument", kind="stable", ignore_index=True)
    after = legs.groupby("instrument")["quantity"].cumsum()
    largest = after.abs().groupby(legs["instrument"]).transform("max")
    legs["after"] = after.where(after.abs() > ROUNDING * largest, 0.0)
    legs["before"] = legs.groupby("instrument")["after"].shift(fill_value=0.0)
    turns = (legs["before"] * legs["after"] < 0).to_numpy()
    parts = legs.loc[np.repeat(legs.index, 1 + turns)].reset_index(drop=True)
    second = parts.index.to_numpy() == np.repeat(np.cumsum(1 + turns) - 1, 1 + turns)
    turned = np.repeat(turns, 1 + turns)
    share = np.where(second, parts["after"], -parts["before"]) / parts["quantity"]
    for column in ("quantity", "notional", "cost"):
        parts[column] = parts[column].where(~turned, parts[column] * share)
    parts["after"] = parts["after"].where(~turned | second, 0.0)
    parts["before"] = parts["before"].where(~turned | ~second, 0.0)
    return parts
