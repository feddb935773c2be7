"""One configuration of one family, and all of them where they can be counted."""

import hashlib
import itertools
import json
from typing import Any, NamedTuple

from tasks.domain.errors import UsageError
from tasks.domain.hyperparameters import Family, Range, space


class Trial(NamedTuple):
    """One configuration. `key` names it for ever: the same configuration on the same data is one trial."""

    family: str
    parameters: dict[str, Any]

    @property
    def title(self) -> str:
        """In short, for people: the family and its first hyper-parameter."""
        name, value = next(pair for pair in self.parameters.items() if pair[0] != "form")
        return f"{self.family}-{name}={value:g}"

    def key(self, *context: str) -> str:
        content = json.dumps([self.family, self.parameters, *context], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()


def grid(family: Family) -> list[Trial]:
    """All configurations, in the order in which their choices were written, the last hyper-parameter changing fastest.

    Raises:
        UsageError: a hyper-parameter has a range, so they can't be listed.
    """
    spread = space(family)
    if ranges := [name for name, given in spread.items() if isinstance(given, Range)]:
        raise UsageError(f"{family.family}: {', '.join(ranges)} cannot be listed; give choices in place of a range")
    choices = [given if isinstance(given, tuple) else (given,) for given in spread.values()]
    return [Trial(family.family, dict(zip(spread, chosen, strict=True))) for chosen in itertools.product(*choices)]
