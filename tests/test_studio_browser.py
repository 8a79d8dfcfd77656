"""The studio's page Curate in a browser, with keyboard and mouse."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect, sync_playwright

from ganloom import recipes
from ganloom.images import encoding
from ganloom.images.shards import sha256, write_shards

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[1]
CHROMIUM = Path("/usr/bin/chromium")
HOSTILE = """<img src=x onerror="alert(1)">"""
WAIT = 15_000  # ms, for a machine that is busy
BLOCKED = "Object.defineProperty(window, 'localStorage', { get() { throw new Error('blocked') } })"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if not CHROMIUM.is_file():
        pytest.skip(f"needs {CHROMIUM}")
    expect.set_options(timeout=WAIT)
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        yield playwright.chromium.launch(executable_path=str(CHROMIUM), args=arguments)


# --- projects and servers ------------------------------------------------------------------------


def make_project(project: Path, count: int, side: int) -> list[str]:
    """Make images p0, p1, ... of two sources, of which p1 and p2 are copies of p0; return their
    hashes.
    """
    data = project / "data"
    data.mkdir(parents=True)
    text = (ROOT / "params.yaml").read_text().replace("min_side: 128", "min_side: 1")
    (project / "params.yaml").write_text(text)
    files = []
    for n in range(count):
        tile = np.random.default_rng(n).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        image = Image.fromarray(tile).resize((side, side), Image.Resampling.NEAREST)
        files.append(encoding.png(image))
    hashes = [sha256(data) for data in files]
    write_shards(data / "raw", ((h, "png", d) for h, d in zip(hashes, files, strict=True)))
    empty = ("query", "page", "creator", "licence", "licence_url", "label", "error")
    manifest = pd.DataFrame(
        {
            "id": [f"p{n}" for n in range(count)],
            "source": ["odd" if n % 2 else "even" for n in range(count)],
            "url": [f"file:{n}" for n in range(count)],
            "title": [HOSTILE if n == 0 else "" for n in range(count)],
            "sha256": hashes,
            "bytes": 100,
            "width": side,
            "height": side,
            "mime": "image/png",
        }
        | dict.fromkeys(empty, "")
    )
    manifest.to_csv(data / "manifest.csv", index=False)
    clusters = pd.DataFrame(
        {
            "sha256": hashes,
            "cluster": [hashes[0]] * 3 + hashes[3:],
            "keeper": ["false" if n in (1, 2) else "true" for n in range(count)],
            "distance": [n if n in (1, 2) else 0 for n in range(count)],
            "contrast": 50.0,
            "sharpness": [float(count - n) for n in range(count)],
        }
    )
    clusters.sort_values("sha256").to_csv(data / "clusters.csv", index=False)
    return hashes


@contextmanager
def studio(project: Path, port: int = 0) -> Iterator[str]:
    """Run the command in a separate process; yield its address."""
    program = "from ganloom.cli import main; import sys; main(sys.argv[1:])"
    command = [sys.executable, "-c", program, "studio", "--no-browser", "--port", str(port)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    process = subprocess.Popen(
        command, cwd=project, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+/", line)
        assert found, line
        yield found[0]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)


class Window:
    """A browser window of the studio that fails on console errors and requests to other hosts."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", lambda m: self.complaints.append(f"{m.text} {m.location['url']}"))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda r: self.check(r.url.startswith(address), r.url))
        page.goto(address)
        expect(self.focused).to_be_visible()

    def check(self, fine: bool, what: str) -> None:
        if not fine:
            self.complaints.append(what)

    @property
    def focused(self) -> Any:
        return self.page.locator(".tile.focus")

    def tile(self, digest: str) -> Any:
        return self.page.locator(f"#tile-{digest}")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def expect_status(self, digest: str, status: str) -> None:
        expect(self.tile(digest)).to_have_attribute("data-status", status)

    def expect_saved(self) -> None:
        expect(self.page.locator("#saved")).to_have_text("✓ Saved")

    def count(self, key: str) -> Any:
        return self.page.locator(f'#states [data-key="{key}"] small')


Opener = Callable[[str], Window]


@pytest.fixture
def window(chromium: Browser) -> Iterator[Opener]:
    """Opens windows with separate storage, as of two users."""
    contexts: list[BrowserContext] = []
    windows: list[Window] = []

    def open_window(address: str) -> Window:
        contexts.append(chromium.new_context(viewport={"width": 1440, "height": 900}))
        windows.append(Window(contexts[-1].new_page(), address))
        return windows[-1]

    yield open_window
    complaints = [complaint for one in windows for complaint in one.complaints]
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def small(tmp_path: Path) -> tuple[Path, list[str]]:
    return tmp_path, make_project(tmp_path, 40, 64)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    project = tmp_path_factory.mktemp("many")
    return project, make_project(project, 5000, 16)


def decisions(project: Path) -> dict[str, tuple[str, str]]:
    """Content of the list; all lines must be complete at any time."""
    table = pd.read_csv(project / "data/curation/mine.csv", dtype=str, keep_default_na=False)
    columns = (table[name].tolist() for name in ("sha256", "decision", "reason"))
    return {sha256: (word, reason) for sha256, word, reason in zip(*columns, strict=True)}


# --- deciding ------------------------------------------------------------------------------------


def test_keys_decide_advance_and_undo(small: tuple[Path, list[str]], window: Opener) -> None:
    project, h = small
    with studio(project) as address:
        one = window(address)
        one.press("k", "d", "2")
        one.expect_saved()
        assert decisions(project) == {
            h[0]: ("keep", ""),
            h[1]: ("drop", ""),
            h[2]: ("drop", "blurred"),
        }
        expect(one.focused).to_have_id(f"tile-{h[3]}")
        one.expect_status(h[0], "keep")
        expect(one.tile(h[2])).to_contain_text("blurred")
        expect(one.count("drop")).to_have_text("2")
        expect(one.page.locator('#sources [data-key="even"] small')).to_have_text("18 / 20")

        one.press("u")
        expect(one.focused).to_have_id(f"tile-{h[2]}")
        one.expect_status(h[2], "rule")
        one.press("Control+z")
        one.expect_saved()
        assert decisions(project) == {h[0]: ("keep", "")}
        one.press("Control+y", "Shift+U")
        one.expect_saved()
        assert decisions(project)[h[2]] == ("drop", "blurred")

        one.press("Home", "x")
        one.expect_saved()
        one.expect_status(h[0], "open")
        assert set(decisions(project)) == {h[1], h[2]}


def test_reason_is_saved_and_offered_again(small: tuple[Path, list[str]], window: Opener) -> None:
    project, h = small
    with studio(project) as address:
        one = window(address)
        one.press("r")
        one.page.keyboard.type("7 knots, not 8")
        one.press("Enter", "7")  # the seventh reason from now on
        one.expect_status(h[1], "drop")
        one.expect_saved()
        assert decisions(project) == {
            h[0]: ("drop", "7 knots, not 8"),
            h[1]: ("drop", "7 knots, not 8"),
        }
        one.press("k", "ArrowLeft", "r")  # a kept one stays kept
        one.page.keyboard.type("the only one")
        one.press("Enter")
        one.expect_saved()
        assert decisions(project)[h[2]] == ("keep", "the only one")
        one.press("r", "Escape")
        expect(one.page.locator("#why")).not_to_be_visible()
        one.page.reload()
        expect(one.focused).to_be_visible()
        one.press("r")
        expect(one.page.locator("#why-list")).to_contain_text("the only one")
        one.page.get_by_label("Remove the reason off topic").click()
        expect(one.page.locator("#why-list")).not_to_contain_text("off topic")


@pytest.mark.parametrize("gone", [False, True])
def test_reason_applies_to_the_image_it_was_opened_for(
    small: tuple[Path, list[str]], window: Opener, gone: bool
) -> None:
    project, h = small
    clusters, manifest = project / "data/clusters.csv", project / "data/manifest.csv"
    with studio(project) as address:
        one = window(address)
        one.page.locator('#states [data-key="open"]').click()
        one.tile(h[5]).click()
        # Its thumbnail must not be asked for after the picture has gone: that would be a 404.
        expect(one.tile(h[5]).locator("img")).to_have_js_property("complete", True)
        one.press("r")
        one.page.keyboard.type("torn")
        # Meanwhile the pipeline ends: without the picture, or with a rule against it.
        if gone:
            for table in (clusters, manifest):
                lines = table.read_text().splitlines(keepends=True)
                table.write_text("".join(line for line in lines if h[5] not in line))
        else:
            text = clusters.read_text()
            clusters.write_text(text.replace(f"{h[5]},{h[5]},true", f"{h[5]},{h[4]},false"))
        expect(one.tile(h[5])).not_to_be_attached()
        one.press("Enter")
        if gone:
            expect(one.page.locator("#toast")).to_contain_text("No longer in the collection")
            expect(one.count("drop")).to_have_text("0")
        else:
            expect(one.count("drop")).to_have_text("1")
            one.expect_saved()
            assert decisions(project) == {h[5]: ("drop", "torn")}
        expect(one.focused).to_have_id(f"tile-{h[0]}")


def test_keys_select_several_images(small: tuple[Path, list[str]], window: Opener) -> None:
    project, h = small
    with studio(project) as address:
        one = window(address)
        one.press("Shift+ArrowRight", "Shift+ArrowRight", "d")
        one.expect_saved()
        assert set(decisions(project)) == set(h[:3])
        expect(one.focused).to_have_id(f"tile-{h[3]}")
        one.press("u")
        one.expect_saved()
        assert decisions(project) == {}

        one.press("/")
        one.page.keyboard.type("even")  # no title has it: sources are not searched by name
        expect(one.page.locator("#empty")).to_be_visible()
        one.page.locator("#search").fill("p1")
        one.press("Escape", "Control+a", "k")
        one.expect_saved()
        assert set(decisions(project)) == {h[n] for n in (1, *range(10, 20))}

        one.page.locator("#search").fill("")
        one.press("Escape", "Home", "c", "d")  # the group of p0
        one.expect_saved()
        assert {s for s, (word, _) in decisions(project).items() if word == "drop"} == set(h[:3])

        one.page.locator('#sources [data-key="even"]').click()  # without p1
        expect(one.tile(h[1])).not_to_be_attached()
        one.press("Home", "c")
        expect(one.page.locator("#focused")).to_contain_text("2 selected")


def test_mouse_selects_several_images(small: tuple[Path, list[str]], window: Opener) -> None:
    project, h = small
    with studio(project) as address:
        one = window(address)
        one.tile(h[4]).click()
        expect(one.focused).to_have_id(f"tile-{h[4]}")
        one.tile(h[6]).click(modifiers=["Shift"])
        one.tile(h[9]).click(modifiers=["Control"])
        one.tile(h[5]).click(modifiers=["Control"])
        expect(one.page.locator("#focused")).to_contain_text("3 selected")
        one.page.locator('footer [data-do="drop"]').click()
        one.expect_saved()
        assert set(decisions(project)) == {h[4], h[6], h[9]}

        first, last = one.tile(h[10]).bounding_box(), one.tile(h[12]).bounding_box()
        one.page.mouse.move(first["x"] + 40, first["y"] + 40)
        one.page.mouse.down()
        one.page.mouse.move(last["x"] + 30, last["y"] + 60, steps=4)
        one.page.mouse.up()
        expect(one.page.locator('.tile[aria-selected="true"]')).to_have_count(3)
        one.press("k")  # the keys are the grid's after a click on a button, too
        one.expect_saved()
        kept = {s for s, (word, _) in decisions(project).items() if word == "keep"}
        assert kept == set(h[10:13])
        one.tile(h[20]).dblclick()
        expect(one.page.locator("#zoom")).to_be_visible()


def test_decided_images_stay_until_the_view_is_updated(
    small: tuple[Path, list[str]], window: Opener
) -> None:
    project, h = small
    with studio(project) as address:
        one = window(address)
        one.page.locator('#states [data-key="open"]').click()
        expect(one.tile(h[1])).not_to_be_attached()  # dropped by a rule
        one.press("Home", "d")
        one.expect_status(h[0], "drop")
        expect(one.focused).to_have_id(f"tile-{h[3]}")
        one.press("v")
        expect(one.tile(h[0])).not_to_be_attached()
        one.page.locator('#sources [data-key="odd"]').click()
        expect(one.tile(h[4])).not_to_be_attached()
        expect(one.tile(h[5])).to_be_visible()


# --- others --------------------------------------------------------------------------------------


def test_two_windows_and_an_editor_lose_no_decisions(
    small: tuple[Path, list[str]], window: Opener
) -> None:
    project, h = small
    path = project / "data/curation/mine.csv"
    with studio(project) as address:
        one, two = window(address), window(address)
        one.press("k")
        two.press("End", "d")
        for each in (one, two):
            each.expect_status(h[0], "keep") if each is one else each.expect_saved()
            expect(each.count("drop")).to_have_text("1")
            expect(each.count("keep")).to_have_text("1")
        path.write_text(path.read_text() + f"{h[5]},drop,by hand\n")
        for each in (one, two):
            expect(each.count("drop")).to_have_text("2")
        one.expect_status(h[5], "drop")
        expect(one.tile(h[5])).to_contain_text("by hand")

        # The same picture: the last one wins, and both windows show it.
        two.press("Home", "d")
        one.expect_status(h[0], "drop")
        assert decisions(project) == {
            h[0]: ("drop", ""),
            h[-1]: ("drop", ""),
            h[5]: ("drop", "by hand"),
        }
        # What the other has changed since is not undone.
        one.press("u")
        expect(one.page.locator("#toast")).to_contain_text("Changed in another window")
        one.expect_status(h[0], "drop")


def test_stopped_server_loses_no_decisions(small: tuple[Path, list[str]], window: Opener) -> None:
    project, h = small
    with studio(project) as address:
        one = window(address)
        one.press("k")
        one.expect_saved()
    port = int(address.rstrip("/").rpartition(":")[2])
    one.press("d", "d")
    expect(one.page.locator("#saved")).to_contain_text("No connection, 2 unsaved")
    one.expect_status(h[1], "drop")
    assert set(decisions(project)) == {h[0]}
    with studio(project, port):
        one.expect_saved()
        assert set(decisions(project)) == set(h[:3])
        one.page.reload()
        one.expect_status(h[2], "drop")
        one.expect_status(h[0], "keep")
    refused = [c for c in one.complaints if "ERR_CONNECTION" in c or "ERR_EMPTY" in c]
    assert refused
    one.complaints[:] = [c for c in one.complaints if c not in refused]


def test_unsaved_decisions_survive_a_reload(small: tuple[Path, list[str]], window: Opener) -> None:
    project, h = small
    path = project / "data/curation/mine.csv"
    path.parent.mkdir(parents=True)
    path.write_text(f"sha256,decision,reason\n{h[7]},dorp,\n")
    with studio(project) as address:
        one = window(address)
        one.press("d")
        expect(one.page.locator("#saved")).to_have_text("1 not saved")
        expect(one.page.locator("#notes")).to_contain_text("mine.csv:2: decision 'dorp'")
        one.page.on("dialog", lambda dialog: dialog.accept())  # "leave this page?"
        one.page.reload()
        one.expect_status(h[0], "drop")
        path.write_text(f"sha256,decision,reason\n{h[7]},drop,\n")
        one.expect_saved()
        assert set(decisions(project)) == {h[0], h[7]}
    one.complaints[:] = [c for c in one.complaints if "409" not in c]


def test_full_or_damaged_storage_does_not_prevent_saving(
    small: tuple[Path, list[str]], window: Opener
) -> None:
    project, h = small
    with studio(project) as address:
        one = window(address)
        one.page.evaluate(
            """() => {
                for (let n = 2 ** 24, text = ""; n >= 1; )
                    try {
                        sessionStorage.setItem("full", text + "x".repeat(n));
                        text += "x".repeat(n);
                    } catch {
                        n /= 2;
                    }
            }"""
        )
        one.press("k")
        expect(one.count("keep")).to_have_text("1")
        one.expect_saved()
        assert decisions(project) == {h[0]: ("keep", "")}

        place = f"ganloom.unsaved.{project.name}.mine"
        one.page.evaluate("sessionStorage.clear()")
        one.page.evaluate("place => sessionStorage.setItem(place, '[[')", place)
        one.page.reload()
        one.expect_status(h[0], "keep")


def test_blocked_storage_loses_only_settings(small: tuple[Path, list[str]], window: Opener) -> None:
    project, h = small
    with studio(project) as address:
        one = window(address)
        one.page.add_init_script(BLOCKED)
        one.page.reload()
        expect(one.focused).to_be_visible()
        one.page.locator("#theme").click()
        expect(one.page.locator("#theme")).to_contain_text("Light")
        one.press("r")
        one.page.keyboard.type("torn")
        one.press("Enter", "7")
        one.expect_saved()
        assert decisions(project) == dict.fromkeys(h[:2], ("drop", "torn"))


def test_page_says_how_to_use_the_decisions(small: tuple[Path, list[str]], window: Opener) -> None:
    project, h = small
    with studio(project) as address:
        one = window(address)
        notes = one.page.locator("#notes")
        expect(notes).to_contain_text("params.yaml uses no list")
        expect(notes).to_contain_text("list: mine")
        path = project / "params.yaml"
        path.write_text(path.read_text().replace("list: null", "list: other"))
        expect(notes).to_contain_text("uses the list “other”")
        path.write_text(path.read_text().replace("list: other", "list: mine"))
        expect(notes).to_be_empty()
        # The collection was read again; where one was is kept.
        one.press("ArrowRight", "ArrowRight")
        path.write_text(path.read_text().replace("min_side: 1 ", "min_side: 65 "))
        expect(one.count("rule")).to_have_text("40")
        expect(one.focused).to_have_id(f"tile-{h[2]}")


# --- looking -------------------------------------------------------------------------------------


def test_zoom_shows_an_image_with_its_metadata(
    small: tuple[Path, list[str]], window: Opener
) -> None:
    project, h = small
    with studio(project) as address:
        one = window(address)
        one.press(" ")
        zoom = one.page.locator("#zoom")
        expect(zoom).to_contain_text(HOSTILE)  # as words
        expect(zoom).to_contain_text("keeper of 3")
        assert zoom.locator("img").evaluate(
            "image => image.decode().then(() => image.naturalWidth)"
        )
        one.press("d")
        expect(zoom).to_contain_text(f"near-duplicate of {h[0][:12]}")  # moved on
        one.press("ArrowRight", "ArrowRight", "k", "u")
        expect(zoom.locator("#zoom-state")).to_have_text("Undecided")
        one.press(" ")
        expect(zoom).not_to_be_visible()
        expect(one.focused).to_have_id(f"tile-{h[3]}")
        one.expect_saved()
        assert decisions(project) == {h[0]: ("drop", "")}


def test_zoom_never_shows_an_image_with_another_title(
    small: tuple[Path, list[str]], window: Opener
) -> None:
    project, h = small
    waiting: list[Route] = []

    def hold(route: Route) -> None:
        waiting.append(route)

    with studio(project) as address:
        one = window(address)
        one.page.route(f"**/pictures/{h[1]}", hold)
        one.page.route(f"**/pictures/{h[2]}", lambda route: route.fulfill(body="none"))
        picture = one.page.locator("#zoom-picture")
        one.press(" ")
        expect(picture).to_be_visible()
        with one.page.expect_request(f"**/pictures/{h[1]}"):
            one.press("ArrowRight")
        expect(one.page.locator("#zoom-title")).to_have_text("p1")
        expect(picture).to_be_hidden()
        waiting[0].continue_()
        expect(picture).to_be_visible()
        one.press("ArrowRight")  # none: what stands for it is seen
        expect(one.page.locator("#zoom-title")).to_have_text("p2")
        expect(picture).to_be_visible()
        assert picture.evaluate("image => image.naturalWidth") == 0


def test_groups_are_shown_after_their_keeper(small: tuple[Path, list[str]], window: Opener) -> None:
    project, h = small
    with studio(project) as address:
        one = window(address)
        one.press("End", "g")
        tiles = one.page.locator(".tile")
        expect(tiles).to_have_count(3)
        expect(tiles.first).to_contain_text("keeper")
        assert [tile.get_attribute("id") for tile in tiles.all()] == [f"tile-{s}" for s in h[:3]]
        one.press("Home", "d", "k")
        one.expect_saved()
        assert decisions(project) == {h[0]: ("drop", ""), h[1]: ("keep", "")}
        one.press("g")
        expect(one.tile(h[5])).to_be_visible()


def test_images_are_sorted_by_flag_and_similarity(
    small: tuple[Path, list[str]], window: Opener
) -> None:
    project, h = small
    features = np.eye(40, dtype=np.float16)
    order = sorted(h)
    features[order.index(h[30])] = features[order.index(h[8])]
    np.save(project / "data/features.npy", features)
    first, second = ".tile[aria-posinset='1']", ".tile[aria-posinset='2']"
    with studio(project) as address:
        one = window(address)
        one.page.locator("#sort").select_option("flag sharpness")
        expect(one.page.locator(first)).to_have_id(f"tile-{h[-1]}")
        expect(one.page.locator(first)).to_contain_text("1")
        one.page.locator("#turn").click()
        expect(one.page.locator(first)).to_have_id(f"tile-{h[0]}")
        one.tile(h[8]).click()
        one.press("l")
        expect(one.page.locator(first)).to_have_id(f"tile-{h[8]}")
        expect(one.page.locator(second)).to_have_id(f"tile-{h[30]}")
        expect(one.focused).to_have_id(f"tile-{h[8]}")


def test_outdated_similarities_are_ignored(small: tuple[Path, list[str]], window: Opener) -> None:
    def another(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | {"revision": "another"})

    with studio(small[0]) as address:
        one = window(address)
        order = one.page.locator("#sort")
        one.page.route("**/api/likeness/*", another)
        one.press("l")
        expect(one.page.locator("#toast")).to_contain_text("The collection has changed")
        expect(order).to_have_value("found")
        one.page.unroute("**/api/likeness/*")
        one.press("l")
        expect(order).to_have_value("likeness")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1440, 900), (900, 700), (720, 450), (480, 800)])
def test_curate_page_fits_the_window(
    small: tuple[Path, list[str]], chromium: Browser, size: tuple[int, int], scheme: Any
) -> None:
    width, height = size
    with studio(small[0]) as address:
        page = chromium.new_page(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            reduced_motion="reduce",
        )
        one = Window(page, address)
        for keys in ([], ["g"], ["g", " "], [" ", "?"], ["Escape", "r"]):
            one.press(*keys)
            inside = "document.documentElement.scrollWidth <= innerWidth"
            assert page.evaluate(
                f"{inside} && document.documentElement.scrollHeight <= innerHeight"
            )
        one.press("Escape")
        for name in ("keep", "drop", "undo"):
            expect(page.locator(f'footer [data-do="{name}"]')).to_be_in_viewport()
        page.close()
        assert one.complaints == []


def test_curate_page_with_five_thousand_images(
    many: tuple[Path, list[str]], window: Opener
) -> None:
    project, h = many
    with studio(project) as address:
        one = window(address)
        assert one.page.locator(".tile").count() < 200
        one.press("End")
        expect(one.focused).to_have_id(f"tile-{h[-1]}")
        expect(one.tile(h[-1])).to_be_in_viewport()
        one.press("PageUp", "PageUp", "k", "Home", "PageDown", "d")
        one.expect_saved()
        assert sorted(word for word, _ in decisions(project).values()) == ["drop", "keep"]
        one.press("Control+a", "1")
        one.expect_saved()
        assert set(decisions(project).values()) == {("drop", "off topic")}
        assert len(decisions(project)) == 5000
        one.press("u", "u")
        expect(one.count("keep")).to_have_text("1")
        one.expect_saved()
        assert len(decisions(project)) == 1


@pytest.mark.data
def test_curate_page_with_a_real_collection(
    shared_data: Path, tmp_path: Path, window: Opener
) -> None:
    text = recipes.whole(ROOT / "recipes/batik.yaml", ROOT)
    text = text.replace("path: ../batik", f"path: {(shared_data / 'batik').resolve()}")
    (tmp_path / "params.yaml").write_text(text.replace("list: null", "list: cloth"))
    for stage in (["search", "batik"], ["fetch"], ["dedup"]):
        script = ROOT / f"workflow/scripts/{stage[0]}.py"
        subprocess.run([sys.executable, script, *stage[1:]], cwd=tmp_path, check=True)
    with studio(tmp_path) as address:
        one = window(address)
        expect(one.count("")).to_have_text("804")
        expect(one.page.locator("#notes")).to_be_empty()
        one.press("g")
        assert one.page.locator(".keeper").count() >= 3
        one.press("ArrowRight", "k", "g", "l")
        expect(one.page.locator("#toast")).to_contain_text("Most similar")
        for key in "kkd3kkdkkk":
            one.press(key)
        one.expect_saved()
        counted = int(one.count("keep").inner_text()), int(one.count("drop").inner_text())
    shutil.copy(tmp_path / "data/curation/cloth.csv", tmp_path / "data/curation/mine.csv")
    words = [word for word, _ in decisions(tmp_path).values()]
    assert (words.count("keep"), words.count("drop")) == counted
    curate = ROOT / "workflow/scripts/curate.py"
    subprocess.run([sys.executable, curate], cwd=tmp_path, check=True)
    dropped = pd.read_csv(tmp_path / "data/dropped.csv")
    assert dropped.reason.str.startswith("list cloth").sum() == counted[1]
