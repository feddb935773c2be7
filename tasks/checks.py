"""Data checks: Great Expectations suites over tables, their results and pages as evidence."""

import html
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks import suites
from tasks.domain.errors import DataRefused
from tasks.home import as_json, sha256, write_whole
from tasks.slices import evaluate

RAW, CLEAN, ORDERS, SERIES, FEATURES, SCORES = "bars_raw", "bars_clean", "orders", "series", "features", "scores"
CRITICAL = "critical"


class Checked(NamedTuple):
    """A suite's result: how many expectations ran, and the failed ones in words."""

    expectations: int
    critical: list[str]
    warnings: list[str]


@task(cache_policy=NO_CACHE, task_run_name="check-{suite}")
def check(table: pl.DataFrame, suite: str, evidence: Path) -> Checked:
    """Run a suite over a table; its result and page go to `evidence` as `<suite>.json` and `<suite>.html`.

    Bars should be in key order (instrument, timestamp); every other table may be in any order.

    Raises:
        DataRefused: a critical expectation failed.
        UsageError: the suite is not one, or holds what Great Expectations does not know.
    """
    result = evaluate(table, suites.load(suite, table.columns))
    write_whole(evidence / f"{suite}.json", as_json(result.to_json_dict()))
    write_whole(evidence / f"{suite}.html", page(result).encode())
    failed = [outcome for outcome in result.results if not outcome.success]
    checked = Checked(
        len(result.results),
        [words(outcome) for outcome in failed if severity(outcome) == CRITICAL],
        [words(outcome) for outcome in failed if severity(outcome) != CRITICAL],
    )
    if checked.critical:
        raise DataRefused(f"data check {suite}: {'; '.join(checked.critical)}; correct the data and deliver it again")
    return checked


def suite_digests(names: Sequence[str] = (RAW, CLEAN)) -> dict[str, str]:
    """SHA-256 of each suite's file, by the name that it has among a stage's inputs."""
    return {f"suites/{name}.json": sha256(suites.path_of(name).read_bytes()) for name in names}


def severity(outcome: Any) -> str:
    return str(getattr(outcome.expectation_config.severity, "value", outcome.expectation_config.severity))


def words(outcome: Any) -> str:
    """A failed expectation in one clause: what was expected of which column, and what was seen."""
    kind = outcome.expectation_config.type.removeprefix("expect_").replace("_", " ")
    return f"{subject(outcome)}: {kind} failed ({seen(outcome)})"


def subject(outcome: Any) -> str:
    kwargs = outcome.expectation_config.kwargs
    if "column_A" in kwargs:
        return f"{kwargs['column_A']} and {kwargs['column_B']}"
    named = kwargs.get("column") or " and ".join(kwargs.get("column_list", [])) or "table"
    return str(named)


def seen(outcome: Any) -> str:
    """The figure behind a verdict, or why there is none."""
    if outcome.exception_info.get("raised_exception"):
        return str(outcome.exception_info["exception_message"])
    result = outcome.result
    if "unexpected_count" in result:
        return f"{result['unexpected_count']:,} of {result['element_count']:,}"
    return str(result.get("observed_value", ""))


def page(result: Any) -> str:
    """The suite's Data Docs page, made to open offline and without risk.

    What it would load from elsewhere is left out, and so are scripts. Great Expectations writes values as they are
    into its page, so all text of the result is escaped first: a name that holds HTML is shown, not run.
    """
    from great_expectations.render.renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    document = str(DefaultJinjaPageView().render(ValidationResultsPageRenderer().render(escaped(result))))
    document = re.sub(r"<script\b[^>]*>.*?</script>", "", document, flags=re.S)
    document = re.sub(r"<link\b[^>]*>|<img\b[^>]*>|<footer\b.*?</footer>", "", document, flags=re.S)
    document = re.sub(r"url\(['\"]?https?:[^)]*\)", "none", document)
    document = document.replace("</head>", f"<style>{PAGE_STYLE}</style></head>", 1)
    return document.replace("<body>", f"<body>{summary(result)}", 1)


def escaped(result: Any) -> Any:
    """A copy of a suite's result in which no text that came from data or columns is HTML."""
    from great_expectations.core.expectation_validation_result import (
        ExpectationSuiteValidationResult,
        ExpectationValidationResult,
    )
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    def copy(outcome: Any) -> Any:
        config = outcome.expectation_config
        return ExpectationValidationResult(
            success=outcome.success,
            expectation_config=ExpectationConfiguration(
                type=config.type, kwargs=harmless(config.kwargs), severity=config.severity
            ),
            result=harmless(outcome.result),
            exception_info=harmless(outcome.exception_info),
        )

    return ExpectationSuiteValidationResult(
        results=[copy(outcome) for outcome in result.results],
        success=result.success,
        suite_name=html.escape(result.suite_name),
        statistics=result.statistics,
        meta=harmless(result.meta),
    )


def harmless(value: Any) -> Any:
    if isinstance(value, str):
        return html.escape(value)
    if isinstance(value, list | tuple):
        return type(value)(harmless(each) for each in value)
    if isinstance(value, dict):
        return {key: harmless(each) for key, each in value.items()}
    return value


def summary(result: Any) -> str:
    """All at a glance, with the reason for each expectation, for which Great Expectations' page has no place."""
    lines = "".join(
        f"<tr><td>{'passed' if outcome.success else 'FAILED'}</td><td>{html.escape(severity(outcome))}</td>"
        f"<td>{html.escape(subject(outcome))}</td><td>{html.escape(seen(outcome))}</td>"
        f"<td>{html.escape(str((outcome.expectation_config.meta or {}).get('why', '')))}</td></tr>"
        for outcome in result.results
    )
    head = "<tr><th>result</th><th>severity</th><th>of</th><th>unexpected or seen</th><th>why it is expected</th></tr>"
    return f"<h1>Data check {html.escape(result.suite_name)}</h1><table>{head}{lines}</table>"


PAGE_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#222}
table{border-collapse:collapse;width:100%;margin:.5rem 0}
td,th{border:1px solid #ccd;padding:.35rem .6rem;text-align:left}
nav,button,.modal,.navbar,.card,a[data-toggle]{display:none}h1,h2,h3,h4{margin:1rem 0 .3rem}
.fa-check-circle::before{content:"passed";color:#276749}.fa-times::before{content:"FAILED";color:#c53030}
.fa-exclamation-triangle::before{content:"could not be asked";color:#c53030}i{font-style:normal}
"""
