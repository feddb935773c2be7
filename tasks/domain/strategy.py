"""How scores become positions: what a problem file says under `strategy`. The rules are those of docs/fills.md."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tasks.domain.schema import Fraction, Frozen, Limit

BasisPoints = Annotated[float, Field(ge=0, lt=10_000)]
Rate = Annotated[float, Field(gt=-1, lt=1)]
Share = Annotated[float, Field(gt=0, le=1)]


class Costs(Frozen):
    """`commission_bp`, `half_spread_bp`: basis points of traded notional. `impact_bp`: basis points of a trade as large
    as the average volume, growing with the square root of its size (rule F8). `interest_rate` on cash and
    `borrow_rate` on shorts: fractions a year (F15)."""

    commission_bp: BasisPoints = 1.0
    half_spread_bp: BasisPoints = 2.0
    impact_bp: BasisPoints = 0.0
    interest_rate: Rate = 0.0
    borrow_rate: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def a_trade_costs_less_than_itself(self) -> Self:
        if self.commission_bp + self.half_spread_bp + self.impact_bp >= 10_000:
            raise ValueError("commission_bp, half_spread_bp and impact_bp add up to the whole of a trade or more")
        return self


class Risk(Frozen):
    """What ends a position or holds an order down, whatever the scores say; None: nothing does.

    `stop_loss`, `take_profit`: fractions of the entry price (F10); `holding_bars`: longest holding time (F13);
    `drawdown_stop`: fall of equity from its highest that ends trading (F14); `turnover_limit`: most traded at one
    decision, a fraction of equity (F3); `volume_share`: most of a bar's volume that is traded (F7); `lot`: quantities
    are whole multiples of it (F4).
    """

    stop_loss: Fraction | None = None
    take_profit: Limit | None = None
    holding_bars: Annotated[int, Field(ge=1)] | None = None
    drawdown_stop: Fraction | None = None
    turnover_limit: Limit | None = None
    volume_share: Share | None = None
    lot: Limit | None = None


class Strategy(Frozen):
    """How scores become positions.

    A name enters the long side when its score is in the top `long_fraction` of the names scored at that
    session's close, and leaves it once it has dropped out of the top `exit_fraction`; the short side mirrors
    this from the bottom. Names are sized equally. Raising `exit_fraction` lowers turnover at the price of
    holding staler opinions. Weights are fractions of equity; `gross_limit` caps the sum of their absolute
    values and `name_limit` caps each.
    """

    long_fraction: Fraction = 0.2
    short_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.2
    exit_fraction: Fraction = 0.3
    sizing: Literal["equal"] = "equal"
    gross_limit: Limit = 1.0
    name_limit: Limit = 0.1
    rebalance_sessions: Annotated[int, Field(ge=1)] = 5
    costs: Costs = Costs()
    risk: Risk = Risk()
    capital: Limit = 1_000_000.0

    @model_validator(mode="after")
    def sides_do_not_overlap(self) -> Self:
        if self.exit_fraction < max(self.long_fraction, self.short_fraction):
            raise ValueError("exit_fraction must be at least long_fraction and short_fraction")
        if self.exit_fraction > 0.5:
            raise ValueError("exit_fraction must be at most 0.5, or a name could be long and short at once")
        return self

    @property
    def needs_volume(self) -> bool:
        return self.costs.impact_bp > 0 or self.risk.volume_share is not None
