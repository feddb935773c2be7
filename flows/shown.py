"""What a flow leaves on its page in Prefect: a table of what came out, as its last act."""

from collections.abc import Mapping
from typing import Any

from prefect.artifacts import create_table_artifact

Rows = list[dict[str, str]]
VERDICT, TRAINING, COLLECTED = "verdict", "training", "rows"  # keys of tables; a report's is its stage


def verdict(told: Mapping[str, Any]) -> None:
    create_table_artifact(verdict_rows(told), key=VERDICT, description=verdict_title(told))


def verdict_title(told: Mapping[str, Any]) -> str:
    return f"{told['model']}: {told['summary']}"


def verdict_rows(told: Mapping[str, Any]) -> Rows:
    """Every gate of a decision; what did not pass comes first, with its reason."""
    findings = sorted(told["findings"], key=lambda each: each["outcome"] == "pass")
    return [
        {
            "gate": each["figure"],
            "outcome": "fail, waived" if each.get("waived") else each["outcome"],
            "figure": number(each["value"]),
            "must be": each["threshold"],
            "set by": each["source"],
            "why": "" if each["outcome"] == "pass" else each["reason"],
        }
        for each in findings
    ]


def figures(stage: str, model: str, values: Mapping[str, float]) -> None:
    """The figures of a stage."""
    create_table_artifact(figure_rows(values), key=stage, description=model)


def figure_rows(values: Mapping[str, float]) -> Rows:
    return [{"figure": name, "value": number(value)} for name, value in sorted(values.items())]


def counts(key: str, about: str, values: Mapping[str, Any]) -> None:
    create_table_artifact(count_rows(values), key=key, description=about)


def count_rows(values: Mapping[str, Any]) -> Rows:
    return [{"what": name, "": str(value)} for name, value in sorted(values.items())]


def number(value: float | None) -> str:
    return "missing" if value is None else f"{value:.6g}"
