"""Suites: what must be true of data, one JSON file a table, made ready for the columns that a table has.

Beside what Great Expectations reads, an expectation's `meta` may say
- `why`: one sentence for people (shown on the page);
- `when_column`: a column, or a list of them, without which the expectation does not apply;
- `each_column_except`: the expectation is a template; a copy is made for every other column of the table, and `*` in
  its arguments stands for that column's name.
A column called "distinct X per Y" is one that we count: the number of different X for each Y, one row for each Y.
"""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tasks.domain.errors import UsageError
from tasks.home import CHECKOUT

FOLDER = CHECKOUT / "expectations" / "data"
COUNTED = re.compile(r"distinct (\w+) per (\w+)")


class Suite(NamedTuple):
    """`expectations` are Great Expectations' own objects, those that apply to a table's columns."""

    name: str
    expectations: list[Any]


def path_of(suite: str) -> Path:
    return FOLDER / f"{suite}.json"


def load(suite: str, columns: Sequence[str]) -> Suite:
    """A suite's expectations for a table with `columns`.

    Raises:
        UsageError: the file is no suite, or an expectation's type or arguments are unknown. Great Expectations itself
            leaves unknown types out and calls what remains a success.
    """
    path = path_of(suite)
    try:
        definition = json.loads(path.read_text())
        written = [one for each in definition["expectations"] for one in applicable(each, columns)]
        name = str(definition["name"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise UsageError(f"{path}: is not a suite ({fault!r}); expected a name and a list of expectations") from None
    if not written:
        raise UsageError(f"{path}: no expectation applies to the columns {list(columns)}; a suite must ask something")
    return Suite(name, [understood(path, each) for each in written])


def applicable(expectation: dict[str, Any], columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The expectation, a copy for each column where it is a template, or nothing where its columns are absent."""
    meta = expectation.get("meta", {})
    demanded = meta.get("when_column", [])
    if not set([demanded] if isinstance(demanded, str) else demanded) <= set(columns):
        return
    if "each_column_except" not in meta:
        yield expectation
        return
    for column in columns:
        if column not in meta["each_column_except"]:
            kwargs = {key: column if value == "*" else value for key, value in expectation["kwargs"].items()}
            yield expectation | {"kwargs": kwargs}


def understood(path: Path, expectation: dict[str, Any]) -> Any:
    """Great Expectations' object for a written expectation; one that it does not know is refused."""
    from great_expectations.exceptions import GreatExpectationsError
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    try:
        # An "id" would tie the expectation to a store, which there is none of.
        written = {key: value for key, value in expectation.items() if key != "id"}
        return ExpectationConfiguration(**written).to_domain_obj()
    except (GreatExpectationsError, TypeError, ValueError) as fault:
        kind = expectation.get("type", "an expectation without a type")
        words = "; ".join(" ".join(str(fault).split()).split(" (type=")[0].split("; "))
        raise UsageError(f"{path}: {kind} is not understood ({words}); correct its type or its arguments") from None
