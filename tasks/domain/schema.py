"""What all configuration schemas are made of: the closed, frozen base and the numbers they share."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(gt=0, lt=1)]
Limit = Annotated[float, Field(gt=0)]


class Frozen(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")
