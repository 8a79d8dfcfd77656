"""A list of addresses as CSV or JSONL, such as the data/manifest.csv of another project.

With such a list, a collection that may not be redistributed can be shared: each user downloads the
images from their original addresses. With the column `sha256`, a file that has changed since is
recorded as a failure. An unusable row is a candidate that fails with the reason.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ganloom import lists, params
from ganloom.sources import Context, FetchError, SourceError, candidate, warn
from ganloom.sources.keywords import MAX_URL, text, url_key, web_url
from ganloom.tables import Candidate

# Fields of a candidate, each with the names that a list may use for it.
_KNOWN = {
    "query": ("query",),
    "page": ("page", "foreign_landing_url", "descriptionurl"),
    "title": ("title",),
    "creator": ("creator", "author"),
    "licence": ("licence", "license"),
    "licence_url": ("licence_url", "license_url"),
    "label": ("label", "class"),
}

# Line number, and the row's values or the reason why it is unusable.
Line = tuple[int, Mapping[str, Any] | FetchError]


def search(name: str, spec: params.UrlsSource, context: Context) -> list[Candidate]:
    """List the addresses without duplicates; the failed rows of a manifest are included.

    Candidates have ``sha256``, empty if the list does not give it, and ``refusal``, the reason why
    a row of the list is unusable, empty if it is usable.

    Warns:
        SourceWarning: Some rows are unusable, or refer to local sources of another project.

    Raises:
        SourceError: The file cannot be read, or has no column ``url``.
    """
    path = Path(spec.path)
    found: dict[str, Candidate] = {}
    refused: list[Candidate] = []
    local = 0
    try:
        for number, known in _read(path):
            try:
                if isinstance(known, FetchError):
                    raise known
                if _is_local(known):
                    local += 1
                    continue
                new = _candidate(name, known)
                first = found.setdefault(new.url, new)
                if first.sha256 and new.sha256 and first.sha256 != new.sha256:
                    raise FetchError("another sha256 than an earlier row has for this address")
            except FetchError as error:
                refused.append(_refused(name, number, error))
            else:
                found[new.url] = _completed(first, new)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from error
    if local:
        warn(name, f"{local} rows of {path} are not on the web, but of that project's own sources")
    if refused:
        first_reason = refused[0].refusal
        warn(name, f"{len(refused)} rows of {path} cannot be used; the first: {first_reason}")
    return [*found.values(), *refused]


def _completed(first: Candidate, second: Candidate) -> Candidate:
    """Fill the empty fields of ``first`` from ``second``."""
    return replace(
        first,
        **{name: value for name, value in asdict(second).items() if not getattr(first, name)},
    )


def _is_local(known: Mapping[str, Any]) -> bool:
    """Tell whether a row of a manifest comes from a local source, such as a folder."""
    is_manifest = {"id", "source", "error"} <= known.keys() and bool(known.get("url"))
    return is_manifest and not str(known["url"]).lower().startswith(("http:", "https:"))


def _read(path: Path) -> Iterator[Line]:
    readers = {
        ".csv": _read_csv,
        ".tsv": _read_csv,
        ".jsonl": _read_jsonl,
        ".ndjson": _read_jsonl,
    }
    suffix = path.suffix.lower()
    if suffix not in readers:
        raise SourceError(f"path {path}: {suffix or 'no suffix'}; a list is .csv, .tsv or .jsonl")
    data = path.read_bytes()
    try:
        # Invalid UTF-8 is decoded to surrogates, so that it makes only its own row unusable.
        text = lists.decoded(data, "surrogateescape")
    except UnicodeDecodeError as error:
        raise SourceError(f"{path}: damaged {lists.encoding(data)}: {lists.WAY_OUT}") from error
    yield from readers[suffix](path, text)


def _read_csv(path: Path, text: str) -> Iterator[Line]:
    text, separator = lists.table(text, ["url"])
    lines = list(io.StringIO(text, newline=""))
    try:
        header, first = _header(lines, separator)
    except csv.Error as error:
        raise SourceError(f"{path}, line 1: {error}") from error
    if "url" not in header:
        raise SourceError(
            f"{path}, line 1: no column 'url', only {header}; the first line names the columns, "
            "separated by commas, semicolons or tabs"
        )
    for number, cells in _records(lines, first, len(header), separator):
        known = cells if isinstance(cells, FetchError) else dict(zip(header, cells, strict=True))
        yield number, known


def _header(lines: Sequence[str], separator: str) -> tuple[list[str], int]:
    """Return the names of the columns, and the number of the header's last line."""
    reader = csv.reader(lines, delimiter=separator)
    return next(filter(None, reader), []), reader.line_num


def _records(
    lines: Sequence[str], start: int, width: int, separator: str
) -> Iterator[tuple[int, list[str] | FetchError]]:
    """Yield the non-empty rows of a CSV table, each with the number of its first line.

    A stray quote merges many lines to one invalid row. Only the first line of an invalid row is
    rejected; reading continues with the next line.
    """
    while start < len(lines):
        rest = map(lines.__getitem__, range(start, len(lines)))
        reader = csv.reader(rest, delimiter=separator, strict=True)
        begun = start
        try:
            for cells in reader:
                if cells and len(cells) != width:
                    raise csv.Error(f"{len(cells)} cells, but the header has {width}")
                if cells:
                    yield begun + 1, _text_only(cells)
                begun = start + reader.line_num
        except csv.Error as error:
            yield begun + 1, FetchError(f"not a row of the table: {error}")
        start = begun + 1


def _text_only(cells: list[str]) -> list[str] | FetchError:
    try:
        "".join(cells).encode()
    except UnicodeEncodeError:
        return FetchError(f"not UTF-8 text: {lists.WAY_OUT}")
    return cells


def _read_jsonl(path: Path, text: str) -> Iterator[Line]:
    for number, line in enumerate(io.StringIO(text), start=1):
        if line.strip():
            yield number, _object(line)


def _object(line: str) -> Mapping[str, Any] | FetchError:
    try:
        line.encode()
        found = json.loads(line)
    except UnicodeEncodeError:
        return FetchError(f"not UTF-8 text: {lists.WAY_OUT}")
    except (ValueError, RecursionError) as error:
        return FetchError(f"not JSON: {error}")
    return found if isinstance(found, dict) else FetchError("not an object with a 'url'")


def _candidate(name: str, known: Mapping[str, Any]) -> Candidate:
    url = web_url(known.get("url"))
    if not known.get("url"):
        raise FetchError("no address")
    if not url:
        raise FetchError(
            f"not a web address: {_shown(known['url'])}; allowed: http(s) addresses without "
            f"credentials or blanks, of {MAX_URL} characters at most"
        )
    digest = str(known.get("sha256") or "").strip().lower()
    if digest and not re.fullmatch("[0-9a-f]{64}", digest):
        raise FetchError(f"not a sha256: {digest[:80]!r}; it has 64 hexadecimal digits")
    metadata = {
        column: next(filter(None, (_text(known.get(alias)) for alias in aliases)), "")
        for column, aliases in _KNOWN.items()
    }
    for column in ("page", "licence_url"):
        metadata[column] = web_url(metadata[column])
    return candidate(name, url_key(url), url, sha256=digest, refusal="", **metadata)


def _refused(name: str, number: int, error: FetchError) -> Candidate:
    kind, _, more = str(error).partition(": ")
    reason = f"{kind}: line {number}: {more}" if more else f"{kind}: line {number}"
    key = f"line-{number:06d}"
    return candidate(name, key, f"line:{number}", sha256="", refusal=text(reason))


def _shown(url: Any) -> str:
    """Format an invalid address, without credentials."""
    return repr(re.sub(r"//[^/@]*@", "//...@", str(url)[:200]))


def _text(value: Any) -> str:
    return text(str(value) if isinstance(value, int) else value)  # a class may be a number
