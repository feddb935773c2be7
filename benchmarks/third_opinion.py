"""A third opinion on the backtest: the same orders replayed by nautilus_trader, whose accounting is its own.

W1 and W2 are those of backtest.py; its equity at every close is compared with ours. W3: W2's bars, every quarter of an
hour in for three minutes, long or short by chance, with stops so tight that most positions end by them, some at gaps
beyond a level and some in bars that touch both. There engines may differ by rule, and their equity with it, so W3 is
compared trip by trip: what one order opened, when, on which side, at which price, and when, at which price and why it
ended. A difference is explained by a rule of docs/fills.md if that rule's condition holds on the bar's own prices, and
each side ended the trip just as the rule and nautilus' matching say; else it is unexplained.

Nautilus runs in an environment of its own, made on the first call, or given by --peer-python; its licence doesn't fit,
so it is measured and never depended on. The two sides exchange Parquet files. Prints a table, the differences, and as
its last line one JSON object.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

from backtest import BP, NO_RISK, SIDE, by_score, case_of, daily, minutes, strategy
from features import peer_python, run

from tasks.domain.simulate import research
from tasks.domain.simulate.contract import Prices, Result
from tasks.domain.strategy import Risk, Strategy
from tasks.third_opinion import SCRIPT

PEERS = ("nautilus_trader==1.221.0", "pyarrow")
EVERY, HELD = 15, 3  # minutes
STOP, TARGET = 0.0005, 0.0008
SAME = 1e-9  # of a price or quantity

Mask = npt.NDArray[np.bool_]


class Case(NamedTuple):
    weights: pd.DataFrame
    prices: Prices
    terms: Strategy


class Sides(NamedTuple):
    """What both made of a case: fills with their bar's timestamp, seconds of the simulation alone."""

    ours: Result
    equity: pd.Series
    fills: pd.DataFrame
    our_s: float
    their_s: float

    def gap_bp(self, bars: int | None = None) -> float:
        """Of equity, the largest on any bar, or on any of the first so many."""
        apart = np.abs(self.equity.to_numpy() / self.ours.equity.to_numpy() - 1)
        return float(apart[:bars].max(initial=0) * BP)


def w1(sessions: int | None) -> Case:
    prices = daily()
    if sessions is not None:
        prices = prices.where(np.arange(len(prices.calendar)) < sessions)
    return Case(by_score(prices, SIDE), prices, strategy(NO_RISK))


def w2() -> Case:
    prices, weights, terms = case_of("w2")
    return Case(weights, prices, terms)


def w3() -> Case:
    prices = minutes()
    at = np.arange(len(prices.calendar))
    sides = np.random.default_rng(5).choice([-0.5, 0.5], len(at))
    chosen = (at % EVERY == 0) | (at % EVERY == HELD)
    weights = pd.DataFrame({"A": np.where(at % EVERY == 0, sides, 0.0)[chosen]}, prices.calendar[chosen])
    return Case(weights, prices, strategy(Risk(stop_loss=STOP, take_profit=TARGET), 0.05, 0.05))


def orders_of(case: Case, result: Result) -> pd.DataFrame:
    """What our decisions filled: `timestamp` of the fill's bar, `instrument`, signed `quantity`.

    With stops a decision for nothing has no quantity: it closes what is held, also where only the other side still
    holds it.
    """
    fills = result.fills[result.fills["reason"] == "decision"]
    signed = fills["quantity"].where(fills["side"] == "buy", -fills["quantity"])
    orders = fills[["timestamp", "instrument"]].assign(quantity=signed)
    if case.terms.risk.stop_loss is None:
        return orders
    calendar = case.prices.calendar
    after = calendar.get_indexer(case.weights.index) + 1
    weights = case.weights.iloc[:, 0][after < len(calendar)]
    weights.index = calendar[after[after < len(calendar)]]
    opening = orders[orders["timestamp"].isin(weights.index[weights != 0])]
    if len(opening) != (weights != 0).sum():
        raise SystemExit("a decision to hold left no fill, so there is no quantity for the other side")
    closing = pd.DataFrame({"timestamp": weights.index[weights == 0], "instrument": case.weights.columns[0]})
    return pd.concat([opening, closing.assign(quantity=np.nan)]).sort_values("timestamp", ignore_index=True)


def write(case: Case, result: Result, folder: Path) -> None:
    """What the other side needs of a case; its script says what is in which file."""
    calendar, names = case.prices.calendar, case.prices.close.columns
    bars = {field: frame.to_numpy().ravel() for field, frame in case.prices.fields()}
    bars["timestamp"] = np.repeat(calendar.to_numpy(), len(names))
    bars["instrument"] = np.tile(names.astype(str).to_numpy(), len(calendar))
    costs, risk = case.terms.costs, case.terms.risk
    terms = {
        "capital": case.terms.capital,
        "cost_rate": (costs.commission_bp + costs.half_spread_bp) / BP,
        "stop_loss": risk.stop_loss,
        "take_profit": risk.take_profit,
    }
    pd.DataFrame(bars).to_parquet(folder / "bars.parquet")
    orders_of(case, result).to_parquet(folder / "orders.parquet")
    pd.DataFrame([terms]).to_parquet(folder / "terms.parquet")


def both(name: str, case: Case, peer: Path, folder: Path) -> Sides:
    research.simulate(*case)
    begun = time.perf_counter()
    result = research.simulate(*case)
    our_s = time.perf_counter() - begun
    write(case, result, folder)
    side = run([str(peer), str(SCRIPT), str(folder)], folder / "equity.parquet")
    calendar = case.prices.calendar
    equity = pd.read_parquet(side.result)
    if not on_bars(equity["timestamp"], calendar).equals(calendar):
        raise SystemExit(f"{name}: nautilus' equity is not there for each bar just once")
    fills = pd.read_parquet(folder / "fills.parquet")
    fills["timestamp"] = on_bars(fills["timestamp"], calendar)
    found = Sides(result, equity["equity"], fills, our_s, side.figures["wall_s"])
    counts = f"{len(result.fills):>9,} {len(fills):>9,} {found.gap_bp():>12.1e}"
    print(f"{name:>4} {counts} {our_s:>9.2f} {found.their_s:>9.1f} {side.peak_bytes / 2**20:>9,.0f}", flush=True)
    return found


def on_bars(times: pd.Series, calendar: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """The bars in which these times are."""
    return calendar[calendar.searchsorted(times.to_numpy().astype(calendar.dtype), side="right") - 1]


def trips(fills: pd.DataFrame) -> pd.DataFrame:
    """One line per position, by the bar in which it was opened: an order opens it whole, one fill ends it."""
    signed = fills["quantity"].where(fills["side"] == "buy", -fills["quantity"]).to_numpy()
    opening, ending = fills.iloc[::2].reset_index(drop=True), fills.iloc[1::2].reset_index(drop=True)
    left = np.abs(signed[: 2 * len(ending)].reshape(-1, 2).sum(axis=1))
    if (left > SAME * ending["quantity"]).any():
        raise SystemExit("a position is not ended by the fill after the one that opened it")
    table = opening[["side", "quantity", "price"]]
    for column in ("timestamp", "price", "reason"):
        table = table.assign(**{f"end_{column}": ending[column]})
    return table.set_index(opening["timestamp"])


def near(one: npt.ArrayLike, other: npt.ArrayLike) -> Mask:
    return np.isclose(np.asarray(one, dtype=float), np.asarray(other, dtype=float), rtol=SAME, atol=0, equal_nan=True)


def differing(ours: pd.DataFrame, theirs: pd.DataFrame) -> pd.DataFrame:
    """The trips that are not the same in all, ours and theirs side by side; a trip that one side lacks is one."""
    table = ours.add_suffix("_ours").join(theirs.add_suffix("_theirs"), how="outer")
    same = np.ones(len(table), dtype=bool)
    for column in ours.columns:
        one, other = table[f"{column}_ours"], table[f"{column}_theirs"]
        if column in ("quantity", "price", "end_price"):
            same &= near(one, other)
        else:
            same &= ((one == other) | (one.isna() & other.isna())).to_numpy(dtype=bool)
    same &= table["side_ours"].notna() & table["side_theirs"].notna()
    return table[~same]


def explained(table: pd.DataFrame, prices: Prices) -> dict[str, Mask]:
    """Which differing trips a rule explains: same entry, same last bar, the condition on that bar, and either end as
    that side's rule has it.

    Nautilus fills a stop and a limit at their levels, at a gap, too; it takes the high before the low, and what rests
    at the venue before an order sent at the open. Of a short position all prices are mirrored, so that its stop is
    below, too.
    """
    columns = {field: frame.iloc[:, 0] for field, frame in prices.fields()}
    bar = pd.DataFrame(columns).reindex(table["end_timestamp_ours"])
    long = (table["side_ours"] == "buy").to_numpy()
    sign = np.where(long, 1.0, -1.0)
    entry, opened = sign * table["price_ours"].to_numpy(), sign * bar["open"].to_numpy()
    stop, target = entry - STOP * np.abs(entry), entry + TARGET * np.abs(entry)
    low, high = np.where(long, bar["low"], -bar["high"]), np.where(long, bar["high"], -bar["low"])
    alike = near(table["price_ours"], table["price_theirs"]) & near(table["quantity_ours"], table["quantity_theirs"])
    for column in ("side", "end_timestamp"):
        alike &= (table[f"{column}_ours"] == table[f"{column}_theirs"]).to_numpy(dtype=bool)

    def ended(whose: str, reason: str, price: npt.NDArray[np.float64]) -> Mask:
        why = (table[f"end_reason_{whose}"] == reason).to_numpy(dtype=bool)
        return alike & why & near(sign * table[f"end_price_{whose}"], price)

    touches_both = (opened > stop) & (opened < target) & (low <= stop) & (high >= target)
    at_stop, at_target = ended("theirs", "stop_loss", stop), ended("theirs", "take_profit", target)
    lower, higher = (opened < stop) & at_stop, (opened > target) & at_target
    return {
        "F10 a bar touches both, stop before target": touches_both & ended("ours", "stop_loss", stop) & at_target,
        "F10 gap beyond the stop, closed at the open": lower & ended("ours", "stop_loss", opened),
        "F10 gap beyond the target, closed at the open": higher & ended("ours", "take_profit", opened),
        "F19 gap beyond a level, an order before a stop": (lower | higher) & ended("ours", "decision", opened),
    }


def compared(case: Case, sides: Sides) -> dict[str, int]:
    """W3's differences, printed by rule; the first that no rule explains is printed in full."""
    ours, theirs = trips(sides.ours.fills), trips(sides.fills)
    table = differing(ours, theirs)
    rules = explained(table, case.prices)
    known = np.sum(list(rules.values()), axis=0, dtype=int)
    if (known > 1).any():
        raise SystemExit("two rules claim one trip, so one of their conditions is too wide")
    print(f"  w3: {len(ours):,} trips of ours, {len(theirs):,} of theirs; ended by, ours / theirs:")
    for reason in ("decision", "stop_loss", "take_profit"):
        tell(reason, *(side["end_reason"] == reason for side in (ours, theirs)))
    tell("any, in the bar of entry", *(side["end_timestamp"] == side.index for side in (ours, theirs)))
    before = int((case.prices.calendar < table.index.min()).sum()) if len(table) else None
    print(f"{sides.gap_bp(before):>9.1e} bp apart at most is equity before the first that differs")
    print(f"{len(table):>9,} differ:")
    for rule, mask in rules.items():
        print(f"{mask.sum():>9,} {rule}")
    print(f"{(known == 0).sum():>9,} unexplained")
    if (known == 0).any():
        print(table[known == 0].iloc[0].to_string())
    return {"w3_differences": len(table), "w3_explained": int(known.sum())}


def tell(what: str, ours: pd.Series, theirs: pd.Series) -> None:
    print(f"{ours.sum():>9,} / {theirs.sum():>6,} {what}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-python", type=Path, help="a Python that has nautilus_trader 1.221.0 and pyarrow")
    parser.add_argument("--sessions", type=int, help="of W1, the first so many; all if not given")
    options = parser.parse_args()
    peer = peer_python(options.peer_python, "nautilus", PEERS)
    print("case  our fills     their  gap of eq.     our s   their s  their MB\n" + " " * 28 + "bp")
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, case in (("w1", w1(options.sessions)), ("w2", w2()), ("w3", w3())):
            found[name] = both(name, case, peer, Path(scratch))
            if name == "w3":
                differences = compared(case, found[name])
    print(json.dumps({"w1_gap_bp": found["w1"].gap_bp(), "w2_gap_bp": found["w2"].gap_bp()} | differences))


if __name__ == "__main__":
    main()
