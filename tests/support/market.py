"""Small synthetic markets and the problem that goes with them: with a planted signal, or without."""

from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from tasks.domain.problem import BAR_COLUMNS

NAMES, SESSIONS = 24, 1500


def bars(signal: float, seed: int = 11, names: int = NAMES, sessions: int = SESSIONS) -> pd.DataFrame:
    """Daily bars (open, high, low, close, volume) of `names` stocks.

    Each name has a slowly changing drift (AR(1), half-life 34 sessions) of standard deviation `signal` a day under
    noise of 1 % a day: past returns then tell something of future ones. `signal` = 0 is a market without any skill
    to be had.
    """
    rng = np.random.default_rng(seed)
    drift = np.zeros((sessions, names))
    for t in range(1, sessions):
        drift[t] = 0.98 * drift[t - 1] + np.sqrt(1 - 0.98**2) * rng.normal(size=names)
    noise = 0.01 * rng.normal(size=(sessions, names))
    close = 100 * np.exp(np.cumsum(signal * drift + noise, axis=0))
    opened = np.vstack([close[:1], close[:-1]]) * np.exp(0.001 * rng.normal(size=close.shape))
    index = pd.MultiIndex.from_product(
        [pd.bdate_range("2015-01-01", periods=sessions), [f"N{i:02d}" for i in range(names)]],
        names=["date", "symbol"],
    )
    high, low = np.maximum(opened, close) * 1.001, np.minimum(opened, close) * 0.999
    columns = {"open": opened, "high": high, "low": low, "close": close, "volume": np.full(close.shape, 1e6)}
    return pd.DataFrame({name: values.ravel() for name, values in columns.items()}, index=index).reset_index()


def canonical(bars: pd.DataFrame) -> pd.DataFrame:
    """Bars as a snapshot gives them back: columns, types and rows in their fixed order."""
    columns = [name for name in BAR_COLUMNS if name in bars.columns]
    types = dict.fromkeys(columns, "float64") | {"timestamp": "datetime64[us]", "instrument": "str"}
    return bars.loc[:, columns].astype(types).sort_values(["instrument", "timestamp"], kind="stable", ignore_index=True)


def problem(folder: Path, name: str, data: Path | None = None, **changes: object) -> Path:
    """A problem file like the shipped one, small enough for tests; `changes` replace top-level fields."""
    shipped = Path(__file__).parents[2] / "problems" / "sp500_alpha.yaml"
    fields = yaml.safe_load(shipped.read_text())
    fields |= {
        "name": name,
        "calendar": None,  # its sessions are plain weekdays
        "families": [
            {"family": "ridge", "alpha": 10.0},
            {"family": "lightgbm", "num_leaves": 7, "num_rounds": 20},
        ],
        "splits": {"folds": 3},
        "constraints": {"turnover": 60.0, "complexity": "high"},  # no latency: whoever tests may be busy elsewhere
    }
    if data is not None:
        fields["source"] = {"kind": "files", "path": str(data)}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(fields | changes))
    return path


def market(folder: Path, name: str, signal: float, **changes: object) -> Path:
    """Write a market and its problem; returns the problem file."""
    data = folder / f"{name}.parquet"
    bars(signal).to_parquet(data)
    return problem(folder, name, data, **changes)
