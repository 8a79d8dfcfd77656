"""Results of search engines in files: pages and network records that a person saved, and tables.

A network record (HAR) is a JSON file with the bodies of all responses, which may be hundreds of
megabytes. The bodies are read one by one from the mapped file without parsing the whole, so that
the memory is bounded, and a file that is cut off still gives what it has.
"""

from __future__ import annotations

import base64
import binascii
import json
import mmap
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from ganloom import tables
from ganloom.sources import SourceError, warn
from ganloom.sources.keywords import Hit, merged, text, web_url
from ganloom.tables import Candidate, SearchResult

# From the text of a page or response to its results, by a key that is unique in the engine.
Parser = Callable[[str], Mapping[str, SearchResult]]

MAX_TEXT = 64 << 20  # bytes of a page, or of a body in a network record
HOW = "docs/sources.md explains how to save a page"

_PAGES = {".html", ".htm"}
_SUFFIXES = _PAGES | {".har", ".csv"}
# Possessive quantifiers keep no positions to go back to, which would need memory.
_MEMBER = re.compile(rb'"(url|text)"\s*+:\s*+("(?:[^"\\]++|\\.)*+")', re.DOTALL)
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]++={0,2}\s*+")
_SEARCHES = ("/search", "/images/search", "/images/async")  # paths of result pages
_DECODER = json.JSONDecoder(strict=False)


def search(name: str, path: str, parse: Parser) -> list[Candidate]:
    """List the results in the files of a folder, or in one file.

    Args:
        name: Name of the source.
        path: The folder or file.
        parse: Parser of the engine.

    Warns:
        SourceWarning: A file has no results.

    Raises:
        SourceError: There are no results at all; the message gives the reason for each file.
    """
    found: list[tuple[str, Hit]] = []
    reasons: list[str] = []
    for file in _files(Path(path)):
        try:
            rows = results(file, parse)
        except SourceError as error:
            reasons.append(str(error))
            continue
        found += [(row.query, Hit(url=row.url, page=row.page, title=row.title)) for row in rows]
    if not found:
        raise SourceError("; ".join(reasons) or f"{path} has no *.html, *.har or *.csv; {HOW}")
    for reason in reasons:
        warn(name, reason)
    return merged(name, found)


def results(file: Path, parse: Parser) -> list[SearchResult]:
    """Read the results in a file, each once, with the keywords that found them.

    Raises:
        SourceError: There are none, or the file cannot be read.
    """
    if file.suffix.lower() == ".csv":
        rows: Iterable[SearchResult] = _table(file)
    else:
        rows = (
            replace(result, query=query)
            for query, content in contents(file)
            for result in parse(content).values()
        )
    unique = {(row.query, row.url): row for row in rows if row.url}
    if not unique:
        raise SourceError(
            f"{file}: no results with an address; is it a page of results, scrolled until there "
            f"were some? {HOW}"
        )
    return list(unique.values())


def contents(file: Path) -> Iterator[tuple[str, str]]:
    """Yield keywords and text of a page, or of each response in a network record.

    Raises:
        SourceError: The file cannot be read, or is neither.
    """
    suffix = file.suffix.lower()
    try:
        if suffix == ".har":
            yield from _bodies(file)
        elif suffix in _PAGES:
            yield _page(file)
        elif suffix in (".mhtml", ".mht"):
            raise SourceError(f"{file}: an archive without scripts; save the page as 'complete'")
        else:
            raise SourceError(f"{file}: neither a page (.html) nor a network record (.har); {HOW}")
    except OSError as error:
        raise SourceError(f"{file}: cannot be read: {error.strerror}") from error


class Collection:
    """Results of searches in a table, which is rewritten whenever there are more."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._rows = {(row.query, row.url): row for row in _table(file)} if file.exists() else {}

    def add(self, query: str, found: Iterable[SearchResult], most: int) -> None:
        """Add the new ones of the results, until there are ``most`` of these keywords."""
        before = len(self._rows)
        left = most - self.count(query)
        for result in found:
            if left > 0 and result.url and (query, result.url) not in self._rows:
                self._rows[query, result.url] = replace(result, query=query)
                left -= 1
        if len(self._rows) > before:
            part = self.file.with_suffix(".part")
            tables.write(part, SearchResult, self._rows.values())
            part.replace(self.file)

    def count(self, query: str) -> int:
        """Count the results of keywords."""
        return sum(row.query == query for row in self._rows.values())


# --- files ---------------------------------------------------------------------------------------


def _files(path: Path) -> list[Path]:
    """List the files to read; what a browser saved next to a page (``NAME_files``) is left out."""
    if not path.is_dir():
        return [path]
    return sorted(
        file
        for file in path.rglob("*")
        if file.suffix.lower() in {*_SUFFIXES, ".mhtml", ".mht"}
        and file.is_file()
        and not any(
            part.startswith(".") or part.endswith("_files") for part in file.relative_to(path).parts
        )
    )


def _table(file: Path) -> list[SearchResult]:
    try:
        rows = tables.read(file, SearchResult)
    except OSError as error:
        raise SourceError(f"{file}: cannot be read: {error.strerror}") from error
    except tables.TableError as error:
        raise SourceError(f"{error}; other lists are read by the kind `urls`") from error
    return [replace(row, url=web_url(row.url), page=web_url(row.page)) for row in rows]


def _page(file: Path) -> tuple[str, str]:
    with file.open("rb") as opened:
        data = opened.read(MAX_TEXT + 1)
    if len(data) > MAX_TEXT:
        raise SourceError(f"{file}: larger than {MAX_TEXT >> 20} MiB: not a page of results")
    content = data.decode("utf-8", "replace")
    # Chrome and Edge write the address; other browsers name the file after the title.
    address = re.search(r"<!-- saved from url=\(\d{1,9}\)(\S{1,2048})", content[:4096])
    query = _keywords(address[1]) if address else ""
    return query or text(file.stem.rpartition(" - ")[0] or file.stem), content


def _bodies(file: Path) -> Iterator[tuple[str, str]]:
    query, is_empty = "", True
    with file.open("rb") as opened:
        # Not closed here: that is refused as long as a match refers to it.
        size = opened.seek(0, 2)
        data = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
    for member in _MEMBER.finditer(data):
        if member.end(2) - member.start(2) > MAX_TEXT:
            continue
        try:
            value = _DECODER.decode(member[2].decode("utf-8", "replace"))
        except ValueError:
            continue
        if member[1] == b"url":
            query = _keywords(value) or query
        else:
            is_empty = False
            yield query, _plain(value)
    if is_empty:
        raise SourceError(
            f"{file}: a record without the bodies of responses; export it with content, as HAR"
        )


def _keywords(address: str) -> str:
    """The keywords in the address of a result page; empty of other addresses."""
    try:
        parts = urlsplit(address)
        given = parse_qs(parts.query).get("q", [""]) if parts.path in _SEARCHES else [""]
    except ValueError:
        return ""
    return text(given[0])


def _plain(body: str) -> str:
    """Decode a body in Base64; no page or response of a search looks like that."""
    if not _BASE64.fullmatch(body):
        return body
    try:
        return base64.b64decode(body).decode("utf-8", "replace")
    except binascii.Error:
        return body
