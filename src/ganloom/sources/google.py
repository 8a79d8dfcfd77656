"""Google Images in three ways, none of which replaces another: the user chooses.

``saved`` reads pages that the user saved. ``browser`` searches in the user's own browser, in a
window, where the user answers what Google asks. ``searxng`` asks an instance of SearXNG, which the
user runs. A way that fails is an error with the reason, and never a reason to try another one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ganloom import params
from ganloom.sources import Context, SourceError, api, google_records, saved, warn
from ganloom.sources.keywords import Hit, escaped_url, member, merged, objects, text, web_url
from ganloom.tables import Candidate

UNFINISHED = Path("work/searches")
SEARXNG = api.Service("SearXNG")
ENGINE = "google images"
HINTS = {
    "HTTP 403": "its settings.yml has to allow JSON, `search: {formats: [html, json]}`",
    "refused address": "an instance on this machine needs network.loopback: true",
}


def search(name: str, spec: params.GoogleSource, context: Context) -> list[Candidate]:
    """List the results in saved pages, or of the keywords.

    Raises:
        SourceError: The way that ``spec`` names gives no results, or stopped before the end.
    """
    if spec.way == "saved":
        return saved.search(name, spec.path, google_records.parse)
    if spec.way == "browser":
        return _in_browser(name, spec, context)
    address = f"{spec.instance}".rstrip("/")
    return api.search(
        name,
        SEARXNG,
        spec.keywords or [],
        context,
        lambda ask, keyword: _pages(name, ask, f"{address}/search", keyword.text),
    )


def _in_browser(name: str, spec: params.GoogleSource, context: Context) -> list[Candidate]:
    """Search in a window. What an interrupted search found is kept in ``UNFINISHED``."""
    from ganloom.sources.google_browser import collect

    file = UNFINISHED / f"{name}.csv"
    collection = collect(spec.keywords or [], file, context.network.deadline)
    for keyword in spec.keywords or []:
        if not collection.count(keyword.text):
            warn(name, f"Google has nothing for {keyword.text!r}")
    rows = saved.results(file, google_records.parse) if file.exists() else []
    file.unlink(missing_ok=True)  # another search is to find what is new
    return merged(
        name, [(row.query, Hit(url=row.url, page=row.page, title=row.title)) for row in rows]
    )


# --- SearXNG -------------------------------------------------------------------------------------


def _pages(name: str, ask: api.Ask, url: str, words: str) -> Iterator[list[Hit]]:
    """Yield pages of results, until one brings nothing new."""
    found: set[str] = set()
    for number in itertools.count(1):
        query: api.Query = {
            "q": words,
            "format": "json",
            "engines": ENGINE,
            "pageno": number,
            "safesearch": 0,
        }
        try:
            answer = ask(url, query)
        except SourceError as error:
            hints = [hint for cause, hint in HINTS.items() if cause in str(error)]
            raise SourceError("; ".join([str(error), *hints])) from error
        hits = pictures(answer)
        yield hits
        known = len(found)
        found |= {hit.url for hit in hits}
        failed = "; ".join(_failed(answer))
        if failed and not found:
            raise SourceError(f"{SEARXNG.name} has no answer of {failed}; try again in an hour")
        if failed:
            warn(name, f"{SEARXNG.name}, {words!r}: {failed}, after {len(found)} results")
        if failed or len(found) == known:
            break


def pictures(answer: dict[str, Any]) -> list[Hit]:
    """Convert a response of SearXNG to hits."""
    return [
        Hit(url=url, page=web_url(result.get("url")), title=text(result.get("title")))
        for result in objects(member(answer, "results"))
        if (url := escaped_url(result.get("img_src"), google_records.OWN))
        and url != result.get("url")
    ]


def _failed(answer: dict[str, Any]) -> Iterator[str]:
    """Yield each engine that did not answer, with its reason."""
    engines = member(answer, "unresponsive_engines")
    for pair in engines if isinstance(engines, list) else []:
        if isinstance(pair, list):
            yield text(": ".join(map(str, pair)))
