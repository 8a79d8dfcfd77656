"""Openverse, searched through its API: openly licensed images of Flickr, museums and others.

See https://api.openverse.org/v1/. Without a key, a response has 20 works and a query has 240; a key
makes responses longer, but not queries. robots.txt is not consulted: it is meant for web crawlers.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from ganloom import params
from ganloom.sources import Context, SourceError, warn
from ganloom.sources.keywords import Hit, ask_api, objects, parsed, text, web_url
from ganloom.tables import Candidate
from ganloom.web.client import Get, WebError

API = "https://api.openverse.org/v1/images/"
_WHO = "Openverse"
_PAGE = 20
_MOST = 240

# Names of the licences whose codes do not form one.
_LICENCES = {"cc0": "CC0", "pdm": "Public Domain Mark"}


def search(name: str, spec: params.OpenverseSource, context: Context) -> list[Candidate]:
    """List the results of the keywords.

    A keyword without results, or with a limit that the API cannot reach, causes a warning. An
    unreachable API is an error: repeating the search later is better than continuing without it.

    Raises:
        SourceError: There is no response, or one that cannot be parsed.
    """
    for keyword in spec.keywords:
        if keyword.max > _MOST:
            warn(
                name,
                f"{_WHO} gives {_MOST} works a query, not {keyword.max}, for "
                f"{keyword.text!r}; more keywords, each a bit different, find more",
            )
    return ask_api(name, _WHO, spec.keywords, context, _take)


def _take(get: Get, keyword: params.Keyword) -> list[Hit]:
    return list(itertools.islice(_hits(get, keyword.text), min(keyword.max, _MOST)))


def _hits(get: Get, words: str) -> Iterator[Hit]:
    for page in range(1, _MOST // _PAGE + 1):
        query = {"q": words, "page": page, "page_size": _PAGE}
        try:
            answer = parsed(get(f"{API}?{urlencode(query)}").data, _WHO)
        except WebError as error:
            raise SourceError(f"{_WHO} cannot be asked now: {error}") from error
        yield from pictures(answer)
        pages = answer.get("page_count")
        if not isinstance(pages, int) or page >= pages:
            return


def pictures(answer: dict[str, Any]) -> list[Hit]:
    """Convert a page of results to hits.

    Raises:
        SourceError: The response is not a page of results.
    """
    if not isinstance(answer.get("results"), list):
        raise SourceError(f"{_WHO} refuses: {text(str(answer.get('detail', 'no results')))}")
    return [
        Hit(
            url=web_url(work.get("url")),
            page=web_url(work.get("foreign_landing_url")),
            title=text(work.get("title")),
            creator=text(work.get("creator")),
            licence=licence(work.get("license"), work.get("license_version")),
            licence_url=web_url(work.get("license_url")),
        )
        for work in objects(answer["results"])
        if web_url(work.get("url"))
    ]


def licence(code: Any, version: Any) -> str:
    """Format a licence: ``by-sa``, ``4.0`` becomes ``CC BY-SA 4.0``; empty without a code."""
    name = text(code)
    if not name:
        return ""
    return f"{_LICENCES.get(name, f'CC {name.upper()}')} {text(version)}".strip()
