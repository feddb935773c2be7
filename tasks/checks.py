"""Data checks: Great Expectations suites over bars, their results and pages as evidence."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.domain.errors import DataRefused, UsageError
from tasks.home import CHECKOUT, as_json, sha256, write_whole

SUITES = CHECKOUT / "expectations" / "data"
RAW, CLEAN = "bars_raw", "bars_clean"


class Checked(NamedTuple):
    """A suite's result: how many expectations ran, and the failed ones in words."""

    expectations: int
    critical: list[str]
    warnings: list[str]


@task(cache_policy=NO_CACHE, task_run_name="check-{suite}")
def check(bars: pd.DataFrame, suite: str, evidence: Path) -> Checked:
    """Run a suite; its result and page go to `evidence`.

    Raises:
        DataRefused: a critical expectation failed.
    """
    definition, applicable = load_suite(suite, list(bars.columns))
    result = validate(bars, definition, applicable)
    write_whole(evidence / f"{suite}.json", as_json(result.to_json_dict()))
    write_whole(evidence / f"{suite}.html", page(result).encode())
    failed = [outcome for outcome in result.results if not outcome.success]
    checked = Checked(
        len(result.results),
        [words(outcome) for outcome in failed if severity(outcome) == "critical"],
        [words(outcome) for outcome in failed if severity(outcome) != "critical"],
    )
    if checked.critical:
        raise DataRefused(f"data check {suite}: {'; '.join(checked.critical)}; correct the data and deliver it again")
    return checked


def suite_digests() -> dict[str, str]:
    return {f"suites/{suite}.json": sha256(suite_path(suite).read_bytes()) for suite in (RAW, CLEAN)}


def suite_path(suite: str) -> Path:
    return SUITES / f"{suite}.json"


def load_suite(suite: str, columns: list[str]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A suite's definition, and its expectations without those on optional columns that the bars do not have."""
    path = suite_path(suite)
    try:
        definition = json.loads(path.read_text())
        every = definition["expectations"]
        applicable = [e for e in every if e.get("meta", {}).get("when_column", columns[0]) in columns]
    except (OSError, ValueError, KeyError) as fault:
        raise UsageError(f"{path}: is not a suite ({fault!r})") from None
    return definition, applicable


def validate(bars: pd.DataFrame, definition: dict[str, Any], expectations: list[dict[str, Any]]) -> Any:
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    suite = context.suites.add(
        gx.ExpectationSuite(name=definition["name"], meta=definition["meta"], expectations=expectations)
    )
    if len(suite.expectations) != len(expectations) or not expectations:
        # An expectation of an unknown type would be dropped in silence and the suite would still pass.
        raise UsageError(f"suite {definition['name']}: {len(suite.expectations)} of {len(expectations)} loaded")
    asset = context.data_sources.add_pandas("memory").add_dataframe_asset("bars")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": bars})
    return batch.validate(suite, result_format="SUMMARY")


def severity(outcome: Any) -> str:
    return str(getattr(outcome.expectation_config.severity, "value", outcome.expectation_config.severity))


def words(outcome: Any) -> str:
    config = outcome.expectation_config
    subject = config.kwargs.get("column") or config.kwargs.get("column_list") or config.kwargs.get("column_A", "table")
    seen = outcome.result.get("unexpected_count", outcome.result.get("observed_value", "an error"))
    return f"{subject}: {config.type.removeprefix('expect_').replace('_', ' ')} failed ({seen})"


def page(result: Any) -> str:
    """The suite's Data Docs page, made to open offline: what it would load from elsewhere is left out."""
    from great_expectations.render.renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    html = str(DefaultJinjaPageView().render(ValidationResultsPageRenderer().render(result)))
    html = re.sub(r"<script\b[^>]*>.*?</script>", "", html, flags=re.S)
    html = re.sub(r"<link\b[^>]*>|<img\b[^>]*>", "", html)
    return html.replace("</head>", f"<style>{PAGE_STYLE}</style></head>", 1)


PAGE_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#222}
table{border-collapse:collapse;width:100%;margin:.5rem 0}
td,th{border:1px solid #ccd;padding:.35rem .6rem;text-align:left}
nav,button,.modal,.navbar{display:none}h1,h2,h3,h4{margin:1rem 0 .3rem}
"""
