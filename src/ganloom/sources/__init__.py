"""Sources of images: one module per kind, each with ``search`` and, for local data, ``reader``.

``search(name, spec, context)`` lists candidates. ``reader(spec, context)`` returns a function from
the URL of a candidate to the bytes of its file. Kinds with web URLs have no reader, since the stage
``fetch`` downloads these itself.
"""

from __future__ import annotations

import collections
import importlib
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType
from typing import NamedTuple

from ganloom.params import Network, Source
from ganloom.tables import Candidate

Reader = Callable[[str], bytes]

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


_collected: ContextVar[list[str] | None] = ContextVar("collected", default=None)


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """Collect the messages of ``warn`` in this context, instead of issuing warnings.

    ``warnings.catch_warnings`` changes the state of all threads, and several search at a time.
    """
    messages: list[str] = []
    token = _collected.set(messages)
    try:
        yield messages
    finally:
        _collected.reset(token)


def warn(name: str, message: str) -> None:
    """Warn that the source ``name`` provides less than requested."""
    text = f"sources.{name}: {message}"
    collected = _collected.get()
    if collected is None:
        warnings.warn(text, SourceWarning, stacklevel=3)
    else:
        collected.append(text)


def module(kind: str) -> ModuleType:
    """Import the module of a kind of source; modules of other kinds are not imported."""
    return importlib.import_module(f"{__name__}.{kind}")


def candidate(name: str, key: str, url: str, *, label: str = "", **known: str) -> Candidate:
    """Build a candidate of the source ``name``; ``known`` are further fields.

    The label is normalised to composed Unicode (NFC). macOS decomposes file names, so ``café`` from
    there would otherwise be another class than ``café`` from elsewhere.
    """
    composed = unicodedata.normalize("NFC", label)
    return Candidate(id=f"{name}/{key}", source=name, url=url, label=composed, **known)


def candidates(name: str, spec: Source, context: Context) -> list[Candidate]:
    """List the candidates of a source, sorted by id.

    A search without results is a warning, not an error: the other sources continue.

    Warns:
        SourceWarning: The source provides less than requested.

    Raises:
        SourceError: The source cannot be read, is empty, or has duplicate ids.
    """
    try:
        found: list[Candidate] = module(spec.kind).search(name, spec, context)
    except SourceError as error:
        raise SourceError(f"sources.{name}: {error}") from error
    if not found and not getattr(spec, "keywords", None):
        raise SourceError(f"sources.{name}: {spec.path!r} holds no pictures that fit these params")
    for most, times in collections.Counter(row.id for row in found).most_common(1):
        if times > 1:
            raise SourceError(f"sources.{name}: {times} candidates have the id {most!r}")
    return sorted(found, key=lambda row: row.id)
