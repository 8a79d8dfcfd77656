"""What the kinds that search the web share: reading answers that nobody vouches for."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from ganloom import params
from ganloom.sources import Context, Row, SourceError, candidate, warn
from ganloom.web.client import Get, browser

MAX_ANSWER = 8 << 20  # bytes of a page of results
MAX_URL = 2048
MAX_TEXT = 500


def ask_api(
    name: str,
    who: str,
    keywords: Sequence[params.Keyword],
    context: Context,
    take: Callable[[Get, params.Keyword], list[Row]],
) -> list[Row]:
    """Candidates of the source ``name`` from an API, whose robots.txt is for crawlers of pages.

    Args:
        name: The source.
        who: Its name to people.
        keywords: Each is asked for; one that finds nothing gives a warning.
        context: How the network may be used.
        take: Asks for one keyword.
    """
    network = context.network.model_copy(update={"robots": False})
    found: list[tuple[str, Row]] = []
    with browser(network, MAX_ANSWER) as get:
        for keyword in keywords:
            rows = take(get, keyword)
            if not rows:
                warn(name, f"{who} has nothing for {keyword.text!r}")
            found += [(keyword.text, row) for row in rows]
    return merged(name, found)


def merged(name: str, found: Iterable[tuple[str, Row]]) -> list[Row]:
    """Candidates from (keyword, what is known), one per url.

    The first keyword that finds a picture tells about it; ``query`` names them all. The id is made
    from the url, so that it stays the same whatever else is found.
    """
    rows: dict[str, Row] = {}
    for keyword, known in found:
        row = rows.get(known["url"])
        if row is None:
            rows[known["url"]] = candidate(name, url_key(known["url"]), query=keyword, **known)
        elif keyword not in row["query"].split("; "):
            row["query"] += f"; {keyword}"
    return list(rows.values())


def url_key(url: str) -> str:
    """A short name for a url: 64 bits of its hash."""
    return hashlib.sha256(url.encode()).hexdigest()[:16]


def web_url(value: Any) -> str:
    """``value`` if it is a plain http(s) url, else an empty text.

    Urls with credentials, blanks or control characters are none.
    """
    if not isinstance(value, str) or len(value) > MAX_URL or not value.isprintable():
        return ""
    if re.search(r'[\s"<>\\^`{|}]', value):
        return ""
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return ""
    return value if usable and "@" not in parts.netloc else ""


def text(value: Any) -> str:
    """One line of text, bounded, without control characters; empty for what is no text."""
    if not isinstance(value, str):
        return ""
    printable = "".join(char if char.isprintable() else " " for char in value[: 4 * MAX_TEXT])
    return " ".join(printable.split())[:MAX_TEXT]


def parsed(data: bytes, who: str) -> dict[str, Any]:
    """The JSON object in an answer.

    Raises:
        SourceError: the answer is something else.
    """
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        start = text(data[:80].decode("utf-8", "replace"))
        raise SourceError(f"{who} did not answer with JSON, but: {start!r}") from None
    if not isinstance(answer, dict):
        raise SourceError(f"{who} answered with {type(answer).__name__}, not an object")
    return answer


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """The objects in a list; whatever else is in it, or stands in its place, is skipped."""
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))


def member(value: Any, *keys: str) -> Any:
    """``value[key][key]...``, or None where there is no such thing."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value
