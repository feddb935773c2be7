"""A replay of orders by nautilus_trader 1.221.0, run by a Python that has it: `PYTHON nautilus_replay.py FOLDER`.

It imports nothing of this project, and nothing of this project imports it.

FOLDER holds `bars.parquet` (timestamp, instrument, open, high, low, close, volume), `orders.parquet` (timestamp of the
bar in which it fills, instrument, signed quantity; none: close what is held) and `terms.parquet` (one line: capital,
cost_rate of notional, stop_loss and take_profit of the entry price or none). Prints one JSON line with the seconds of
the run, then writes `equity.parquet` (timestamp, equity at the bar's close: the account's balance and what the
portfolio says of open positions) and `fills.parquet` (timestamp, instrument, side, quantity, price, reason).

A bar comes as a quote at its open, at its timestamp, and a quote at its close. The quote at the open goes through the
venue first, so what the strategy sends on seeing it fills there, without latency; sent at the close before, it would
fill at that close. With stops a bar comes between the two, to which the venue's own matching replies.
"""

import json
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.cache.config import CacheConfig
from nautilus_trader.common.config import LoggingConfig
from nautilus_trader.model.currencies import Currency
from nautilus_trader.model.data import Bar, BarType, QuoteTick
from nautilus_trader.model.enums import AccountType, AssetClass, CurrencyType, OmsType, OrderSide
from nautilus_trader.model.events import OrderDenied, OrderFilled, OrderRejected, PositionOpened
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import Cfd
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.risk.config import RiskEngineConfig
from nautilus_trader.trading.strategy import Strategy

VENUE = Venue("SIM")
# This build keeps 16 decimals in 128 bits. Prices and money go through doubles all the same, whose own rounding (1e-16
# of a value) is then what is left. A quantity has 9, so that positions end at nothing: at most 5e-10 of a unit apart,
# below 1e-6 bp of the smallest equity here.
PRICE_DIGITS, SIZE_DIGITS, MONEY_DIGITS = 16, 9, 12
DEPTH = 1e9  # units at a quote: more than any order
CLOSE_AFTER = 30 * 10**9  # ns from a bar's timestamp; anything below a minute keeps the order
PURGE_EVERY = 100  # bars; each fill looks through all orders its position ever had
CASH = Currency("XTS", MONEY_DIGITS, 963, "test currency", CurrencyType.FIAT)


class Replay(Strategy):
    """Sends the orders, lets each new position have its stop and target, and notes fills and equity."""

    def __init__(
        self, orders: dict[tuple[int, InstrumentId], float], names: dict[int, int], stop_loss: float, take_profit: float
    ) -> None:
        """`orders`: by time of the open (ns); `names`: how many instruments have a close at a time (ns)."""
        super().__init__()
        self.orders, self.names, self.stop_loss, self.take_profit = orders, names, stop_loss, take_profit
        self.reasons: dict[str, str] = {}
        self.fills: list[tuple[int, str, str, float, float, str]] = []
        self.equity: list[tuple[int, float]] = []
        self.refused: list[str] = []

    def on_start(self) -> None:
        for instrument in self.cache.instrument_ids(VENUE):
            self.subscribe_quote_ticks(instrument)

    def on_quote_tick(self, tick: QuoteTick) -> None:
        at = tick.ts_init
        quantity = self.orders.get((at, tick.instrument_id))
        if quantity is not None:
            self.send(tick.instrument_id, quantity)
        if at in self.names:
            self.names[at] -= 1
            if not self.names[at]:
                self.mark(at)

    def send(self, instrument: InstrumentId, quantity: float) -> None:
        if np.isnan(quantity):
            self.cancel_all_orders(instrument)
            self.close_all_positions(instrument)
            return
        side = OrderSide.BUY if quantity > 0 else OrderSide.SELL
        self.submit_order(self.order_factory.market(instrument, side, Quantity(abs(quantity), SIZE_DIGITS)))

    def on_position_opened(self, event: PositionOpened) -> None:
        """Both levels rest at the venue; it cancels the other one when the position is gone, as both only reduce it."""
        if np.isnan(self.stop_loss):
            return
        long = event.entry == OrderSide.BUY
        entry, sign, side = event.avg_px_open, 1 if long else -1, OrderSide.SELL if long else OrderSide.BUY
        stop = Price(entry * (1 - sign * self.stop_loss), PRICE_DIGITS)
        target = Price(entry * (1 + sign * self.take_profit), PRICE_DIGITS)
        terms = {"order_side": side, "quantity": event.quantity, "reduce_only": True}
        for order, reason in (
            (self.order_factory.stop_market(event.instrument_id, trigger_price=stop, **terms), "stop_loss"),
            (self.order_factory.limit(event.instrument_id, price=target, **terms), "take_profit"),
        ):
            self.reasons[order.client_order_id.value] = reason
            self.submit_order(order)

    def on_order_filled(self, event: OrderFilled) -> None:
        side = "buy" if event.order_side == OrderSide.BUY else "sell"
        reason = self.reasons.get(event.client_order_id.value, "decision")
        name, quantity, price = event.instrument_id.symbol.value, event.last_qty.as_double(), event.last_px.as_double()
        self.fills.append((event.ts_event, name, side, quantity, price, reason))

    def on_order_rejected(self, event: OrderRejected) -> None:
        self.refused.append(repr(event))

    def on_order_denied(self, event: OrderDenied) -> None:
        self.refused.append(repr(event))

    def mark(self, at: int) -> None:
        open_profit = sum(money.as_double() for money in self.portfolio.unrealized_pnls(VENUE).values())
        self.equity.append((at, self.portfolio.account(VENUE).balance_total(CASH).as_double() + open_profit))
        if len(self.equity) % PURGE_EVERY == 0:
            self.cache.purge_closed_orders(ts_now=at)


def instrument_of(name: str, cost_rate: float) -> Cfd:
    """No margin is asked for: cash may be anything (F2)."""
    return Cfd(
        instrument_id=InstrumentId(Symbol(name), VENUE),
        raw_symbol=Symbol(name),
        asset_class=AssetClass.EQUITY,
        quote_currency=CASH,
        price_precision=PRICE_DIGITS,
        size_precision=SIZE_DIGITS,
        price_increment=Price(10**-PRICE_DIGITS, PRICE_DIGITS),
        size_increment=Quantity(10**-SIZE_DIGITS, SIZE_DIGITS),
        ts_event=0,
        ts_init=0,
        margin_init=Decimal(0),
        margin_maint=Decimal(0),
        maker_fee=Decimal(str(cost_rate)),
        taker_fee=Decimal(str(cost_rate)),
    )


def nanoseconds(times: pd.Series) -> np.ndarray:
    return times.to_numpy().astype("datetime64[ns]").astype("int64")


def stream(instrument: InstrumentId, bars: pd.DataFrame, with_range: bool) -> Iterator[Bar | QuoteTick]:
    opened = nanoseconds(bars["timestamp"])
    closed = opened + CLOSE_AFTER
    if with_range:  # before the quotes: at the time of the close the bar is first
        kind = BarType.from_str(f"{instrument}-1-MINUTE-LAST-EXTERNAL")
        prices = [bars[field].to_numpy("float64") for field in ("open", "high", "low", "close", "volume")]
        times = closed.astype("uint64")
        yield from Bar.from_raw_arrays_to_list(kind, PRICE_DIGITS, SIZE_DIGITS, *prices, times, times)
    prices = np.column_stack([bars["open"], bars["close"]]).astype("float64").ravel()
    times = np.column_stack([opened, closed]).astype("uint64").ravel()
    depth = np.full(len(prices), DEPTH)
    yield from QuoteTick.from_raw_arrays_to_list(
        instrument, PRICE_DIGITS, SIZE_DIGITS, prices, prices, depth, depth, times, times
    )


def rounded(orders: pd.DataFrame) -> np.ndarray:
    """Quantities whose running sums, not they themselves, are rounded, so that a closed position is at nothing."""
    if orders["quantity"].isna().any():
        return orders["quantity"].to_numpy()
    held = orders.groupby("instrument")["quantity"].cumsum().round(SIZE_DIGITS)
    return held.groupby(orders["instrument"]).diff().fillna(held).round(SIZE_DIGITS).to_numpy()


def engine_of(capital: float) -> BacktestEngine:
    """High before low in every bar: nautilus' default; its `bar_adaptive_high_low_ordering` would take first whichever
    is nearer to the open. Either is a guess, ours (F10) is that the stop comes first."""
    engine = BacktestEngine(
        BacktestEngineConfig(
            logging=LoggingConfig(bypass_logging=True),
            risk_engine=RiskEngineConfig(bypass=True),
            cache=CacheConfig(tick_capacity=2, bar_capacity=2),
            run_analysis=False,
        )
    )
    engine.add_venue(
        venue=VENUE,
        oms_type=OmsType.NETTING,
        account_type=AccountType.MARGIN,
        base_currency=CASH,
        starting_balances=[Money(capital, CASH)],
        default_leverage=Decimal(1),
        bar_execution=True,
        bar_adaptive_high_low_ordering=False,
    )
    return engine


def main() -> None:
    folder = Path(sys.argv[1])
    bars, orders = pd.read_parquet(folder / "bars.parquet"), pd.read_parquet(folder / "orders.parquet")
    terms = pd.read_parquet(folder / "terms.parquet").astype("float64").iloc[0]
    Currency.register(CASH, overwrite=True)
    engine = engine_of(terms["capital"])
    data: list[Bar | QuoteTick] = []
    for name, own in bars.groupby("instrument", sort=False):
        instrument = instrument_of(name, terms["cost_rate"])
        engine.add_instrument(instrument)
        data.extend(stream(instrument.id, own, with_range=not np.isnan(terms["stop_loss"])))
    engine.add_data(data)
    known = (nanoseconds(bars["timestamp"]) + CLOSE_AFTER).tolist()
    named = [InstrumentId(Symbol(name), VENUE) for name in orders["instrument"]]
    wanted = dict(zip(zip(nanoseconds(orders["timestamp"]).tolist(), named, strict=True), rounded(orders), strict=True))
    names = pd.Series(known).value_counts().to_dict()
    replay = Replay(wanted, names, terms["stop_loss"], terms["take_profit"])
    engine.add_strategy(replay)
    begun, spent = time.perf_counter(), time.process_time()
    engine.run()
    print(json.dumps({"wall_s": time.perf_counter() - begun, "cpu_s": time.process_time() - spent}), flush=True)
    if replay.refused:
        raise SystemExit(f"{len(replay.refused)} orders were refused, first {replay.refused[0]}")
    equity = pd.DataFrame(replay.equity, columns=["timestamp", "equity"])
    fills = pd.DataFrame(replay.fills, columns=["timestamp", "instrument", "side", "quantity", "price", "reason"])
    for table, name in ((equity, "equity"), (fills, "fills")):
        table["timestamp"] = pd.to_datetime(table["timestamp"])
        table.to_parquet(folder / f"{name}.parquet")


if __name__ == "__main__":
    main()
