"""What a problem demands of a model: its own success criteria and the constraints that a desk has to live with.

All of it comes on top of the policy's gates. Each criterion is a finding of its own beside the gate's, so the stricter
of the two binds and none can loosen a gate.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from tasks.domain.complexity import Complexity
from tasks.domain.schema import Frozen

Threshold = Annotated[float, Field(allow_inf_nan=False)]
Most = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1)]
Sign = Literal[-1, 1]
# Figures that the validator makes. What the trainer measured decides nothing, and is no criterion.
FIGURE = r"^(probe|lockbox|champion|backtest|scenario|robustness)\.[a-z0-9_]+(\.[a-z0-9_]+)?$"
LATENCY, TURNOVER = "probe.score_latency_ms", "backtest.turnover"
INSTRUMENTS, OUTSIDE = "lockbox.instruments", "lockbox.instruments_outside_list"


class Bound(Frozen):
    """A figure and where it must lie, both ends included."""

    figure: str
    at_least: Threshold | None = None
    at_most: Threshold | None = None
    why: Text

    @property
    def threshold(self) -> str:
        bounds = [("≥", self.at_least), ("≤", self.at_most)]
        return " and ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)


class Criterion(Bound):
    """A bound on one of the validator's figures. One on `champion.*` applies once there is a champion."""

    figure: Annotated[str, Field(pattern=FIGURE)]

    @model_validator(mode="after")
    def bounds_leave_room(self) -> Self:
        if self.at_least is None and self.at_most is None:
            raise ValueError(f"{self.figure}: give at_least or at_most")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"{self.figure}: at_least must not be above at_most")
        return self


class Success(Frozen):
    """When the model is worth having: in a sentence for people, and as criteria that decide."""

    sentence: Text
    criteria: Annotated[list[Criterion], Field(min_length=1)]

    @field_validator("criteria")
    @classmethod
    def one_criterion_a_figure(cls, criteria: list[Criterion]) -> list[Criterion]:
        figures = [criterion.figure for criterion in criteria]
        if doubled := sorted({figure for figure in figures if figures.count(figure) > 1}):
            raise ValueError(f"{doubled}: more than one criterion on a figure; join them into one")
        return criteria


def more_than_a_sentence(given: Any) -> Any:
    if isinstance(given, str):
        raise ValueError("a sentence alone decides nothing; expected a mapping of sentence and criteria")
    return given


Stated = Annotated[Success, BeforeValidator(more_than_a_sentence)]


def names_or_count(given: Any) -> str:
    return "names" if isinstance(given, list) else "count"


Instruments = Annotated[
    Annotated[Annotated[list[Text], Field(min_length=1)], Tag("names")]
    | Annotated[Annotated[int, Field(ge=1)], Tag("count")],
    Discriminator(names_or_count),
]


class Constraints(Frozen):
    """What the desk can't do without, whatever the model is worth. What is left out is not constrained.

    score_latency_ms: 99th percentile of the time that scoring one new session takes. turnover: one-way turnovers of
    the book a year. instruments: the only ones that may be scored on the lockbox, or how many at most. complexity: the
    highest tier among the families. monotone: per feature, +1 if the score must not fall as it rises, −1 if it must
    not rise; features as the model's input calls them.
    """

    score_latency_ms: Most | None = None
    turnover: Most | None = None
    instruments: Instruments | None = None
    complexity: Complexity | None = None
    monotone: dict[str, Sign] = Field(default_factory=dict)

    def criteria(self) -> Iterator[Criterion]:
        """Those that a figure can decide."""
        if self.score_latency_ms is not None:
            yield most(LATENCY, self.score_latency_ms, "a new session must be scored within the time that there is")
        if self.turnover is not None:
            yield most(TURNOVER, self.turnover, "more one-way turnovers a year than the desk is prepared to trade")
        if isinstance(self.instruments, list):
            yield most(OUTSIDE, 0.0, "an instrument was scored that is not on the problem's list")
        elif self.instruments is not None:
            yield most(INSTRUMENTS, float(self.instruments), "more instruments were scored than the problem allows")


def most(figure: str, limit: float, why: str) -> Criterion:
    return Criterion(figure=figure, at_most=limit, why=why)
