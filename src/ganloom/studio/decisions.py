"""The manual list that the studio writes: data/curation/<list>.csv, shared with people.

The file is the only memory. Every change is merged into what the file says at that moment, so that
other windows and a text editor lose nothing.
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

from ganloom.curate import COLUMNS, Decision, parse_list
from ganloom.images.shards import sha256

Word = Literal["keep", "drop"]
Decided = tuple[Word, str]  # and the reason

BOM = b"\xef\xbb\xbf"  # spreadsheets write one, and need it to read UTF-8
LOCK_TIMEOUT = 30.0  # s: a write takes milliseconds, so who waits longer waits for something broken


class Change(NamedTuple):
    """What a person decided on one picture; ``decision`` is None to take a decision back."""

    sha256: str
    decision: Word | None
    reason: str


class State(NamedTuple):
    """What the list says.

    Attributes:
        revision: Changes whenever the file does, by whomever; "" without a file.
        decisions: From the whole sha256 to decision and reason.
    """

    revision: str
    decisions: dict[str, Decided]


def read(path: Path, known: Collection[str]) -> State:
    """Read the list; one that does not exist yet is empty.

    Args:
        path: The list.
        known: The sha256 of every candidate that has one.

    Raises:
        CurationError: the file or a line of it cannot be used.
    """
    data = _bytes(path)
    return _state(data, parse_list(data, known, path) if data else [])


def write(
    path: Path, known: Collection[str], changes: Sequence[Change], lock: Path
) -> tuple[State, State]:
    """Merge changes into the list as it is now; a later change of one picture wins.

    The file is replaced in one step: whoever reads it sees the old list or the new one, even after
    a power cut. Other lines and columns stay as they are; lines are sorted by sha256.

    Args:
        path: The list; made when it does not exist.
        known: As in ``read``.
        changes: Of known pictures.
        lock: A file that all writers lock. It lies outside of the list's folder, which DVC watches.

    Returns:
        The state before and after.

    Raises:
        CurationError: the file as it is now cannot be used; it is left alone.
        OSError: the file cannot be written; ``filelock.Timeout`` is one of them.
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
            # Another program does not know the lock: what it saved meanwhile is merged, too.
            if _replace(path, before, after):
                found = {d: want for d, want in (state.decisions | wanted).items() if want}
                return state, State(sha256(after), found)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _state(data: bytes, lines: Sequence[Decision]) -> State:
    decisions: dict[str, Decided] = {}
    for line in lines:
        decisions.setdefault(line.sha256, ("keep" if line.keep else "drop", line.reason))
    return State(sha256(data) if data else "", decisions)


def _merge(data: bytes, lines: Sequence[Decision], wanted: Mapping[str, Decided | None]) -> bytes:
    """The file with what is wanted of some pictures in place of what it says of them."""
    table = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""))
    header = next(table, list(COLUMNS))
    at = [header.index(column) for column in COLUMNS]
    whole = {line.line: line.sha256 for line in lines}
    rows, placed = [], set()
    for row in filter(None, table):
        digest = whole[table.line_num]
        want = wanted.get(digest)
        if digest not in wanted:
            rows.append(row)
        elif want and digest not in placed:  # of lines that repeat each other one is left
            rows.append(_filled(row, at, (row[at[0]], *want)))
            placed.add(digest)
    for digest, want in wanted.items():
        if want and digest not in placed:
            rows.append(_filled([""] * len(header), at, (digest, *want)))
    rows.sort(key=lambda row: row[at[0]].strip().lower())

    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return (BOM if data.startswith(BOM) else b"") + text.getvalue().encode()


def _filled(row: list[str], at: Sequence[int], values: tuple[str, ...]) -> list[str]:
    row = row + [""] * (max(at) + 1 - len(row))
    for position, value in zip(at, values, strict=True):
        row[position] = value
    return row


def _replace(path: Path, before: bytes, after: bytes) -> bool:
    """Put ``after`` in place of ``before``; False, and nothing done, if that is not there now."""
    path = path.resolve()  # a link stays one
    path.parent.mkdir(parents=True, exist_ok=True)
    # Beside the list's folder: one that a kill leaves behind must not show in Git or to DVC.
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
    if os.name == "posix":  # the new name, too, must be on the disk
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    return True
