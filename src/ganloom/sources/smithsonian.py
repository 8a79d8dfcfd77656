"""Smithsonian, searched through its open access API: works of its museums, CC0.

See https://edan.si.edu/openaccess/apidocs/. It needs a free key, with 1,000 requests an hour. Only
the first image of each work is used: others show details and other sides of it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from ganloom import params
from ganloom.sources import Context, api
from ganloom.sources.keywords import Hit, member, objects, text, web_url
from ganloom.tables import Candidate

API = "https://api.si.edu/openaccess/api/v1.0/search"
_SERVICE = api.Service(
    "Smithsonian", api.Key("SMITHSONIAN_KEY", "api_key", "https://api.data.gov/signup/")
)
_PAGE = 100
_MOST = 10_000


def search(name: str, spec: params.SmithsonianSource, context: Context) -> list[Candidate]:
    """List the results of the keywords; see ``api.search``."""
    pages = functools.partial(_pages, size=spec.size)
    return api.search(name, _SERVICE, spec.keywords, context, pages)


def _pages(ask: api.Ask, keyword: params.Keyword, size: int | None) -> Iterator[list[Hit]]:
    query: api.Query = {"q": f'({keyword.text}) AND online_media_type:"Images"', "rows": _PAGE}
    for start in range(0, _MOST, _PAGE):
        answer = ask(API, {**query, "start": start})
        yield pictures(answer, size)
        total = member(answer, "response", "rowCount")
        if not isinstance(total, int) or start + _PAGE >= total:
            return


def pictures(answer: dict[str, Any], size: int | None) -> list[Hit]:
    """Convert a page of results to hits, one per work.

    Raises:
        SourceError: The response is not a page of results.
    """
    hits = []
    for work in objects(api.results(answer, _SERVICE, "response", "rows")):
        about = member(work, "content", "descriptiveNonRepeating")
        names = list(objects(member(work, "content", "freetext", "name")))
        for media in objects(member(about, "online_media", "media")):
            url = web_url(media.get("content"))
            free = member(media, "usage", "access") == "CC0"
            if url and free and media.get("type") == "Images":
                hits.append(
                    Hit(
                        url=scaled(url, size),
                        page=web_url(member(about, "record_link")),
                        title=text(work.get("title")),
                        creator=text(names[0].get("content")) if names else "",
                        licence=api.licence_at(api.CC0),
                        licence_url=api.CC0,
                    )
                )
                break
    return hits


def scaled(url: str, size: int | None) -> str:
    """Return the address of an image in another size, if the Smithsonian's image server has it."""
    if size is None:
        return url
    if "/ids/deliveryService?" in url:
        return f"{url}&max={size}"
    if "/ids/deliveryService/id/" in url:
        return f"{url}/{size}"
    return url
