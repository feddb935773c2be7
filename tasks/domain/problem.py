"""What a model is for: one frozen, closed, typed description per problem (`problems/*.yaml`)."""

import hashlib
import json
import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tasks.domain.errors import UsageError

Fraction = Annotated[float, Field(gt=0, lt=1)]
Limit = Annotated[float, Field(gt=0)]
BasisPoints = Annotated[float, Field(ge=0, le=10_000)]


class Frozen(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class PackageSource(Frozen):
    """Bars that ship inside an installed package, so that a stranger can run the problem offline."""

    kind: Literal["package"]
    dataset: Literal["skfolio.sp500"]


class FilesSource(Frozen):
    """Bars in one CSV or Parquet file."""

    kind: Literal["files"]
    path: str


class Costs(Frozen):
    """Proportional costs, in basis points of traded notional."""

    commission_bp: BasisPoints = 1.0
    half_spread_bp: BasisPoints = 2.0


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
    capital: Limit = 1_000_000.0

    @model_validator(mode="after")
    def sides_do_not_overlap(self) -> Self:
        if self.exit_fraction < max(self.long_fraction, self.short_fraction):
            raise ValueError("exit_fraction must be at least long_fraction and short_fraction")
        if self.exit_fraction > 0.5:
            raise ValueError("exit_fraction must be at most 0.5, or a name could be long and short at once")
        return self


class Splits(Frozen):
    """Purged, expanding walk-forward over development sessions."""

    folds: Annotated[int, Field(ge=2)] = 5


class Ridge(Frozen):
    family: Literal["ridge"]
    alphas: Annotated[list[Limit], Field(min_length=1)]


class LightGBM(Frozen):
    family: Literal["lightgbm"]
    num_leaves: Annotated[list[Annotated[int, Field(ge=2)]], Field(min_length=1)]
    num_rounds: Annotated[int, Field(ge=1)] = 80
    learning_rate: Fraction = 0.05
    min_data_in_leaf: Annotated[int, Field(ge=1)] = 200


Family = Annotated[Ridge | LightGBM, Field(discriminator="family")]
Source = Annotated[PackageSource | FilesSource, Field(discriminator="kind")]
BAR_COLUMNS = ("timestamp", "instrument", "open", "high", "low", "close", "volume")


class Problem(Frozen):
    name: str
    title: str
    objective: Literal["alpha"]
    owner: str
    universe: str
    success: str
    source: Source
    columns: dict[str, list[str]]
    horizon: Annotated[int, Field(ge=1, le=252)]
    label: Literal["forward_return"] = "forward_return"
    features: Literal["price_only"] = "price_only"
    lockbox_fraction: Annotated[float, Field(gt=0, lt=0.5)] = 0.2
    splits: Splits = Splits()
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

    @field_validator("columns")
    @classmethod
    def columns_are_bar_columns(cls, columns: dict[str, list[str]]) -> dict[str, list[str]]:
        if unknown := set(columns) - set(BAR_COLUMNS):
            raise ValueError(f"{sorted(unknown)} are no bar columns; expected some of {list(BAR_COLUMNS)}")
        if missing := {"timestamp", "instrument", "close"} - set(columns):
            raise ValueError(f"say how {sorted(missing)} are called in a delivered file")
        return columns

    def canonical(self) -> bytes:
        """The problem as the bytes that are hashed, signed and frozen with a model."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, indent=1).encode()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.canonical()).hexdigest()


def parse_problem(fields: Any, origin: str) -> Problem:
    """Check `fields` against the schema.

    Raises:
        UsageError: one line naming the file, the field and what was expected.
    """
    if not isinstance(fields, dict):
        raise UsageError(f"{origin}: expected a mapping of fields, found {type(fields).__name__}")
    try:
        return Problem.model_validate_json(json.dumps(fields, default=str))
    except ValidationError as fault:
        raise UsageError(f"{origin}: {describe(fault)}") from None


def describe(fault: ValidationError) -> str:
    """All findings of a validation in one line, each with the field's full name."""
    findings = []
    for error in fault.errors():
        field = ".".join(str(part) for part in error["loc"]) or "the file"
        if error["type"] == "extra_forbidden":
            findings.append(f"{field}: unknown key; remove it or correct its spelling")
        elif error["type"] == "missing":
            findings.append(f"{field}: missing")
        else:
            findings.append(f"{field}: {error['msg'].removeprefix('Value error, ')}, found {error['input']!r}")
    return "; ".join(findings)
