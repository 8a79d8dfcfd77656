"""Google Images in a browser window: a real Chromium, and a server in the place of Google."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from google_pages import numbers, page, response

from ganloom import params, sources, tables
from ganloom.cli import main
from ganloom.cli.search import TABLE
from ganloom.sources import Context, SourceError, SourceWarning, google
from ganloom.tables import Candidate, SearchResult

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[1]
CHROMIUM = Path("/usr/bin/chromium")
WORDS = "shipibo textiles"

# Every name leads to this machine or nowhere.
RULES = "MAP *.google.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
OPTIONS = {
    "headless": True,
    "chromium_sandbox": False,  # root has none
    "executable_path": str(CHROMIUM),
    "args": [f"--host-resolver-rules={RULES}", "--disable-background-networking", "--disable-gpu"],
}

SCROLLING = """<div id="more" style="height: 9000px"></div><img src="https://example.org/x.png">
<script>
let isAsking = false;
addEventListener('scroll', async () => {
  if (isAsking) return;
  isAsking = true;
  try {
    await (await fetch('/search?vet=12ahUKE&q=x')).text();
  } catch {}
  document.getElementById('more').style.height = `${document.body.scrollHeight + 9000}px`;
  isAsking = false;
});
</script>"""
# The person answers as soon as ganloom has told them to.
ANSWER = """<script>
const wait = async () => { (await fetch('/person')).ok ? answer() : setTimeout(wait, 50) };
wait();
</script>"""
PERSON_ANSWERS = "<script>const answer = () => { location = '/answered' }</script>" + ANSWER
OVERLAY = (
    '<div id="consent" style="position: fixed; inset: 0"><button id="L2AGLb">Accept</button></div>'
    "<script>const answer = () => document.getElementById('consent').remove()</script>" + ANSWER
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def html(text: str, status: int = 200) -> web.Response:
    return web.Response(text=text, content_type="text/html", status=status)


class Google:
    """Server that behaves as Google is described.

    Attributes:
        total: Number of results; 100 are in the page, 50 in each response to scrolling.
        refuses_after: Number of results after which it redirects to /sorry/.
        refuses_pages: Whether it then does so for pages as well, until the person answers.
        asks_consent: Whether it redirects to the page of consent first.
        is_endless: Whether it repeats the results at the end.
        person: Script of the pages that ask something: the person's answer.
        body: Addition to the page of results.
        shown: Number of results that were shown since the page was loaded.
        was_told: Whether the person was told to answer.
    """

    def __init__(self, server: Any) -> None:
        self.address = f"http://www.google.test:{server.port}"
        self._consent = f"http://consent.google.test:{server.port}/ml"
        self.total, self.refuses_after, self.refuses_pages = 300, 10**9, True
        self.asks_consent, self.is_endless, self.person, self.body = False, False, "", ""
        self.shown, self.was_told = 0, False
        self.asked, self.routes = server.asked, server.routes
        server.routes |= {
            "/search": self.search,
            "/sorry/index": self.ask,
            "/ml": self.ask,
            "/answered": self.answered,
            "/person": self.wait,
        }

    async def search(self, request: web.Request) -> web.StreamResponse:
        is_page = "vet" not in request.query
        if is_page:
            assert (request.query["udm"], request.query["hl"]) == ("2", "en")
            if self.shown < self.refuses_after or not self.refuses_pages:
                self.shown = 0
            if self.asks_consent:
                raise web.HTTPFound(self._consent)
        if self.shown >= self.refuses_after:
            raise web.HTTPFound("/sorry/index?continue=x")
        if self.is_endless and self.shown == self.total:
            self.shown = 0
        first, self.shown = self.shown, min(self.shown + (100 if is_page else 50), self.total)
        which = range(first, self.shown)
        return html(page(*which, body=SCROLLING + self.body) if is_page else response(*which))

    async def ask(self, request: web.Request) -> web.Response:
        return html(
            f"<p>Are you a robot?</p>{self.person}", 429 if "sorry" in request.path else 200
        )

    async def wait(self, request: web.Request) -> web.Response:
        return web.Response(status=200 if self.was_told else 404)

    async def answered(self, request: web.Request) -> web.Response:
        self.unblock()
        raise web.HTTPFound(f"{self.address}/search?q=x&udm=2&hl=en")

    def unblock(self) -> None:
        self.asks_consent, self.refuses_after = False, 10**9


@pytest.fixture
def google_test(
    server: Any, outside: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Google:
    """Google on loopback, in a new project that allows to search it."""
    if not CHROMIUM.is_file():
        pytest.skip(f"needs {CHROMIUM}")
    pytest.importorskip("playwright")
    from ganloom.sources import google_browser as browser

    made = Google(server)
    monkeypatch.setattr(browser, "SEARCH", f"{made.address}/search")
    monkeypatch.setattr(browser, "OPTIONS", OPTIONS)
    for name, seconds in {"STEP": 0.05, "PATIENCE": 0.5, "PERSON": 0.5}.items():
        monkeypatch.setattr(browser, name, seconds)
    text = (
        (ROOT / "params.yaml").read_text(encoding="utf-8").replace("robots: true", "robots: false")
    )
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return made


def stopped(*arguments: str) -> str:
    """Run the command, which is to fail, and return its message."""
    with pytest.raises(SystemExit) as ended:
        main(["search", *arguments])
    assert ended.value.code not in (0, None)
    return str(ended.value.code)


def kept(query: str = WORDS) -> list[int]:
    return numbers(row.url for row in tables.read(TABLE, SearchResult) if row.query == query)


# --- the command ---------------------------------------------------------------------------------


def test_a_search_fills_a_table_and_adds_a_source_that_reads_it(
    google_test: Google, capsys: pytest.CaptureFixture[str]
) -> None:
    """Complaint: never more than 98 results."""
    old = Path("params.yaml").read_text(encoding="utf-8")
    Path("params.yaml").chmod(0o640)
    main(["search", WORDS, "--max", "230"])
    assert kept() == list(range(230))
    said = capsys.readouterr()
    assert f"{WORDS}: 230 of 230 results\n" in said.out
    assert "Added sources.google to params.yaml, next to: kene" in said.out
    assert f"{WORDS}: 100 of 230\n" in said.err
    new = Path("params.yaml").read_text(encoding="utf-8")
    added = "  google:\n    kind: google\n    way: saved\n    path: data/searches/google.csv\n"
    assert new.replace(added, "") == old  # every comment is where it was
    assert Path("params.yaml").stat().st_mode & 0o777 == 0o640

    spec = params.load().sources["google"]
    rows = sources.candidates("google", spec, Context(1, params.load().network))
    assert numbers(row.url for row in rows) == list(range(230))
    [row] = [row for row in rows if "%207." in row.url]
    assert (row.page, row.query) == ("https://example.org/page/7?q=a&r=b", WORDS)

    asked = google_test.asked()["/search"]
    main(["search", WORDS, "--max", "230"])  # there are enough
    assert google_test.asked()["/search"] == asked
    assert "is read by sources.google" in capsys.readouterr().out
    assert Path("params.yaml").read_text(encoding="utf-8") == new


def test_a_search_ends_when_there_are_no_more(
    google_test: Google, capsys: pytest.CaptureFixture[str]
) -> None:
    """Complaint: the same results repeated, without an end."""
    google_test.total = 84
    google_test.is_endless = True
    main(["search", WORDS, "shipibo art"])
    assert kept() == kept("shipibo art") == list(range(84))
    assert f"{WORDS}: 84 of 300 results; Google shows no more" in capsys.readouterr().out


def test_a_search_without_results_says_so(
    google_test: Google, capsys: pytest.CaptureFixture[str]
) -> None:
    google_test.total = 0
    main(["search", WORDS])
    assert f"{WORDS}: 0 of 300 results; try other words" in capsys.readouterr().out
    assert not TABLE.exists()
    assert "google" not in params.load().sources


def test_a_page_in_another_format_is_named(
    google_test: Google, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Complaint: 0 results without a reason."""
    other = page(1, 2).replace("encrypted-tbn", "thumbnails")
    monkeypatch.setattr("test_google_browser.page", lambda *_, body: other)
    message = stopped(WORDS)
    assert "Google shows 2 pictures in a page that ganloom does not understand" in message
    assert "ganloom doctor google" in message
    assert "way `saved`" in message


@pytest.mark.parametrize("question", ["consent", "overlay", "check", "check while scrolling"])
def test_what_google_asks_is_answered_by_the_person(
    google_test: Google,
    question: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Complaint: a consent page in the way."""
    from ganloom.sources import google_browser

    say = google_browser._say

    def tell(text: str) -> None:
        say(text)
        google_test.was_told = google_test.was_told or "answer in the window" in text

    monkeypatch.setattr(google_browser, "_say", tell)
    monkeypatch.setattr(google_browser, "PERSON", 300.0)
    google_test.person = PERSON_ANSWERS
    google_test.asks_consent = question == "consent"
    google_test.body = OVERLAY if question == "overlay" else ""
    google_test.refuses_after = {"check": 0, "check while scrolling": 150}.get(question, 10**9)
    main(["search", WORDS, "--max", "200"])
    assert kept() == list(range(200))
    asked = "a check that you are no robot" if "check" in question else "your consent to its terms"
    assert f"Google asks for {asked}: answer in the window" in capsys.readouterr().err


def test_a_question_without_an_answer_stops_the_search_with_a_way_out(google_test: Google) -> None:
    google_test.asks_consent = True
    message = stopped(WORDS)
    assert (
        "Google asks for your consent to its terms, and nobody has answered; no results" in message
    )
    assert "way `saved` in docs/sources.md" in message
    assert "google" not in params.load().sources


@pytest.mark.parametrize(
    ("refuses_pages", "reason"),
    [
        (True, "Google asks for a check that you are no robot, and nobody has answered"),
        (False, "Google refuses more results for now"),
    ],
)
def test_what_was_found_before_a_block_is_kept_and_the_next_command_goes_on(
    google_test: Google, refuses_pages: bool, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    google_test.refuses_after, google_test.refuses_pages = 150, refuses_pages
    message = stopped(WORDS, "--max", "250")
    assert f"{reason}; the results so far are kept in {TABLE}" in message
    assert "to go on, run the same command again" in message
    assert kept() == list(range(150))
    assert params.load().sources["google"].path == str(TABLE)
    google_test.unblock()
    main(["search", WORDS, "--max", "250"])
    assert kept() == list(range(250))
    assert f"{WORDS}: 250 of 250 results" in capsys.readouterr().out


def test_what_never_ends_does_not_hang_the_search(
    google_test: Google, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Complaints: hangs, and an address that never ends."""
    is_over = asyncio.Event()
    endless_kind = "response"

    async def endless(request: web.Request) -> web.StreamResponse:
        if ("vet" in request.query) != (endless_kind == "response"):
            return await google_test.search(request)
        started = web.StreamResponse(headers={"Content-Type": "text/html"})
        await started.prepare(request)
        await started.write(response(500).encode())
        await is_over.wait()
        return started

    google_test.routes["/search"] = endless
    main(["search", WORDS])
    assert kept() == list(range(100))
    endless_kind = "page"
    monkeypatch.setattr("ganloom.sources.google_browser.LOADING", 1.0)
    message = stopped(WORDS)
    assert message.startswith("the page has not loaded within 1 s; the results so far are kept")
    assert kept() == list(range(100))


def test_a_window_that_is_closed_keeps_what_was_found(
    google_test: Google, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ganloom.sources import google_browser

    window = google_browser._window

    @contextlib.contextmanager
    def closed_by_the_person() -> Iterator[Page]:
        with window() as opened:

            def close(text: str) -> None:
                if "150 of" in text:
                    opened.close()

            monkeypatch.setattr(google_browser, "_say", close)
            yield opened

    monkeypatch.setattr(google_browser, "_window", closed_by_the_person)
    message = stopped(WORDS)
    assert "the window was closed; the results so far are kept in data/searches" in message
    assert kept() == list(range(150))


def test_an_interrupt_keeps_what_was_found(google_test: Google, tmp_path: Path) -> None:
    google_test.total = 10**6
    script = tmp_path / "search.py"
    script.write_text(
        f"import sys; sys.path[:0] = {[str(ROOT / 'src'), str(ROOT / 'tests')]!r}\n"
        "from ganloom import cli\nfrom ganloom.sources import google_browser\n"
        f"google_browser.OPTIONS = {OPTIONS!r}\n"
        f"google_browser.SEARCH = {google_test.address!r} + '/search'\n"
        f"cli.main(['search', {WORDS!r}, '--max', '10000'])\n"
    )
    running = subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert running.stderr
    for line in running.stderr:
        if re.search(r": 2\d\d of 10000", line):
            os.killpg(running.pid, signal.SIGINT)  # as Ctrl-C in a terminal
            break
    else:
        pytest.fail("no progress")
    rest = running.stderr.read()
    assert running.wait() == 130, rest
    assert "Stopped; the results so far are kept in data/searches/google.csv." in rest
    assert "Traceback" not in rest
    assert len(kept()) >= 200
    assert params.load().sources["google"].path == str(TABLE)


# --- the stage, and `ganloom doctor google` ------------------------------------------------------


def stage(*searches: tuple[str, int]) -> list[Candidate]:
    spec = params.GoogleSource(
        kind="google",
        way="browser",
        path="src/ganloom/sources/google.py",
        keywords=[params.Keyword(text=text, max=most) for text, most in searches],
    )
    return sources.candidates("web", spec, Context(1, params.load().network))


def test_the_stage_goes_on_after_a_block_and_searches_anew_after_the_end(
    google_test: Google,
) -> None:
    google_test.refuses_after = 150
    with pytest.raises(SourceError, match=r"sources\.web: Google asks.*work/searches/web"):
        stage(("a", 120), ("b", 200))
    google_test.unblock()
    before = google_test.asked()["/search"]
    rows = stage(("a", 120), ("b", 200))
    assert numbers(row.url for row in rows) == list(range(200))
    assert {row.query for row in rows} == {"a; b", "b"}
    assert google_test.asked()["/search"] - before <= 5  # `a` was complete
    assert not (google.UNFINISHED / "web.csv").exists()
    google_test.total = 0
    with pytest.warns(SourceWarning, match="Google has nothing for 'a'"):
        assert stage(("a", 9)) == []


def test_doctor_checks_a_search(google_test: Google, capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor", "google"])
    assert "✓ with address: 150 of 150" in capsys.readouterr().out
    google_test.asks_consent = True
    with pytest.raises(SystemExit):
        main(["doctor", "google"])
    assert "nobody has answered" in capsys.readouterr().out


# --- without a browser ---------------------------------------------------------------------------


def test_a_browser_that_does_not_start_is_explained(
    google_test: Google, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    change = {"headless": False}
    monkeypatch.setattr("ganloom.sources.google_browser.OPTIONS", OPTIONS | change)
    assert "no browser can be opened: this machine has no display; no results" in stopped(WORDS)
