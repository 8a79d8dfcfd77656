"""A folder of pictures, read recursively; the first sub-folder is the class."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes, urlsplit

from ganloom import params
from ganloom.images import formats
from ganloom.sources import (
    NAMED_AS_PICTURE,
    Context,
    FetchError,
    Reader,
    Row,
    SourceError,
    candidate,
)


def search(name: str, spec: params.FolderSource, context: Context) -> list[Row]:
    """List files that are pictures by their suffix or first bytes.

    Hidden files are left out, and so is what a link outside the folder points to. Rows also tell
    ``sha256`` and ``bytes``, so that an edit between search and fetch is noticed.

    Raises:
        SourceError: ``spec.path`` is not a folder.
    """
    root = Path(spec.path)
    if not root.is_dir():
        raise SourceError(f"path {spec.path!r} is not a folder")
    return [_row(name, spec, path) for path in _files(root) if _is_picture(path)]


def reader(spec: params.FolderSource, context: Context) -> Reader:
    """Read candidates' files, from inside the folder only."""
    root = Path(spec.path).resolve()

    def read(url: str) -> bytes:
        try:
            path = Path(os.fsdecode(unquote_to_bytes(urlsplit(url).path)))
            if not path.resolve().is_relative_to(root):
                raise FetchError(f"outside of the source's folder: {url}")
            return path.read_bytes()
        except OSError as error:
            raise FetchError(f"cannot be read: {error.strerror}") from error
        except ValueError as error:  # no address, or one that no file can have
            raise FetchError(f"not a file: {url!r}") from error

    return read


def _files(root: Path) -> Iterator[Path]:
    inside = root.resolve()
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(folder, name)
            # Opening a pipe or a device would hang.
            if (
                not name.startswith(".")
                and path.is_file()
                and path.resolve().is_relative_to(inside)
            ):
                yield path


def _is_picture(path: Path) -> bool:
    if NAMED_AS_PICTURE.search(path.name):
        return True
    try:
        with path.open("rb") as file:
            return formats.is_picture(file.read(formats.HEAD))
    except OSError:
        return False


def _row(name: str, spec: params.FolderSource, path: Path) -> Row:
    key = path.relative_to(spec.path)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = str(path.stat().st_size)
    except OSError:  # fetch records why
        digest = size = ""
    return candidate(
        name,
        _printable(key.as_posix()),
        # As the path was written: a relative one means the same wherever the project lies.
        ("file://" if path.is_absolute() else "file:") + quote_from_bytes(os.fsencode(path)),
        title=_printable(path.name),
        creator=spec.creator or "",
        licence=spec.licence,
        label=_printable(key.parts[0]) if len(key.parts) > 1 else "",
        sha256=digest,
        bytes=size,
    )


def _printable(name: str) -> str:
    """A file's name without what a line of UTF-8 text cannot hold: written as %0A."""
    text = os.fsencode(name).decode("utf-8", "surrogateescape")
    return re.sub(
        r"[\x00-\x1f\x7f\udc80-\udcff]", lambda match: f"%{ord(match[0]) & 0xFF:02X}", text
    )
