"""What a flow leaves on its page in Prefect: a table of what came out, as its last act."""

from collections.abc import Mapping
from typing import Any

from prefect.artifacts import create_table_artifact


def verdict(told: Mapping[str, Any]) -> None:
    """Every gate of a decision; what did not pass comes first, with its reason."""
    findings = sorted(told["findings"], key=lambda each: each["outcome"] == "pass")
    rows = [
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
    create_table_artifact(rows, key="verdict", description=f"{told['model']}: {told['summary']}")


def figures(key: str, model: str, values: Mapping[str, float]) -> None:
    """The figures of a stage."""
    rows = [{"figure": name, "value": number(value)} for name, value in sorted(values.items())]
    create_table_artifact(rows, key=key, description=model)


def counts(key: str, about: str, values: Mapping[str, Any]) -> None:
    create_table_artifact(
        [{"what": name, "": str(value)} for name, value in values.items()], key=key, description=about
    )


def number(value: float | None) -> str:
    return "missing" if value is None else f"{value:.6g}"
