"""A third opinion on a backtest: nautilus_trader replays the fills and keeps books of its own.

It is optional, and lives in an environment of its own, as its licence and its pandas do not fit here: a Python that has
it is named by COUNTERSIGN_THIRD_OPINION. Both sides exchange Parquet files.
"""

import os
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from tasks.domain.analysis.book import signed
from tasks.domain.errors import UsageError
from tasks.domain.simulate.contract import Prices, Result
from tasks.domain.strategy import Strategy

PYTHON = "COUNTERSIGN_THIRD_OPINION"
SCRIPT = Path(__file__).with_name("nautilus_replay.py")
PATIENCE = 1800  # seconds
BP = 1e4


class Opinion(NamedTuple):
    """`gap_bp`: the largest of equity on any bar; None where nobody was asked, which `words` tell."""

    gap_bp: float | None
    words: str


def third_opinion(result: Result, prices: Prices, strategy: Strategy) -> Opinion:
    """Ask whoever the environment names.

    Raises:
        UsageError: it names somebody who does not answer.
    """
    if PYTHON not in os.environ:
        return Opinion(None, "No third engine was asked")
    if unasked := beyond(strategy):
        return Opinion(None, f"No third engine was asked: it knows nothing of {unasked}")
    with tempfile.TemporaryDirectory() as scratch:
        equity = replayed(os.environ[PYTHON], write(result, prices, strategy, Path(scratch)))
    told = equity.reindex(prices.calendar).ffill().fillna(strategy.capital)
    gap = float((told / result.equity - 1).abs().max() * BP)
    return Opinion(gap, f"nautilus_trader replayed the fills and is {gap:.1e} bp of equity apart at most")


def beyond(strategy: Strategy) -> str:
    """What the strategy asks for that a replay at one rate of costs cannot tell; empty if nothing."""
    costs, risk = strategy.costs, strategy.risk
    found = {
        "impact_bp": costs.impact_bp,
        "interest_rate": costs.interest_rate,
        "borrow_rate": costs.borrow_rate,
        "stop_loss": risk.stop_loss,
        "take_profit": risk.take_profit,
    }
    return ", ".join(name for name, value in found.items() if value)


def write(result: Result, prices: Prices, strategy: Strategy, folder: Path) -> Path:
    """What `nautilus_replay.py` reads. An order finds its fill's price as the open of its bar (F6)."""
    close = prices.close.ffill()
    opened = prices.close if prices.open is None else prices.open.fillna(prices.close)
    numbers = {name: f"I{number}" for number, name in enumerate(close.columns)}
    bars = pd.DataFrame({"open": opened.stack(), "close": close.stack()}).dropna().rename_axis(["timestamp", "name"])
    bars = bars.reset_index().assign(high=np.nan, low=np.nan, volume=np.nan)
    fills = result.fills
    orders = pd.DataFrame({"timestamp": fills["timestamp"], "name": fills["instrument"], "quantity": signed(fills)})
    rate = (strategy.costs.commission_bp + strategy.costs.half_spread_bp) / BP
    terms = {"capital": strategy.capital, "cost_rate": rate, "stop_loss": None, "take_profit": None}
    tables = {"bars": bars, "orders": orders, "terms": pd.DataFrame([terms])}
    for title, table in tables.items():
        if "name" in table:
            table = table.assign(instrument=table["name"].map(numbers)).drop(columns="name")
        table.to_parquet(folder / f"{title}.parquet")
    return folder


def replayed(python: str, folder: Path) -> pd.Series:
    """Equity at each bar that had a price, by the replay's own books."""
    try:
        command = [python, str(SCRIPT), str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False, cwd=folder)
    except (OSError, subprocess.TimeoutExpired) as fault:
        raise UsageError(f"{PYTHON}={python}: no answer ({fault}); name a Python with nautilus_trader") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise UsageError(f"{PYTHON}={python}: the replay failed ({said[-1] if said else done.returncode})")
    told = pd.read_parquet(folder / "equity.parquet")
    # Its marks carry the time of the close, some seconds after the bar's own.
    return pd.Series(told["equity"].to_numpy(), pd.DatetimeIndex(told["timestamp"]).floor("min"))
