"""The event engine: one session after the other, positions in a dict, the cash ledger in decimals.

It is written apart from the research engine, so that a slip in one shows as a difference from the other.
"""

import math
from dataclasses import dataclass, field
from decimal import Context, Decimal, localcontext

import pandas as pd

from tasks.domain.problem import Strategy
from tasks.domain.simulate.contract import SMALLEST_ORDER, Prices, Result, check_weights, fills_table

Bar = dict[str, float]
ZERO = Decimal(0)
# Twice the digits of a float: the ledger's own rounding is far below that of its inputs.
DIGITS = 34


@dataclass(frozen=True)
class _Fill:
    timestamp: pd.Timestamp
    instrument: str
    quantity: Decimal
    price: Decimal
    cost: Decimal


@dataclass
class _Account:
    cash: Decimal
    equity: Decimal
    cost_rate: Decimal
    positions: dict[str, Decimal] = field(default_factory=dict)
    last_close: Bar = field(default_factory=dict)
    pending: dict[str, Decimal] = field(default_factory=dict)
    ruined: bool = False

    def fill(self, session: pd.Timestamp, opens: Bar, closes: Bar) -> list[_Fill]:
        """Fill what is pending at this session's price; what finds no price lapses."""
        fills = []
        for name, order in self.pending.items():
            quote = opens.get(name, closes.get(name))
            if quote is not None:
                fills.append(self._trade(session, name, order, Decimal(quote)))
        self.pending = {}
        return fills

    def _trade(self, session: pd.Timestamp, name: str, order: Decimal, price: Decimal) -> _Fill:
        cost = abs(order) * price * self.cost_rate
        self.cash -= order * price + cost
        self.positions[name] = self.positions.get(name, ZERO) + order
        if not self.positions[name]:
            del self.positions[name]
        return _Fill(session, name, order, price, cost)

    def mark(self, closes: Bar) -> None:
        """Value the account at the session's closes and find out whether anything is left."""
        if self.ruined:
            return
        self.last_close.update(closes)
        values = [quantity * Decimal(self.last_close[name]) for name, quantity in self.positions.items()]
        self.equity = self.cash + sum(values, ZERO)
        if self.equity <= 0:
            self.ruined, self.equity = True, ZERO

    def decide(self, targets: Bar, closes: Bar) -> None:
        """Place orders from this session's close towards the target weights."""
        if self.ruined:
            return
        smallest = Decimal(SMALLEST_ORDER) * self.equity
        for name, close in closes.items():
            weight = targets.get(name, 0.0)
            if not weight and name not in self.positions:
                continue
            price = Decimal(close)
            order = Decimal(weight) * self.equity / price - self.positions.get(name, ZERO)
            if order and abs(order) * price >= smallest:
                self.pending[name] = order


def simulate(weights: pd.DataFrame, prices: Prices, strategy: Strategy) -> Result:
    """Replay target weights under the fill rule of `contract`.

    Args:
        weights: decision sessions × instruments, signed fractions of equity.
        prices: the market; its close index is the calendar.
        strategy: capital (currency), costs (basis points) and the limits that the weights must respect.

    Raises:
        ValueError: the weights do not fit the prices or the limits (see `check_weights`).
    """
    check_weights(weights, prices, strategy)
    # An own context, so that neither a caller's precision nor its traps change a figure.
    with localcontext(Context(prec=DIGITS)):
        equity, fills = _walk(weights, prices, strategy)
    return Result(pd.Series(equity, index=prices.calendar, name="equity", dtype=float), _table(fills, prices))


def _walk(weights: pd.DataFrame, prices: Prices, strategy: Strategy) -> tuple[list[float], list[_Fill]]:
    capital = Decimal(strategy.capital)
    account = _Account(capital, capital, _cost_rate(strategy))
    decisions = dict(zip(weights.index, _bars(weights), strict=True))
    closes_by_session = _bars(prices.close)
    opens_by_session = _bars(prices.open) if prices.open is not None else [Bar()] * len(closes_by_session)
    equity: list[float] = []
    fills: list[_Fill] = []
    for session, opens, closes in zip(prices.calendar, opens_by_session, closes_by_session, strict=True):
        fills += account.fill(session, opens, closes)
        account.mark(closes)
        equity.append(float(account.equity))
        if session in decisions:
            account.decide(decisions[session], closes)
    return equity, fills


def _bars(frame: pd.DataFrame) -> list[Bar]:
    names = [str(name) for name in frame.columns]
    return [
        {name: value for name, value in zip(names, row, strict=True) if not math.isnan(value)}
        for row in frame.to_numpy(dtype=float).tolist()
    ]


def _cost_rate(strategy: Strategy) -> Decimal:
    return (Decimal(strategy.costs.commission_bp) + Decimal(strategy.costs.half_spread_bp)) / 10_000


def _table(fills: list[_Fill], prices: Prices) -> pd.DataFrame:
    return fills_table(
        pd.DatetimeIndex([f.timestamp for f in fills], dtype=prices.calendar.dtype),
        [f.instrument for f in fills],
        ["buy" if f.quantity > 0 else "sell" for f in fills],
        [float(abs(f.quantity)) for f in fills],
        [float(f.price) for f in fills],
        [float(abs(f.quantity) * f.price) for f in fills],
        [float(f.cost) for f in fills],
    )
