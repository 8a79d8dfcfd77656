"""Cleveland Museum of Art, searched through its open access API: works in the public domain.

See https://openaccess-api.clevelandart.org/. It has no key and no documented limit.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from ganloom import params
from ganloom.sources import Context, api
from ganloom.sources.keywords import Hit, member, objects, text, web_url
from ganloom.tables import Candidate

API = "https://openaccess-api.clevelandart.org/api/artworks/"
_SERVICE = api.Service("Cleveland Museum of Art")
_PAGE = 100
_MOST = 10_000


def search(name: str, spec: params.ClevelandSource, context: Context) -> list[Candidate]:
    """List the results of the keywords; see ``api.search``."""
    return api.search(name, _SERVICE, spec.keywords, context, functools.partial(_pages, spec=spec))


def _pages(
    ask: api.Ask, keyword: params.Keyword, spec: params.ClevelandSource
) -> Iterator[list[Hit]]:
    # Without `fields`: a response of selected fields leaves out the licence.
    query: api.Query = {"q": keyword.text, "cc0": 1, "has_image": 1, "limit": _PAGE}
    if spec.type is not None:
        query["type"] = spec.type
    for skip in range(0, _MOST, _PAGE):
        answer = ask(API, {**query, "skip": skip})
        yield pictures(answer, spec.size)
        total = member(answer, "info", "total")
        if not isinstance(total, int) or skip + _PAGE >= total:
            return


def pictures(answer: dict[str, Any], size: str) -> list[Hit]:
    """Convert a page of results to hits.

    Raises:
        SourceError: The response is not a page of results.
    """
    return [
        Hit(
            url=url,
            page=web_url(work.get("url")),
            title=text(work.get("title")),
            creator=text("; ".join(_creators(work))),
            licence=api.licence_at(api.CC0),
            licence_url=api.CC0,
        )
        for work in objects(api.results(answer, _SERVICE, "data"))
        if work.get("share_license_status") == "CC0"
        and (url := web_url(member(work, "images", size, "url")))
    ]


def _creators(work: dict[str, Any]) -> list[str]:
    return [text(each.get("description")) for each in objects(work.get("creators"))]
