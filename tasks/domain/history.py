"""How a problem changed from one frozen version to the next, and which of its fields judge a model.

A problem is laid out as dotted names and short texts, the gates of its policy among them, because a threshold that was
moved in the gates' file is a criterion changed all the same.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

Layout = dict[str, str]
# What takes no part in saying what a good model is: who, when, where data comes from (the steward signs what came), and
# where a model is looked for. A change in these is recorded too. Everything else judges, and so does a field that
# somebody adds without thinking of this list.
BESIDES = (
    *("name", "title", "owner", "reviewer", "schedule"),
    *("source", "columns", "calendar", "orders", "series"),
    *("features", "feature_file", "weights", "families", "seed"),
)
REASON = " (why)"
GATES = "policy."
SHOWN = 80


class Change(NamedTuple):
    """One field of two layouts; None where it is not there."""

    field: str
    before: str | None
    after: str | None

    @property
    def words(self) -> str:
        if self.before is None:
            return f"{self.field} was added: {short(self.after)}"
        if self.after is None:
            return f"{self.field} was removed, it was {short(self.before)}"
        return f"{self.field} was changed from {short(self.before)} to {short(self.after)}"


class Version(NamedTuple):
    """A frozen version: its number from 1 on, what judges in it, and the trials recorded before it was frozen."""

    number: int
    judged: Layout
    trials: int


def short(text: str | None) -> str:
    told = text or "nothing"
    return told if len(told) <= SHOWN else f"{told[: SHOWN - 1]}…"


def layout(problem: Mapping[str, Any]) -> Layout:
    """A problem's fields (as in problem.json) by dotted name; fields that are absent or empty are left out."""
    success = dict(problem["success"])
    criteria = bounds(success.pop("criteria"), "success.")
    return dict(flat(dict(problem) | {"success": success})) | criteria


def gates(policy: Mapping[str, Any]) -> Layout:
    """A policy's gates (as in policy.json), as part of a problem's layout."""
    return bounds(policy["gates"], GATES)


def bounds(given: Sequence[Mapping[str, Any]], prefix: str) -> Layout:
    """Criteria or gates, each by its figure."""
    found: Layout = {}
    for bound in given:
        name = f"{prefix}{bound['figure']}"
        found[name] = bound_in_words(bound)
        found[f"{name}{REASON}"] = bound["why"]
    return found


def bound_in_words(bound: Mapping[str, Any]) -> str:
    ends = {"at least": bound["at_least"], "at most": bound["at_most"]}
    said = " and ".join(f"{end} {number(value)}" for end, value in ends.items() if value is not None)
    when = f" when {bound['when']}" if bound.get("when") else ""
    warns = ", which only warns" if bound.get("severity") == "warn" else ""
    return said + when + warns + (", which may be waived" if bound.get("waivable") else "")


def number(value: float) -> str:
    """All digits, so that no change is too small to be seen."""
    return repr(value).removesuffix(".0")


def flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Leaves of nested mappings; a list of mappings is numbered, another list is a leaf."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from flat(inner, f"{name}.{key}" if name else key)
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        yield from flat({str(place): item for place, item in enumerate(value)}, name)
    elif isinstance(value, float):
        yield name, number(value)
    elif value is not None:
        yield name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def judges(field: str) -> bool:
    """Whether a field of a layout is a criterion."""
    return field.partition(".")[0] not in BESIDES and not field.endswith(REASON)


def judged(fields: Layout) -> Layout:
    return {name: text for name, text in fields.items() if judges(name)}


def changes(before: Layout, after: Layout) -> list[Change]:
    """Fields in which two layouts differ, by name."""
    names = sorted(before.keys() | after.keys())
    return [Change(name, before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)]


def told(versions: Sequence[Version], now: Layout) -> str:
    """A version and every change of a criterion that led to it, in words.

    Args:
        versions: from the first to the one in question.
        now: what judges at this moment; where it differs from what was frozen last, that is told too.
    """
    return "; ".join([f"problem version {versions[-1].number}", *(words for _, words in moves(versions, now))])


def warnings(versions: Sequence[Version], now: Layout) -> list[str]:
    """The changes of criteria that were made after trials had been seen; arguments as in `told`."""
    return [words for trials, words in moves(versions, now) if trials]


def moves(versions: Sequence[Version], now: Layout) -> Iterator[tuple[bool, str]]:
    """Each change of criteria: whether trials had been seen, and words."""
    for before, after in pairwise(versions):
        if found := changes(before.judged, after.judged):
            yield after.trials > 0, f"since version {before.number} ({seen(after.trials)}) {listed(found)}"
    if found := changes(versions[-1].judged, now):
        yield True, f"since version {versions[-1].number} was frozen and its trials were seen {listed(found)}"


def listed(found: Sequence[Change]) -> str:
    return ", ".join(change.words for change in found)


def seen(trials: int) -> str:
    if not trials:
        return "before any trial had been seen"
    return f"after {trials} trial{'s' if trials > 1 else ''} had been seen"
