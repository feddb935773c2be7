"""How scores become positions: what a problem file says under `strategy`. The rules are those of docs/fills.md."""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tasks.domain.schema import Fraction, Frozen, Limit

BasisPoints = Annotated[float, Field(ge=0, lt=10_000)]
Rate = Annotated[float, Field(gt=-1, lt=1)]
Share = Annotated[float, Field(gt=0, le=1)]
UNIVERSE = "universe"


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
    this from the bottom. Raising `exit_fraction` lowers turnover at the price of holding staler opinions.
    `entry_score`, `exit_score`: besides, a long enters at that score or above only and leaves below the second (a
    short mirrors it), in units of the score; a single name has nothing to be ranked with and needs them.

    `sizing`: in equal parts; in proportion to a score's distance from the session's median; to the inverse of
    volatility; or the book of least variance. Volatility is that of the last `volatility_sessions` bars.
    `target_volatility` (a year) scales the book down to it.

    Weights are fractions of equity. Limits: `gross_limit` on the sum of absolute weights, `name_limit` on each,
    `net_limit` on the absolute sum, `sector_limit` on the sum of absolute weights in each of `sectors` (names by
    sector; those in none are one sector more). Decisions are made every `rebalance_sessions`-th session, or on the
    first session of each week, month or quarter. `benchmark`: what the result is held against, an instrument or all of
    them, equally weighted ("universe").
    """

    long_fraction: Fraction = 0.2
    short_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.2
    exit_fraction: Fraction = 0.3
    entry_score: Limit | None = None
    exit_score: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    sizing: Literal["equal", "score", "inverse_volatility", "minimum_variance"] = "equal"
    volatility_sessions: Annotated[int, Field(ge=20)] = 60
    target_volatility: Limit | None = None
    gross_limit: Limit = 1.0
    name_limit: Limit = 0.1
    net_limit: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    sector_limit: Limit | None = None
    sectors: dict[str, list[str]] = Field(default_factory=dict)
    rebalance_sessions: Annotated[int, Field(ge=1)] | Literal["weekly", "monthly", "quarterly"] = 5
    benchmark: Annotated[str, Field(min_length=1)] = UNIVERSE
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

    @model_validator(mode="after")
    def thresholds_leave_room(self) -> Self:
        if self.exit_score is not None and (self.entry_score is None or self.exit_score > self.entry_score):
            raise ValueError("exit_score must be at most entry_score, which must be given with it")
        return self

    @model_validator(mode="after")
    def every_name_has_one_sector(self) -> Self:
        names = [name for members in self.sectors.values() for name in members]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"sectors: {twice[0]} stands there twice")
        if (self.sector_limit is None) != (not self.sectors):
            raise ValueError("sector_limit and sectors belong together; give both or neither")
        return self

    @property
    def thresholds(self) -> tuple[float, float]:
        """Scores at which a side's names enter and below which they leave."""
        if self.entry_score is None:
            return -math.inf, -math.inf
        return self.entry_score, self.entry_score if self.exit_score is None else self.exit_score

    @property
    def needs_closes(self) -> bool:
        """Whether sizing looks at how names moved."""
        return self.target_volatility is not None or self.sizing in ("inverse_volatility", "minimum_variance")

    @property
    def needs_volume(self) -> bool:
        return self.costs.impact_bp > 0 or self.risk.volume_share is not None
