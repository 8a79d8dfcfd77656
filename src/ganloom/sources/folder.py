"""A folder of pictures, read recursively; the first sub-folder is the class.

Links are followed, wherever they lead: to pictures, to class folders, into DVC's cache. A link from
a stranger could lead to any picture on this machine; so an archive should not be unpacked for this
kind of source, but read by the kind ``archive``, which follows none.
"""

from __future__ import annotations

import collections
import errno
import hashlib
import os
import re
import stat
from pathlib import Path
from typing import NamedTuple
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
    warn,
)

# Their files are no pictures, may have no end, and lead back to every folder.
_SYSTEM = (Path("/dev"), Path("/proc"), Path("/sys"))


class Contents(NamedTuple):
    """What lies in a folder, behind links, too, without what is hidden.

    Attributes:
        files: Files, by the path that leads to them.
        linked: Links to folders that were followed.
        refused: What is not read, and why.
    """

    files: list[Path]
    linked: list[Path]
    refused: list[tuple[Path, str]]


def search(name: str, spec: params.FolderSource, context: Context) -> list[Row]:
    """List files that are pictures by their suffix or first bytes.

    Hidden files are left out. Rows also tell ``sha256`` and ``bytes``, so that an edit between
    search and fetch is noticed.

    Warns:
        SourceWarning: something could not be read, or lies behind a link to a folder, where DVC
            does not look for edits.

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
            f"{root} has links to folders ({_shown(found.linked[0])}, {len(found.linked)} in all), "
            "and DVC does not notice edits behind these; after one, run: "
            f"dvc repro --force search@{name}",
        )
    return [_row(name, spec, path) for path in found.files if _is_picture(path)]


def reader(spec: params.FolderSource, context: Context) -> Reader:
    """Read candidates' files, from inside the folder and behind its links only."""
    root = Path(spec.path)

    def read(url: str) -> bytes:
        try:
            path = Path(os.fsdecode(unquote_to_bytes(urlsplit(url).path)))
            if not path.is_relative_to(root) or ".." in path.relative_to(root).parts:
                raise FetchError(f"outside of the source's folder: {url}")
            if refusal := _refusal(path):
                raise FetchError(f"{refusal}: {_printable(_shown(path))}")
            return path.read_bytes()
        except OSError as error:
            raise FetchError(f"cannot be read: {error.strerror}") from error
        except ValueError as error:  # no address, or one that no file can have
            raise FetchError(f"not a file: {url!r}") from error

    return read


def contents(root: Path) -> Contents:
    """List a folder, following links, each folder once.

    A folder that several links lead to is read through the first of them, and not through a link
    if it lies in ``root`` itself.
    """
    found = Contents([], [], [])
    seen: set[tuple[int, int]] = set()
    pending = collections.deque([root])  # links are followed after what lies in the folder itself

    def unreadable(error: OSError) -> None:
        found.refused.append((Path(error.filename), f"cannot be read ({error.strerror})"))

    while pending:
        start = pending.popleft()
        if start != root:
            if refusal := _folder_refusal(start, root, seen):
                found.refused.append((start, refusal))
                continue
            found.linked.append(start)
        for folder, folders, names in os.walk(start, onerror=unreadable):
            identity = _identity(Path(folder))
            if identity in seen:
                folders.clear()
                continue
            seen.add(identity)
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            pending += [Path(folder, name) for name in folders if Path(folder, name).is_symlink()]
            for path in (Path(folder, name) for name in sorted(names) if not name.startswith(".")):
                if refusal := _refusal(path):
                    found.refused.append((path, refusal))
                else:
                    found.files.append(path)
    return found


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _folder_refusal(link: Path, root: Path, seen: set[tuple[int, int]]) -> str:
    """Why a link to a folder is not followed; empty if it is."""
    target = link.resolve()
    if _is_system(target):
        return "link into a system folder"
    if root.resolve().is_relative_to(target):
        return "link in a circle"
    return "link to a folder that is read already" if _identity(link) in seen else ""


def _refusal(path: Path) -> str:
    """Why a file is not read; empty if it is, or if it is not there."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "dangling link" if path.is_symlink() else ""
    except OSError as error:
        return "link in a circle" if error.errno == errno.ELOOP else f"cannot be read ({error})"
    # Opening a pipe or a device would hang.
    if not stat.S_ISREG(mode):
        return "pipe, socket or device"
    return "link into a system folder" if path.is_symlink() and _is_system(path.resolve()) else ""


def _is_system(path: Path) -> bool:
    return any(path.is_relative_to(folder) for folder in _SYSTEM)


def _counted(refused: list[tuple[Path, str]]) -> str:
    """How many are refused for each reason, with the first: ``2 x dangling link (a -> b)``."""
    groups = collections.defaultdict(list)
    for path, refusal in refused:
        groups[refusal].append(path)
    return ", ".join(
        f"{len(paths)} x {refusal} ({_printable(_shown(min(paths)))})"
        for refusal, paths in groups.items()
    )


def _shown(path: Path) -> str:
    """A path, and where it leads if it is a link."""
    return f"{path} -> {path.readlink()}" if path.is_symlink() else str(path)


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
        licence=spec.licence or "",
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
