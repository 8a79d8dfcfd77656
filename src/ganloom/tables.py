"""CSV tables of text: a dataclass per table, whose fields are its columns.

A field with the default None is an optional column. All cells are strings.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Row = TypeVar("Row", bound="DataclassInstance")


class TableError(ValueError):
    """A table is invalid; the message gives its path and the line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """Where an image comes from: the columns that candidates and manifest share.

    Attributes:
        id: Name of the source, a slash, and a key that is unique in the source.
        source: Name of the source.
        query: Keywords that found it.
        url: Address of the file; the source reads it if the scheme is not http or https.
        page: Page on which it was published.
        title: Title or file name.
        creator: Author.
        licence: Name of the licence.
        licence_url: Address of the licence.
        label: Class.
    """

    id: str
    source: str
    query: str = ""
    url: str = ""
    page: str = ""
    title: str = ""
    creator: str = ""
    licence: str = ""
    licence_url: str = ""
    label: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate(Provenance):
    """An image that a source offers: a row of ``data/candidates/<source>.csv``.

    Attributes:
        sha1: SHA-1 of the original, by which Wikimedia Commons finds it.
        sha256: Expected hash of the file.
        bytes: Expected size of the file.
        refusal: Reason for which it fails without a download.
        design: Identifier of the design, for images drawn by ganloom.
        fault: Kind of fault, for images drawn by ganloom.
    """

    sha1: str | None = None
    sha256: str | None = None
    bytes: str | None = None
    refusal: str | None = None
    design: str | None = None
    fault: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchResult:
    """A result of a search engine: a row of ``data/searches/<source>.csv``.

    Attributes:
        url: Address of the original file; empty if the engine does not give it.
        page: Page on which it was published.
        title: Title of that page.
        width: Width of the original in px, as the engine gives it.
        height: Its height in px.
        query: Keywords that found it.
    """

    url: str
    page: str = ""
    title: str = ""
    width: str = ""
    height: str = ""
    query: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ManifestRow(Provenance):
    """A candidate after ``fetch``: a row of ``data/manifest.csv``.

    ``error`` is empty if the file was fetched. If it was not, ``sha256`` is the expected hash.
    """

    error: str = ""
    sha256: str = ""
    bytes: str = ""
    width: str = ""
    height: str = ""
    mime: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class LogRow:
    """How a candidate was fetched: a row of ``data/fetch_log.csv``."""

    id: str
    retrieved_at: str
    status: str
    attempts: str
    seconds: str
    http_status: str
    taken_from: str
    final_url: str


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptRow:
    """An original that is used: a row of ``data/kept.csv``; ``split`` is train or holdout."""

    sha256: str
    label: str
    split: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DroppedRow:
    """An original that is not used: a row of ``data/dropped.csv`` or ``data/slices/unused.csv``."""

    sha256: str
    reason: str


def columns(kind: type[Row]) -> list[str]:
    """List the columns that every table of this kind has."""
    return [field.name for field in fields(kind) if field.default is not None]


def write(path: Path, kind: type[Row], rows: Iterable[Row]) -> None:
    """Write a table; an optional column is left out if it is None in all rows."""
    cells = [asdict(row) for row in rows]
    optional = [field.name for field in fields(kind) if field.default is None]
    header = columns(kind) + [
        name for name in optional if any(row[name] is not None for row in cells)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, header, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        table.writerows(cells)


def read(path: Path, kind: type[Row]) -> list[Row]:
    """Read a table; columns that are no fields of ``kind`` are ignored.

    Raises:
        FileNotFoundError: There is no such file.
        TableError: The table lacks a column, or is not valid CSV.
    """
    known = [field.name for field in fields(kind)]
    with path.open(encoding="utf-8-sig", newline="") as file:
        table = csv.DictReader(file, strict=True)
        try:
            header = table.fieldnames or []
            for column in columns(kind):
                if column not in header:
                    raise TableError(f"{path}, line 1: no column {column!r}, only {header}")
            used = [name for name in known if name in header]
            rows = []
            for row in table:
                if None in row or None in row.values():
                    raise TableError(
                        f"{path}, line {table.line_num}: more or fewer cells than the header"
                    )
                rows.append(kind(**{name: row[name] for name in used}))
        except csv.Error as error:
            raise TableError(f"{path}, line {table.reader.line_num}: {error}") from error
        except UnicodeDecodeError as error:
            raise TableError(f"{path}: cannot be read as UTF-8 text: {error}") from error
    return rows
