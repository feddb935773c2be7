"""The whole analysis of a backtest on five panels: two of stocks, one stock, and a currency by the hour and the minute.

No model is trained: scores are rules out of textbooks, fixed beforehand, so that what is looked at is the analysis, and
results are stated as they come. Both engines trade each. Tear sheets go to --out, one HTML file a panel. Panels whose
data is not there are left out. Prints net results at 0, 1, 2 and 5 times the costs and, as its last line, one JSON
object.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

from features import REAL, SHARED

from tasks import tearsheet
from tasks.domain import sensitivity, study, trading
from tasks.domain.simulate.contract import Prices
from tasks.domain.strategy import Costs, Risk, Strategy

SINGLE = {"gross_limit": 1.0, "name_limit": 1.0, "exit_score": 0.0, "capital": 1e5}


class Case(NamedTuple):
    """`rule`: from closes to scores; `prices`: None where the data is not there."""

    title: str
    prices: Callable[[], Prices | None]
    rule: Callable[[pd.DataFrame], pd.DataFrame]
    strategy: Strategy


def momentum(close: pd.DataFrame) -> pd.DataFrame:
    """Return of the last year without its newest month (Jegadeesh & Titman 1993)."""
    return close.shift(21) / close.shift(252) - 1


def reversal(close: pd.DataFrame) -> pd.DataFrame:
    """Minus the return of the last month (Jegadeesh 1990)."""
    return 1 - close / close.shift(21)


def crossing(fast: int, slow: int) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Distance of a short moving average from a long one, as a fraction."""
    return lambda close: close.rolling(fast).mean() / close.rolling(slow).mean() - 1


def bundled() -> Prices:
    from skfolio.datasets import load_sp500_dataset

    return Prices(load_sp500_dataset())


def unbroken(rows: pd.DataFrame) -> pd.DataFrame:
    """The longest stretch without a week that has no bar: some files are days out of several years."""
    stretch = (rows["timestamp"].diff() > pd.Timedelta(days=7)).cumsum()
    return rows[stretch == stretch.value_counts().idxmax()]


def shared(name: str, part: Callable[[pd.DataFrame], pd.DataFrame] = lambda rows: rows) -> Prices | None:
    path = SHARED / name
    if not path.exists():
        return None
    rows = pd.read_parquet(path)
    stamps = pd.to_datetime(rows["timestamp" if "timestamp" in rows else "date"])
    rows = rows.assign(timestamp=stamps.dt.tz_localize(None) if stamps.dt.tz else stamps)
    for field in ("open", "high", "low", "close"):
        if field not in rows:
            rows[field] = (rows[f"bid_{field}"] + rows[f"ask_{field}"]) / 2
    # A delivery's impossible bars are for the cleansing; here they are taken out whole.
    possible = (rows[["open", "high", "low", "close"]] > 0).all(axis=1) & (rows["high"] >= rows["low"])
    rows = rows[possible].drop_duplicates(["timestamp", "instrument"])
    if "volume" in rows and not (rows["volume"] > 0).any():
        rows = rows.drop(columns="volume")
    return trading.prices_of(part(rows))


CASES = {
    "sp500": Case(
        "20 large US stocks, momentum",
        bundled,
        momentum,
        Strategy(name_limit=0.15, rebalance_sessions="monthly", sizing="inverse_volatility"),
    ),
    "stocks404": Case(
        "404 US stocks, one-month reversal",
        lambda: shared(REAL),
        reversal,
        Strategy(
            long_fraction=0.1, short_fraction=0.1, exit_fraction=0.2, name_limit=0.03, rebalance_sessions="weekly",
            costs=Costs(commission_bp=1.0, half_spread_bp=2.0, impact_bp=30.0, borrow_rate=0.005),
            risk=Risk(volume_share=0.1), capital=1e7,
        ),
    ),
    "goog": Case(
        "GOOG, moving averages of 20 and 100 days",
        lambda: shared("goog_daily.parquet"),
        crossing(20, 100),
        Strategy(
            **SINGLE, entry_score=0.01, rebalance_sessions=1, risk=Risk(stop_loss=0.1),
            costs=Costs(commission_bp=1.0, half_spread_bp=2.0, impact_bp=30.0), benchmark="GOOG",
        ),
    ),
    "eurusd_hour": Case(
        "EURUSD by the hour, moving averages of 24 and 120 hours",
        lambda: shared("eurusd_hourly.parquet"),
        crossing(24, 120),
        Strategy(
            **SINGLE, entry_score=0.0005, rebalance_sessions=1, risk=Risk(stop_loss=0.005, take_profit=0.01),
            costs=Costs(commission_bp=0.2, half_spread_bp=0.5), benchmark="EURUSD",
        ),
    ),
    "eurusd_minute": Case(
        "EURUSD by the minute, moving averages of 30 and 240 minutes",
        lambda: shared("eurusd_minute_quote.parquet", unbroken),
        crossing(30, 240),
        Strategy(
            **SINGLE, entry_score=0.0002, rebalance_sessions=1, risk=Risk(stop_loss=0.002, take_profit=0.004),
            costs=Costs(commission_bp=0.2, half_spread_bp=0.5), benchmark="EURUSD",
        ),
    ),
}  # fmt: skip


def analysed(case: Case, prices: Prices) -> study.Study:
    scores = case.rule(prices.close).dropna(how="all")
    traded = trading.trade(scores, prices, case.strategy)
    others = sensitivity.equities(traded.weights, traded.prices, case.strategy)
    return study.study(traded, scores, prices, case.strategy, others, seed=7)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("tearsheets"), help="folder for the pages")
    parser.add_argument("--only", choices=CASES, nargs="*", default=list(CASES))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    figures = {}
    for name in options.only:
        case, begun = CASES[name], time.perf_counter()
        prices = case.prices()
        if prices is None:
            print(f"{name}: its data is not there")
            continue
        told = analysed(case, prices)
        page, _ = tearsheet.tearsheet(case.title, told)
        (options.out / f"{name}.html").write_text(page)
        found = sensitivity.table(told.others)
        net = ", ".join(
            f"{title} {each['total_return']:+.1%} ({each['sharpe_ratio']:+.2f})" for title, each in found.items()
        )
        sharpe, error = (told.figures[f"backtest.sharpe_ratio{end}"] for end in ("", "_error"))
        print(f"{name}: Sharpe {sharpe:+.2f} ± {error:.2f}; {net}; {time.perf_counter() - begun:.1f} s", flush=True)
        figures[name] = {
            "sharpe_ratio": round(sharpe, 3),
            "sharpe_ratio_error": round(error, 3),
            "engine_gap_bp": told.figures["backtest.engine_gap_bp"],
            "total_return_at_costs": {title: round(each["total_return"], 4) for title, each in found.items()},
        }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
