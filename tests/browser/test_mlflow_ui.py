"""From a registered version a person reaches, by clicking, every run behind it in the MLflow UI."""

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Service, Shoot

LINKS = {
    "snapshot (collect run)": "collect",
    "training run": "train",
    "validation run": "validate",
    "backtest run": "backtest",
    "decision run": "decide",
}


@pytest.fixture(scope="module")
def version(page: Page, service: Service, retrained: str) -> Page:
    """The page of version 1, reached from the list of registered models."""
    page.goto(f"{service.mlflow}/#/models")
    page.get_by_role("link", name="sp500_alpha", exact=True).click()
    page.get_by_role("link", name="Version 1", exact=True).click()
    expect(page.get_by_role("heading", name="Version 1")).to_be_visible()
    expect(page.get_by_text("countersign verify sp500_alpha/1")).to_be_visible()
    return page


@contextmanager
def follow(version: Page, link: str) -> Iterator[Page]:
    """Click a link of the description; MLflow opens it in a tab of its own, which must show the stage's run."""
    with version.expect_popup() as opened:
        version.get_by_role("link", name=link).click()
    with closing(opened.value) as tab:
        heading = re.compile(rf"^{LINKS[link]}-2015-12-31-")
        expect(tab.get_by_role("heading", name=heading)).to_be_visible()
        expect(tab.get_by_text("Finished", exact=True)).to_be_visible()
        yield tab


def test_the_description_says_what_was_decided(version: Page, shoot: Shoot) -> None:
    for link in LINKS:
        expect(version.get_by_role("link", name=link)).to_be_visible()
    expect(version.get_by_text(re.compile("^(accepted|refused): "))).to_be_visible()
    shoot(version, "mlflow-version")


@pytest.mark.parametrize(
    ("link", "figure"), [("snapshot (collect run)", "data.clean"), ("validation run", "lockbox.rank_ic")]
)
def test_a_link_leads_to_figures(version: Page, link: str, figure: str) -> None:
    with follow(version, link) as run:
        expect(run.get_by_role("link", name=figure, exact=True)).to_be_visible()


def test_the_trials_are_child_runs(version: Page) -> None:
    with follow(version, "training run") as run:
        trials = run.get_by_role("link", name=re.compile("^trial-"))
        expect(trials).to_have_count(6)
        name = trials.first.inner_text()
        trials.first.click()
        expect(run.get_by_role("heading", name=name)).to_be_visible()


def test_the_backtest_shows_its_tear_sheet(version: Page, shoot: Shoot) -> None:
    with follow(version, "backtest run") as run:
        run.get_by_role("tab", name="Artifacts").click()
        run.get_by_text("tearsheet.html").click()
        sheet = run.frame_locator("iframe")
        expect(sheet.get_by_role("heading", name=re.compile("^Backtest of sp500_alpha"))).to_be_visible()
        for title in (
            "What it earned",
            "Had it cost more, or come later",
            "Retrained again and again, before the lockbox",
        ):
            expect(sheet.get_by_role("heading", name=title)).to_be_attached()
        pictures = sheet.locator("img")
        pictures.first.wait_for()
        assert pictures.count() >= 11
        assert all(pictures.nth(at).evaluate("picture => picture.naturalWidth > 300") for at in range(pictures.count()))
        shoot(run, "mlflow-tearsheet", run.get_by_text("Path: "))


def test_the_decision_shows_every_gate(version: Page) -> None:
    with follow(version, "decision run") as run:
        expect(run.get_by_role("row", name="lockbox.hit_rate")).to_be_visible()
        # Once as a gate of the policy, once as what the problem itself asks for.
        expect(run.get_by_role("row", name="lockbox.rank_ic_lower")).to_have_count(2)
