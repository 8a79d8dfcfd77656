"""The page Search in a browser, with stand-ins of the services on loopback."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Route, expect
from test_museums import Site, site  # noqa: F401  (a fixture)
from test_studio_browser import chromium  # noqa: F401  (a fixture)
from test_studio_pages_browser import (  # noqa: F401  (two fixtures)
    Visit,
    complaints,
    loaded,
    visit,
)
from test_studio_searching import HOSTILE, show, write_params

from ganloom import params
from ganloom.studio.app import Studio, create_app

pytestmark = pytest.mark.browser

PICTURES = "[data-kind=cleveland] figure button"


@contextmanager
def serving(project: Path) -> Iterator[str]:
    """Serve the studio from this process, in which the stand-ins replace the services."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(create_app(Studio(project, None)), log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    server.should_exit = True
    thread.join(60)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_params(tmp_path / "project")
    return tmp_path / "project"


@pytest.fixture
def address(project: Path, site: Site) -> Iterator[str]:  # noqa: F811
    with serving(project) as found:
        yield found


def choose(page: Page, *kinds: str) -> None:
    for box in page.locator("#kinds input").all():
        box.set_checked(box.get_attribute("value") in kinds)


def test_keys_search_untick_and_add(
    project: Path,
    address: str,
    visit: Visit,  # noqa: F811
    site: Site,  # noqa: F811
) -> None:
    show(site, 4)
    page = visit(address, "/search")
    expect(page.locator("nav [aria-current]")).to_have_text("Search")
    expect(page.locator("#keywords")).to_be_focused()
    choose(page, "cleveland")
    page.focus("#keywords")
    page.keyboard.type("Woven silk")
    page.keyboard.press("Enter")
    loaded(page, "[data-kind=cleveland] img", 4)
    expect(page.locator("#status")).to_have_text("4 found")

    page.focus(PICTURES)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    second = page.locator(PICTURES).nth(1)
    expect(second).to_be_focused()
    expect(second).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#ticked")).to_have_text("3 of 4 are ticked")
    page.keyboard.press("Tab")  # the links of this image
    expect(page.locator("figure:nth-child(2) a").first).to_be_focused()
    link = page.locator("figure:nth-child(2) a", has_text="CC0 1.0")
    expect(link).to_have_attribute("href", "https://creativecommons.org/publicdomain/zero/1.0/")

    expect(page.locator("#name")).to_have_value("woven_silk")
    page.focus("#add")
    page.keyboard.press("Enter")
    expect(page.locator("#added")).to_contain_text(
        "3 images are listed in data/searches/woven_silk"
    )
    unticked = page.locator("figure:nth-child(2)").get_attribute("data-id")
    table = pd.read_csv(project / "data/searches/woven_silk.csv", dtype=str)
    assert len(table) == 3
    assert unticked not in set(table.id)
    known = params.load(project / "params.yaml")
    assert known.sources["woven_silk"].path == "data/searches/woven_silk.csv"
    assert "# mine" in (project / "params.yaml").read_text()


def test_source_that_fails_says_why_and_others_continue(
    address: str,
    visit: Visit,  # noqa: F811
    site: Site,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    complaints: list[str],  # noqa: F811
) -> None:
    monkeypatch.delenv("SMITHSONIAN_KEY")
    show(site, 4)
    page = visit(address, "/search")
    choose(page, "smithsonian", "cleveland")
    page.fill("#keywords", "silk")
    page.click("#settings .go")
    expect(page.locator("[data-kind=smithsonian] .problem")).to_contain_text("SMITHSONIAN_KEY=")
    expect(page.locator("[data-kind=smithsonian] h2 + small")).to_have_text("failed")
    loaded(page, "[data-kind=cleveland] img", 4)
    expect(page.locator("#status")).to_have_text("4 found")
    complaint = complaints.pop()
    assert "502" in complaint
    assert complaint.endswith("/api/search")


def test_filter_and_buttons_choose_many_and_titles_are_escaped(
    address: str,
    visit: Visit,  # noqa: F811
    site: Site,  # noqa: F811
) -> None:
    show(site, 62, title=HOSTILE)
    page = visit(address, "/search")
    choose(page, "cleveland")
    page.fill("#keywords", "silk")
    page.fill("#most", "100")
    page.click("#settings .go")
    expect(page.locator(PICTURES)).to_have_count(60)
    expect(page.locator("figcaption").first).to_contain_text(HOSTILE)
    expect(page.locator("[data-kind=cleveland] .said")).to_contain_text("62 of 100")
    page.get_by_role("button", name="More").click()
    expect(page.locator(PICTURES)).to_have_count(62)
    expect(page.locator(PICTURES).nth(60)).to_be_focused()

    page.fill("#filter", "BY-SA")
    expect(page.locator(PICTURES)).to_have_count(0)
    expect(page.locator("#add")).to_be_disabled()
    page.fill("#filter", "cc0")
    expect(page.locator("#ticked")).to_have_text("62 of 62 are ticked")
    page.click("text=None")
    expect(page.locator("#ticked")).to_have_text("0 of 62 are ticked")
    page.click("text=All")
    expect(page.locator("#ticked")).to_have_text("62 of 62 are ticked")


def test_image_without_a_preview_says_so(
    address: str,
    visit: Visit,  # noqa: F811
    site: Site,  # noqa: F811
    complaints: list[str],  # noqa: F811
) -> None:
    show(site, 2)
    site.server.serve("/images/1.png", b"<html>")
    page = visit(address, "/search")
    choose(page, "cleveland")
    page.fill("#keywords", "silk")
    page.click("#settings .go")
    missing = page.locator(".sample.missing")
    expect(missing).to_have_count(1)
    text = "e => getComputedStyle(e, '::before').content"
    assert missing.evaluate(text) == '"no preview"'
    assert "422" in complaints.pop()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_is_accessible(
    address: str,
    visit: Visit,  # noqa: F811
    site: Site,  # noqa: F811
    scheme: str,
) -> None:
    show(site, 3)
    page = visit(address, "/search", color_scheme=scheme)
    choose(page, "cleveland")
    page.fill("#keywords", "silk")
    page.click("#settings .go")
    loaded(page, "figure img", 3)
    report = Axe().run(page)
    assert report.violations_count == 0, report.generate_report()


def test_page_fits_a_narrow_window(
    address: str,
    visit: Visit,  # noqa: F811
    site: Site,  # noqa: F811
) -> None:
    show(site, 3)
    page = visit(address, "/search")
    page.set_viewport_size({"width": 360, "height": 740})
    choose(page, "cleveland")
    page.fill("#keywords", "silk")
    page.click("#settings .go")
    expect(page.locator(PICTURES)).to_have_count(3)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_later_search_replaces_an_earlier_one(
    address: str,
    visit: Visit,  # noqa: F811
    site: Site,  # noqa: F811
) -> None:
    show(site, 3)
    page = visit(address, "/search")
    held: list[Route] = []

    def hold(route: Route) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)

    page.route("**/api/search", hold)
    choose(page, "cleveland")
    page.fill("#keywords", "slow")
    with page.expect_request("**/api/search"):
        page.click("#settings .go")
    expect(page.locator("[data-kind=cleveland] h2 + small")).to_have_text("searching …")
    expect(page.locator("#status")).to_have_text("0 of 1 sources have answered; 0 found")
    page.fill("#keywords", "silk")
    page.click("#settings .go")
    loaded(page, "figure img", 3)
    answer = '{"pictures": [], "warnings": ["late"]}'
    with page.expect_response("**/api/search"):
        held[0].fulfill(body=answer, content_type="application/json")
    loaded(page, "figure img", 3)
    expect(page.locator(".said")).not_to_contain_text("late")
