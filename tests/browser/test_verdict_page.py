"""The verdict as a trader opens it: from the disk, with no network, on one screen."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Service

SCREEN = {"width": 1280, "height": 800}


class Opened(NamedTuple):
    """The page, all that it asked for, and what `countersign report` said of it."""

    page: Page
    asked: list[str]
    accepted: bool


@pytest.fixture(scope="module")
def verdict(browser: Browser, service: Service, retrained: str) -> Iterator[Opened]:
    told = service.countersign.json("report", "sp500_alpha/1")
    context = browser.new_context(viewport=SCREEN, offline=True)
    page, asked = context.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(Path(told["page"]).as_uri())
    yield Opened(page, asked, told["accepted"])
    context.close()


def test_it_fetches_nothing_and_shows_all_pictures(verdict: Opened) -> None:
    assert [url for url in verdict.asked if not url.startswith("data:")] == [verdict.page.url]
    pictures = verdict.page.locator("img")
    assert pictures.count() >= 7
    assert all(pictures.nth(at).evaluate("picture => picture.naturalWidth > 300") for at in range(pictures.count()))


def test_the_first_screen_holds_the_answer(verdict: Opened) -> None:
    page, word = verdict.page, "accepted" if verdict.accepted else "refused"
    expect(page.locator(".badge")).to_contain_text(word.upper())
    for title in ("What it does", f"Why it was {word}", "What would hurt it"):
        expect(page.get_by_role("heading", name=title)).to_be_in_viewport()
    end = page.locator("header").bounding_box()
    assert end is not None
    assert end["y"] + end["height"] <= SCREEN["height"]
    assert page.evaluate("document.documentElement.scrollWidth") <= SCREEN["width"], "nothing to scroll to the right"


def test_a_link_leads_to_the_evidence(verdict: Opened) -> None:
    links = verdict.page.get_by_role("link", name="validation.json")
    file = Path(links.first.evaluate("link => decodeURIComponent(new URL(link.href).pathname)"))
    assert file.is_file()
    assert file.name == "validation.json"
