"""Result pages of search engines, read with the feeders and parsers of icrawler.

Only these two parts of icrawler are used: feeders build the addresses of the pages, parsers read
them. Its threads, sessions and downloader record neither address nor licence, and have no limits.

Search engines discourage programs and change their pages. A response without images is therefore a
warning with a remedy, and the other sources continue. Only a missing network is an error, since a
later retry can succeed.
"""

from __future__ import annotations

import queue
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from icrawler import Feeder, Parser

from ganloom import params
from ganloom.sources import Context, SourceError, warn
from ganloom.sources.keywords import MAX_ANSWER, Hit, merged, web_url
from ganloom.tables import Candidate
from ganloom.web.client import Get, WebError, browser

# No engine shows more results.
MOST = 1000
DEPENDABLE = "the kinds `commons` and `openverse` are made for this, and dependable"


class Engine(NamedTuple):
    """A search engine.

    Attributes:
        name: Name in messages.
        feeder: icrawler's class that builds the addresses of result pages.
        parser: icrawler's class that parses a result page.
        own: Domains of images that belong to the page itself, such as logos.
    """

    name: str
    feeder: type[Feeder]
    parser: type[Parser]
    own: tuple[str, ...]


class _Response(NamedTuple):
    """The part of a response that parsers use."""

    content: bytes


def search(
    name: str,
    engine: Engine,
    searches: Sequence[tuple[params.Keyword, str]],
    context: Context,
) -> list[Candidate]:
    """List the results of the keywords.

    Args:
        name: Name of the source.
        engine: Search engine.
        searches: Keywords, each with its form for the feeder.
        context: Settings that all sources share.

    Raises:
        SourceError: There is no network.
    """
    found: list[tuple[str, Hit]] = []
    with browser(context.network, MAX_ANSWER) as get:
        for keyword, words in searches:
            if keyword.max > MOST:
                warn(name, f"{engine.name} shows {MOST} results, not {keyword.max}")
            try:
                urls = _take(get, engine, words, keyword.max)
            except _UnreadableError as error:
                warn(name, f"{engine.name}, {keyword.text!r}: {error}; {DEPENDABLE}")
                if error.final:
                    break
                continue
            # Result pages state neither author nor licence.
            found += [(keyword.text, Hit(url=url)) for url in urls]
    return merged(name, found)


class _UnreadableError(Exception):
    """A search without results; ``final`` if other keywords would have none either."""

    def __init__(self, message: str, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


def _take(get: Get, engine: Engine, words: str, most: int) -> list[str]:
    urls: dict[str, None] = {}
    for page in addresses(engine, words, min(most, MOST)):
        try:
            found = pictures(engine, _content(get, engine, page))
        except _UnreadableError:
            if not urls:
                raise
            break  # the page after the last result looks the same
        known = len(urls)
        urls |= dict.fromkeys(found)
        if len(urls) == known or len(urls) >= most:
            break
    return list(urls)[:most]


def _content(get: Get, engine: Engine, page: str) -> bytes:
    try:
        return get(page).data
    except WebError as error:
        if str(error).startswith("forbidden by"):
            raise _UnreadableError(
                f"{error}; network.robots: false ignores that, at your own responsibility",
                final=True,
            ) from error
        if error.unreachable:
            raise SourceError(f"{engine.name} cannot be asked now: {error}") from error
        busy = str(error).startswith("host is busy")
        raise _UnreadableError(f"{error}: 0 results", final=busy) from error


def addresses(engine: Engine, words: str, most: int) -> Iterator[str]:
    """Yield the addresses of the pages with the first ``most`` results."""
    feeder = engine.feeder(1, None, None)
    feeder.out_queue = queue.Queue()  # the default queue is bounded and would block
    feeder.feed(words, 0, most)
    while not feeder.out_queue.empty():
        yield feeder.out_queue.get()


def pictures(engine: Engine, content: bytes) -> list[str]:
    """Extract the addresses of images from a result page.

    Raises:
        _UnreadableError: There are none.
    """
    parser = engine.parser(1, None, None)
    try:
        found = list(parser.parse(_Response(content)))
    # On a page in an unknown format, a parser may return None or raise any exception.
    except Exception:
        found = []
    urls = [web_url(task.get("file_url")) for task in found if isinstance(task, dict)]
    urls = [url for url in urls if url and not _is_own(engine, url)]
    if not urls:
        raise _UnreadableError("search page not understood: 0 results")
    return urls


def _is_own(engine: Engine, url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return any(host == own or host.endswith(f".{own}") for own in engine.own)
