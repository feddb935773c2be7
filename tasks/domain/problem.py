"""What a model is for: one frozen, closed, typed description per problem (`problems/*.yaml`)."""

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from tasks.domain.complexity import MONOTONE, Complexity, exceeds, word
from tasks.domain.criteria import Constraints, Criterion, Stated, Text
from tasks.domain.errors import UsageError
from tasks.domain.hyperparameters import Family
from tasks.domain.schema import PASSWORD, Frozen, parse
from tasks.domain.strategy import Strategy
from tasks.domain.targets import Label, SessionRank, Splits, WalkForward, Weights

Scale = Annotated[float, Field(gt=0, allow_inf_nan=False)]
ORDER_COLUMNS = (
    "time",
    "kind",
    "order_id",
    "execution_id",
    "instrument",
    "side",
    "quantity",
    "price",
    "cumulative_quantity",
    "venue",
    "account",
)
SERIES_COLUMNS = ("date", "series", "value", "known_at")


def is_time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise ValueError("use an IANA time zone such as America/New_York") from None
    return name


def known_columns(columns: dict[str, list[str]], known: tuple[str, ...], what: str) -> dict[str, list[str]]:
    if unknown := set(columns) - set(known):
        raise ValueError(f"{sorted(unknown)} are no {what} columns; expected some of {list(known)}")
    return columns


TimeZone = Annotated[str, AfterValidator(is_time_zone)]


class PackageSource(Frozen):
    """Bars that ship inside an installed package, so that a stranger can run the problem offline."""

    kind: Literal["package"]
    dataset: Literal["skfolio.sp500"]


class FromName(Frozen):
    """How to know the instrument where a file has no column for it: with `from_name`, by the file's own name."""

    from_name: bool = False


class FilesSource(Frozen):
    """Bars in CSV, Parquet or Feather files: one file, a folder with all below it, or a glob; any fsspec URL.

    `time_zone` is the exchange's (an IANA name): stamps with an offset are converted to its wall clock, stamps
    without one are on it already. Without `time_zone` the wall clock stays as delivered. `time_format` (strftime
    codes) reads stamps that are not written as ISO 8601. Prices are multiplied by `price_scale`.
    """

    kind: Literal["files"]
    path: Annotated[str, Field(min_length=1)]
    time_zone: TimeZone | None = None
    time_format: Annotated[str, Field(min_length=2)] | None = None
    price_scale: Scale | None = None
    instrument: FromName = FromName()


class SqlSource(Frozen):
    """The answer of a database to a query.

    `url_variable` names the environment variable that holds the SQLAlchemy URL, so that no password gets into a
    problem file, a signature or a model. A query that uses `:since` is asked for what is newer than the newest
    timestamp held, and each answer is added to what is held.
    """

    kind: Literal["sql"]
    url_variable: str
    query: Annotated[str, Field(min_length=1)]
    time_zone: TimeZone | None = None
    price_scale: Scale | None = None

    @field_validator("url_variable")
    @classmethod
    def names_a_variable(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", name):
            raise ValueError("name the environment variable that holds the URL (capitals), never the URL itself")
        return name


class PluginSource(Frozen):
    """Bars from a source of somebody else's, found by its entry point; it is handed `settings` as they stand."""

    kind: Literal["plugin"]
    name: Annotated[str, Field(min_length=1)]
    settings: dict[str, Any] = Field(default_factory=dict)


class OrdersSource(Frozen):
    """Order and fill records: CSV files with a column mapping, or FIX 4.4 logs; paths as in `FilesSource`.

    `columns` (CSV only) says how a column may be called; a column not mentioned is looked for under its own name.
    Stamps in a CSV file without an offset are on the wall clock of `time_zone`.
    """

    format: Literal["csv", "fix"]
    path: Annotated[str, Field(min_length=1)]
    columns: dict[str, list[str]] = Field(default_factory=dict)
    time_zone: TimeZone = "UTC"

    @field_validator("columns")
    @classmethod
    def columns_are_order_columns(cls, columns: dict[str, list[str]]) -> dict[str, list[str]]:
        return known_columns(columns, ORDER_COLUMNS, "order")


class SeriesSource(Frozen):
    """Economic or alternative data in a long table (date, series, value); paths as in `FilesSource`.

    When a value became known is told by a column (`known_at`), or else by `lag_days` of its series: calendar days
    after the reference date. A series with neither is refused, because a lag of zero must be somebody's decision.
    """

    path: Annotated[str, Field(min_length=1)]
    columns: dict[str, list[str]] = Field(default_factory=dict)
    lag_days: dict[str, Annotated[int, Field(ge=0, le=3660)]] = Field(default_factory=dict)
    time_zone: TimeZone | None = None

    @field_validator("columns")
    @classmethod
    def columns_are_series_columns(cls, columns: dict[str, list[str]]) -> dict[str, list[str]]:
        return known_columns(columns, SERIES_COLUMNS, "series")


# Names of feature sets, and of functions in the problem's feature file; a single one may stand alone.
FeatureNames = Annotated[
    list[str], Field(min_length=1), BeforeValidator(lambda given: [given] if isinstance(given, str) else given)
]
Source = Annotated[PackageSource | FilesSource | SqlSource | PluginSource, Field(discriminator="kind")]
BAR_COLUMNS = ("timestamp", "instrument", "open", "high", "low", "close", "volume")


class Problem(Frozen):
    name: str
    title: str
    objective: Literal["alpha"]
    owner: Text
    reviewer: Text
    universe: str
    success: Stated
    constraints: Constraints = Constraints()
    source: Source
    columns: dict[str, list[str]]
    calendar: Annotated[str, Field(min_length=1)] | None = None
    orders: OrdersSource | None = None
    series: SeriesSource | None = None
    horizon: Annotated[int, Field(ge=1, le=252)]
    label: Label = SessionRank()
    weights: Weights = "equal"
    features: FeatureNames = Field(default_factory=lambda: ["price_only"])
    feature_file: Annotated[str, Field(min_length=1)] | None = None
    lockbox_fraction: Annotated[float, Field(gt=0, lt=0.5)] = 0.2
    splits: Splits = WalkForward()
    families: Annotated[list[Family], Field(min_length=1)]
    strategy: Strategy
    policy: str
    schedule: str
    seed: Annotated[int, Field(ge=0)] = 7

    @field_validator("name")
    @classmethod
    def name_is_a_plain_word(cls, name: str) -> str:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name):
            raise ValueError("use lower-case letters, digits and underscores, a letter first")
        return name

    @field_validator("reviewer")
    @classmethod
    def somebody_else_reviews(cls, reviewer: str, info: ValidationInfo) -> str:
        if reviewer.strip().casefold() == str(info.data.get("owner", "")).strip().casefold():
            raise ValueError("is the owner too; expected somebody else")
        return reviewer

    @field_validator("columns")
    @classmethod
    def columns_are_bar_columns(cls, columns: dict[str, list[str]]) -> dict[str, list[str]]:
        known_columns(columns, BAR_COLUMNS, "bar")
        if missing := {"timestamp", "instrument", "close"} - set(columns):
            raise ValueError(f"say how {sorted(missing)} are called in a delivered file")
        return columns

    @model_validator(mode="after")
    def paths_hold_no_password(self) -> Self:
        places = {"source": self.source, "orders": self.orders, "series": self.series}
        for field, place in places.items():
            if PASSWORD.search(getattr(place, "path", "")):
                raise ValueError(
                    f"{field}.path holds a password; this file is signed and kept with every model, so leave the "
                    "password to the environment of the process"
                )
        return self

    @model_validator(mode="after")
    def families_obey_the_constraints(self) -> Self:
        for number, family in enumerate(self.families):
            if fault := disobeys(family.family, self.constraints):
                raise ValueError(f"families.{number}: {fault}")
        return self

    def narrowed(self, families: Sequence[str] | None, trials: int | None) -> Self:
        """The same problem with only some of its families, and at most so many trials of each; None: no such limit.

        Raises:
            UsageError: a family is none of the problem's.
        """
        listed = list(dict.fromkeys(each.family for each in self.families))
        if unknown := [name for name in families or [] if name not in listed]:
            raise UsageError(
                f"families: {', '.join(unknown)}: not in problem {self.name}; it lists {', '.join(listed)}"
            )
        kept = [each for each in self.families if not families or each.family in families]
        most = [each.trials if trials is None else min(trials, each.trials or trials) for each in kept]
        chosen = [each.model_copy(update={"trials": count}) for each, count in zip(kept, most, strict=True)]
        return self.model_copy(update={"families": chosen})

    def criteria(self) -> list[Criterion]:
        """What the verdict must find besides the policy's gates: success criteria, then constraints with a figure."""
        return [*self.success.criteria, *self.constraints.criteria()]

    def canonical(self) -> bytes:
        """The problem as the bytes that are hashed, signed and frozen with a model."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, indent=1).encode()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.canonical()).hexdigest()


def disobeys(family: str, constraints: Constraints) -> str | None:
    """Why a family may not be listed under the constraints, or None."""
    allowed: Complexity | None = constraints.complexity
    if allowed is not None and exceeds(family, allowed):
        return f"{family} is of {word(family)} complexity; constraints.complexity allows {allowed} at most"
    if constraints.monotone and family not in MONOTONE:
        return f"{family} cannot be kept monotone; constraints.monotone allows {', '.join(MONOTONE)}"
    return None


def parse_problem(fields: Any, origin: str) -> Problem:
    """Check `fields` against the schema.

    Raises:
        UsageError: one line naming the file, the field and what was expected.
    """
    return parse(Problem, fields, origin)
