"""Wikimedia Commons, searched through its API: free images with author and licence.

See https://www.mediawiki.org/wiki/API:Search, API:Imageinfo and API:Etiquette. robots.txt is not
consulted: it closes the API to web crawlers, whereas programs follow the etiquette, as this one
does.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import tenacity
from bs4 import BeautifulSoup
from bs4.exceptions import ParserRejectedMarkup

from ganloom import params
from ganloom.sources import Context, SourceError, api
from ganloom.sources.keywords import Hit, member, objects, text, web_url
from ganloom.tables import Candidate

API = "https://commons.wikimedia.org/w/api.php"
_SERVICE = api.Service("Wikimedia Commons")
# The API describes at most 50 files per response if scaled images and metadata are requested.
_PAGE = 50
# More than the longest search needs; a bound for a server that never ends its results.
_MOST_ANSWERS = 500
# Seconds between retries when the databases lag behind, as the etiquette demands.
_PAUSE = 5.0


class _LaggingError(Exception):
    """The servers are busy."""


def search(name: str, spec: params.CommonsSource, context: Context) -> list[Candidate]:
    """List the results of the keywords; see ``api.search``."""
    pages = functools.partial(_pages, width=spec.width, attempts=context.network.attempts)
    return api.search(name, _SERVICE, spec.keywords, context, pages)


def _pages(
    ask: api.Ask, keyword: params.Keyword, width: int | None, attempts: int
) -> Iterator[list[Hit]]:
    for answer in _answers(ask, keyword.text, width, attempts):
        yield pictures(answer, scaled=width is not None)


def _answers(
    ask: api.Ask, words: str, width: int | None, attempts: int
) -> Iterator[dict[str, Any]]:
    # Drawings (SVG) are usable only if the server renders them at a given width.
    types = "bitmap" if width is None else "bitmap|drawing"
    query: dict[str, str | int] = {
        "action": "query",
        "format": "json",
        "formatversion": 2,
        "maxlag": 5,
        "generator": "search",
        "gsrnamespace": 6,
        "gsrsearch": f"filetype:{types} {words}",
        "gsrlimit": _PAGE,
        "prop": "imageinfo",
        "iiprop": "url|size|sha1|extmetadata",
        "iiextmetadatafilter": "Artist|LicenseShortName|LicenseUrl",
        "iiextmetadatalanguage": "en",
    }
    if width is not None:
        query["iiurlwidth"] = width
    going_on: dict[str, str | int] = {}
    retry = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(_LaggingError),
        stop=tenacity.stop_after_attempt(attempts),
        wait=tenacity.wait_fixed(_PAUSE),
        reraise=True,
    )
    for _ in range(_MOST_ANSWERS):
        try:
            answer = retry(_answer, ask, query | going_on)
        except _LaggingError:
            raise SourceError(
                f"{_SERVICE.name} is too busy to answer (maxlag): try again later"
            ) from None
        yield answer
        before, going_on = going_on, continuation(answer)
        if not going_on or going_on == before:
            return


def _answer(ask: api.Ask, query: dict[str, str | int]) -> dict[str, Any]:
    answer = ask(API, query)
    if "error" in answer:
        code = text(member(answer, "error", "code"))
        if code == "maxlag":
            raise _LaggingError
        info = text(member(answer, "error", "info"))
        raise SourceError(f"{_SERVICE.name} refuses: {code}: {info}")
    return answer


def continuation(answer: dict[str, Any]) -> dict[str, str | int]:
    """Return the parameters that request the next part of the results; empty after the last."""
    wanted = member(answer, "continue")
    if not isinstance(wanted, dict):
        return {}
    return {
        key: value
        for key, value in wanted.items()
        if isinstance(value, (str, int)) and len(f"{key}{value}") < 1000
    }


def pictures(answer: dict[str, Any], scaled: bool) -> list[Hit]:
    """Convert a response of the API to hits, in the order of the search.

    ``bytes`` is empty if a scaled version is fetched instead of the original.
    """
    pages = list(objects(member(answer, "query", "pages")))
    pages.sort(key=lambda page: _number(page.get("index")))
    hits = []
    for page in pages:
        # A page without it is described in the next response.
        for info in list(objects(page.get("imageinfo")))[:1]:
            facts = info.get("extmetadata")
            url = web_url(info.get("thumburl" if scaled else "url"))
            if url:
                hits.append(
                    Hit(
                        url=url,
                        page=web_url(info.get("descriptionurl")),
                        title=text(page.get("title")).removeprefix("File:"),
                        creator=plain(member(facts, "Artist", "value")),
                        licence=plain(member(facts, "LicenseShortName", "value")),
                        licence_url=web_url(member(facts, "LicenseUrl", "value")),
                        sha1=text(info.get("sha1")),
                        bytes="" if scaled else _size(info.get("size")),
                    )
                )
    return hits


def _size(value: Any) -> str:
    return str(value) if isinstance(value, int) and 0 < value < 2**63 else ""


def _number(value: Any) -> float:
    return value if isinstance(value, int) else float("inf")


def plain(html: Any) -> str:
    """Extract the text of an HTML fragment, without style sheets."""
    if not isinstance(html, str):
        return ""
    try:
        return text(BeautifulSoup(html[:20_000], "html.parser").get_text(" "))
    except (ParserRejectedMarkup, RecursionError):
        return ""
