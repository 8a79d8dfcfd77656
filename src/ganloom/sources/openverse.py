"""Openverse, searched through its API: openly licensed images of Flickr, museums and others.

See https://api.openverse.org/v1/. Without a key, a response has 20 works, and a query has 240 of
each collection; a key makes responses longer, but not queries.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

from ganloom import params
from ganloom.sources import Context, api
from ganloom.sources.keywords import Hit, objects, text, web_url
from ganloom.tables import Candidate

API = "https://api.openverse.org/v1/images/"
_SERVICE = api.Service(
    "Openverse",
    more="it gives 240 of a query and collection: more keywords or `collections` find more",
)
_PAGE = 20
_MOST = 240


def search(name: str, spec: params.OpenverseSource, context: Context) -> list[Candidate]:
    """List the results of the keywords; see ``api.search``."""
    collections: Sequence[str | None] = spec.collections or [None]
    queries = [functools.partial(_pages, collection=collection) for collection in collections]
    return api.search(name, _SERVICE, spec.keywords, context, *queries)


def _pages(ask: api.Ask, keyword: params.Keyword, collection: str | None) -> Iterator[list[Hit]]:
    query: api.Query = {"q": keyword.text, "page_size": _PAGE}
    if collection is not None:
        query["source"] = collection
    for page in range(1, _MOST // _PAGE + 1):
        answer = ask(API, {**query, "page": page})
        yield pictures(answer)
        last = answer.get("page_count")
        if not isinstance(last, int) or page >= last:
            return


def pictures(answer: dict[str, Any]) -> list[Hit]:
    """Convert a page of results to hits.

    Raises:
        SourceError: The response is not a page of results.
    """
    return [
        Hit(
            url=url,
            page=web_url(work.get("foreign_landing_url")),
            title=text(work.get("title")),
            creator=text(work.get("creator")),
            licence=api.licence(work.get("license"), work.get("license_version")),
            licence_url=web_url(work.get("license_url")),
        )
        for work in objects(api.results(answer, _SERVICE, "results"))
        if (url := web_url(work.get("url")))
    ]
