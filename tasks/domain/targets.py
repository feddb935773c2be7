"""Configuration of what a model learns and on which sessions: labels and splits of development data.

Both are unions told apart by `kind`. The short forms of older problem files are read too: a plain word is a label
kind with its defaults, and splits without `kind` are a walk-forward.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from tasks.domain.schema import Frozen, Limit

Sessions = Annotated[int, Field(ge=2, le=2520)]
Embargo = Annotated[int, Field(ge=0, le=252)]


class ForwardReturn(Frozen):
    """The return over the horizon, as it is. Written as a mapping only; see `SessionRank` for the plain word."""

    kind: Literal["forward_return"] = "forward_return"


class SessionRank(Frozen):
    """The rank of the forward return among a session's names.

    This is also what the plain word `forward_return` means: a model asked for forward returns by that word has
    always been trained on their ranks.
    """

    kind: Literal["session_rank"] = "session_rank"


class Barriers(Frozen):
    """Where a position is closed: at a gain or a loss of so many volatilities, or else at the horizon.

    The volatility is that of one session's return, over about `volatility_sessions`. The defaults are those of
    López de Prado 2018, snippets 3.1 and 3.2.
    """

    profit_taking: Limit = 1.0
    stop_loss: Limit = 1.0
    volatility_sessions: Sessions = 100


class TripleBarrier(Barriers):
    """The sign of what a long position has earned where it first touches a barrier."""

    kind: Literal["triple_barrier"] = "triple_barrier"


class MetaLabel(Barriers):
    """Whether it pays to follow a simple rule: long what rose over `momentum_sessions`, short what fell."""

    kind: Literal["meta_label"] = "meta_label"
    momentum_sessions: Sessions = 21


class WalkForward(Frozen):
    """Purged, expanding walk-forward; `embargo` sessions more than the purge stay unused before each test window."""

    kind: Literal["walk_forward"] = "walk_forward"
    folds: Annotated[int, Field(ge=2)] = 5
    embargo: Embargo = 0


class Combinatorial(Frozen):
    """Combinatorial purged cross-validation: every choice of `test_groups` out of `groups` is tested once.

    `embargo` sessions more than the purge stay unused after each test window.
    """

    kind: Literal["combinatorial"] = "combinatorial"
    groups: Annotated[int, Field(ge=3, le=20)] = 6
    test_groups: Annotated[int, Field(ge=2)] = 2
    embargo: Embargo = 0

    @model_validator(mode="after")
    def leaves_a_group_to_train_on(self) -> Self:
        if self.test_groups >= self.groups:
            raise ValueError("test_groups must be less than groups")
        return self


def label_in_full(value: Any) -> Any:
    """A plain word as the mapping it stands for."""
    if not isinstance(value, str):
        return value
    return {"kind": "session_rank" if value == "forward_return" else value}


def splits_in_full(value: Any) -> Any:
    """A mapping without `kind` as a walk-forward."""
    return {"kind": "walk_forward"} | value if isinstance(value, dict) else value


Label = Annotated[
    Annotated[ForwardReturn | SessionRank | TripleBarrier | MetaLabel, Field(discriminator="kind")],
    BeforeValidator(label_in_full),
]
Splits = Annotated[Annotated[WalkForward | Combinatorial, Field(discriminator="kind")], BeforeValidator(splits_in_full)]
Weights = Literal["equal", "uniqueness"]
