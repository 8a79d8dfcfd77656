"""The manual list of decisions, ``data/curation/<list>.csv``.

The file is the only state. Each change is merged into the file's current content, so that changes
from other windows or a text editor are not lost.
"""

from __future__ import annotations

import csv
import io
import os
import secrets
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from filelock import FileLock

from ganloom import lists
from ganloom.curate import COLUMNS, Decision, parse_list
from ganloom.images.shards import sha256

Word = Literal["keep", "drop"]
Decided = tuple[Word, str]  # decision and reason

BOM = b"\xef\xbb\xbf"  # written by spreadsheet programs, which need it to recognise UTF-8
LOCK_TIMEOUT = 30.0  # s: writes take milliseconds, so a longer wait is an error


class Change(NamedTuple):
    """A decision on one image; ``decision`` is None to withdraw an earlier one."""

    sha256: str
    decision: Word | None
    reason: str


class ListState(NamedTuple):
    """Content of the list.

    Attributes:
        revision: SHA-256 of the file; "" if it does not exist.
        decisions: Decision and reason by full SHA-256 of the image.
    """

    revision: str
    decisions: dict[str, Decided]


def read(path: Path, known: Collection[str]) -> ListState:
    """Read the list. A file that does not exist is an empty list.

    Args:
        path: Path of the list.
        known: SHA-256 of every candidate that has one.

    Raises:
        CurationError: If the file or one of its lines is invalid.
    """
    data = _bytes(path)
    return _state(data, parse_list(data, known, path) if data else [])


def write(
    path: Path, known: Collection[str], changes: Sequence[Change], lock: Path
) -> tuple[ListState, ListState]:
    """Merge changes into the current list; the last change of an image wins.

    The file is replaced atomically: a reader sees the old list or the new one, even after a power
    cut. Other lines and columns are preserved. Lines are sorted by SHA-256.

    Args:
        path: Path of the list; created if it does not exist.
        known: SHA-256 of every candidate that has one.
        changes: Changes of images in ``known``.
        lock: Lock file of all writers. It is outside of the list's folder, which DVC watches.

    Returns:
        The states before and after.

    Raises:
        CurationError: If the current file is invalid; it is not changed.
        OSError: If the file cannot be written, or ``filelock.Timeout`` if it stays locked.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock, timeout=LOCK_TIMEOUT):
        while True:
            before = _bytes(path)
            lines = parse_list(before, known, path) if before else []
            state = _state(before, lines)
            wanted = {c.sha256: (c.decision, c.reason) if c.decision else None for c in changes}
            wanted = {d: want for d, want in wanted.items() if want != state.decisions.get(d)}
            if not wanted:
                return state, state
            after = _merge(before, lines, wanted)
            # Other programs ignore the lock: if one has changed the file meanwhile, merge again.
            if _replace(path, before, after):
                decisions = {d: want for d, want in (state.decisions | wanted).items() if want}
                return state, ListState(sha256(after), decisions)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _state(data: bytes, lines: Sequence[Decision]) -> ListState:
    decisions: dict[str, Decided] = {}
    for line in lines:
        decisions.setdefault(line.sha256, ("keep" if line.keep else "drop", line.reason))
    return ListState(sha256(data) if data else "", decisions)


def _merge(data: bytes, lines: Sequence[Decision], wanted: Mapping[str, Decided | None]) -> bytes:
    """Apply changes to the content of the file, which is UTF-8 afterwards."""
    content, separator = lists.table(lists.decoded(data), COLUMNS)
    table = csv.reader(io.StringIO(content, newline=""), delimiter=separator)
    header = next(table, list(COLUMNS))
    at = [header.index(column) for column in COLUMNS]
    whole = {line.line: line.sha256 for line in lines}
    rows, placed = [], set()
    for row in filter(None, table):
        digest = whole[table.line_num]
        want = wanted.get(digest)
        if digest not in wanted:
            rows.append(row)
        elif want and digest not in placed:  # one line of several for the same image remains
            rows.append(_filled(row, at, (row[at[0]], *want)))
            placed.add(digest)
    for digest, want in wanted.items():
        if want and digest not in placed:
            rows.append(_filled([""] * len(header), at, (digest, *want)))
    rows.sort(key=lambda row: row[at[0]].strip().lower())

    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator="\n").writerows([header, *rows])
    return (BOM if data.startswith(BOM) else b"") + text.getvalue().encode()


def _filled(row: list[str], at: Sequence[int], values: tuple[str, ...]) -> list[str]:
    row = row + [""] * (max(at) + 1 - len(row))
    for position, value in zip(at, values, strict=True):
        row[position] = value
    return row


def _replace(path: Path, before: bytes, after: bytes) -> bool:
    """Replace the content ``before`` by ``after``; return False if the file has changed."""
    path = path.resolve()  # replace the target of a link, not the link
    path.parent.mkdir(parents=True, exist_ok=True)
    # Outside of the list's folder: Git and DVC must not see a file left behind by a kill.
    temporary = path.parent.parent / f".{path.name}.{secrets.token_hex(8)}"
    try:
        with temporary.open("xb") as file:
            file.write(after)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, temporary)
        if _bytes(path) != before:
            return False
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":  # the directory entry must reach the disk, too
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    return True
