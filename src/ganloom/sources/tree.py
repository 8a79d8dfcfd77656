"""Recursive listing of a folder, including the targets of its links."""

from __future__ import annotations

import collections
import errno
import os
import stat
from pathlib import Path
from typing import NamedTuple

DANGLING = "dangling link"

# These contain no images, but endless files and links to every folder.
_SYSTEM = (Path("/proc"), Path("/sys"))


class Contents(NamedTuple):
    """Contents of a folder, including the targets of links, without hidden files.

    Attributes:
        files: Paths of files, as reached from the folder.
        linked: Links to folders that were followed.
        refused: Paths that are not read, each with the reason.
    """

    files: list[Path]
    linked: list[Path]
    refused: list[tuple[Path, str]]


def contents(root: Path) -> Contents:
    """List a folder recursively and follow links; each folder is visited once.

    A folder that several links lead to is listed under the first of them, or under its own path if
    it is inside ``root``.
    """
    found = Contents([], [], [])
    seen: set[tuple[int, int]] = set()
    pending = collections.deque([root])  # links are followed after the folder itself is listed

    def unreadable(error: OSError) -> None:
        found.refused.append((Path(error.filename), f"cannot be read ({error.strerror})"))

    while pending:
        start = pending.popleft()
        if start != root:
            if reason := _folder_refusal(start, root, seen):
                found.refused.append((start, reason))
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
                if reason := refusal(path):
                    found.refused.append((path, reason))
                else:
                    found.files.append(path)
    return found


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _folder_refusal(link: Path, root: Path, seen: set[tuple[int, int]]) -> str:
    """Explain why a link to a folder is not followed; empty if it is."""
    target = link.resolve()
    if _is_system(target):
        return "link into a system folder"
    if root.resolve().is_relative_to(target):
        return "link in a circle"
    return "link to a folder that is read already" if _identity(link) in seen else ""


def refusal(path: Path) -> str:
    """Explain why a file is not read; empty if it is, or if it does not exist."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return DANGLING if path.is_symlink() else ""
    except OSError as error:
        return "link in a circle" if error.errno == errno.ELOOP else f"cannot be read ({error})"
    # Opening a pipe or a device could block.
    if not stat.S_ISREG(mode):
        return "pipe, socket or device"
    return "link into a system folder" if _is_system(path.resolve()) else ""


def shown(path: Path) -> str:
    """Format a path, with the target if it is a link."""
    return f"{path} -> {path.readlink()}" if path.is_symlink() else str(path)


def _is_system(path: Path) -> bool:
    return any(path.is_relative_to(folder) for folder in _SYSTEM)
