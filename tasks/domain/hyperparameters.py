"""What a problem file may say about each family of models: its hyper-parameters, under their library's own names.

Each is a value, a list of choices, or a range `{low, high, log}`; all have defaults, so `{family: forest}` is enough.
"""

import math
from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic.dataclasses import dataclass

from tasks.domain.schema import Frozen

T = TypeVar("T")

Form = Literal["regression", "classification"]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class Range(Generic[T]):
    """All values from `low` to `high`, both included; `log` draws evenly in the logarithm."""

    low: T
    high: T
    log: bool = False

    def __post_init__(self) -> None:
        low, high = float(self.low), float(self.high)  # type: ignore[arg-type]
        if not low < high:
            raise ValueError("low must be below high")
        if self.log and low <= 0:
            raise ValueError("a range in logarithms starts above 0")


def value_or_choices(given: Any) -> str:
    """Which way of giving a hyper-parameter was meant, so that a fault is told once, not once for each way."""
    return "choices" if isinstance(given, list) else "value"


def any_way(given: Any) -> str:
    return "range" if isinstance(given, dict | Range) else value_or_choices(given)


Choices = Annotated[list[T], Field(min_length=1)]
OneOf = Annotated[Annotated[T, Tag("value")] | Annotated[Choices[T], Tag("choices")], Discriminator(value_or_choices)]
Value = Annotated[
    Annotated[T, Tag("value")] | Annotated[Choices[T], Tag("choices")] | Annotated[Range[T], Tag("range")],
    Discriminator(any_way),
]


class Tried(Frozen):
    """What every family has. `trials` is the most configurations to try; without it the whole grid is tried."""

    trials: Count | None = None

    @model_validator(mode="after")
    def a_range_needs_a_budget(self) -> Self:
        ranges = [name for name, given in space_of(self).items() if isinstance(given, Range)]
        if ranges and self.trials is None:
            raise ValueError(f"{', '.join(ranges)} may take any value of a range, so say how many trials to spend")
        return self


class Ridge(Tried):
    """`alpha` acts on standardised features and on the sum over rows, as in scikit-learn."""

    family: Literal["ridge"]
    alpha: Value[Positive] = 1000.0


class Lasso(Tried):
    """`alpha` acts on standardised features and on the mean over rows, as in scikit-learn."""

    family: Literal["lasso"]
    alpha: Value[Positive] = 0.001


class Logistic(Tried):
    """`C` is the inverse of the penalty's weight; smaller is simpler."""

    family: Literal["logistic"]
    C: Value[Positive] = 0.001


class Tree(Tried):
    family: Literal["tree"]
    form: OneOf[Form] = "regression"
    max_depth: Value[Count] = 4
    min_samples_leaf: Value[Count] = 200


class Forest(Tried):
    """`max_features` is the share of features a split chooses from, `max_samples` the share of rows a tree sees."""

    family: Literal["forest"]
    form: OneOf[Form] = "regression"
    n_estimators: Value[Count] = 100
    max_depth: Value[Count] = 8
    min_samples_leaf: Value[Count] = 100
    max_features: OneOf[Share | Literal["sqrt"]] = "sqrt"
    max_samples: Value[Share] = 0.1


class SVM(Tried):
    """An RBF kernel on `n_components` landmarks; `gamma_scale` multiplies scikit-learn's gamma="scale"."""

    family: Literal["svm"]
    form: OneOf[Form] = "regression"
    C: Value[Positive] = 0.01
    epsilon: Value[NotNegative] = 0.1
    gamma_scale: Value[Positive] = 1.0
    n_components: Value[Count] = 200
    max_samples: Value[Count] = 50_000


class LightGBM(Tried):
    family: Literal["lightgbm"]
    form: OneOf[Form] = "regression"
    num_leaves: Value[Annotated[int, Field(ge=2)]] = 15
    num_rounds: Value[Count] = 80
    learning_rate: Value[Share] = 0.05
    min_data_in_leaf: Value[Count] = 200
    lambda_l2: Value[NotNegative] = 0.0
    feature_fraction: Value[Share] = 1.0


class Network(Tried):
    """What both kinds of neural network share; trained with AdamW."""

    form: OneOf[Form] = "regression"
    hidden: Value[Count] = 32
    layers: Value[Count] = 2
    dropout: Value[Dropout] = 0.1
    epochs: Value[Count] = 5
    batch_size: Value[Count] = 1024
    learning_rate: Value[Positive] = 0.001
    weight_decay: Value[NotNegative] = 0.01


class MLP(Network):
    family: Literal["mlp"]


class Sequence(Network):
    """A recurrent network over the newest `steps` rows of an instrument."""

    family: Literal["sequence"]
    steps: Value[Annotated[int, Field(ge=2)]] = 10
    layers: Value[Count] = 1
    epochs: Value[Count] = 3


Family = Annotated[
    Ridge | Lasso | Logistic | Tree | Forest | SVM | LightGBM | MLP | Sequence, Field(discriminator="family")
]
FamilyName = Literal["ridge", "lasso", "logistic", "tree", "forest", "svm", "lightgbm", "mlp", "sequence"]
Given = Any  # a fixed value, a tuple of choices, or a Range


def space(family: Family) -> dict[str, Given]:
    """Each hyper-parameter's fixed value, tuple of choices or `Range`, in the order of the schema.

    A list of one choice is a fixed value.
    """
    return space_of(family)


def space_of(family: Tried) -> dict[str, Given]:
    named = {name: getattr(family, name) for name in type(family).model_fields if name not in ("family", "trials")}
    return {name: simplest(given) for name, given in named.items()}


def simplest(given: Any) -> Given:
    if not isinstance(given, list):
        return given
    choices = tuple(dict.fromkeys(given))
    return choices if len(choices) > 1 else choices[0]


def size(family: Family) -> int | float:
    """How many configurations the space holds: a product of choices, or infinity where there is a range."""
    spread = space(family).values()
    if any(isinstance(given, Range) for given in spread):
        return math.inf
    return math.prod(len(given) for given in spread if isinstance(given, tuple))
