"""Art Institute of Chicago, searched through its API: works in the public domain.

See https://api.artic.edu/docs/. The museum asks for one request at a time, at most one a second
(``web.client`` takes care of both), and for images of a width of 843 px, which it has ready. It
gives the first 10,000 works of a query.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from ganloom import params
from ganloom.sources import Context, api
from ganloom.sources.keywords import Hit, member, objects, text, web_url
from ganloom.tables import Candidate

API = "https://api.artic.edu/api/v1/artworks/search"
_SERVICE = api.Service("Art Institute of Chicago")
_PAGE = 100
_MOST = 10_000
_FIELDS = "id,title,artist_title,is_public_domain,image_id,thumbnail"


def search(name: str, spec: params.ArticSource, context: Context) -> list[Candidate]:
    """List the results of the keywords; see ``api.search``."""
    return api.search(name, _SERVICE, spec.keywords, context, functools.partial(_pages, spec=spec))


def _pages(ask: api.Ask, keyword: params.Keyword, spec: params.ArticSource) -> Iterator[list[Hit]]:
    query: api.Query = {
        "q": keyword.text,
        "query[bool][must][0][term][is_public_domain]": "true",
        "query[bool][must][1][exists][field]": "image_id",
        "fields": _FIELDS,
        "limit": _PAGE,
    }
    if spec.type is not None:
        query["query[bool][must][2][term][artwork_type_title.keyword]"] = spec.type
    for page in range(1, _MOST // _PAGE + 1):
        answer = ask(API, {**query, "page": page})
        yield pictures(answer, spec.width)
        last = member(answer, "pagination", "total_pages")
        if not isinstance(last, int) or page >= last:
            return


def pictures(answer: dict[str, Any], width: int) -> list[Hit]:
    """Convert a page of results to hits.

    Raises:
        SourceError: The response is not a page of results.
    """
    base = text(member(answer, "config", "iiif_url"))
    return [
        Hit(
            url=url,
            page=f"https://www.artic.edu/artworks/{work['id']}",
            title=text(work.get("title")),
            creator=text(work.get("artist_title")),
            licence=api.licence_at(api.CC0),
            licence_url=api.CC0,
        )
        for work in objects(api.results(answer, _SERVICE, "data"))
        if work.get("is_public_domain") is True
        and isinstance(work.get("id"), int)
        and (url := web_url(_address(base, work, width)))
    ]


def _address(base: str, work: dict[str, Any], width: int) -> str:
    image = text(work.get("image_id"))
    own = member(work, "thumbnail", "width")  # of the original, in spite of its name
    if isinstance(own, int) and 0 < own < width:
        width = own  # not enlarged
    return f"{base}/{image}/full/{width},/0/default.jpg" if image else ""
