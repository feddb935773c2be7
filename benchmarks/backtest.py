"""The research engine against vectorbt, bt and backtesting.py, on the same orders, side by side in one run.

W1: 500 synthetic names over 2,520 sessions, long 50 and short 50 by a random score each day, filled at the next open,
at 5 + 5 bp. W2: 500,000 minute bars of one name, in for 45 minutes of every hour at 0.05 + 0.05 bp, with stops and
targets so wide that no rule comes into play on which engines differ (docs/fills.md says what happens in tight ones).
Sweep: many paths over W1's bars and targets at other costs, once plain, once with stops and limits, once with these on
other histories of the same bars, each drawn and traded at all costs (bootstrap). Peers run in an
environment of their own, made on the first call, or given by --peer-python; their licences don't fit, so they are
measured and never depended on. Seconds are those of a call when all is compiled. bt trades and marks at one and the
same price, backtesting.py sizes in whole units: their equity differs by that.

How near that is to what the machine can do: for one path the bytes of the tables read and of the ledger written, at the
speed at which it reads memory in the same run; for a sweep OPERATIONS on each path's cell (a name held or traded on a
day), at the rate at which a loop of multiplications and additions over as many paths runs here. Then the engine alone
over a growing number of names on 20 years: time, and peak memory of a process that makes the bars and simulates. Prints
a table and, as its last line, one JSON object; ratios are theirs over ours.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

from features import peer_python, run, synthetic

from tasks.domain.simulate import research
from tasks.domain.simulate.contract import Prices
from tasks.domain.simulate.resampling import Histories, stationary_order
from tasks.domain.simulate.research import TILE
from tasks.domain.strategy import Costs, Risk, Strategy

PEERS = ("vectorbt==1.2.0", "bt==1.4.0", "backtesting==0.6.6")
SIDE, CAPITAL, BP = 50, 1e6, 1e4
MINUTES, HOUR, IN = 500_000, 60, 45
STOP, TARGET = 0.03, 0.03
FIELDS = ("open", "high", "low", "close", "volume")
GROWTH = (100, 500, 1000, 5000)
LEDGER_BYTES = 60  # a fill
CHAIN = 8  # operations on a number between reading and writing it
OPERATIONS = 12  # of a fill without stops: order, cost, cash, position, value
TIMES = 5  # of which the quickest counts, ours and vectorbt's; the others take too long
NO_RISK = Risk()


def daily(names: int = 500, sessions: int | None = None) -> Prices:
    panel = synthetic(names)
    tables = {field: pd.DataFrame(panel[field], panel["days"].astype("datetime64[us]")) for field in FIELDS}
    if sessions is None:
        return Prices(**tables)
    # The same years again, and again, on a calendar of their own.
    times = -(-sessions // len(panel["days"]))
    calendar = pd.bdate_range("1990-01-01", periods=sessions)
    return Prices(
        **{field: pd.concat([table] * times).iloc[:sessions].set_axis(calendar) for field, table in tables.items()}
    )


def by_score(prices: Prices, side: int) -> pd.DataFrame:
    """Long the `side` names of the highest random score, short those of the lowest, every day."""
    order = np.random.default_rng(1).random(prices.close.shape).argsort(axis=1)
    weights = np.zeros(order.shape)
    np.put_along_axis(weights, order[:, :side], -0.5 / side, axis=1)
    np.put_along_axis(weights, order[:, -side:], 0.5 / side, axis=1)
    return pd.DataFrame(weights, prices.close.index, prices.close.columns)


def minutes() -> Prices:
    rng = np.random.default_rng(3)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 4e-4, MINUTES)))
    opened = np.append(close[:1], close[:-1]) * np.exp(rng.normal(0, 1e-4, MINUTES))
    high, low = np.maximum(opened, close), np.minimum(opened, close)
    high, low = high * np.exp(rng.exponential(2e-4, MINUTES)), low * np.exp(-rng.exponential(2e-4, MINUTES))
    calendar = pd.date_range("2024-01-01", periods=MINUTES, freq="min")
    volume = np.full(MINUTES, 1e6)
    columns = dict(zip(FIELDS, (opened, high, low, close, volume), strict=True))
    return Prices(**{field: pd.DataFrame({"A": values}, calendar) for field, values in columns.items()})


def hourly(prices: Prices) -> pd.DataFrame:
    """Half of equity at the first minute of each hour, nothing from the 45th on."""
    at = np.arange(MINUTES)
    chosen = (at % HOUR == 0) | (at % HOUR == IN)
    return pd.DataFrame({"A": np.where(at % HOUR == 0, 0.5, 0.0)[chosen]}, prices.calendar[chosen])


def quickest(action: Callable[[], object], times: int) -> float:
    seconds = []
    for _ in range(times):
        begun = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def strategy(risk: Risk, commission_bp: float = 5.0, half_spread_bp: float = 5.0) -> Strategy:
    costs = Costs(commission_bp=commission_bp, half_spread_bp=half_spread_bp)
    return Strategy(costs=costs, risk=risk, capital=CAPITAL, gross_limit=1.0, name_limit=1.0)


def ours(case: str, panel: str) -> None:
    """One case in a process of its own, so that its memory is its own; what it did goes to the other side."""
    prices, weights, terms = case_of(case)
    result = research.simulate(weights, prices, terms)
    seconds = quickest(lambda: research.simulate(weights, prices, terms), TIMES)
    print(json.dumps({"wall_s": seconds, "fills": len(result.fills)}), flush=True)
    tables = {field: frame.to_numpy() for field, frame in prices.fields()}
    fills = result.fills[result.fills["reason"] == "decision"]
    names = pd.Index(fills["instrument"].to_numpy()).astype(prices.close.columns.dtype)
    at = prices.calendar.get_indexer(fills["timestamp"]), prices.close.columns.get_indexer(names)
    filled = np.zeros(prices.close.shape)
    filled[at] = np.where(fills["side"] == "buy", fills["quantity"], -fills["quantity"])
    np.savez(
        panel,
        calendar=prices.calendar.to_numpy(),
        equity=result.equity.to_numpy(),
        weights=weights.reindex(prices.calendar).to_numpy(),
        filled=filled,
        **tables,
    )


def case_of(case: str) -> tuple[Prices, pd.DataFrame, Strategy]:
    if case == "w1":
        prices = daily()
        return prices, by_score(prices, SIDE), strategy(NO_RISK)
    prices = minutes()
    return prices, hourly(prices), strategy(Risk(stop_loss=STOP, take_profit=TARGET), 0.05, 0.05)


def beside(case: str, peers: tuple[str, ...], peer: Path, folder: Path) -> dict[str, dict[str, float]]:
    """Our side and each peer on one case: seconds, peak memory, and the largest gap of equity on any bar in bp."""
    panel = folder / f"{case}.npz"
    mine = run([sys.executable, __file__, "--ours", case, str(panel)], panel)
    found = {"ours": mine.figures | {"peak_mb": mine.peak_bytes / 2**20, "gap_bp": 0.0}}
    tell(case, "ours", found["ours"])
    equity = np.load(panel)["equity"]
    for name in peers:
        result = folder / f"{case}-{name}.npy"
        script = str(Path(__file__).with_name("backtest_peers.py"))
        side = run([str(peer), script, name, case, str(panel), str(result)], result)
        gap = float(np.max(np.abs(np.load(result) / equity - 1)) * BP)
        found[name] = side.figures | {"peak_mb": side.peak_bytes / 2**20, "gap_bp": gap}
        tell(case, name, found[name])
    return found


def tell(case: str, who: str, figures: dict[str, float]) -> None:
    print(
        f"{case:>6} {who:>14}: {1000 * figures['wall_s']:10.1f} ms, peak {figures['peak_mb']:6.0f} MB, "
        f"equity apart by at most {figures['gap_bp']:.1e} bp",
        flush=True,
    )


def swept(prices: Prices, weights: pd.DataFrame, risk: Risk, paths: int) -> float:
    """Seconds a path."""
    many = [(weights, strategy(risk, float(bp))) for bp in np.linspace(0, 20, paths)]
    research.sweep(many[:2], prices)
    return quickest(lambda: research.sweep(many, prices), 3) / paths


def bootstrapped(prices: Prices, weights: pd.DataFrame, risk: Risk, paths: int) -> float:
    """Seconds a path, where every 128 paths have a history of their own, drawing it included."""
    rng, costs = np.random.default_rng(2), [strategy(risk, float(bp)) for bp in np.linspace(0, 20, TILE)]
    begun = time.perf_counter()
    histories = Histories(prices)
    for _ in range(paths // TILE):
        other, history = histories.draw(weights, stationary_order(len(prices.calendar), 20, rng))
        research.sweep([(other, each) for each in costs], history)
    return (time.perf_counter() - begun) / paths


def operations_a_second() -> float:
    """Multiplications and additions that two threads make over as many paths as a tile has."""
    import numba

    @numba.njit(nogil=True)
    def steps(values: np.ndarray, times: int) -> float:
        for _ in range(times):
            for at in range(len(values)):
                value = values[at]
                for _ in range(CHAIN):
                    value = value * 0.999 + 0.001
                values[at] = value
        return float(values.sum())

    times = 500_000
    steps(np.ones(TILE), 10)
    with ThreadPoolExecutor(2) as pool:
        seconds = quickest(lambda: list(pool.map(steps, np.ones((2, TILE)), [times, times])), 3)
    return 2 * 2 * CHAIN * TILE * times / seconds


def read_gbps() -> float:
    """How fast this machine reads memory, two threads."""
    halves = np.ones((2, 1 << 26))
    with ThreadPoolExecutor(2) as pool:
        seconds = quickest(lambda: list(pool.map(np.sum, halves)), 5)
    return halves.nbytes / seconds / 1e9


def one_size(names: int) -> None:
    """20 years of so many names, a tenth of them on each side, in a process of its own."""
    prices = daily(names, sessions=5040)
    weights = by_score(prices, names // 10)
    research.simulate(weights, prices, strategy(NO_RISK))
    seconds = quickest(lambda: research.simulate(weights, prices, strategy(NO_RISK)), 3)
    print(json.dumps({"wall_s": seconds}), flush=True)


def grown(sizes: tuple[int, ...]) -> tuple[float, float]:
    """Exponents of the engine's time and of its process's peak memory over the number of names."""
    seconds, peaks = [], []
    for names in sizes:
        side = run([sys.executable, __file__, "--size", str(names)], Path())
        seconds.append(side.figures["wall_s"])
        peaks.append(side.peak_bytes)
        told = f"{1000 * seconds[-1]:8.1f} ms, peak {peaks[-1] / 2**20:6.0f} MB"
        print(f"{names:>6} names, 5,040 sessions: {told}", flush=True)
    time_exponent, memory_exponent = (float(np.polyfit(np.log(sizes), np.log(y), 1)[0]) for y in (seconds, peaks))
    return time_exponent, memory_exponent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-python", type=Path, help="a Python that has vectorbt, bt and backtesting")
    parser.add_argument("--paths", type=int, default=512)
    parser.add_argument("--ours", nargs=2, metavar=("CASE", "PANEL"), help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ours:
        return ours(*options.ours)
    if options.size:
        return one_size(options.size)
    peer = peer_python(options.peer_python, "backtest", PEERS)
    with tempfile.TemporaryDirectory() as scratch:
        w1 = beside("w1", ("vectorbt", "bt"), peer, Path(scratch))
        w2 = beside("w2", ("vectorbt", "backtesting"), peer, Path(scratch))
    prices, weights, _ = case_of("w1")
    plain = swept(prices, weights, NO_RISK, options.paths)
    limits = Risk(stop_loss=0.05, take_profit=0.1, turnover_limit=0.5, volume_share=0.1)
    bound = swept(prices, weights, limits, options.paths)
    drawn = bootstrapped(prices, weights, limits, options.paths)
    for title, seconds in (("plain", plain), ("stops, limits", bound), ("and bootstrap", drawn)):
        print(f" sweep {title:>14}: {1000 * seconds:10.3f} ms a path of {options.paths}", flush=True)
    speed, rate = read_gbps(), operations_a_second()
    cells = float(((weights != 0) | (weights.shift().fillna(0) != 0)).to_numpy().sum())
    moved = 3 * prices.close.size * 8 + w1["ours"]["fills"] * LEDGER_BYTES
    print(f" one path: {moved / 2**20:.0f} MB at {speed:.0f} GB/s = {moved / speed / 1e6:.2f} ms at best")
    print(
        f" sweep: {cells * OPERATIONS / 1e6:.1f} M operations a path at {rate / 1e9:.1f} G/s = "
        f"{1000 * cells * OPERATIONS / rate:.3f} ms at best; {plain / cells * 1e9:.2f} ns a cell"
    )
    time_exponent, memory_exponent = grown(GROWTH)
    figures: dict[str, Any] = {
        "w1_ratio_vs_vectorbt": round(w1["vectorbt"]["wall_s"] / w1["ours"]["wall_s"], 1),
        "w1_ratio_vs_bt": round(w1["bt"]["wall_s"] / w1["ours"]["wall_s"], 1),
        "w1_memory_ratio_vs_vectorbt": round(w1["vectorbt"]["peak_mb"] / w1["ours"]["peak_mb"], 2),
        "sweep_ratio_vs_vectorbt": round(w1["vectorbt"]["wall_s"] / plain),
        "sweep_with_limits_ratio_vs_vectorbt": round(w1["vectorbt"]["wall_s"] / bound),
        "w2_ratio_vs_vectorbt": round(w2["vectorbt"]["wall_s"] / w2["ours"]["wall_s"], 1),
        "w2_ratio_vs_backtesting": round(w2["backtesting"]["wall_s"] / w2["ours"]["wall_s"], 1),
        "max_gap_bp": max(w1["vectorbt"]["gap_bp"], w2["vectorbt"]["gap_bp"]),
        "sweep_with_bootstrap_ratio_vs_vectorbt": round(w1["vectorbt"]["wall_s"] / drawn),
        "w1_share_of_bandwidth": round(moved / speed / 1e9 / w1["ours"]["wall_s"], 3),
        "sweep_share_of_arithmetic": round(cells * OPERATIONS / rate / plain, 3),
        "growth_exponent": round(time_exponent, 3),
        "memory_growth_exponent": round(memory_exponent, 3),
    }
    print(json.dumps(figures))
    return None


if __name__ == "__main__":
    main()
