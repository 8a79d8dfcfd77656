"""Searches through JSON APIs: keys, pages of results, licences, and the errors they all share."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

from ganloom import params
from ganloom.sources import Context, SourceError, warn
from ganloom.sources.keywords import MAX_ANSWER, Hit, member, merged, parsed, text
from ganloom.tables import Candidate
from ganloom.web.client import Get, WebError, browser

CC0 = "https://creativecommons.org/publicdomain/zero/1.0/"
# In place of a key that a response repeats.
_HIDDEN = b"hidden"
# Errors of a key that is not known, or not any more.
_REFUSED = ("HTTP 401", "HTTP 403", "HTTP 410")

# Names of the licences whose codes do not form one.
_LICENCES = {"cc0": "CC0", "pdm": "Public Domain Mark"}
# Codes in the addresses of Creative Commons that differ from those above.
_TOOLS = {"zero": "cc0", "mark": "pdm"}


class Key(NamedTuple):
    """A key that an API requires.

    Attributes:
        variable: Environment variable that holds it.
        parameter: Parameter of the query that sends it.
        page: Page where it can be requested.
    """

    variable: str
    parameter: str
    page: str


class Service(NamedTuple):
    """An API.

    Attributes:
        name: Name in messages.
        key: Key that it requires.
        more: Remedy if it has fewer results than requested.
    """

    name: str
    key: Key | None = None
    more: str = "more keywords find more"


Query = dict[str, str | int]
# Requests an address with a query, and returns the parsed response.
Ask = Callable[[str, Query], dict[str, Any]]
# Yields the results of a keyword page by page.
Pages = Callable[[Ask, params.Keyword], Iterator[list[Hit]]]


def search(
    name: str,
    service: Service,
    keywords: Sequence[params.Keyword],
    context: Context,
    *queries: Pages,
) -> list[Candidate]:
    """Search an API for each keyword, and merge the results.

    A keyword with fewer results than requested causes a warning. An unreachable API is an error:
    repeating the search later is better than continuing without it. robots.txt is not consulted:
    it is meant for web crawlers, not for clients of an API.

    Args:
        name: Name of the source.
        service: The API.
        keywords: Keywords.
        context: Settings that all sources share.
        queries: Functions that yield the results, called one after the other for each keyword.

    Raises:
        SourceError: A key is missing, there is no response, or one that cannot be parsed.
    """
    secret = _secret(service.key) if service.key else ""
    network = context.network.model_copy(update={"robots": False})
    found: list[tuple[str, Hit]] = []
    with browser(network, MAX_ANSWER) as get:
        ask = _ask(get, service, secret)
        for keyword in keywords:
            hits = _first((pages(ask, keyword) for pages in queries), keyword.max)
            if not hits:
                warn(name, f"{service.name} has nothing for {keyword.text!r}")
            elif len(hits) < keyword.max:
                warn(
                    name,
                    f"{service.name} has {len(hits)} of {keyword.max} works for "
                    f"{keyword.text!r}; {service.more}",
                )
            found += [(keyword.text, hit) for hit in hits]
    return merged(name, found)


def _first(queries: Iterable[Iterator[list[Hit]]], most: int) -> list[Hit]:
    hits: dict[str, Hit] = {}
    for pages in queries:
        before: list[Hit] = []
        for page in pages:
            if page and page == before:  # the API repeats its last page, perhaps for ever
                break
            before = page
            for hit in page:
                hits.setdefault(hit.url, hit)
            if len(hits) >= most:
                return list(hits.values())[:most]
    return list(hits.values())


def _secret(key: Key) -> str:
    value = os.environ.get(key.variable, "").strip()
    if not value:
        raise SourceError(
            f"needs a key, which is free: get one at {key.page}, then: export {key.variable}=..."
        )
    if not re.fullmatch(r"[\w-]{6,200}", value, re.ASCII):
        # The value is not shown: it may be the key with a typing error.
        raise SourceError(
            f"the environment variable {key.variable} holds no key, which has 6 or more letters "
            f"and digits; get one at {key.page}"
        )
    return value


def _ask(get: Get, service: Service, secret: str) -> Ask:
    def ask(url: str, query: Query) -> dict[str, Any]:
        if service.key:
            query = {**query, service.key.parameter: secret}
        try:
            data = get(f"{url}?{urlencode(query)}").data
        except WebError as error:
            reason = f"cannot be asked now: {error}"
            if service.key and str(error).startswith(_REFUSED):
                reason = (
                    f"refuses the key in {service.key.variable} ({error}); get one at "
                    f"{service.key.page}"
                )
            reason = reason.replace(secret, _HIDDEN.decode()) if secret else reason
            # Without the cause, whose message may have the address with the key.
            raise SourceError(f"{service.name} {reason}") from None
        if secret:
            data = data.replace(secret.encode(), _HIDDEN)
        return parsed(data, service.name)

    return ask


def results(answer: dict[str, Any], service: Service, *keys: str) -> list[Any]:
    """Return the list of results ``answer[key][key]...``.

    Raises:
        SourceError: There is none.
    """
    found = member(answer, *keys)
    if not isinstance(found, list):
        told = (text(answer.get(key)) for key in ("detail", "error", "message"))
        reason = next(filter(None, told), f"no list of results ({'.'.join(keys)})")
        raise SourceError(f"{service.name} refuses: {reason}")
    return found


def licence(code: Any, version: Any) -> str:
    """Format a licence: ``by-sa``, ``4.0`` becomes ``CC BY-SA 4.0``; empty without a code."""
    name = text(code)
    if not name:
        return ""
    return f"{_LICENCES.get(name, f'CC {name.upper()}')} {text(version)}".strip()


def licence_at(url: Any) -> str:
    """Name the licence with an address at Creative Commons; empty for other addresses."""
    found = re.match(
        r"https?://creativecommons\.org/(?:licenses|publicdomain)/([a-z-]+)/(\d\.\d)(?:/|$)",
        text(url),
    )
    if not found:
        return ""
    code, version = found.groups()
    return licence(_TOOLS.get(code, code), version)
