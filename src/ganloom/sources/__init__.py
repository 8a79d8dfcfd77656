"""Sources of images: one module per kind, each with ``search`` and, for local data, ``reader``.

``search(name, spec, context)`` lists candidates as rows with the columns ``CANDIDATE``, and
optional columns of its own. ``reader(spec, context)`` returns a function from a candidate's URL to
the bytes of its file. Kinds with web URLs have no reader, since the stage ``fetch`` downloads these
itself. If a row has ``sha256`` or ``bytes``, the fetched file must match them; a row with a
``refusal`` fails with that reason.
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


# File names of images, also in formats that cannot be decoded: such a file is listed and fails with
# a reason, instead of being skipped silently.
NAMED_AS_PICTURE = re.compile(
    r"\.(jpe?g|jpe|jfif|mpo|a?png|gif|webp|bmp|dib|tiff?|p[abfgnp]m|avifs?|hei[cf]s?|hif"
    r"|jp2|j2[ck]|jp[cfmx]|jxl|jls|jxr|wdp|svgz?|ps[bdp]|pspimage|xcf|kra|ora|cdr|dcm|exr|hdr|qoi"
    r"|tga|icb|vda|vst|[pd]cx|sgi|x[bp]m|pict?|pct|pcd|ilbm|lbm|dpx|jbig2?|jb2|fl[ci]|dds|ktx2?"
    r"|vtf|blp|miff|nii|nrrd|fits|ico|icns|cur|[ew]mf|eps|djvu?|bpg|flif|[jm]ng"
    r"|cr[23w]|nef|nrw|arw|sr[2fw]|dng|orf|rw[2l]|raf|pef|x3f|3fr|iiq|erf|mrw|kdc|dcr)$",
    re.IGNORECASE,
)


class Context(NamedTuple):
    """Settings that all sources share: ``params.seed`` and the section ``network``."""

    seed: int
    network: Network


class SourceError(RuntimeError):
    """A source cannot be used; the message gives the reason and a remedy."""


class FetchError(RuntimeError):
    """A candidate cannot be fetched; the message is recorded in the manifest.

    The text before the first colon is the category under which failures are counted.
    """


class SourceWarning(UserWarning):
    """A source provides less than requested; the message gives the reason and a remedy."""


def warn(name: str, message: str) -> None:
    """Warn that the source ``name`` provides less than requested."""
    warnings.warn(f"sources.{name}: {message}", SourceWarning, stacklevel=3)


def module(kind: str) -> ModuleType:
    """Import the module of a kind of source; modules of other kinds are not imported."""
    return importlib.import_module(f"{__name__}.{kind}")


def candidate(name: str, key: str, url: str, **known: str) -> Row:
    """Build the row of a candidate of the source ``name``; columns that are not given are empty.

    The label is normalised to composed Unicode (NFC). macOS decomposes file names, so ``café`` from
    there would otherwise be another class than ``café`` from elsewhere.
    """
    row = dict.fromkeys(CANDIDATE, "") | {"id": f"{name}/{key}", "source": name, "url": url} | known
    return row | {"label": unicodedata.normalize("NFC", row["label"])}


def candidates(name: str, spec: Source, context: Context) -> list[Row]:
    """List the candidates of a source, sorted by id.

    A search without results is a warning, not an error: the other sources continue.

    Warns:
        SourceWarning: The source provides less than requested.

    Raises:
        SourceError: The source cannot be read, is empty, or has duplicate ids.
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
    """Write a CSV table; missing cells are empty, unknown columns are an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def read_rows(path: Path, columns: Sequence[str] = ()) -> list[Row]:
    """Read a CSV table; all cells are strings.

    Args:
        path: Path of the table.
        columns: Required columns.

    Raises:
        SourceError: The table is invalid; the message gives the line.
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
