"""A folder of images, read recursively; the first sub-folder is the class.

Links are followed wherever they lead: to images, to class folders, into DVC's cache. A link made
by a stranger could point to any image on the machine. Archives should therefore not be unpacked for
this kind of source, but read with the kind ``archive``, which follows no links.
"""

from __future__ import annotations

import collections
import hashlib
import os
import re
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes, urlsplit

from ganloom import params
from ganloom.images import formats
from ganloom.sources import (
    NAMED_AS_PICTURE,
    Context,
    FetchError,
    Reader,
    SourceError,
    candidate,
    warn,
)
from ganloom.sources.tree import contents, refusal, shown
from ganloom.tables import Candidate


def search(name: str, spec: params.FolderSource, context: Context) -> list[Candidate]:
    """List the files that are images by suffix or by their first bytes.

    Hidden files are skipped. Candidates have ``sha256`` and ``bytes``, so that an edit between
    search and fetch is noticed.

    Warns:
        SourceWarning: Something could not be read, or is behind a link to a folder, where DVC does
            not notice edits.

    Raises:
        SourceError: ``spec.path`` is not a folder.
    """
    root = Path(spec.path)
    if not root.is_dir():
        raise SourceError(f"path {spec.path!r} is not a folder")
    found = contents(root)
    if found.refused:
        warn(name, f"left out of {root}: {_counted(found.refused)}")
    if found.linked:
        warn(
            name,
            f"{root} has links to folders ({shown(found.linked[0])}, {len(found.linked)} in all), "
            "and DVC does not notice edits behind these; after one, run: "
            f"dvc repro --force search@{name}",
        )
    return [_candidate(name, spec, path) for path in found.files if _is_picture(path)]


def reader(spec: params.FolderSource, context: Context) -> Reader:
    """Read the files of candidates, restricted to the folder and the targets of its links."""
    root = Path(spec.path)

    def read(url: str) -> bytes:
        try:
            path = Path(os.fsdecode(unquote_to_bytes(urlsplit(url).path)))
            if not path.is_relative_to(root) or ".." in path.relative_to(root).parts:
                raise FetchError(f"outside of the source's folder: {url}")
            if reason := refusal(path):
                raise FetchError(f"{reason}: {_printable(shown(path))}")
            return path.read_bytes()
        except OSError as error:
            raise FetchError(f"cannot be read: {error.strerror}") from error
        except ValueError as error:  # not an address, or not a valid file name
            raise FetchError(f"not a file: {url!r}") from error

    return read


def _counted(refused: list[tuple[Path, str]]) -> str:
    """Count the refused paths by reason, each with an example: ``2 x dangling link (a -> b)``."""
    groups = collections.defaultdict(list)
    for path, reason in refused:
        groups[reason].append(path)
    return ", ".join(
        f"{len(paths)} x {reason} ({_printable(shown(min(paths)))})"
        for reason, paths in groups.items()
    )


def _is_picture(path: Path) -> bool:
    if NAMED_AS_PICTURE.search(path.name):
        return True
    try:
        with path.open("rb") as file:
            return formats.is_picture(file.read(formats.HEAD))
    except OSError:
        return False


def _candidate(name: str, spec: params.FolderSource, path: Path) -> Candidate:
    key = path.relative_to(spec.path)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = str(path.stat().st_size)
    except OSError:  # fetch records the reason
        digest = size = ""
    return candidate(
        name,
        _printable(key.as_posix()),
        # Relative paths stay relative, so that the project can be moved.
        ("file://" if path.is_absolute() else "file:") + quote_from_bytes(os.fsencode(path)),
        title=_printable(path.name),
        creator=spec.creator or "",
        licence=spec.licence or "",
        label=_printable(key.parts[0]) if len(key.parts) > 1 else "",
        sha256=digest,
        bytes=size,
    )


def _printable(name: str) -> str:
    """Escape the bytes of a file name that are not printable UTF-8, for example as %0A."""
    text = os.fsencode(name).decode("utf-8", "surrogateescape")
    return re.sub(
        r"[\x00-\x1f\x7f\udc80-\udcff]", lambda match: f"%{ord(match[0]) & 0xFF:02X}", text
    )
