"""Storage of originals in 16 tar shards by content hash."""

from __future__ import annotations

import copy
import hashlib
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

_DIGITS = "0123456789abcdef"


class ShardError(RuntimeError):
    """The tar shards of originals are missing or damaged; the message names the file."""


def sha256(data: bytes) -> str:
    """Hash content in hexadecimal; the hash is the name of an original."""
    return hashlib.sha256(data).hexdigest()


def write_shards(folder: Path, items: Iterable[tuple[str, str, bytes]]) -> None:
    """Write originals as ``folder``/00.tar to 0f.tar, by the first digit of their hash.

    The bytes of the shards depend on the set of originals alone. Only one original at a time is in
    memory.

    Args:
        folder: Output folder; created if it does not exist.
        items: ``(sha256, extension, content)`` in any order; duplicates are written once.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as spool:
        for digest, extension, data in items:
            (Path(spool) / f"{digest}.{extension}").write_bytes(data)
        pack_shards(folder, Path(spool))


def pack_shards(folder: Path, spool: Path) -> None:
    """Write shards like ``write_shards``, from files named ``<sha256>.<extension>``."""
    folder.mkdir(parents=True, exist_ok=True)
    files = sorted(spool.iterdir())
    for digit in _DIGITS:
        with tarfile.open(folder / f"0{digit}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
            for path in files:
                if path.name[0] == digit:
                    member = tarfile.TarInfo(path.name)  # owner 0, time 0, mode 0644
                    member.size = path.stat().st_size
                    with path.open("rb") as file:
                        tar.addfile(member, file)


class _Member(NamedTuple):
    shard: str
    offset: int
    size: int


class Shards(Mapping[str, bytes]):
    """Originals by sha256, with random access to tar shards.

    The object has an index and no open file, so it is cheap to send to worker processes.

    Args:
        folder: Folder with the ``*.tar`` files.

    Raises:
        ShardError: There are none, or one is damaged; also raised on reading an original.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._members: dict[str, _Member] = {}
        paths = sorted(folder.glob("*.tar"))
        if not paths:
            raise ShardError(f"{folder}: no tar shards here; the stage `fetch` makes them")
        for path in paths:
            try:
                with tarfile.open(path, "r:") as tar:
                    for member in tar:
                        digest = member.name.partition(".")[0]
                        self._members[digest] = _Member(path.name, member.offset_data, member.size)
            except tarfile.TarError as error:
                raise ShardError(_damaged(path, str(error))) from error

    def __getitem__(self, digest: str) -> bytes:
        member = self._members[digest]
        path = self.folder / member.shard
        with path.open("rb") as file:
            file.seek(member.offset)
            data = file.read(member.size)
        if sha256(data) != digest:
            raise ShardError(_damaged(path, f"{digest} has other content than its name says"))
        return data

    def part(self, digests: Iterable[str]) -> Shards:
        """Restrict to some originals, with a small index for a worker's task."""
        part = copy.copy(self)
        part._members = {digest: self._members[digest] for digest in digests}
        return part

    def __contains__(self, digest: object) -> bool:
        return digest in self._members

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)


def _damaged(path: Path, how: str) -> str:
    return f"{path}: damaged ({how}); remove it and run `dvc checkout` or `dvc repro fetch`"
