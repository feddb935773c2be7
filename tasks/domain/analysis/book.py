"""Positions and profits that a result's fills amount to, without either engine's own bookkeeping."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from tasks.domain.simulate.contract import Prices, Result
from tasks.domain.strategy import Costs


class Book(NamedTuple):
    """`value`: of each position at its mark, currency, bars × names that were ever traded; `by_name`: profit of each
    name net of the costs of its trades, currency; `costs`: currency by kind, `financing` being what borrow cost less
    what cash earned."""

    value: pd.DataFrame
    by_name: pd.Series
    costs: dict[str, float]

    def exposure(self, equity: pd.Series) -> pd.DataFrame:
        """`long`, `short`, `gross`, `net` at each bar's close, as fractions of equity; NaN after ruin."""
        value = self.value.to_numpy()
        long, short = np.maximum(value, 0).sum(axis=1), np.minimum(value, 0).sum(axis=1)
        parts = {"long": long, "short": short, "gross": long - short, "net": long + short}
        return pd.DataFrame(parts, equity.index).div(equity.where(equity > 0), axis=0)


def book(result: Result, prices: Prices, costs: Costs) -> Book:
    """The book that a result kept."""
    fills, equity = result.fills, result.equity
    traded = list(dict.fromkeys(fills["instrument"]))
    held = holdings(fills, equity, traded)
    marks = prices.close[traded].ffill()
    value = (held * marks).fillna(0.0)
    paid = (signed(fills) * fills["price"] + fills["cost"]).groupby(fills["instrument"]).sum().reindex(traded)
    by_name = (value.iloc[-1] - paid).rename("profit")
    return Book(value, by_name, paid_costs(fills, costs, by_name.sum() - (equity.iloc[-1] - equity.iloc[0])))


def signed(fills: pd.DataFrame) -> pd.Series:
    """Quantities, negative where sold."""
    return fills["quantity"].where(fills["side"] == "buy", -fills["quantity"])


def holdings(fills: pd.DataFrame, equity: pd.Series, names: list[str]) -> pd.DataFrame:
    """Units held at each bar's close, bars × names; nothing after ruin (F17)."""
    moved = np.zeros((len(equity), len(names)))
    bar = equity.index.get_indexer(pd.Index(fills["timestamp"]))
    name = pd.Index(names, dtype="str").get_indexer(pd.Index(fills["instrument"]))
    np.add.at(moved, (bar, name), signed(fills).to_numpy())
    held = np.cumsum(moved, axis=0)
    held[equity.to_numpy() <= 0] = 0.0
    return pd.DataFrame(held, equity.index, names)


def paid_costs(fills: pd.DataFrame, costs: Costs, financing: float) -> dict[str, float]:
    """What each kind of cost came to; impact is what fills paid beyond commission and half spread."""
    notional = float(fills["notional"].sum())
    commission, spread = (notional * bp / 1e4 for bp in (costs.commission_bp, costs.half_spread_bp))
    impact = float(fills["cost"].sum()) - commission - spread if costs.impact_bp else 0.0
    return {"commission": commission, "half_spread": spread, "impact": impact, "financing": float(financing)}
