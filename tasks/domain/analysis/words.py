"""The figures of a backtest as people read them."""

import math

# Figures in the order they are read, with their words and how they are written.
EARNED = {
    "total_return": ("total return", "{:+.2%}"),
    "annual_return": ("return a year", "{:+.2%}"),
    "annual_volatility": ("volatility a year", "{:.2%}"),
    "sharpe_ratio": ("Sharpe ratio a year", "{:+.2f}"),
    "sharpe_ratio_error": ("its standard error", "{:.2f}"),
    "sharpe_ratio_lower": ("other histories, 2.5 %", "{:+.2f}"),
    "sharpe_ratio_upper": ("and 97.5 %", "{:+.2f}"),
    "sortino_ratio": ("Sortino ratio", "{:+.2f}"),
    "calmar_ratio": ("Calmar ratio", "{:+.2f}"),
    "max_drawdown": ("deepest drawdown", "{:.2%}"),
    "max_drawdown_upper": ("other histories, 95 %", "{:.2%}"),
    "max_drawdown_sessions": ("longest drawdown, bars", "{:,.0f}"),
    "benchmark_return": ("benchmark, total return", "{:+.2%}"),
    "benchmark_beta": ("beta to the benchmark", "{:+.2f}"),
    "information_ratio": ("information ratio", "{:+.2f}"),
}
TRADED = {
    "trades": ("fills", "{:,.0f}"),
    "round_trips": ("round trips closed", "{:,.0f}"),
    "hit_rate": ("of them with a profit", "{:.1%}"),
    "profit_per_trade": ("mean profit of one", "{:+,.2f}"),
    "profit_per_trade_bp": ("the same, bp of its entry", "{:+.2f}"),
    "holding_sessions": ("mean holding time, bars", "{:,.1f}"),
    "turnover": ("one-way turnovers a year", "{:,.1f}"),
    "gross_exposure": ("mean gross exposure", "{:.1%}"),
    "net_exposure": ("mean net exposure", "{:+.1%}"),
    "time_in_market": ("bars with a position", "{:.1%}"),
    "cost": ("costs of all fills", "{:,.0f}"),
    "cost_commission": ("of them commission", "{:,.0f}"),
    "cost_half_spread": ("half spread", "{:,.0f}"),
    "cost_impact": ("impact", "{:,.0f}"),
    "engine_gap_bp": ("engines apart, bp", "{:.1e}"),
}


def written(value: float | None, form: str) -> str:
    """A figure as it is read; a dash for one that there is none of."""
    return "–" if value is None or not math.isfinite(value) else form.format(value)
