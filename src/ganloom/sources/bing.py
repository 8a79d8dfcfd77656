"""Bing Images: the JSON in the tiles of its result pages, saved or requested.

A tile is a link with the attribute ``m``: ``{"murl": IMAGE, "purl": PAGE, "t": TITLE, ...}``. It
needs no JavaScript. icrawler builds the addresses of the pages; its parser, which finds JPEG files
only and drops page and title, is not used.

Search engines discourage programs and change their pages. A response without images is therefore a
warning with a remedy, and the other sources continue. Only a missing network is an error, since a
later retry can succeed.
"""

from __future__ import annotations

import html
import json
import queue
import re
from collections.abc import Iterator
from urllib.parse import quote_plus

from icrawler.builtin.bing import BingFeeder

from ganloom import params
from ganloom.sources import Context, SourceError, saved, warn
from ganloom.sources.keywords import MAX_ANSWER, Hit, escaped_url, merged, text, web_url
from ganloom.tables import Candidate, SearchResult
from ganloom.web.client import Get, WebError, browser

MOST = 1000  # Bing shows no more
OWN = ("bing.com", "bing.net")
DEPENDABLE = "the kinds `commons` and `openverse` are made for this, and dependable"

_TILE = re.compile(r"""\bm=(?:"(\{[^"]*)"|'(\{[^']*)')""")


def search(name: str, spec: params.BingSource, context: Context) -> list[Candidate]:
    """List the results in saved pages, or of the keywords.

    Warns:
        SourceWarning: Keywords have no results; the message gives the reason and a remedy.

    Raises:
        SourceError: There is no network, or the saved pages have no results.
    """
    if spec.way == "saved":
        return saved.search(name, spec.path, parse)
    found: list[tuple[str, Hit]] = []
    with browser(context.network, MAX_ANSWER) as get:
        for keyword in spec.keywords or []:
            if keyword.max > MOST:
                warn(name, f"Bing shows {MOST} results, not {keyword.max}")
            try:
                results = _take(get, keyword.text, min(keyword.max, MOST))
            except _UnreadableError as error:
                warn(name, f"Bing, {keyword.text!r}: {error}; {DEPENDABLE}")
                if error.final:
                    break
                continue
            # Result pages state neither author nor licence.
            found += [
                (keyword.text, Hit(url=row.url, page=row.page, title=row.title)) for row in results
            ]
    return merged(name, found)


def parse(content: str) -> dict[str, SearchResult]:
    """Find the results in a page, each once, by the address of the image."""
    found: dict[str, SearchResult] = {}
    for match in _TILE.finditer(content):
        try:
            tile = json.loads(html.unescape(match[1] or match[2]), strict=False)
        except (ValueError, RecursionError):
            continue
        url = escaped_url(tile.get("murl"), OWN)
        page = web_url(tile.get("purl"))
        if url and url != page:
            found.setdefault(url, SearchResult(url=url, page=page, title=text(tile.get("t"))))
    return found


class _UnreadableError(Exception):
    """A search without results; ``final`` if other keywords would have none either."""

    def __init__(self, message: str, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


def _take(get: Get, words: str, most: int) -> list[SearchResult]:
    found: dict[str, SearchResult] = {}
    for page in addresses(words, most):
        known = len(found)
        try:
            results = parse(_content(get, page))
        except _UnreadableError:
            if not found:
                raise
            break  # what was found counts
        for url, result in results.items():
            found.setdefault(url, result)
        if len(found) == known or len(found) >= most:
            break  # after the last result, Bing repeats them or shows none
    if not found:
        raise _UnreadableError("search page not understood: 0 results")
    return list(found.values())[:most]


def addresses(words: str, most: int) -> Iterator[str]:
    """Yield the addresses of the pages with the first ``most`` results."""
    feeder = BingFeeder(1, None, None)
    feeder.out_queue = queue.Queue()  # the default queue is bounded and would block
    feeder.feed(quote_plus(words), 0, most)
    while not feeder.out_queue.empty():
        yield feeder.out_queue.get()


def _content(get: Get, page: str) -> str:
    try:
        return get(page).data.decode("utf-8", "replace")
    except WebError as error:
        if str(error).startswith("forbidden by"):
            raise _UnreadableError(
                f"{error}; network.robots: false ignores that, at your own responsibility",
                final=True,
            ) from error
        if error.unreachable:
            raise SourceError(f"Bing cannot be asked now: {error}") from error
        busy = str(error).startswith("host is busy")
        raise _UnreadableError(f"{error}: 0 results", final=busy) from error
