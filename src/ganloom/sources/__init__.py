"""Where pictures come from: one module per kind, each with ``search`` and ``reader``.

``search(name, spec, context)`` lists candidates as rows with the columns ``CANDIDATE``, and more
of its own. ``reader(spec, context)`` gives a function from a candidate's url to the file's bytes;
kinds whose urls are on the web have none, since the stage ``fetch`` downloads these itself. Where a
row tells the file's ``sha256`` or ``bytes``, it is fetched only if that still holds; where it has a
``refusal``, it fails with that reason.
"""

from __future__ import annotations

import collections
import csv
import importlib
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from ganloom.params import KeywordSource, Network, Source

Row = dict[str, str]
Reader = Callable[[str], bytes]

CANDIDATE = (
    "id",
    "source",
    "query",
    "url",
    "page",
    "title",
    "creator",
    "licence",
    "licence_url",
    "label",
)


# Names that promise a picture. One that cannot be decoded (or is of a kind that is not read) is
# listed all the same, so that it fails with a reason instead of vanishing.
NAMED_AS_PICTURE = re.compile(
    r"\.(jpe?g|jpe|jfif|a?png|gif|webp|bmp|dib|tiff?|p[bfgnp]m|avifs?|hei[cf]s?|hif"
    r"|jp2|j2[ck]|jp[cfmx]|jxl|jxr|wdp|svgz?|ps[bd]|xcf|dcm|exr|hdr|qoi|tga"
    r"|cr[23w]|nef|nrw|arw|sr[2fw]|dng|orf|rw[2l]|raf|pef|x3f|3fr|iiq|erf|mrw|kdc|dcr)$",
    re.IGNORECASE,
)


class Context(NamedTuple):
    """What a source may need beside its own parameters: ``params.seed`` and the section network."""

    seed: int
    network: Network


class SourceError(RuntimeError):
    """A source cannot be used; the message says why and what to do."""


class FetchError(RuntimeError):
    """One candidate cannot be fetched; the message is the reason that the manifest records.

    What stands before the first colon is the kind of reason, by which failures are counted.
    """


class SourceWarning(UserWarning):
    """A source gives less than was asked for; the message says why and what to do."""


def warn(name: str, message: str) -> None:
    """Tell that the source ``name`` gives less than was asked for, and go on."""
    warnings.warn(f"sources.{name}: {message}", SourceWarning, stacklevel=3)


def module(kind: str) -> ModuleType:
    """The module of a kind of source; only the kinds in use are imported."""
    return importlib.import_module(f"{__name__}.{kind}")


def candidate(name: str, key: str, url: str, **known: str) -> Row:
    """A row for a candidate of the source ``name``; what is not ``known`` stays empty.

    The label is composed Unicode (NFC): macOS decomposes names of files, and ``café`` from there
    would be another class than ``café`` from elsewhere.
    """
    row = dict.fromkeys(CANDIDATE, "") | {"id": f"{name}/{key}", "source": name, "url": url} | known
    return row | {"label": unicodedata.normalize("NFC", row["label"])}


def candidates(name: str, spec: Source, context: Context) -> list[Row]:
    """List what a source offers, sorted by id.

    A search that finds nothing is not an error but a warning: the other sources go on.

    Warns:
        SourceWarning: it offers less than was asked for.

    Raises:
        SourceError: it cannot be read, offers nothing or offers the same id twice.
    """
    try:
        rows: list[Row] = module(spec.kind).search(name, spec, context)
    except SourceError as error:
        raise SourceError(f"sources.{name}: {error}") from error
    if not rows and not isinstance(spec, KeywordSource):
        raise SourceError(f"sources.{name}: {spec.path!r} holds no pictures that fit these params")
    for most, times in collections.Counter(row["id"] for row in rows).most_common(1):
        if times > 1:
            raise SourceError(f"sources.{name}: {times} candidates have the id {most!r}")
    return sorted(rows, key=lambda row: row["id"])


def write_rows(path: Path, rows: Iterable[Row], columns: Sequence[str]) -> None:
    """Write a CSV table; columns that a row lacks stay empty, others are an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def read_rows(path: Path, columns: Sequence[str] = ()) -> list[Row]:
    """Read a CSV table, every cell as text.

    Args:
        path: The table.
        columns: That it must have.

    Raises:
        SourceError: it cannot be used; the message names the line.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        table = csv.DictReader(file, strict=True)
        try:
            for column in columns:
                if column not in (table.fieldnames or ()):
                    raise SourceError(
                        f"{path}, line 1: no column {column!r}, only {table.fieldnames}"
                    )
            rows = []
            for row in table:
                if None in row or None in row.values():
                    raise SourceError(
                        f"{path}, line {table.line_num}: more or fewer cells than the header"
                    )
                rows.append(row)
        except csv.Error as error:
            raise SourceError(f"{path}, line {table.reader.line_num}: {error}") from error
        except UnicodeDecodeError as error:
            raise SourceError(f"{path}: cannot be read as UTF-8 text: {error}") from error
    return rows
