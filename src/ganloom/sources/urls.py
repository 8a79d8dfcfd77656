"""A list of addresses: CSV or JSONL, such as an earlier data/manifest.csv.

How a collection is given on that may not be redistributed: who has the list fetches the pictures
from where they are, and with `sha256` gets the same bytes or a recorded failure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ganloom import params
from ganloom.sources import Context, Row, SourceError, candidate, numbered_rows, warn
from ganloom.sources.keywords import MAX_URL, text, url_key, web_url

# Columns of the table of candidates, and under which names a list may have them.
_KNOWN = {
    "query": ("query",),
    "page": ("page", "foreign_landing_url", "descriptionurl"),
    "title": ("title",),
    "creator": ("creator", "author"),
    "licence": ("licence", "license"),
    "licence_url": ("licence_url", "license_url"),
    "label": ("label", "class"),
}
_MAX_LINE = 1 << 20

Line = tuple[int, Mapping[str, Any]]


def search(name: str, spec: params.UrlsSource, context: Context) -> list[Row]:
    """List the addresses, each once; what an earlier manifest failed to fetch comes again.

    Rows also tell ``sha256``, empty where the list does not say it.

    Raises:
        SourceError: the list cannot be read; the message names the line.
    """
    path = Path(spec.path)
    rows: dict[str, Row] = {}
    lines: dict[str, int] = {}
    local = 0
    try:
        for number, known in _read(path):
            if _is_local(known):
                local += 1
                continue
            row = _row(name, known, f"{path}, line {number}")
            first = rows.setdefault(row["url"], row)
            if first["sha256"] and row["sha256"] and first["sha256"] != row["sha256"]:
                raise SourceError(
                    f"{path}, line {number}: another sha256 than in line {lines[row['url']]}"
                )
            lines.setdefault(row["url"], number)
            rows[row["url"]] = {key: first[key] or row[key] for key in first}
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: cannot be read as UTF-8 text: {error}") from error
    if local:
        warn(name, f"{local} rows of {path} are not on the web, but of that project's own sources")
    return list(rows.values())


def _is_local(known: Mapping[str, Any]) -> bool:
    """Whether a row is a manifest's, of a source such as a folder, which only that project has."""
    is_manifest = {"id", "source", "error"} <= known.keys()
    return is_manifest and not str(known["url"]).lower().startswith(("http:", "https:"))


def _read(path: Path) -> Iterator[Line]:
    match path.suffix.lower():
        case ".csv":
            return numbered_rows(path, ["url"])
        case ".jsonl" | ".ndjson":
            return _read_jsonl(path)
        case suffix:
            raise SourceError(f"path {path}: {suffix or 'no suffix'}; a list is .csv or .jsonl")


def _read_jsonl(path: Path) -> Iterator[Line]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(iter(lambda: file.readline(_MAX_LINE), ""), start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise SourceError(f"{path}, line {number}: not JSON: {error}") from error
            if not isinstance(row, dict):
                raise SourceError(f"{path}, line {number}: not an object with a 'url'")
            yield number, row


def _row(name: str, known: Mapping[str, Any], where: str) -> Row:
    url = web_url(known.get("url"))
    if not url:
        raise SourceError(
            f"{where}: url: {str(known.get('url'))[:200]!r} is not possible; allowed: http(s) "
            f"addresses without credentials or blanks, of {MAX_URL} characters at most"
        )
    digest = str(known.get("sha256") or "").strip().lower()
    if digest and not re.fullmatch("[0-9a-f]{64}", digest):
        raise SourceError(f"{where}: sha256: {digest[:80]!r} are not 64 hexadecimal digits")
    told = {
        column: next(filter(None, (_text(known.get(alias)) for alias in aliases)), "")
        for column, aliases in _KNOWN.items()
    }
    for column in ("page", "licence_url"):
        told[column] = web_url(told[column])
    return candidate(name, url_key(url), url, sha256=digest, **told)


def _text(value: Any) -> str:
    return text(str(value) if isinstance(value, int) else value)  # a class may be a number
