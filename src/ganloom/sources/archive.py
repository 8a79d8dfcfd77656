"""Images in a zip, tar or npz file, local or downloaded.

Archives are never unpacked to disk: members are read one at a time, within limits, by their
position in the archive, so names cannot cause path traversal. A member with such a name
(`../x.png`), a link, a device or a nested archive is listed and fails with the reason.

An npz file has `images` (or `x`, `arr_0`): uint8 of shape (N, H, W), (N, H, W, 1), (N, H, W, 3) or
(N, H, W, 4), and optionally `labels` (or `y`, `arr_1`) of shape (N,): names, or numbers of classes,
which `classes` of shape (K,) may name.
"""

from __future__ import annotations

import bz2
import functools
import gzip
import hashlib
import io
import itertools
import lzma
import math
import os
import re
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple, Protocol
from urllib.parse import quote

import numpy as np

from ganloom import params
from ganloom.files import OTHER_METHOD, inflates_bit_by_bit, write_whole
from ganloom.images import encoding, formats
from ganloom.images.shards import sha256
from ganloom.sources import (
    NAMED_AS_PICTURE,
    Context,
    FetchError,
    Reader,
    SourceError,
    candidate,
)
from ganloom.sources.names import decode, guess
from ganloom.tables import Candidate
from ganloom.web.client import WebError, browser

DOWNLOADS = Path("work/archives")

# Limits far above real collections. Images are compressed already; a plain bitmap compresses to a
# hundredth.
MAX_MEMBERS = 200_000
MAX_RATIO = 200
SMALL = 16 << 20  # bytes that any archive may expand to, whatever the ratio
MAX_MEMBER = 256 << 20
# Limits of a single read: of a zip's directory or a table of labels, and of a tar header, hundreds
# of which may be nested.
MAX_BLOCK = 16 << 20
MAX_HEADER = 256 << 10
MAX_DICTIONARY = 512 << 20  # of xz, which allocates it before it decompresses anything
_CHUNK = 64 << 10
MAX_NAME = 1000

_NESTED = re.compile(r"\.(zip|tar|tgz|tbz2?|txz|gz|bz2|xz|zst|7z|rar|npz)$", re.IGNORECASE)


class ArchiveMember(NamedTuple):
    """A member of an archive.

    Attributes:
        number: Position in the archive.
        name: Printable name in composed Unicode (NFC).
        folders: Folders that contain it, outermost first; for an image of an array, its class.
        size: Bytes; for an image of an array, without compression.
        refusal: Reason why it is not read; empty if it is.
    """

    number: int
    name: str
    folders: tuple[str, ...]
    size: int
    refusal: str


class Opened(Protocol):
    """An open archive. Reading in order of position is fast; going back may be slow."""

    def members(self) -> Iterator[ArchiveMember]:
        """Yield all members that may be images, in order."""

    def read(self, number: int) -> bytes:
        """Read a file, or an image of an array as PNG.

        Raises:
            FetchError: The member is refused.
        """

    def close(self) -> None: ...


def search(name: str, spec: params.ArchiveSource, context: Context) -> list[Candidate]:
    """List the images, as the source `folder` does, and the refused members.

    Raises:
        SourceError: The archive is missing, damaged, encrypted or exceeds a limit.
    """
    with closing(_open(spec, context)) as archive, _damage_is_an_error():
        members = list(archive.members())
    return [
        candidate(
            name,
            f"{member.number:06d}",
            f"archive:{member.number}/{quote(member.name)}",
            title=member.name,
            creator=spec.creator or "",
            licence=spec.licence or "",
            label=label,
            bytes=str(member.size),
        )
        for member, label in zip(members, _labels(members), strict=True)
    ]


def _labels(members: Sequence[ArchiveMember]) -> list[str]:
    """Return the first folder of each below the common ones: ``pets/cat/1.png`` is a cat."""
    folders = [member.folders for member in members if not member.refusal]
    first, last = min(folders, default=()), max(folders, default=())
    depth = 0  # if all members are in the same folder, that folder is the class
    if first != last:  # the common folders of the least and the greatest are common to all
        pairs = zip(first, last, strict=False)
        depth = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    return ["".join(member.folders[depth : depth + 1]) for member in members]


def reader(spec: params.ArchiveSource, context: Context) -> Reader:
    """Read members; reading in the order of their ids is fastest.

    Raises:
        SourceError: See ``search``.
    """
    archive = _open(spec, context)

    def read(url: str) -> bytes:
        number = re.match(r"archive:(\d{1,9})/", url)
        if number is None:
            raise FetchError(f"not a member of an archive: {url}")
        try:
            return archive.read(int(number[1]))
        except FetchError:
            raise
        # The standard library raises many kinds of errors for damaged files.
        except Exception as error:
            reason = str(error) or type(error).__name__
            raise FetchError(f"damaged archive: {reason}") from error

    return read


# --- opening and downloading -------------------------------------------------------------------


def _open(spec: params.ArchiveSource, context: Context) -> Opened:
    path = _local(spec, context)
    file = path.open("rb")
    try:
        with _damage_is_an_error():
            return _recognised(file, path.stat().st_size, spec.encoding)
    except SourceError:
        file.close()
        raise


def _recognised(file: BinaryIO, size: int, encoding: str | None) -> Opened:
    head = file.read(6)
    file.seek(0)
    if not head.startswith((b"PK\3\4", b"PK\5\6")):
        return _Tar(file, _unpacker(file, head), size, encoding)
    archive = zipfile.ZipFile(_Bounded(file, MAX_BLOCK, size))
    _require_sane(archive, size)
    names = archive.namelist()
    is_npz = bool(names) and all(name.endswith(".npy") for name in names)
    return _Npz(archive) if is_npz else _Zip(archive, encoding)


def _local(spec: params.ArchiveSource, context: Context) -> Path:
    """Return the path of the archive, after a download if needed and a check of size and hash."""
    if spec.url is not None:
        path = DOWNLOADS / f"{spec.sha256}"
        if not (path.is_file() and _digest(path) == spec.sha256):
            _download(spec, spec.url, path, context)
        return path
    path = Path(spec.path)
    if not path.is_file():
        raise SourceError(f"path {spec.path!r} is not a file")
    size = path.stat().st_size
    if size > spec.max_bytes:
        raise SourceError(f"{spec.path!r} has {size} bytes, more than max_bytes ({spec.max_bytes})")
    if spec.sha256 is not None and _digest(path) != spec.sha256:
        raise SourceError(f"{spec.path!r} has the sha256 {_digest(path)}, not {spec.sha256}")
    return path


def _download(spec: params.ArchiveSource, url: str, path: Path, context: Context) -> None:
    try:
        # The deadline of a file is meant for one image.
        network = context.network.model_copy(update={"file_deadline": context.network.deadline})
        with browser(network, spec.max_bytes) as get:
            data = get(url).data
    except WebError as error:
        raise SourceError(f"{url}: {error}") from error
    if sha256(data) != spec.sha256:
        raise SourceError(
            f"{url} has the sha256 {sha256(data)}, not {spec.sha256}: another file than "
            "the recipe was made with"
        )
    write_whole(path, data)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _damage_is_an_error() -> Iterator[None]:
    try:
        yield
    except SourceError:
        raise
    # The standard library raises many kinds of errors for damaged files.
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise SourceError(f"no zip, tar or npz, or a damaged one: {reason}") from error


class _Bounded(io.BufferedIOBase):
    """A file with a limit of ``most`` bytes per read.

    A header may declare a name of 8 GB, which the standard library would read.
    """

    def __init__(self, file: Any, most: int, end: int = 0) -> None:
        self._file, self._most, self._end = file, most, end

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            size = self._end - self._file.tell()
        if size > self._most:
            raise SourceError(f"absurd archive: a header of {size} bytes")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


# --- listing and refusing members ----------------------------------------------------------------


class _Budget:
    """Totals that an archive declares; raises an error beyond the limits."""

    def __init__(self, archive_bytes: int) -> None:
        self._limit = max(SMALL, MAX_RATIO * archive_bytes)
        self._archive_bytes, self._members = archive_bytes, 0

    def member(self, end: int) -> None:
        """Count a member; ``end`` is the total size, in bytes, up to and including it."""
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise SourceError(f"absurd archive: more than {MAX_MEMBERS} members")
        if not 0 <= end <= self._limit:
            raise SourceError(
                f"absurd archive: {self._archive_bytes} bytes that claim to hold {end} and more"
            )


def _member(number: int, name: str, size: int, refusal: str) -> ArchiveMember:
    """Describe a member; an invalid name takes precedence over other reasons for refusal."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", name):
        refusal = "a name that leads out of the archive"
    elif not refusal and _NESTED.search(name):
        refusal = "an archive in the archive: unpack it first"
    elif not refusal and size > MAX_MEMBER:
        refusal = f"file too large: {size} bytes, more than {MAX_MEMBER}"
    clean = unicodedata.normalize("NFC", _printable(str(path)))
    folders = () if refusal else PurePosixPath(clean).parts[:-1]
    return ArchiveMember(number, clean, folders, size, refusal)


def _is_hidden(name: str) -> bool:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return any(part.startswith(".") and part != ".." for part in parts) or "__MACOSX" in parts


def _is_listed(member: ArchiveMember, head: Callable[[], bytes]) -> bool:
    """Tell whether a member looks like an image, by name or first bytes, or is refused."""
    if member.refusal or NAMED_AS_PICTURE.search(member.name):
        return True
    return formats.is_picture(head())


def _require(member: ArchiveMember) -> None:
    if member.refusal:
        raise FetchError(f"{member.refusal}: {member.name}")


def _whole(file: Any, member: ArchiveMember) -> bytes:
    data = b"".join(iter(lambda: file.read(_CHUNK), b""))
    if len(data) != member.size:
        raise FetchError(f"damaged archive: {member.name} ends after {len(data)} bytes")
    return data


# --- zip ---------------------------------------------------------------------------------------


def _require_sane(archive: zipfile.ZipFile, archive_bytes: int) -> None:
    budget = _Budget(archive_bytes)
    end = 0
    for info in archive.infolist():
        end += info.file_size
        budget.member(end)
        if info.flag_bits & 0x1:
            raise SourceError("the archive is encrypted: unpack it and use the kind `folder`")


class _Zip:
    def __init__(self, archive: zipfile.ZipFile, encoding: str | None) -> None:
        self._archive, self._infos = archive, archive.infolist()
        self.close = archive.close
        stored = [_utf8_name(info) or _stored_name(info) for info in self._infos]
        encoding = encoding or guess(stored)
        self._names = [decode(name, lambda: encoding) for name in stored]

    def members(self) -> Iterator[ArchiveMember]:
        for number, info in enumerate(self._infos):
            if info.is_dir() or _is_hidden(self._names[number]):
                continue
            member = self._member(number)
            if _is_listed(member, functools.partial(self._head, info)):
                yield member

    def read(self, number: int) -> bytes:
        if number >= len(self._infos):
            raise FetchError(f"the archive holds no member {number}")
        member = self._member(number)
        _require(member)
        with self._archive.open(self._infos[number]) as file:
            return _whole(file, member)

    def _member(self, number: int) -> ArchiveMember:
        info = self._infos[number]
        mode = info.external_attr >> 16
        refusal = ""
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            refusal = "a link or device"
        elif not inflates_bit_by_bit(info):
            refusal = OTHER_METHOD
        return _member(number, self._names[number], info.file_size, refusal)

    def _head(self, info: zipfile.ZipInfo) -> bytes:
        with self._archive.open(info) as file:
            return file.read(formats.HEAD)


def _stored_name(info: zipfile.ZipInfo) -> bytes:
    """Return the stored name as bytes, up to the first NUL."""
    is_utf8 = info.flag_bits & 0x800
    name = info.orig_filename.encode("utf-8" if is_utf8 else "cp437", "surrogateescape")
    return name.partition(b"\0")[0]


def _utf8_name(info: zipfile.ZipInfo) -> bytes:
    """Return the name in the extra field 0x7075, which some programs add to one in a code page."""
    extra = info.extra
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == 0x7075 and len(field) > 5:
            version, checksum = struct.unpack_from("<BL", field)
            # It is valid only for the name that it was written for.
            if version == 1 and checksum == zlib.crc32(_stored_name(info)):
                return field[5:]
    return b""


# --- tar ---------------------------------------------------------------------------------------


def _unpacker(file: BinaryIO, head: bytes) -> Callable[[BinaryIO], Any]:
    """Return a function that opens the tar file inside, at its start."""
    if head.startswith(b"\x1f\x8b"):
        return lambda file: gzip.GzipFile(fileobj=file)
    if head.startswith(b"BZh"):
        return bz2.BZ2File
    if head.startswith(b"\xfd7zXZ\0"):
        lzma.LZMADecompressor(memlimit=MAX_DICTIONARY).decompress(file.read(_CHUNK), max_length=1)
        return lzma.LZMAFile
    return lambda file: file


class _Tar:
    """A tar file, read forwards; it starts again to read an earlier member."""

    def __init__(
        self,
        file: BinaryIO,
        unpack: Callable[[BinaryIO], Any],
        archive_bytes: int,
        encoding: str | None,
    ) -> None:
        self._file, self._unpack, self._archive_bytes = file, unpack, archive_bytes
        self._encoding = encoding
        self.close = file.close
        self._rewind()

    def members(self) -> Iterator[ArchiveMember]:
        self._rewind()
        while (info := self._next()) is not None:
            if info.isdir() or _is_hidden(self._name(info)):
                continue
            member = self._member(info)
            if _is_listed(member, functools.partial(self._head, info)):
                yield member

    def read(self, number: int) -> bytes:
        if number < self._position:
            self._rewind()
        while (info := self._next()) is not None:
            if self._position > number:
                member = self._member(info)
                _require(member)
                return _whole(self._tar.extractfile(info), member)
        raise FetchError(f"the archive holds no member {number}")

    def _rewind(self) -> None:
        self._file.seek(0)
        # tarfile.open would detect the compression itself, without limits.
        bounded = _Bounded(self._unpack(self._file), MAX_HEADER)
        self._tar = tarfile.TarFile(
            fileobj=bounded, mode="r", encoding="utf-8", errors="surrogateescape"
        )
        self._position, self._budget = 0, _Budget(self._archive_bytes)

    def _next(self) -> tarfile.TarInfo | None:
        info = self._tar.next()
        self._tar.members.clear()  # type: ignore[attr-defined]  # it would keep all
        if info is not None:
            self._budget.member(info.offset_data + info.size)
            self._position += 1
        return info

    def _member(self, info: tarfile.TarInfo) -> ArchiveMember:
        refusal = "" if info.isreg() and not info.issparse() else "a link or device"
        return _member(self._position - 1, self._name(info), info.size, refusal)

    def _name(self, info: tarfile.TarInfo) -> str:
        return decode(_stored_bytes(info), self._guess)

    def _guess(self) -> str:
        if self._encoding is None:
            # A second pass, since this one may be at any position.
            with Path(self._file.name).open("rb") as file:
                again = _Tar(file, self._unpack, self._archive_bytes, None)
                self._encoding = guess(map(_stored_bytes, iter(again._next, None)))
        return self._encoding

    def _head(self, info: tarfile.TarInfo) -> bytes:
        return self._tar.extractfile(info).read(formats.HEAD)  # type: ignore[union-attr]


def _stored_bytes(info: tarfile.TarInfo) -> bytes:
    return info.name.encode("utf-8", "surrogateescape")


# --- npz ---------------------------------------------------------------------------------------


class _Header(NamedTuple):
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    start: int  # offset of the values


class _Npz:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive, self._names = archive, archive.namelist()
        self.close = archive.close
        name = self._choose("images", "x", "arr_0")
        if name is None:
            raise SourceError(f"an npz needs an array `images`; this one has {self._names}")
        shape, dtype, self._start = self._header(name)
        if dtype != np.uint8 or len(shape) not in (3, 4) or (*shape, 1)[3] not in (1, 3, 4):
            raise SourceError(
                f"{name}: {dtype} of shape {shape}; "
                "pictures are uint8 of shape (N, H, W) or (N, H, W, 1, 3 or 4)"
            )
        if len(shape) == 4 and shape[3] == 1:
            shape = shape[:3]
        self._count, self._shape = shape[0], shape[1:]
        self._labels = self._read_labels()
        self._file = archive.open(name)

    def members(self) -> Iterator[ArchiveMember]:
        size = math.prod(self._shape)
        for number in range(self._count):
            label = self._labels[number]
            yield ArchiveMember(number, f"{number:06d}.png", (label,) if label else (), size, "")

    def read(self, number: int) -> bytes:
        if number >= self._count:
            raise FetchError(f"the archive holds no picture {number}")
        size = math.prod(self._shape)
        self._file.seek(self._start + number * size)
        data = self._file.read(size)
        if len(data) != size:
            raise FetchError(f"damaged archive: it ends in picture {number}")
        return encoding.png(np.frombuffer(data, np.uint8).reshape(self._shape))

    def _choose(self, *names: str) -> str | None:
        return next((f"{name}.npy" for name in names if f"{name}.npy" in self._names), None)

    def _header(self, name: str) -> _Header:
        """Read the header of an array, and check that the size of its file matches."""
        if not inflates_bit_by_bit(self._archive.getinfo(name)):
            raise SourceError(f"{name}: {OTHER_METHOD}")
        with self._archive.open(name) as file:
            bounded: Any = _Bounded(file, MAX_BLOCK)
            version = np.lib.format.read_magic(bounded)
            if version == (1, 0):
                about = np.lib.format.read_array_header_1_0(bounded)
            elif version == (2, 0):
                about = np.lib.format.read_array_header_2_0(bounded)
            else:
                raise SourceError(f"{name}: version {version} of npy is not read")
            (shape, fortran_order, dtype), start = about, file.tell()
        if dtype.hasobject or dtype.fields or fortran_order or not dtype.itemsize:
            raise SourceError(f"{name}: objects, records and Fortran order are not read")
        if self._archive.getinfo(name).file_size != start + math.prod(shape) * dtype.itemsize:
            raise SourceError(f"{name}: another length than its shape {shape} needs")
        if any(side < 1 for side in shape) or not 0 < len(shape) <= 4:
            raise SourceError(f"{name}: its shape is {shape}")
        if shape[0] > MAX_MEMBERS or math.prod(shape[1:]) > MAX_MEMBER:
            raise SourceError(f"{name}: absurd shape {shape}")
        return _Header(shape, dtype, start)

    def _table(self, name: str) -> list[str] | list[int]:
        shape, dtype, start = self._header(name)
        if len(shape) != 1 or dtype.kind not in "iuUS" or shape[0] * dtype.itemsize > MAX_BLOCK:
            raise SourceError(f"{name}: {dtype} of shape {shape} are no labels")
        with self._archive.open(name) as file:
            file.read(start)
            values = np.frombuffer(file.read(shape[0] * dtype.itemsize), dtype)
        if dtype.kind in "iu":
            return [int(value) for value in values]
        texts = values.astype(str) if dtype.kind == "S" else values
        return [_printable(text) for text in texts.tolist()]

    def _read_labels(self) -> Sequence[str]:
        name = self._choose("labels", "y", "arr_1")
        if name is None:
            return [""] * self._count
        labels = self._table(name)
        if len(labels) != self._count:
            raise SourceError(f"{self._count} pictures, but {len(labels)} labels")
        if "classes.npy" not in self._names:
            return [str(label) for label in labels]
        classes = self._table("classes.npy")
        known = {number: str(label) for number, label in enumerate(classes)}
        for label in labels:
            if label not in known:
                raise SourceError(f"the label {label!r}, but {len(classes)} classes")
        return [known[int(label)] for label in labels]


def _printable(text: str) -> str:
    text = text[:MAX_NAME]
    return re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", text)
