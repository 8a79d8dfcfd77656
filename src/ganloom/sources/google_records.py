"""The results of Google Images in its pages, and in the responses that scrolling causes.

Pages of 2026 have a JSON array for each result, in which the height precedes the width:

    [0, ID, [THUMBNAIL, HEIGHT, WIDTH], [ORIGINAL, HEIGHT, WIDTH], ..., {"2003": [null, REFERENCE,
    PAGE, TITLE, ...], ...}]

It stands in an inline script, or with escaped quotes in a string, and usually more than once.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from ganloom.sources.keywords import escaped_url, text, web_url
from ganloom.tables import SearchResult

OWN = ("google.com", "gstatic.com")
MAX_RECORD = 1 << 16  # characters
MAX_SIDE = 100_000  # px

# The beginning of a record up to the host of its thumbnail; the quotes are escaped up to 3 times.
_START = re.compile(
    r'\[[01],(\\{0,7})"([\w-]{5,40})\1",\[\1"https?:(?:\\{0,8}/){2}encrypted-tbn', re.ASCII
)
_TILE = re.compile(r'data-docid="([\w-]{5,40})"', re.ASCII)
_DECODER = json.JSONDecoder(strict=False)


class Counts(NamedTuple):
    """Numbers of results in a page, which tell whether the format is still known.

    Attributes:
        tiles: Tiles that the page shows.
        records: Results whose record was found.
        addresses: Records with the address of the original.
        pages: Records with the page on which it was published.
        sizes: Records with the size of the original.
    """

    tiles: int
    records: int
    addresses: int
    pages: int
    sizes: int


def parse(content: str) -> dict[str, SearchResult]:
    """Find the results in a text, each once, by Google's id.

    A result whose address is missing or unusable has an empty ``url``.
    """
    found: dict[str, SearchResult] = {}
    starts = itertools.chain(_START.finditer(content), (None,))
    for start, following in itertools.pairwise(starts):
        assert start
        key = start[2]
        if key in found and found[key].url:
            continue
        end = following.start() if following else len(content)
        record = content[start.start() : min(end, start.start() + MAX_RECORD)]
        for _ in range(len(start[1]).bit_length()):  # 1, 3, 7 backslashes: escaped 1, 2, 3 times
            record = re.sub(r'\\(["\\/])', r"\1", record)
        try:
            value, _ = _DECODER.raw_decode(record)
        except (ValueError, RecursionError):
            value = []
        found[key] = _result(value)
    return found


def count(contents: Iterable[str]) -> Counts:
    """Count the results in texts, each result once."""
    tiles: set[str] = set()
    found: dict[str, SearchResult] = {}
    for content in contents:
        tiles |= set(_TILE.findall(content))
        for key, result in parse(content).items():
            if result.url or key not in found:
                found[key] = result
    return Counts(
        tiles=len(tiles),
        records=len(found),
        addresses=sum(bool(result.url) for result in found.values()),
        pages=sum(bool(result.page) for result in found.values()),
        sizes=sum(bool(result.width and result.height) for result in found.values()),
    )


def _result(record: list[Any]) -> SearchResult:
    """Read a record; what it lacks is empty."""
    url, height, width = _items(record, 3, 3)
    more = next((item for item in record if isinstance(item, dict)), {})
    _, _, page, title = _items([more.get("2003")], 0, 4)
    page = web_url(_unescaped(page))
    url = escaped_url(_unescaped(url), OWN)
    return SearchResult(
        url=url if url != page else "",  # the page itself is no image
        page=page,
        title=text(_unescaped(title)),
        width=_pixels(width),
        height=_pixels(height),
    )


def _items(record: list[Any], index: int, number: int) -> list[Any]:
    """The first items of ``record[index]``; None for each that is missing."""
    inner = record[index] if index < len(record) and isinstance(record[index], list) else []
    return [*inner[:number], *[None] * (number - len(inner))]


def _unescaped(value: Any) -> Any:
    r"""Replace the ``\uXXXX`` that are left in a text that was escaped twice."""
    if not isinstance(value, str):
        return value
    return re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), value)


def _pixels(value: Any) -> str:
    return str(value) if type(value) is int and 0 < value < MAX_SIDE else ""
