"""Pages of search engines, read with icrawler's feeders and parsers.

Of icrawler these make the pages' addresses and read them; its threads, sessions and downloader,
which keep neither address nor licence and know no limits, are not used.

Search engines do not want to be read by programs, and change their pages. So whatever they answer,
other than pictures, is a warning with the way out, and the other sources go on; only where nothing
answers at all (no network) is it an error, which can be tried again.
"""

from __future__ import annotations

import queue
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from icrawler import Feeder, Parser

from ganloom import params
from ganloom.sources import Context, Row, SourceError, warn
from ganloom.sources.keywords import MAX_ANSWER, merged, web_url
from ganloom.web.client import Get, WebError, browser

# What every engine stops at.
MOST = 1000
DEPENDABLE = "the kinds `commons` and `openverse` are made for this, and dependable"


class Engine(NamedTuple):
    """A search engine.

    Attributes:
        name: What it is called.
        feeder: icrawler's class that makes the pages' addresses.
        parser: icrawler's class that reads pages.
        own: Domains whose pictures are the page's own ornaments.
    """

    name: str
    feeder: type[Feeder]
    parser: type[Parser]
    own: tuple[str, ...]


class _Response(NamedTuple):
    """What a parser reads of a response."""

    content: bytes


def search(
    name: str,
    engine: Engine,
    searches: Sequence[tuple[params.Keyword, str]],
    context: Context,
) -> list[Row]:
    """List what keywords find.

    Args:
        name: Name of the source.
        engine: Where to search.
        searches: Keywords, and how the feeder wants to hear them.
        context: As everywhere.

    Raises:
        SourceError: there is no network.
    """
    found: list[tuple[str, Row]] = []
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
            # Neither author nor licence is known.
            found += [(keyword.text, {"url": url}) for url in urls]
    return merged(name, found)


class _UnreadableError(Exception):
    """A search without results; ``final`` where other keywords would find none either."""

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
            break  # the end of the results looks like this, too
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
    """The pages with the first ``most`` results."""
    feeder = engine.feeder(1, None, None)
    feeder.out_queue = queue.Queue()  # its own one is short, and would wait for a reader
    feeder.feed(words, 0, most)
    while not feeder.out_queue.empty():
        yield feeder.out_queue.get()


def pictures(engine: Engine, content: bytes) -> list[str]:
    """Addresses of pictures in a page of results.

    Raises:
        _UnreadableError: none are found.
    """
    parser = engine.parser(1, None, None)
    try:
        found = list(parser.parse(_Response(content)))
    # Of a page in another form than it knows a parser may return None, or fail in any way.
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
