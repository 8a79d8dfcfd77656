"""Google Images in the user's own browser: Chrome or Chromium, in a window, through Playwright.

The browser is what it is: nothing hides that a program drives it, and no check is solved. If Google
asks something, the person at the window answers it, or the search stops. What was found is kept.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlencode, urlsplit

from ganloom import params
from ganloom.sources import SourceError, google_records
from ganloom.sources.saved import Collection, Parser

try:
    from playwright.sync_api import Error, Page, Request, TimeoutError, sync_playwright
except ModuleNotFoundError as error:
    raise SourceError(
        f"{error.name} is not installed: pip install --editable '.[browser]'"
    ) from None

SEARCH = "https://www.google.com/search"
PROFILE = Path("work/browser")
# As a window, and with the sandbox that Playwright leaves out by default.
OPTIONS: dict[str, Any] = {"headless": False, "chromium_sandbox": True, "no_viewport": True}
PROGRAMS = ("google-chrome", "google-chrome-stable", "chromium", "chromium-browser")

STEP = 0.25  # s between two looks at what has arrived
PATIENCE = 4.0  # s that a scroll may take to bring something
SCROLLS = 3  # without anything new: the end
LOADING = 60.0  # s for a page to load
PERSON = 300.0  # s for the person at the window to answer
CONSENT = "#L2AGLb"  # button that accepts Google's terms, where they cover the results

INSTEAD = "without a program: save the page in your browser (way `saved` in docs/sources.md)"


class StoppedError(SourceError):
    """A search stopped before its end; what it found is kept."""


def collect(
    searches: Sequence[params.Keyword],
    file: Path,
    deadline: float,
    parse: Parser = google_records.parse,
) -> Collection:
    """Search for keywords, and add the results to a table as they arrive.

    Keywords that have enough results in the table already are left out.

    Args:
        searches: Keywords, each with the maximum number of its results.
        file: The table.
        deadline: Time limit for all searches, in seconds.
        parse: Parser of pages and responses.

    Raises:
        StoppedError: A search could not go on; the message gives the reason, what is kept, and
            what to do.
        KeyboardInterrupt: The person pressed Ctrl-C.
    """
    found = Collection(file)
    end = time.monotonic() + deadline
    pending = [keyword for keyword in searches if found.count(keyword.text) < keyword.max]
    interrupts: list[int] = []
    try:
        with _noted(interrupts), _window() if pending else contextlib.nullcontext() as page:
            for keyword in pending:
                assert page
                _Search(page, keyword, found, end, parse).run()
    except TimeoutError as error:
        raise _stopped(f"the page has not loaded within {LOADING:g} s", found) from error
    except Error as error:
        if interrupts:
            raise KeyboardInterrupt from error
        message = re.sub(r"^\w+\.\w+: ", "", str(error).partition("\n")[0])
        closed = "has been closed" in message
        raise _stopped("the window was closed" if closed else message, found) from error
    except _RefusedError as error:
        raise _stopped(str(error), found) from error
    return found


@contextlib.contextmanager
def _noted(interrupts: list[int]) -> Iterator[None]:
    """Append to ``interrupts`` when Ctrl-C is pressed.

    The terminal interrupts the browser as well. Depending on which of both is faster, Playwright
    raises KeyboardInterrupt, or an error that the window was closed.
    """

    def interrupt(number: int, _: FrameType | None) -> None:
        interrupts.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


class _RefusedError(Exception):
    """Google shows no results; the message is the reason."""


def _stopped(reason: str, found: Collection) -> StoppedError:
    kept = f"the results so far are kept in {found.file}" if found.file.exists() else "no results"
    return StoppedError(f"{reason}; {kept}; to go on, run the same command again; {INSTEAD}")


@contextlib.contextmanager
def _window() -> Iterator[Page]:
    """Open a window with a profile of its own, which keeps what the person answered."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    where = {"executable_path": program} if program else {"channel": "chrome"}
    with sync_playwright() as playwright:
        try:
            context = playwright.chromium.launch_persistent_context(PROFILE, **where | OPTIONS)
        except Error as error:
            raise _RefusedError(f"no browser can be opened: {_explained(str(error))}") from error
        context.set_default_timeout(LOADING * 1000)
        try:
            yield context.pages[0] if context.pages else context.new_page()
        finally:
            with contextlib.suppress(Error):  # closed by the person
                context.close()


def _explained(error: str) -> str:
    """Say in one line why a browser does not start; the error has its whole log."""
    for words, reason in (
        ("$DISPLAY", "this machine has no display"),
        ("ProcessSingleton", "the window of an earlier search is open: close it"),
        ("sandboxing failed", "its sandbox does not work, as for root; use an ordinary account"),
        ("is not found at", "neither Chrome nor Chromium is installed"),
    ):
        if words in error:
            return reason
    return error.partition("\n")[0]


class _Search:
    """A search in a window.

    Args:
        page: The window.
        keyword: Keywords, and the maximum number of results.
        found: Table of the results.
        end: Time limit, of the monotonic clock.
        parse: Parser of pages and responses.
    """

    def __init__(
        self, page: Page, keyword: params.Keyword, found: Collection, end: float, parse: Parser
    ) -> None:
        self._page, self._keyword, self._found = page, keyword, found
        self._end, self._parse = end, parse
        query = {"q": keyword.text, "udm": 2, "hl": "en"}
        self._address = f"{SEARCH}?{urlencode(query)}"
        self._finished: list[Request] = []
        self._seen: set[str] = set()  # results since the page was loaded
        self._is_refused = False

    def run(self) -> None:
        """Open the page of results and scroll, until there are enough or no more."""
        self._page.on("requestfinished", self._keep)
        try:
            self._load()
            idle = 0
            while self._count() < self._keyword.max and idle < SCROLLS:
                if time.monotonic() > self._end:
                    raise _RefusedError("network.deadline has passed")
                idle = 0 if self._scroll() else idle + 1
        finally:
            self._page.remove_listener("requestfinished", self._keep)
        if not self._seen and (tiles := google_records.count([self._page.content()]).tiles):
            raise _RefusedError(
                f"Google shows {tiles} pictures in a page that ganloom does not understand; "
                "ganloom doctor google tells more"
            )

    def _keep(self, request: Request) -> None:
        self._finished.append(request)

    def _load(self) -> bool:
        """Open the page of results, and tell whether Google asked something before."""
        self._finished.clear()
        self._seen.clear()
        self._page.goto(self._address, wait_until="domcontentloaded")
        was_asked = self._wait_for_person()
        self._take([self._page.content()])
        return was_asked

    def _scroll(self) -> bool:
        """Scroll to the end of the page, and tell whether that brought anything new."""
        self._page.evaluate("window.scrollTo(0, document.documentElement.scrollHeight)")
        for _ in range(round(PATIENCE / STEP)):
            self._page.wait_for_timeout(STEP * 1000)
            if self._wait_for_person():
                self._seen.clear()
                self._take([self._page.content()])
            if self._take(self._arrived()):
                return True
        return False

    def _arrived(self) -> Iterator[str]:
        """Yield the bodies of pages of results, and of the responses to scrolling."""
        while self._finished:
            request = self._finished.pop(0)
            response = request.response()
            path = urlsplit(request.url).path
            if response is None:
                continue
            if path.startswith("/sorry/") or response.status == 429:
                if self._is_refused:
                    raise _RefusedError("Google refuses more results for now")
                self._is_refused = not self._load()  # which shows what Google asks, if anything
            elif path == urlsplit(SEARCH).path and response.ok:
                with contextlib.suppress(Error):  # the browser does not keep every body
                    yield response.text()

    def _take(self, texts: Sequence[str] | Iterator[str]) -> bool:
        """Keep the results in texts, and tell whether there were new ones."""
        before = len(self._seen)
        for text in texts:
            results = [result for result in self._parse(text).values() if result.url]
            self._seen |= {result.url for result in results}
            known = self._count()
            self._found.add(self._keyword.text, results, self._keyword.max)
            if self._count() > known:
                _say(f"{self._keyword.text}: {self._count()} of {self._keyword.max}")
        return len(self._seen) > before

    def _count(self) -> int:
        return self._found.count(self._keyword.text)

    def _wait_for_person(self) -> bool:
        """Wait as long as Google asks something, and tell whether it did."""
        if not (question := self._question()):
            return False
        _say(f"Google asks for {question}: answer in the window, within {PERSON:g} s")
        end = time.monotonic() + PERSON
        while self._question():
            if time.monotonic() > end:
                raise _RefusedError(f"Google asks for {question}, and nobody has answered")
            self._page.wait_for_timeout(STEP * 1000)
        self._page.wait_for_load_state("domcontentloaded")
        if urlsplit(self._page.url).path != urlsplit(SEARCH).path:
            self._page.goto(self._address, wait_until="domcontentloaded")
        return True

    def _question(self) -> str:
        """What Google asks for, by the address of the page: its text does not tell."""
        parts = urlsplit(self._page.url)
        if parts.path.startswith("/sorry/"):
            return "a check that you are no robot"
        is_covered = False
        with contextlib.suppress(Error):  # while another page is loaded
            is_covered = self._page.locator(CONSENT).is_visible()
        if is_covered or f"{parts.hostname}".startswith("consent."):
            return "your consent to its terms"
        return ""
