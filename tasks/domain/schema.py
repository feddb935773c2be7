"""How configuration files are checked: closed, frozen, strict, and every finding in one line of words."""

import json
import re
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tasks.domain.errors import UsageError

PASSWORD = re.compile(r"//[^/@\s]*@")
Model = TypeVar("Model", bound=BaseModel)
Fraction = Annotated[float, Field(gt=0, lt=1)]
Limit = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Frozen(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


def parse(model: type[Model], fields: Any, origin: str) -> Model:
    """Check a configuration file's fields against its schema.

    Raises:
        UsageError: one line naming the file, the field and what was expected.
    """
    if not isinstance(fields, dict):
        raise UsageError(f"{origin}: expected a mapping of fields, found {type(fields).__name__}")
    try:
        return model.model_validate_json(json.dumps(fields, default=str))
    except ValidationError as fault:
        raise UsageError(f"{origin}: {describe(fault)}") from None


def describe(fault: ValidationError) -> str:
    """All findings of a validation in one line, each with the field's full name."""
    findings = []
    for error in fault.errors():
        field = ".".join(str(part) for part in error["loc"]) or "the file"
        if error["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            findings.append(f"{field}: unknown key; remove it or correct its spelling")
        elif error["type"] == "missing":
            findings.append(f"{field}: missing")
        else:
            said = error["msg"].removeprefix("Value error, ")
            found = "" if isinstance(error["input"], dict) and not error["loc"] else f", found {shown(error['input'])}"
            findings.append(f"{field}: {said}{found}")
    return "; ".join(findings)


def shown(value: Any) -> str:
    """What was found, in one short line without the password of a URL."""
    return PASSWORD.sub("//***@", repr(value))[:200]
