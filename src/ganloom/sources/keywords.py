"""Shared code of the sources that search the web: what they find, and its validation."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from ganloom.sources import SourceError, candidate
from ganloom.tables import Candidate

MAX_ANSWER = 8 << 20  # bytes of a response
MAX_URL = 2048
MAX_TEXT = 500


@dataclass(frozen=True, kw_only=True)
class Hit:
    """What a service says about an image that it found; see ``Candidate``."""

    url: str
    page: str = ""
    title: str = ""
    creator: str = ""
    licence: str = ""
    licence_url: str = ""
    sha1: str | None = None
    bytes: str | None = None


def merged(name: str, found: Iterable[tuple[str, Hit]]) -> list[Candidate]:
    """Merge the results of several keywords to one candidate per URL.

    The metadata come from the first keyword that finds an image; ``query`` lists all of them. The
    id is derived from the URL, so it does not depend on the other results.
    """
    hits: dict[str, Hit] = {}
    keywords: dict[str, dict[str, None]] = defaultdict(dict)  # ordered sets
    for keyword, hit in found:
        hits.setdefault(hit.url, hit)
        keywords[hit.url][keyword] = None
    return [
        candidate(
            name,
            url_key(url),
            query="; ".join(keywords[url]),
            **{key: value for key, value in asdict(hit).items() if value is not None},
        )
        for url, hit in hits.items()
    ]


def url_key(url: str) -> str:
    """Hash a URL to a short name of 64 bits, in hexadecimal."""
    return hashlib.sha256(url.encode()).hexdigest()[:16]


def web_url(value: Any) -> str:
    """Return ``value`` if it is a plain http(s) URL, else an empty string.

    URLs with credentials, blanks or control characters are rejected.
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


def escaped_url(value: Any, own: Sequence[str]) -> str:
    """Return the address of an image as ``web_url``, with blanks and the like percent-encoded.

    Args:
        value: Address as a search engine gives it.
        own: Domains of the search engine, such as those of its thumbnails: empty for these.
    """
    if not isinstance(value, str):
        return ""
    url = web_url(re.sub(r'[ "<>\\^`{|}]', lambda match: quote(match[0]), value.strip()))
    host = (urlsplit(url).hostname or "").rstrip(".")
    return "" if any(host == name or host.endswith(f".{name}") for name in own) else url


def text(value: Any) -> str:
    """Convert to one line of text, of bounded length and printable; empty if it is not a string."""
    if not isinstance(value, str):
        return ""
    printable = "".join(char if char.isprintable() else " " for char in value[: 4 * MAX_TEXT])
    return " ".join(printable.split())[:MAX_TEXT]


def parsed(data: bytes, who: str) -> dict[str, Any]:
    """Parse a response as a JSON object.

    Raises:
        SourceError: The response is something else.
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
    """Yield the objects of a list; other items, or other values than a list, are skipped."""
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))


def member(value: Any, *keys: str) -> Any:
    """Return ``value[key][key]...``, or None if a key is missing."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value
