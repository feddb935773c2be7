"""The library of scenarios: what happens in each, and within which limits a model is to get through it.

`expectations/models/scenarios/<objective>.yaml`, closed, typed and frozen.
"""

import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from tasks.domain.schema import Fraction, Frozen, Limit, parse

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Text = Annotated[str, Field(min_length=10)]
Share = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class Limits(Frozen):
    """What must not be exceeded. `max_drawdown`: fraction of equity; `turnover`: one-way turnovers a year;
    `gross_exposure`: highest sum of absolute positions, in multiples of the strategy's own limit; `score_shift`:
    Kolmogorov–Smirnov distance of the scores from the ordinary ones; `outside_share`: of scores beyond twice the usual
    range."""

    max_drawdown: Fraction
    turnover: Limit
    gross_exposure: Limit
    score_shift: Share
    outside_share: Share


class Other(Frozen):
    """Limits of one scenario that differ from those of all."""

    max_drawdown: Fraction | None = None
    turnover: Limit | None = None
    gross_exposure: Limit | None = None
    score_shift: Share | None = None
    outside_share: Share | None = None


class Asked(Frozen):
    """What all scenarios have. `why`: what it is to show."""

    name: Name
    why: Text
    limits: Other = Other()


class Window(Asked):
    """Sessions of the market's own history, both ends included; scores are those of the bars as they were."""

    kind: Literal["window"]
    first: datetime.date
    last: datetime.date

    @model_validator(mode="after")
    def runs_forward(self) -> Self:
        if self.first > self.last:
            raise ValueError("first must not be after last")
        return self


class Regime(Asked):
    """All sessions of history in one state of the market (`states.market_states`)."""

    kind: Literal["regime"]
    of: Literal["volatility", "market"]
    state: Literal["low", "middle", "high", "rising", "falling"]

    @model_validator(mode="after")
    def state_is_one_of_its_kind(self) -> Self:
        known = {"volatility": ("low", "middle", "high"), "market": ("rising", "falling")}[self.of]
        if self.state not in known:
            raise ValueError(f"state: of {self.of}, expected one of {list(known)}")
        return self


class Ordinary(Asked):
    """The newest bars as they are: what the others are held against."""

    kind: Literal["ordinary"]


class Bootstrap(Asked):
    """The newest sessions in another order, in blocks of random length, `block` on average (Politis & Romano 1994)."""

    kind: Literal["bootstrap"]
    block: Annotated[float, Field(ge=1)]


class Garch(Asked):
    """Sessions drawn at random, as large as a GARCH(1,1) of the common return says, which begins with `start` times the
    usual volatility: filtered historical simulation."""

    kind: Literal["garch"]
    start: Limit


class Correlation(Asked):
    """Own returns shrink until names have this correlation with each other; each keeps its volatility."""

    kind: Literal["correlation"]
    correlation: Fraction


class Volatility(Asked):
    """Returns are `factor` times as large."""

    kind: Literal["volatility"]
    factor: Limit


class Liquidity(Asked):
    """Costs are `factor` times as high, and volumes a `factor`-th."""

    kind: Literal["liquidity"]
    factor: Limit


class Late(Asked):
    """The bars of a `share` of the names arrive `sessions` late, under the date of their arrival."""

    kind: Literal["late"]
    share: Share
    sessions: Count


class Outage(Asked):
    """For so many sessions no bars arrive of a `share` of the names."""

    kind: Literal["outage"]
    share: Share
    sessions: Count


class Crash(Asked):
    """The name with the highest score falls by `fall` in one session, and stays there."""

    kind: Literal["crash"]
    fall: Fraction


class BadTick(Asked):
    """One close of one name arrives `factor` times as high; the market knows nothing of it."""

    kind: Literal["bad_tick"]
    factor: Limit


Scenario = Annotated[
    Window
    | Regime
    | Ordinary
    | Bootstrap
    | Garch
    | Correlation
    | Volatility
    | Liquidity
    | Late
    | Outage
    | Crash
    | BadTick,
    Field(discriminator="kind"),
]


class Library(Frozen):
    """`sessions`: how many are traded of each scenario that is made; `limits`: of all that state none of their own."""

    name: Name
    objective: Literal["alpha"]
    sessions: Annotated[int, Field(ge=40)]
    limits: Limits
    scenarios: Annotated[list[Scenario], Field(min_length=1)]

    @model_validator(mode="after")
    def every_name_is_there_once(self) -> Self:
        names = [scenario.name for scenario in self.scenarios]
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"scenarios: {doubled[0]} stands there twice")
        return self

    def limits_of(self, scenario: Asked) -> dict[str, float]:
        return self.limits.model_dump() | scenario.limits.model_dump(exclude_none=True)


def parse_scenarios(fields: Any, origin: str) -> Library:
    """Check a library.

    Raises:
        UsageError: unknown or missing key, a value out of bounds, no scenario, a name that stands there twice.
    """
    return parse(Library, fields, origin)
