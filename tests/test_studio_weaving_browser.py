"""The page Weave in a browser."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Page, Route, expect
from test_studio_browser import chromium, studio  # noqa: F401  (a fixture)
from test_studio_pages import save_model
from test_studio_pages_browser import (  # noqa: F401  (two fixtures)
    Visit,
    complaints,
    download,
    loaded,
    visit,
)
from test_studio_weaving import save_enlarger

pytestmark = pytest.mark.browser

DONE = "body:not([aria-busy]) #stage[data-state=full]"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    save_model(tmp_path / "project", "animals")
    save_enlarger(tmp_path / "project")
    return tmp_path / "project"


@pytest.fixture
def address(project: Path) -> Iterator[str]:
    with studio(project) as found:
        yield found


def opened(visit: Visit, address: str, **options: Any) -> Page:  # noqa: F811
    page: Page = visit(address, "/weave?model=animals&seed=5", **options)
    expect(page.locator(DONE)).to_be_visible()
    return page


def name(page: Page) -> str:
    """State of the stage at full size."""
    expect(page.locator(DONE)).to_be_visible()
    return str(page.locator("#stage").get_attribute("data-name"))


def seen(page: Page) -> str:
    """The pixels of the stage at full size."""
    expect(page.locator(DONE)).to_be_visible()
    return str(page.evaluate("document.getElementById('stage').toDataURL()"))


def changed(page: Page, before: str) -> None:
    """Wait until the stage shows another image at full size."""
    expect(page.locator(f"{DONE}:not([data-name='{before}'])")).to_be_visible()


def test_keys_select_and_move(address: str, visit: Visit) -> None:  # noqa: F811
    page = opened(visit, address)
    expect(page.locator("nav [aria-current]")).to_have_text("Weave")
    first, picture = name(page), seen(page)

    page.keyboard.press("n")
    expect(page.locator("#seed")).to_have_value("6")
    changed(page, first)
    assert seen(page) != picture
    page.fill("#seed", "5")
    expect(page.locator(f"{DONE}[data-name='{first}']")).to_be_visible()
    assert seen(page) == picture

    page.focus("#groups :checked")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#symmetries")).to_have_text("third turns, and mirrors in three directions")
    changed(page, first)
    page.keyboard.press("ArrowLeft")
    expect(page.locator(f"{DONE}[data-name='{first}']")).to_be_visible()

    page.locator("#stage").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#place")).to_have_text("0.06, 0.00")  # a pixel of 16
    changed(page, first)
    outline = "getComputedStyle(document.getElementById('stage')).outlineStyle"
    assert page.evaluate(outline) == "solid"
    page.keyboard.press("Shift+ArrowUp")
    expect(page.locator("#place")).to_have_text("0.06, 0.50")
    page.keyboard.press("0")
    expect(page.locator("#place")).to_have_text("0.00, 0.00")
    expect(page.locator(f"{DONE}[data-name='{first}']")).to_be_visible()
    assert seen(page) == picture


def test_dragging_moves_the_cloth(address: str, visit: Visit) -> None:  # noqa: F811
    page = opened(visit, address)
    first, picture = name(page), seen(page)
    box = page.locator("#stage").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 64, y - 32)
    # A tile of 512 px is 256 px wide here, and two samples are in it.
    expect(page.locator("#place")).to_have_text("0.50, 0.25")
    moved = page.locator(f"#stage[data-state=preview]:not([data-name='{first}'])")
    expect(moved).to_be_visible()
    expect(page.locator(DONE)).to_have_count(0)  # not before it is released
    page.mouse.up()
    changed(page, first)
    assert seen(page) != picture
    page.click("#back")
    expect(page.locator(f"{DONE}[data-name='{first}']")).to_be_visible()
    expect(page.locator("#back")).to_be_disabled()
    assert seen(page) == picture


def test_preview_is_shown_while_the_tile_is_made(
    address: str,
    visit: Visit,  # noqa: F811
) -> None:
    page = opened(visit, address)
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/shown.png", hold)
    page.keyboard.press("n")
    expect(page.locator("#stage[data-state=preview]")).to_be_visible()
    expect(page.locator("#status")).to_have_text("Weaving …")
    with page.expect_request("**/shown.png"):
        page.keyboard.press("n")  # which does not wait for it
    expect(page.locator("#seed")).to_have_value("7")
    preview = page.evaluate("document.getElementById('stage').toDataURL()")
    held[-1].continue_()
    expect(page.locator(f"{DONE}[aria-label*='seed 7']")).to_be_visible()
    expect(page.locator("#status")).to_have_text("")
    assert seen(page) != preview


def test_weave_is_saved_shown_again_and_deleted(
    project: Path,
    address: str,
    visit: Visit,  # noqa: F811
) -> None:
    page = opened(visit, address)
    page.select_option("#label", "<b>owl</b>")
    page.check("#groups [value=cmm]", force=True)
    page.select_option("#border", "pm2g")
    page.locator("#drift").fill("0.5")
    page.select_option("#width", "256")
    page.locator("#stage").focus()
    page.keyboard.press("ArrowUp")
    expect(page.locator(f"{DONE}[aria-label*='owl'][aria-label$=cmm]")).to_be_visible()
    first = name(page)
    page.keyboard.press("k")
    loaded(page, "#kept img", 1)
    expect(page.locator("#keep")).to_contain_text("Forget")
    expect(page.locator("#kept button")).to_have_attribute("aria-pressed", "true")
    assert (project / "work/studio/weaves" / f"{first}.png").is_file()

    page.goto(f"{address}weave")
    loaded(page, "#kept img", 1)
    other = name(page)
    page.click("#kept button")
    changed(page, other)
    assert name(page) == first
    expect(page.locator("#border")).to_have_value("pm2g")
    expect(page.locator("#drift-said")).to_have_text("0.5")
    expect(page.locator("#label")).to_have_value("<b>owl</b>")
    expect(page.locator("#place")).to_have_text("0.00, 0.06")
    page.click("#keep")
    expect(page.locator("#kept-section")).to_be_hidden()
    expect(page.locator("#keep")).to_contain_text("Keep")


def test_weave_of_an_earlier_training_is_marked(
    project: Path,
    address: str,
    visit: Visit,  # noqa: F811
) -> None:
    page = opened(visit, address)
    page.keyboard.press("k")
    loaded(page, "#kept img", 1)
    save_model(project, "animals", seed=2)
    page.reload()
    loaded(page, "#kept img", 1)
    page.click("#kept button")
    expect(page.locator("#notes")).to_contain_text("has changed since this weave was kept")
    page.keyboard.press("n")
    expect(page.locator("#notes")).to_be_empty()


def test_woven_files_are_downloaded(address: str, visit: Visit) -> None:  # noqa: F811
    page = opened(visit, address)
    sizes = {"tile": (512, 512), "cloth": (4096, 4096), "compared": (1024, 512)}
    for what, size in sizes.items():
        image = Image.open(io.BytesIO(download(page, f"#{what}")))
        assert image.size == size
        known = json.loads(image.text["ganloom"])  # type: ignore[attr-defined]
        assert (known["model"], known["seed"], known["group"]) == ("animals", 5, "p4m")
        expect(page.locator("#status")).to_have_text("")


def test_failed_download_is_reported(
    project: Path,
    address: str,
    visit: Visit,  # noqa: F811
    complaints: list[str],  # noqa: F811
) -> None:
    page = opened(visit, address)
    save_enlarger(project, seed=2)
    with page.expect_event("console") as console:  # Chromium itself tells of every refusal
        page.click("#cloth")
    assert "409" in console.value.text
    expect(page.locator("#notes .problem")).to_have_text(
        "the enlarger has changed; create the weave again"
    )
    expect(page.locator("#status")).to_have_text("")
    complaints.clear()


@pytest.mark.parametrize(
    ("path", "first", "large"),
    [("/generate", "#pictures img", "#one-large"), ("/edit", "#before img", "#large")],
)
def test_large_png_is_downloaded(
    address: str,
    visit: Visit,  # noqa: F811
    path: str,
    first: str,
    large: str,
) -> None:
    page = visit(address, "/generate?model=animals")
    loaded(page, "#pictures img", 16)
    page.click("#pictures button >> nth=0")
    loaded(page, "#kept img", 1)
    if path == "/edit":
        page.click("#one-edit")
    expect(page.locator(first).first).to_be_visible()
    assert Image.open(io.BytesIO(download(page, large))).size == (1024, 1024)


def test_page_reports_missing_or_damaged_enlarger(
    tmp_path: Path,
    visit: Visit,  # noqa: F811
    complaints: list[str],  # noqa: F811
) -> None:
    project = tmp_path / "without"
    save_model(project, "animals")
    with studio(project) as address:
        page = opened(visit, address)
        expect(page.locator("#notes")).to_contain_text("This project has no enlarger")
        before = name(page)
        save_enlarger(project).write_bytes(b"x")
        with page.expect_event("console") as console:  # Chromium itself tells of every refusal
            page.keyboard.press("n")
        assert "422" in console.value.text
        expect(page.locator("#notes .problem")).to_contain_text("not an enlarger of ganloom")
        expect(page.locator("#status")).to_have_text("")
        assert page.locator("#stage").get_attribute("data-name") == before
        complaints.clear()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_weave_page_passes_axe_and_fits(
    address: str,
    visit: Visit,  # noqa: F811
    scheme: str,
    width: int,
) -> None:
    page = opened(visit, address, color_scheme=scheme, bypass_csp=True)
    page.set_viewport_size({"width": width, "height": 700})
    page.keyboard.press("k")
    loaded(page, "#kept img", 1)
    page.select_option("#border", "p11")
    expect(page.locator("#magnify-label")).to_be_hidden()
    expect(page.locator(DONE)).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    found = Axe().run(page).response["violations"]
    assert [(v["id"], v["nodes"][0]["html"]) for v in found] == []


def test_touch_moves_the_cloth(address: str, visit: Visit) -> None:  # noqa: F811
    page = opened(visit, address, has_touch=True)
    page.set_viewport_size({"width": 360, "height": 700})
    before = name(page)
    session = page.context.new_cdp_session(page)
    box = page.locator("#stage").bounding_box()
    assert box is not None
    x, y = box["x"] + 200, box["y"] + 200

    def touch(kind: str, *points: dict[str, float]) -> None:
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": list(points)})

    touch("touchStart", {"x": x, "y": y})
    touch("touchMove", {"x": x - 32, "y": y - 64})
    touch("touchEnd")
    expect(page.locator("#place")).to_have_text("0.25, 0.50")
    changed(page, before)
    assert page.evaluate("scrollY") == 0
