"""Europeana, searched through its API: images of European museums, archives and libraries.

See https://apis.europeana.eu/. It needs a free key. Only works with an open licence are requested.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from ganloom import params
from ganloom.sources import Context, api
from ganloom.sources.keywords import Hit, objects, text, web_url
from ganloom.tables import Candidate

API = "https://api.europeana.eu/record/v2/search.json"
_SERVICE = api.Service("Europeana", api.Key("EUROPEANA_KEY", "wskey", "https://apis.europeana.eu/"))
_PAGE = 100
_MOST = 10_000
_OPEN = ("CC0 ", "Public Domain Mark ", "CC BY ", "CC BY-SA ")


def search(name: str, spec: params.EuropeanaSource, context: Context) -> list[Candidate]:
    """List the results of the keywords; see ``api.search``."""
    pages = functools.partial(_pages, width=spec.width)
    return api.search(name, _SERVICE, spec.keywords, context, pages)


def _pages(ask: api.Ask, keyword: params.Keyword, width: int | None) -> Iterator[list[Hit]]:
    query: api.Query = {
        "query": keyword.text,
        "qf": "TYPE:IMAGE",
        "reusability": "open",
        "media": "true",
        "profile": "rich",  # with the address of the file
        "rows": _PAGE,
    }
    cursor = "*"
    for _ in range(_MOST // _PAGE):
        answer = ask(API, {**query, "cursor": cursor})
        yield pictures(answer, width)
        following = answer.get("nextCursor")
        if not isinstance(following, str) or following in ("", cursor):
            return
        cursor = following


def pictures(answer: dict[str, Any], width: int | None) -> list[Hit]:
    """Convert a page of results to hits.

    Raises:
        SourceError: The response is not a page of results.
    """
    hits = []
    for work in objects(api.results(answer, _SERVICE, "items")):
        url = web_url(_only(work, "edmIsShownBy" if width is None else "edmPreview"))
        licence = api.licence_at(_only(work, "rights"))
        if url and licence.startswith(_OPEN):
            hits.append(
                Hit(
                    url=url if width is None else f"{url}&size=w{width}",
                    # Not `guid`, which has the key in it.
                    page=web_url(f"https://www.europeana.eu/item{text(work.get('id'))}"),
                    title=text(_only(work, "title")),
                    creator=text(_only(work, "dcCreator")) or text(_only(work, "dataProvider")),
                    licence=licence,
                    licence_url=web_url(_only(work, "rights")),
                )
            )
    return hits


def _only(work: dict[str, Any], field: str) -> Any:
    """Return the first value of a field."""
    values = work.get(field)
    return values[0] if isinstance(values, list) and values else None
