"""iNaturalist, searched through its API: photographs of plants, animals and fungi.

See https://api.inaturalist.org/v1/docs/. It asks for at most one request a second, which
``web.client`` takes care of. Observations are listed from the oldest on, so that a later search
finds the same ones. Only the first photograph of each is used: others show the same individual,
and could be in the training and in the holdout.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

from ganloom import params
from ganloom.sources import Context, api
from ganloom.sources.keywords import Hit, member, objects, text, web_url
from ganloom.tables import Candidate

API = "https://api.inaturalist.org/v1/observations"
_SERVICE = api.Service("iNaturalist", more="a wider taxon or more `licences` find more")
_PAGE = 100  # observations have long descriptions
_MOST = 10_000


def search(name: str, spec: params.InaturalistSource, context: Context) -> list[Candidate]:
    """List the results of the keywords, which are names of taxa; see ``api.search``."""
    return api.search(name, _SERVICE, spec.keywords, context, functools.partial(_pages, spec=spec))


def _pages(
    ask: api.Ask, keyword: params.Keyword, spec: params.InaturalistSource
) -> Iterator[list[Hit]]:
    query: api.Query = {
        "taxon_name": keyword.text,
        "quality_grade": "research",
        "photo_license": ",".join(spec.licences),
        "order_by": "id",
        "order": "asc",
        "per_page": _PAGE,
    }
    last = 0
    for _ in range(_MOST // _PAGE):
        answer = ask(API, {**query, "id_above": last})
        yield pictures(answer, spec.size, spec.licences)
        ids = [each.get("id") for each in objects(answer.get("results"))]
        before, last = last, max((each for each in ids if isinstance(each, int)), default=last)
        if last <= before:
            return


def pictures(answer: dict[str, Any], size: str, licences: Sequence[str]) -> list[Hit]:
    """Convert a page of results to hits, one per observation.

    Raises:
        SourceError: The response is not a page of results.
    """
    hits = []
    for observation in objects(api.results(answer, _SERVICE, "results")):
        for photo in objects(observation.get("photos")):
            code = text(photo.get("license_code"))
            url = web_url(photo.get("url")).replace("/square.", f"/{size}.")
            if url and code in licences:
                user = observation.get("user")
                terms = _terms(code)
                hits.append(
                    Hit(
                        url=url,
                        page=web_url(observation.get("uri")),
                        title=text(member(observation, "taxon", "name")),
                        creator=text(member(user, "name")) or text(member(user, "login")),
                        licence=api.licence_at(terms),
                        licence_url=terms,
                    )
                )
                break
    return hits


def _terms(code: str) -> str:
    """Return the address of a licence, of which iNaturalist uses the version 4.0."""
    if code == "cc0":
        return api.CC0
    return f"https://creativecommons.org/licenses/{code.removeprefix('cc-')}/4.0/"
