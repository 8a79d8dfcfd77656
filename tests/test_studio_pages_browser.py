"""The pages Generate, Mix and Edit in a browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, Route, expect
from test_studio_browser import BLOCKED, chromium, studio  # noqa: F401  (a fixture)
from test_studio_pages import picture, save_model

pytestmark = pytest.mark.browser

SEARCH = 120_000  # ms, for what imports scikit-learn first, on a machine that is busy
Visit = Any  # of an address and a path, to a page


@pytest.fixture
def complaints() -> list[str]:
    """What pages complain of, or ask for elsewhere. A test that brings one about removes it."""
    return []


@pytest.fixture
def visit(chromium: Browser, complaints: list[str]) -> Iterator[Visit]:  # noqa: F811
    """Opens a page; at the end there must be no errors and no requests to other hosts."""
    contexts: list[BrowserContext] = []

    def open_page(address: str, path: str, **options: Any) -> Page:
        def asked(request: Request) -> None:
            if not request.url.startswith(address):
                complaints.append(request.url)

        contexts.append(chromium.new_context(viewport={"width": 1280, "height": 800}, **options))
        page = contexts[-1].new_page()
        page.on("console", lambda m: complaints.append(f"{m.text} {m.location['url']}"))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", asked)
        page.goto(address.rstrip("/") + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Address of a separate studio, since saved samples and inversions outlive a page."""
    project = tmp_path / "project"
    save_model(project, "animals")
    with studio(project) as found:
        yield found


def loaded(page: Page, selector: str, count: int) -> None:
    """Assert that all these images are loaded and decoded."""
    expect(page.locator(selector)).to_have_count(count)
    page.wait_for_function(
        "s => [...document.querySelectorAll(s)].every(i => i.complete && i.naturalWidth > 0)",
        arg=selector,
    )


def download(page: Page, selector: str) -> bytes:
    with page.expect_download() as started:
        page.click(selector)
    return Path(started.value.path()).read_bytes()


# --- generate ------------------------------------------------------------------------------------


def test_keys_generate_move_and_save(address: str, visit: Visit) -> None:
    waiting: list[Route] = []

    def hold(route: Route) -> None:
        waiting.append(route)

    page = visit(address, "/generate?model=animals")
    loaded(page, "#pictures img", 16)
    page.focus("#count")
    page.keyboard.press("Control+A")
    page.keyboard.type("4")
    page.keyboard.press("Enter")
    loaded(page, "#pictures img", 4)
    page.focus("#pictures button")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    second = page.locator("#pictures button").nth(1)
    expect(second).to_be_focused()
    expect(second).to_have_attribute("aria-pressed", "true")
    loaded(page, "#kept img", 1)
    expect(page.locator("#one-facts")).to_contain_text("2 of 4")

    png = download(page, "#one-png")
    known = json.loads(download(page, "#one-json"))
    assert png.startswith(b"\x89PNG")
    assert known["made"]["number"] == 1
    assert len(known["z"]) == 16

    page.focus("#pictures button")
    before = page.locator("#pictures button").first.get_attribute("data-name")
    page.keyboard.press("n")
    expect(page.locator("#seed")).to_have_value("1")
    expect(page.locator("#pictures button").first).not_to_have_attribute("data-name", before)

    page.route("**/api/generate", hold)
    with page.expect_request("**/api/generate"):
        page.reload()
    expect(page.locator("#seed")).to_have_value("1")
    loaded(page, "#kept img", 1)
    page.click("#kept button")
    expect(page.locator("#one-facts")).to_contain_text("2 of 4")  # what is shown is put back
    waiting[0].continue_()
    loaded(page, "#pictures img", 16)
    page.click("#one-keep")
    expect(page.locator("#kept-section")).to_be_hidden()


def test_classes_and_codes_are_offered_and_names_escaped(address: str, visit: Visit) -> None:
    page = visit(address, "/generate?model=animals")
    loaded(page, "#pictures img", 16)
    expect(page.locator("#inputs select")).to_have_count(3)
    page.select_option("#label", "<b>owl</b>")
    expect(page.locator("#one-facts")).to_contain_text("<b>owl</b>")
    page.select_option("#code-0", "2")
    expect(page.locator("#one-facts")).to_contain_text("2, drawn")
    page.select_option("#model", "ganloom/kene")
    expect(page.locator("#inputs select")).to_have_count(0)
    loaded(page, "#pictures img", 16)
    expect(page.locator("#one-facts")).to_contain_text("ganloom/kene")


def test_generate_page_shows_errors(tmp_path: Path, visit: Visit) -> None:
    broken = save_model(tmp_path, "broken")
    broken.write_bytes(broken.read_bytes()[:-50])
    with studio(tmp_path) as found:
        page = visit(found, "/generate")
        expect(page.locator("#notes")).to_contain_text("broken/generator.safetensors is damaged")
        expect(page.locator("#notes")).to_contain_text(
            "No model has been trained in this project yet"
        )
        loaded(page, "#pictures img", 16)
        page.fill("#count", "65")
        page.keyboard.press("Enter")
        assert page.evaluate("document.querySelector('#count:invalid') !== null")


# --- mix -----------------------------------------------------------------------------------------


def test_saved_samples_are_mixed_and_downloaded(address: str, visit: Visit) -> None:
    page = visit(address, "/generate?model=animals&seed=40")
    loaded(page, "#pictures img", 16)
    page.click("#pictures button >> nth=0")
    page.click("#pictures button >> nth=1")
    loaded(page, "#kept img", 2)
    page.click("#one-mix")
    expect(page).to_have_url(re.compile("/mix"))
    expect(page.locator("#strip")).to_be_visible()
    expect(page.locator("#strip")).to_have_attribute("alt", "3 rows of 8 images")
    page.select_option("#to", index=1)
    expect(page.locator("#strip")).to_have_attribute("alt", "1 row of 8 images")
    page.focus("#interpolations")
    page.keyboard.press("End")
    expect(page.locator("#strip")).to_have_attribute("alt", "1 row of 12 images")
    assert page.evaluate("document.getElementById('strip').naturalWidth") == 12 * 16
    assert download(page, "#png").startswith(b"\x89PNG")
    assert download(page, "#gif").startswith(b"GIF89a")
    assert download(page, "#mp4")[4:8] == b"ftyp"
    page.keyboard.press("p")
    loaded(page, "#moving", 1)
    expect(page.locator("#moving")).to_be_visible()
    page.keyboard.press("p")
    expect(page.locator("#moving")).to_be_hidden()


def test_keyboard_mixes_classes(address: str, visit: Visit) -> None:
    page = visit(address, "/mix?model=animals")
    strip = page.locator("#strip")
    expect(strip).to_be_visible()
    first = strip.get_attribute("src")
    page.focus("#what input")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#first")).to_be_visible()
    expect(strip).not_to_have_attribute("src", first)
    second = strip.get_attribute("src")
    page.focus("#second")
    page.keyboard.press("ArrowDown")
    expect(strip).not_to_have_attribute("src", second)
    page.select_option("#model", "ganloom/kene")
    expect(page.locator("#what")).to_be_hidden()
    expect(page.locator("#from")).to_be_visible()
    expect(page.locator("#status")).to_have_text("")


# --- edit ----------------------------------------------------------------------------------------


def test_photograph_is_reconstructed_edited_and_downloaded(
    address: str, visit: Visit, tmp_path: Path
) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(picture())
    page = visit(address, "/edit?model=animals")
    page.set_input_files("#photo", photo)
    page.select_option("#steps", "100")
    page.click(".go")
    expect(page.locator("#changes")).to_be_visible(timeout=SEARCH)
    expect(page.locator("#before figcaption")).to_contain_text("PSNR")
    loaded(page, ".compare img", 3)
    after = page.locator("#after img")
    start = after.get_attribute("src")

    page.focus("#way-0")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#way-0-said")).to_have_text("0.25")
    expect(after).not_to_have_attribute("src", start, timeout=SEARCH)
    expect(page.locator("#status")).to_have_text("")
    first = after.get_attribute("src")
    page.select_option("#label", "dog")
    expect(after).not_to_have_attribute("src", first)
    expect(page.locator("#status")).to_have_text("")
    assert download(page, "#both").startswith(b"\x89PNG")
    known = json.loads(download(page, "#json"))
    assert known["made"]["edited"]["label"] == "dog"
    page.click("#keep")
    expect(page.locator("#keep")).to_have_text("Kept")
    page.focus("#way-0")
    page.keyboard.press("0")
    expect(page.locator("#way-0")).to_have_value("0")
    expect(page.locator("#label")).to_have_value("")


def test_download_matches_the_sliders(address: str, visit: Visit, complaints: list[str]) -> None:
    waiting: list[Route] = []

    def hold(route: Route) -> None:
        waiting.append(route)

    page = visit(address, "/generate?model=ganloom/kene")
    loaded(page, "#pictures img", 16)
    page.click("#pictures button >> nth=0")
    loaded(page, "#kept img", 1)
    page.goto(f"{address}edit?model=ganloom/kene")
    page.select_option("#kept", index=1)
    loaded(page, "#after img", 1)
    before = page.locator("#after img").get_attribute("src")
    page.route("**/api/edit", hold)
    page.focus("#way-0")
    page.keyboard.press("ArrowRight")
    with page.expect_download(timeout=SEARCH) as started:
        page.click("#png")  # while the change is under way
        assert page.locator("#png").get_attribute("href") is None  # for "Save link as", too
        waiting[0].continue_()
    after = page.locator("#after img").get_attribute("src")
    assert after != before
    assert started.value.url.endswith(after)
    page.unroute("**/api/edit")
    page.route("**/api/edit", lambda route: route.fulfill(status=400, json={"problem": "No."}))
    page.focus("#way-0")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#notes")).to_contain_text("No.")
    expect(page.locator("#png")).to_have_attribute("href", after)  # what is shown
    complaints[:] = [words for words in complaints if "400" not in words]


def test_inversion_continues_after_leaving_the_page_and_can_be_cancelled(
    address: str, visit: Visit, tmp_path: Path
) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(picture(200))
    page = visit(address, "/edit?model=ganloom/kene")
    page.set_input_files("#photo", photo)
    page.select_option("#steps", "1000")
    page.click(".go")
    expect(page.locator("#status")).to_contain_text("of 1000")
    page.goto(f"{address}generate?model=animals")
    loaded(page, "#pictures img", 16)
    page.click("#pictures button >> nth=0")
    page.click("#one-edit")
    expect(page.locator("#status")).to_contain_text("of 1000")
    expect(page.locator("#before figcaption")).to_have_text("Before")
    page.click("nav >> text=Edit")
    expect(page.locator("#status")).to_contain_text("of 1000")
    expect(page.locator("#before figcaption")).to_have_text("Reconstruction so far")
    page.click("#cancel")
    expect(page.locator("#running")).to_be_hidden(timeout=SEARCH)
    expect(page.locator("#empty")).to_be_visible()


def test_inversion_is_polled_once_at_a_time(address: str, visit: Visit) -> None:
    search: dict[str, Any] = {
        "id": "0" * 16,
        "state": "running",
        "step": 0,
        "steps": 100,
        "model": "animals",
    }

    def answer(route: Route) -> None:
        search["step"] += 1
        route.fulfill(json={"search": search})

    def expect_asked(count: int) -> None:
        expect(page.locator("#status")).to_have_text(f"Searching: step {count} of 100")
        assert search["step"] == count

    page = visit(address, "/generate?model=animals")
    loaded(page, "#pictures img", 16)
    page.clock.install(time=0)
    page.clock.pause_at(1)
    page.route("**/api/photo", answer)
    page.route("**/api/cancel", lambda route: route.fulfill(json={}))
    page.route("**/photos/**", lambda route: route.fulfill(body=picture()))
    page.goto(f"{address}edit?model=animals")
    expect_asked(1)
    for count in (2, 3, 4):
        page.click("#cancel")  # which asks out of turn
        expect_asked(count)
    for count in (5, 6, 7):
        page.clock.run_for(400)
        expect_asked(count)
    for selector in ("#target img", "#before img"):
        loaded(page, selector, 1)  # so that nothing is under way


def test_finished_inversion_keeps_current_edits(address: str, visit: Visit, tmp_path: Path) -> None:
    ended = False

    def answer(route: Route) -> None:
        known = route.fetch().json()
        if known["search"] and not ended:
            known["search"]["state"] = "running"
        route.fulfill(json=known)

    photo = tmp_path / "photo.png"
    photo.write_bytes(picture())
    page = visit(address, "/generate?model=ganloom/kene")
    loaded(page, "#pictures img", 16)
    page.click("#pictures button >> nth=0")
    loaded(page, "#kept img", 1)
    page.goto(f"{address}edit?model=animals")
    page.route("**/api/photo", answer)
    page.set_input_files("#photo", photo)
    page.select_option("#steps", "100")
    page.click(".go")
    expect(page.locator("#status")).to_have_text("Searching: step 100 of 100", timeout=SEARCH)
    page.select_option("#model", "ganloom/kene")
    page.select_option("#kept", index=1)
    page.focus("#way-0")
    page.keyboard.press("ArrowRight")
    found = page.get_by_role("button", name="Open the reconstruction")
    expect(found).to_be_hidden()

    ended = True
    expect(found).to_be_visible()
    expect(page.locator("#way-0")).to_have_value("0.25")
    expect(page.locator("#before figcaption")).to_have_text("Before")
    expect(page.locator("#target")).to_be_hidden()

    found.click()
    expect(found).to_be_hidden()
    expect(page.locator("#before figcaption")).to_contain_text("PSNR")
    expect(page.locator("#model")).to_have_value("animals")
    expect(page.locator("#kept")).to_be_disabled()  # those of the other model are gone
    expect(page.locator("#inputs select")).to_have_count(3)
    loaded(page, ".compare img", 3)


def test_photograph_waits_for_the_models(address: str, visit: Visit, tmp_path: Path) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    photo = tmp_path / "photo.png"
    photo.write_bytes(picture())
    page = visit(address, "/generate?model=animals")
    loaded(page, "#pictures img", 16)
    page.route("**/api/models", hold)
    page.goto(f"{address}edit?model=animals")
    page.set_input_files("#photo", photo)
    expect(page.locator(".go")).to_be_disabled()

    held[0].continue_()
    expect(page.locator(".go")).to_be_enabled()


def test_edit_page_refuses_invalid_files(
    address: str, visit: Visit, complaints: list[str], tmp_path: Path
) -> None:
    wrong = tmp_path / "<b>.png"
    wrong.write_bytes(b"<html>")
    page = visit(address, "/edit?model=animals")
    page.set_input_files("#photo", wrong)
    with page.expect_event("console") as console:  # Chromium itself tells of every refusal
        page.click(".go")
    assert "422" in console.value.text
    expect(page.locator("#notes")).to_contain_text("<b>.png: not an image: an HTML page")
    complaints.clear()


@pytest.mark.parametrize("path", ["/generate", "/mix", "/edit"])
def test_pages_fit_a_narrow_window(address: str, visit: Visit, path: str) -> None:
    page = visit(address, f"{path}?model=animals")
    page.set_viewport_size({"width": 360, "height": 700})
    expect(page.locator("main img:visible, #empty:visible").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_chosen_colour_scheme_is_remembered(address: str, visit: Visit) -> None:
    page = visit(address, "/generate?model=animals")
    page.click("#theme")
    page.goto(f"{address}mix?model=animals")
    expect(page.locator("#theme")).to_contain_text("Light")
    page.add_init_script(BLOCKED)
    page.goto(f"{address}edit?model=animals")
    for name in ("Auto", "Light", "Dark", "Auto"):
        expect(page.locator("#theme")).to_contain_text(name)
        page.click("#theme")
