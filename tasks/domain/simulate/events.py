"""The event engine: one bar after the other, positions in a dict, the cash ledger in decimals.

It is written from docs/fills.md apart from the research engine, so that a slip in one shows as a difference from the
other. Rules by their number there.
"""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Context, Decimal, localcontext

import pandas as pd

from tasks.domain.simulate.contract import (
    AVERAGE_BARS,
    SMALLEST_ORDER,
    TOLERANCE,
    YEAR_DAYS,
    Prices,
    Result,
    check_weights,
    fills_table,
)
from tasks.domain.strategy import Strategy

Known = dict[str, Decimal]
ZERO, ONE = Decimal(0), Decimal(1)
SLACK = Decimal(TOLERANCE)
# Twice the digits of a float: the ledger's own rounding is far below that of its inputs.
DIGITS = 34


@dataclass(frozen=True)
class _Bar:
    """What is known of one line of the calendar, by name; `days` since the line before."""

    timestamp: pd.Timestamp
    days: Decimal
    open: Known
    high: Known
    low: Known
    close: Known
    volume: Known

    def price(self, name: str) -> Decimal | None:
        """F6."""
        return self.open.get(name, self.close.get(name))


@dataclass(frozen=True)
class _Seen:
    """A range of prices, or a single one: at a gap, where what is traded is traded at that price."""

    low: Decimal
    high: Decimal
    gap: bool

    def reaches(self, level: Decimal, falling: bool) -> bool:
        return self.low <= level * (ONE + SLACK) if falling else self.high >= level * (ONE - SLACK)

    def of(self, level: Decimal) -> Decimal:
        return self.low if self.gap else level


@dataclass(frozen=True)
class _Order:
    quantity: Decimal
    reason: str


@dataclass
class _Position:
    """`opened`: number of the bar in which it was opened."""

    quantity: Decimal
    entry: Decimal
    opened: int


@dataclass(frozen=True)
class _Fill:
    timestamp: pd.Timestamp
    instrument: str
    quantity: Decimal
    price: Decimal
    cost: Decimal
    reason: str


@dataclass
class _Account:
    strategy: Strategy
    cash: Decimal
    equity: Decimal
    highest: Decimal
    positions: dict[str, _Position] = field(default_factory=dict)
    marks: Known = field(default_factory=dict)
    volumes: dict[str, deque[Decimal | None]] = field(default_factory=dict)
    orders: dict[str, _Order] = field(default_factory=dict)
    fills: list[_Fill] = field(default_factory=list)
    number: int = -1
    stopped_for_good: bool = False
    ruined: bool = False

    def live_through(self, bar: _Bar, targets: Known | None) -> None:
        """Everything that happens in a bar and at its close, in the order of the rules."""
        self.number += 1
        if self.ruined:
            return
        if self.number:
            self.accrue(bar.days)
        at_close = {name for name in self.orders if self.fill(name, bar) and name not in bar.open}
        self.orders = {}
        for name in [name for name in self.positions if name not in at_close]:
            self.stop(name, bar)
        self.remember(bar)
        self.mark(bar)
        if not self.ruined:
            self.decide(bar, targets)

    def accrue(self, days: Decimal) -> None:
        """F15."""
        costs = self.strategy.costs
        shorts = -sum((p.quantity * self.marks[name] for name, p in self.positions.items() if p.quantity < 0), ZERO)
        yearly = self.cash * Decimal(costs.interest_rate) - shorts * Decimal(costs.borrow_rate)
        self.cash += yearly * days / Decimal(YEAR_DAYS)

    def fill(self, name: str, bar: _Bar) -> bool:
        """Fill an order as far as the bar allows (F6, F7)."""
        order, price = self.orders[name], bar.price(name)
        if price is None:
            return False
        quantity, share = order.quantity, self.strategy.risk.volume_share
        if share is not None:
            most = Decimal(share) * bar.volume.get(name, ZERO)
            if abs(quantity) > most:
                quantity = self.whole_lots(most.copy_sign(quantity))
        if quantity:
            self.trade(bar, name, quantity, price, order.reason)
        return bool(quantity)

    def stop(self, name: str, bar: _Bar) -> None:
        """F10. Of a long position the levels lie below and above the entry, of a short one mirrored."""
        position, risk = self.positions[name], self.strategy.risk
        long = position.quantity > 0
        stop = target = None
        if risk.stop_loss is not None:
            stop = position.entry * (ONE - Decimal(risk.stop_loss) if long else ONE + Decimal(risk.stop_loss))
        if risk.take_profit is not None:
            target = position.entry * (ONE + Decimal(risk.take_profit) if long else ONE - Decimal(risk.take_profit))
        for price in self.seen(name, bar):
            if stop is not None and price.reaches(stop, falling=long):
                self.trade(bar, name, -position.quantity, price.of(stop), "stop_loss")
                return
            if target is not None and price.reaches(target, falling=not long):
                self.trade(bar, name, -position.quantity, price.of(target), "take_profit")
                return

    def seen(self, name: str, bar: _Bar) -> Iterator[_Seen]:
        """The prices that a stop gets to see in a bar, in their order: the open, then the range; or the close alone."""
        opened, close = bar.open.get(name), bar.close.get(name)
        if opened is None:
            if close is not None:
                yield _Seen(close, close, gap=True)
            return
        yield _Seen(opened, opened, gap=True)
        both = [opened] if close is None else [opened, close]
        yield _Seen(bar.low.get(name, min(both)), bar.high.get(name, max(both)), gap=False)

    def trade(self, bar: _Bar, name: str, quantity: Decimal, price: Decimal, reason: str) -> None:
        cost = abs(quantity) * price * self.cost_rate(name, abs(quantity))
        self.cash -= quantity * price + cost
        self.fills.append(_Fill(bar.timestamp, name, quantity, price, cost, reason))
        held = self.positions.get(name)
        left = quantity + (held.quantity if held else ZERO)
        if abs(left) < Decimal(SMALLEST_ORDER) * abs(quantity):  # F5
            del self.positions[name]
        elif held is None or left * held.quantity < 0:  # F9
            self.positions[name] = _Position(left, price, self.number)
        else:
            if abs(left) > abs(held.quantity):
                held.entry = (abs(held.quantity) * held.entry + abs(quantity) * price) / abs(left)
            held.quantity = left

    def cost_rate(self, name: str, quantity: Decimal) -> Decimal:
        """F8: of notional."""
        costs = self.strategy.costs
        rate = Decimal(costs.commission_bp) + Decimal(costs.half_spread_bp)
        if costs.impact_bp:
            known = [volume for volume in self.volumes.get(name, ()) if volume is not None]
            average = sum(known, ZERO) / len(known) if known else ZERO
            rate += Decimal(costs.impact_bp) * ((quantity / average).sqrt() if average else ONE)
        return rate / 10_000

    def remember(self, bar: _Bar) -> None:
        """The volumes that later bars average (F8)."""
        if self.strategy.costs.impact_bp:
            for name in self.volumes.keys() | bar.volume.keys():
                self.volumes.setdefault(name, deque(maxlen=AVERAGE_BARS)).append(bar.volume.get(name))

    def mark(self, bar: _Bar) -> None:
        """F16, F17; and whether the drawdown stop is reached (F14)."""
        self.marks.update(bar.close)
        self.equity = self.cash + sum((p.quantity * self.marks[name] for name, p in self.positions.items()), ZERO)
        if self.equity <= 0:
            self.ruined, self.equity = True, ZERO
            return
        self.highest = max(self.highest, self.equity)
        limit = self.strategy.risk.drawdown_stop
        if limit is not None and self.equity <= (ONE - Decimal(limit)) * self.highest * (ONE + SLACK):
            self.stopped_for_good = True

    def decide(self, bar: _Bar, targets: Known | None) -> None:
        """The orders of this close."""
        risk = self.strategy.risk
        leaving: dict[str, _Order] = {}
        for name, position in self.positions.items():
            age = self.number - position.opened
            if name not in bar.close:
                continue
            if self.stopped_for_good:
                leaving[name] = _Order(-position.quantity, "drawdown_stop")
            elif risk.holding_bars is not None and age >= risk.holding_bars - 1:
                leaving[name] = _Order(-position.quantity, "holding_bars")
        wanted = {} if self.stopped_for_good or targets is None else self.wanted(targets, bar, leaving)
        self.orders = leaving | {name: _Order(quantity, "decision") for name, quantity in wanted.items()}

    def wanted(self, targets: Known, bar: _Bar, leaving: dict[str, _Order]) -> Known:
        """What a decision orders (F2 to F5)."""
        orders: Known = {}
        for name, close in bar.close.items():
            held = self.positions[name].quantity if name in self.positions else ZERO
            quantity = targets.get(name, ZERO) * self.equity / close - held
            if name not in leaving and quantity:
                orders[name] = quantity
        limit, traded = self.strategy.risk.turnover_limit, sum((abs(q) * bar.close[n] for n, q in orders.items()), ZERO)
        if limit is not None and traded > Decimal(limit) * self.equity:
            orders = {name: quantity * (Decimal(limit) * self.equity / traded) for name, quantity in orders.items()}
        kept: Known = {}
        for name, quantity in orders.items():
            closes = name in self.positions and quantity == -self.positions[name].quantity
            quantity = quantity if closes else self.whole_lots(quantity)
            if quantity and abs(quantity) * bar.close[name] >= Decimal(SMALLEST_ORDER) * self.equity:
                kept[name] = quantity
        return kept

    def whole_lots(self, quantity: Decimal) -> Decimal:
        """F4."""
        if self.strategy.risk.lot is None:
            return quantity
        lot = Decimal(self.strategy.risk.lot)
        return ((abs(quantity) / lot + SLACK).to_integral_value(ROUND_FLOOR) * lot).copy_sign(quantity)


def simulate(weights: pd.DataFrame, prices: Prices, strategy: Strategy) -> Result:
    """Replay target weights under docs/fills.md.

    Args:
        weights: decision sessions × instruments, signed fractions of equity.
        prices: the market; its close index is the calendar.
        strategy: capital (currency), costs, risk, and the limits that the weights must respect.

    Raises:
        ValueError: the weights do not fit the prices or the limits (see `check_weights`).
    """
    check_weights(weights, prices, strategy)
    # An own context, so that neither a caller's precision nor its traps change a figure.
    with localcontext(Context(prec=DIGITS)):
        capital = Decimal(strategy.capital)
        account = _Account(strategy, capital, capital, capital)
        decisions = dict(zip(weights.index, _known(weights), strict=True))
        equity: list[float] = []
        for bar in _bars(prices):
            account.live_through(bar, decisions.get(bar.timestamp))
            equity.append(float(account.equity))
    return Result(pd.Series(equity, index=prices.calendar, name="equity", dtype=float), _table(account.fills, prices))


def _bars(prices: Prices) -> Iterator[_Bar]:
    tables = {name: _known(frame) for name, frame in prices.fields()}
    nothing: list[Known] = [{}] * len(prices.calendar)
    before = prices.calendar[0]
    for number, timestamp in enumerate(prices.calendar):
        cells = {name: tables.get(name, nothing)[number] for name in ("open", "high", "low", "close", "volume")}
        days = Decimal((timestamp - before) / pd.Timedelta(days=1))
        yield _Bar(timestamp, days, **cells)
        before = timestamp


def _known(frame: pd.DataFrame) -> list[Known]:
    names = [str(name) for name in frame.columns]
    return [
        {name: Decimal(value) for name, value in zip(names, row, strict=True) if not math.isnan(value)}
        for row in frame.to_numpy(dtype=float).tolist()
    ]


def _table(fills: list[_Fill], prices: Prices) -> pd.DataFrame:
    place = {str(name): number for number, name in enumerate(prices.close.columns)}
    ordered = sorted(fills, key=lambda fill: (fill.timestamp, place[fill.instrument]))  # F19
    return fills_table(
        pd.DatetimeIndex([f.timestamp for f in ordered], dtype=prices.calendar.dtype),
        [f.instrument for f in ordered],
        [float(f.quantity) for f in ordered],
        [float(f.price) for f in ordered],
        [float(f.cost) for f in ordered],
        [f.reason for f in ordered],
    )
