"""The research engine: vectorised over names and over the sessions between decisions."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from tasks.domain.problem import Strategy
from tasks.domain.simulate.contract import SMALLEST_ORDER, Prices, Result, check_weights, fills_table

Floats = npt.NDArray[np.float64]


class _Market(NamedTuple):
    close: Floats
    mark: Floats
    fill: Floats


class _Trade(NamedTuple):
    session: int
    names: npt.NDArray[np.intp]
    quantity: Floats
    price: Floats


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
    market = _market(prices)
    targets = weights.reindex(columns=prices.close.columns, fill_value=0.0).to_numpy(dtype=float)
    decisions = prices.calendar.get_indexer(weights.index)
    equity, trades = _run(decisions, targets, market, strategy)
    fills = _fills(trades, prices, _cost_rate(strategy))
    return Result(pd.Series(equity, index=prices.calendar, name="equity"), fills)


def _run(
    decisions: npt.NDArray[np.intp], targets: Floats, market: _Market, strategy: Strategy
) -> tuple[Floats, list[_Trade]]:
    last = len(market.close) - 1
    equity = np.full(last + 1, strategy.capital)
    held, cash, rate = np.zeros(market.close.shape[1]), strategy.capital, _cost_rate(strategy)
    trades: list[_Trade] = []
    for now, until, weight in zip(decisions, [*decisions[1:], last], targets, strict=False):
        if now == last:
            break
        order = _orders(weight, market.close[now], equity[now], held)
        trade = _execute(int(now) + 1, order, market.fill[now + 1])
        trades.append(trade)
        held[trade.names] += trade.quantity
        flow = trade.quantity * trade.price
        cash -= flow.sum() + rate * np.abs(flow).sum()
        stretch = cash + market.mark[now + 1 : until + 1] @ held
        equity[now + 1 : until + 1] = stretch
        if (stretch <= 0).any():
            equity[now + 1 + int(np.argmax(stretch <= 0)) :] = 0.0
            break
    return equity, trades


def _market(prices: Prices) -> _Market:
    close = prices.close.to_numpy(dtype=float)
    # A name without any close so far cannot be held, so its mark of 0 never counts; NaN would spread.
    mark = prices.close.ffill().fillna(0.0).to_numpy(dtype=float)
    if prices.open is None:
        return _Market(close, mark, close)
    opening = prices.open.to_numpy(dtype=float)
    return _Market(close, mark, np.where(np.isnan(opening), close, opening))


def _orders(weight: Floats, close: Floats, equity: float, held: Floats) -> Floats:
    order = weight * equity / close - held
    too_small = np.abs(order) * close < SMALLEST_ORDER * equity
    return np.where(np.isnan(order) | too_small, 0.0, order)


def _execute(session: int, order: Floats, price: Floats) -> _Trade:
    names = np.flatnonzero((order != 0.0) & ~np.isnan(price))
    return _Trade(session, names, order[names], price[names])


def _cost_rate(strategy: Strategy) -> float:
    return (strategy.costs.commission_bp + strategy.costs.half_spread_bp) / 1e4


def _fills(trades: list[_Trade], prices: Prices, rate: float) -> pd.DataFrame:
    nothing = np.zeros(0)
    sessions = np.repeat([t.session for t in trades], [len(t.names) for t in trades]).astype(np.intp)
    names = np.concatenate([np.zeros(0, dtype=np.intp), *(t.names for t in trades)])
    quantity = np.concatenate([nothing, *(t.quantity for t in trades)])
    price = np.concatenate([nothing, *(t.price for t in trades)])
    notional = np.abs(quantity) * price
    return fills_table(
        prices.calendar[sessions],
        prices.close.columns.to_numpy(dtype=object)[names],
        np.where(quantity > 0, "buy", "sell"),
        np.abs(quantity),
        price,
        notional,
        notional * rate,
    )
