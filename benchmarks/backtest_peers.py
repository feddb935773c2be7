"""A peer on one case of backtest.py: `PYTHON backtest_peers.py PEER CASE PANEL.npz RESULT.npy`, in its environment.

PANEL.npz holds `calendar`, the bars' fields, `weights` (bars × names, NaN where there is no decision), and `filled`:
the signed quantities that our engine filled by decision, so that all size alike. Prints one JSON line with the seconds
of a call when all is compiled, then writes the equity of each bar.
"""

import json
import sys
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

CAPITAL = 1e6
FEE = {"w1": 1e-3, "w2": 1e-5}
STOP = 0.03
TIMES = 5  # of which the quickest counts, where a call is short


def frames(panel: dict[str, np.ndarray]) -> dict[str, pd.DataFrame]:
    names = [f"N{n}" for n in range(panel["close"].shape[1])]
    fields = ("open", "high", "low", "close", "weights", "filled")
    return {field: pd.DataFrame(panel[field], pd.DatetimeIndex(panel["calendar"]), names) for field in fields}


def vectorbt(case: str, bars: dict[str, pd.DataFrame]) -> Callable[[], np.ndarray]:
    import vectorbt as vbt
    from vectorbt.portfolio.enums import StopEntryPrice, StopExitPrice

    shared = {"fees": FEE[case], "init_cash": CAPITAL, "freq": "1D"}
    if case == "w1":
        targets = bars["weights"].shift().to_numpy()
        given = {
            "size": targets,
            "size_type": "targetpercent",
            "price": bars["open"],
            "val_price": bars["close"].shift(),
        }
        return lambda: (
            vbt.Portfolio.from_orders(bars["close"], cash_sharing=True, group_by=True, **given, **shared)
            .value()
            .to_numpy()
        )
    column = {field: frame.iloc[:, 0] for field, frame in bars.items()}
    size = column["filled"]
    leaves = column["weights"].shift() == 0
    given = {
        "entries": size > 0,
        "exits": leaves,
        "size": size.abs().replace(0, np.inf),
        "price": column["open"],
        "open": column["open"],
        "high": column["high"],
        "low": column["low"],
        "sl_stop": STOP,
        "tp_stop": STOP,
        "stop_entry_price": StopEntryPrice.FillPrice,
        "stop_exit_price": StopExitPrice.StopLimit,
    }
    return lambda: vbt.Portfolio.from_signals(column["close"], **given, **shared).value().to_numpy()


def bt(case: str, bars: dict[str, pd.DataFrame]) -> Callable[[], np.ndarray]:
    """Its bars are prices at which it both trades and marks, so it gets the opens."""
    import bt as library

    opens, weights = bars["open"], bars["weights"].shift().fillna(0.0)

    def once() -> np.ndarray:
        algos = [library.algos.RunDaily(), library.algos.WeighTarget(weights), library.algos.Rebalance()]
        test = library.Backtest(
            library.Strategy("w1", algos),
            opens,
            initial_capital=CAPITAL,
            commissions=lambda quantity, price: FEE[case] * abs(quantity) * price,
            integer_positions=False,
            progress_bar=False,
        )
        values = library.run(test).backtests["w1"].strategy.values
        return np.asarray(values.iloc[-len(opens) :])

    return once


def backtesting(case: str, bars: dict[str, pd.DataFrame]) -> Callable[[], np.ndarray]:
    from backtesting import Backtest, Strategy

    names = {"open": "Open", "high": "High", "low": "Low", "close": "Close"}
    table = pd.DataFrame({new: bars[old].iloc[:, 0] for old, new in names.items()})
    sizes = bars["filled"].iloc[:, 0].shift(-1).fillna(0.0).to_numpy()
    weights = bars["weights"].iloc[:, 0].to_numpy()

    class Hourly(Strategy):
        def init(self) -> None:
            pass

        def next(self) -> None:
            at = len(self.data) - 1
            price = self.data.Close[-1]
            if sizes[at] > 0:
                self.buy(size=max(int(sizes[at]), 1), sl=price * (1 - STOP), tp=price * (1 + STOP))
            elif weights[at] == 0:
                self.position.close()

    return lambda: np.asarray(
        Backtest(table, Hourly, cash=CAPITAL, commission=FEE[case]).run()["_equity_curve"]["Equity"]
    )


def main() -> None:
    peer, case, source, target = sys.argv[1:]
    with np.load(source) as stored:
        bars = frames(dict(stored))
    once = {"vectorbt": vectorbt, "bt": bt, "backtesting": backtesting}[peer](case, bars)
    if peer == "vectorbt":  # the others compile nothing
        once()
    seconds = []
    for _ in range(TIMES if peer == "vectorbt" else 1):
        begun = time.perf_counter()
        equity = once()
        seconds.append(time.perf_counter() - begun)
    print(json.dumps({"wall_s": min(seconds)}), flush=True)
    np.save(target, equity)


if __name__ == "__main__":
    main()
