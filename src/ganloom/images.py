"""Pictures as bytes and arrays: safe decoding, hashes, tar shards, contact sheets, symmetries.

An image array is RGB, uint8, (H, W, 3); a batch is (N, H, W, 3).
"""

from __future__ import annotations

import copy
import hashlib
import io
import itertools
import re
import tarfile
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

Array = NDArray[np.uint8]

WHITE = 255


class ImageError(ValueError):
    """A file is not a usable picture; the message says why in plain words."""


class ShardError(RuntimeError):
    """The tar shards of originals are missing or damaged; the message names the file."""


class ImageInfo(NamedTuple):
    """What a file holds: size in px after EXIF orientation, and its type by content."""

    width: int
    height: int
    mime: str
    extension: str


# --- decoding ----------------------------------------------------------------------------------


class _Format(NamedTuple):
    extension: str
    mime: str
    start: re.Pattern[bytes]


def _format(extension: str, mime: str, start: bytes) -> _Format:
    return _Format(extension, mime, re.compile(start, re.DOTALL))


# The only decoders that a file can reach, by Pillow's name, and how their files start.
FORMATS = {
    "JPEG": _format("jpg", "image/jpeg", rb"\xff\xd8\xff"),
    "PNG": _format("png", "image/png", rb"\x89PNG\r\n\x1a\n"),
    "GIF": _format("gif", "image/gif", rb"GIF8[79]a"),
    "WEBP": _format("webp", "image/webp", rb"RIFF....WEBP"),
    "BMP": _format("bmp", "image/bmp", rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0"),
    "TIFF": _format("tif", "image/tiff", rb"II[\x2a\x2b]\0|MM\0[\x2a\x2b]"),
    "PPM": _format("ppm", "image/x-portable-anymap", rb"P[1-6]\s+[#\d]"),
}

# What a small file can repeat so often that reading it takes hours: how such files start, what it
# is called, and how each begins. Honest files have a dozen.
_REPEATED = (
    (re.compile(rb"\xff\xd8\xff"), "scans", re.compile(rb"\xff\xda\0[\x08\x0a\x0c\x0e][\1-\4]")),
    (re.compile(rb"P[1-3]"), "comments", re.compile(rb"#")),
)
MAX_REPEATS = 100
MAX_TILES = 100_000  # that a picture may be cut into; a strip of each line are a tenth of that

_EXIF_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = {5, 6, 7, 8}


def sniff(data: bytes) -> str | None:
    """Name of the format (a key of ``FORMATS``) that the first bytes of a file announce."""
    return next((name for name, known in FORMATS.items() if known.start.match(data)), None)


def decode(data: bytes, max_pixels: int) -> Image.Image:
    """Decode a file that nobody vouches for.

    The first frame, upright by its EXIF orientation, with transparency laid on white and 16 bits
    cut to 8. Colour profiles are ignored.

    Args:
        data: The whole file.
        max_pixels: Refuse larger pictures, by their header, before anything is decoded.

    Returns:
        An RGB picture without metadata.

    Raises:
        ImageError: the file is no picture, is damaged or too large.
    """
    return _load(data, max_pixels).image


class Preview(NamedTuple):
    """A picture seen small, and what its file says of the whole.

    Attributes:
        image: RGB, upright, without metadata.
        width: Of the whole, in px, upright.
        height: Of the whole, in px, upright.
        coarseness: Mean step of a JPEG's quantisation of brightness; 0 for other formats.
    """

    image: Image.Image
    width: int
    height: int
    coarseness: float


def preview(data: bytes, max_pixels: int, side: int) -> Preview:
    """Decode as ``decode`` does, shrunk until the shorter side has ``side`` px; never enlarged.

    A JPEG is decoded at an eighth to the whole of its size, whatever is enough: up to four times
    faster, and in a fraction of the memory.

    Raises:
        ImageError: as ``decode``.
    """
    loaded = _load(data, max_pixels, side)
    image = loaded.image
    shrink = side / min(image.size)
    if shrink < 1:
        size = max(1, round(image.width * shrink)), max(1, round(image.height * shrink))
        image = image.resize(size, Image.Resampling.HAMMING, reducing_gap=2.0)
    return Preview(image, loaded.width, loaded.height, loaded.coarseness)


def probe(data: bytes, max_pixels: int) -> ImageInfo:
    """Describe a file, decoding it whole: what passes here, ``decode`` can read.

    Raises:
        ImageError: as ``decode``.
    """
    loaded = _load(data, max_pixels)
    known = FORMATS[loaded.format]
    return ImageInfo(loaded.width, loaded.height, known.mime, known.extension)


class _Loaded(NamedTuple):
    image: Image.Image
    format: str
    width: int
    height: int
    coarseness: float


def _load(data: bytes, max_pixels: int, side: int | None = None) -> _Loaded:
    """Decode; with ``side``, a JPEG may come smaller, but not with a side shorter than that."""
    _require_sane(data)
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            Image.open(io.BytesIO(data), formats=list(FORMATS)) as file,
        ):
            if file.width * file.height > max_pixels:
                raise ImageError(_too_large(file.width, file.height, max_pixels))
            if len(file.tile) > MAX_TILES:
                raise ImageError(f"absurd {file.format}: {len(file.tile)} tiles")
            width, height = file.size
            if side is not None:
                file.draft(file.mode, (side, side))
            file.load()
            orientation = _orientation(file)
            image = _upright(_rgb(file), orientation)
            if orientation in _SIDEWAYS:
                width, height = height, width
            coarseness = _coarseness(file)
            # A photograph with an embedded second one (MPO) is a JPEG to everybody else.
            name = "JPEG" if file.format == "MPO" else str(file.format)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError(_unidentified(data)) from None
    except Image.DecompressionBombError:
        raise ImageError(f"too many pixels: more than {max_pixels} (fetch.max_pixels)") from None
    except Exception as error:  # Pillow's decoders raise whatever their bytes lead them to
        raise ImageError(_broken(data, error)) from error
    image.info = {}
    return _Loaded(image, name, width, height, coarseness)


def _require_sane(data: bytes) -> None:
    for start, name, part in _REPEATED:
        if start.match(data) and any(itertools.islice(part.finditer(data), MAX_REPEATS, None)):
            raise ImageError(f"absurd {sniff(data)}: more than {MAX_REPEATS} {name}")


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        # The high byte, as Pillow itself keeps it of 48-bit colours.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "I":
        grey = np.asarray(image)
        if grey.min() < 0 or grey.max() > 0xFFFF:
            raise ImageError("unusual pixels: integers of more than 16 bits")
        return Image.fromarray((grey >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ImageError("unusual pixels: floating-point numbers have no agreed white")
    if image.has_transparency_data:
        colour = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), colour).convert("RGB")
    return image.convert("RGB")


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; unreadable EXIF counts as none."""
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:
        return 1


def _coarseness(image: Image.Image) -> float:
    tables: dict[int, list[int]] = getattr(image, "quantization", {})
    return sum(tables[0]) / 64 if 0 in tables else 0.0


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    turn = _UPRIGHT.get(orientation)
    return image if turn is None else image.transpose(turn)


def _too_large(width: int, height: int, max_pixels: int) -> str:
    return f"too many pixels: {width}x{height}, more than {max_pixels} (fetch.max_pixels)"


def _unidentified(data: bytes) -> str:
    if not data:
        return "empty file"
    if name := sniff(data):
        return f"broken {name}: its header cannot be read"
    if re.match(rb"\s*<(!doctype html|html|head|body)", data, re.IGNORECASE):
        return "not an image: an HTML page"
    return f"not an image: none of {', '.join(FORMATS)}"


def _broken(data: bytes, error: Exception) -> str:
    name = sniff(data) or "image"
    # WebP's decoder does not say what is wrong; its header says how long the file should be.
    short = name == "WEBP" and int.from_bytes(data[4:8], "little") + 8 > len(data)
    if short or re.search("truncated|EOF|end of file", str(error), re.IGNORECASE):
        return f"truncated {name}"
    return f"broken {name}: {error or type(error).__name__}"


# --- encoding ----------------------------------------------------------------------------------


def png(image: Image.Image | Array) -> bytes:
    """Encode as PNG without metadata, so that the same pixels give the same bytes."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(file, "PNG")
    return file.getvalue()


def save_png(image: Image.Image | Array, path: Path) -> None:
    """Write ``png(image)``; folders above ``path`` are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(image))


# --- originals: 16 tar shards by content hash --------------------------------------------------

_DIGITS = "0123456789abcdef"


def sha256(data: bytes) -> str:
    """The hash that names an original, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def write_shards(folder: Path, items: Iterable[tuple[str, str, bytes]]) -> None:
    """Write originals as ``folder``/00.tar ... 0f.tar, by the first digit of their hash.

    The bytes of the shards depend on the set of originals alone. One original at a time is in
    memory.

    Args:
        folder: Where to write; made if it does not exist.
        items: ``(sha256, extension, content)`` in any order; repeats are written once.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as spool:
        for digest, extension, data in items:
            (Path(spool) / f"{digest}.{extension}").write_bytes(data)
        pack_shards(folder, Path(spool))


def pack_shards(folder: Path, spool: Path) -> None:
    """Write shards as ``write_shards`` does, from files named ``<sha256>.<extension>``."""
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
    """Originals by their sha256, read from tar shards at random.

    Holds an index and no open file: cheap to send to worker processes.

    Args:
        folder: Holds the ``*.tar``.

    Raises:
        ShardError: there are none, or one is damaged; also on reading an original.
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
        """Some of the originals, with an index of those alone: for a worker's task."""
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
    return f"{path}: damaged ({how}); remove it and run `dvc checkout` or the stage `fetch` again"


# --- sheets ------------------------------------------------------------------------------------


def grid(images: Array, columns: int) -> Array:
    """Tile a batch row by row; what is left of the last row is white.

    Args:
        images: (N, H, W, 3).
        columns: Tiles in a row.

    Returns:
        (rows * H, columns * W, 3).
    """
    count, height, width, channels = images.shape
    rows = -(-count // columns)
    tiles = np.full((rows * columns, height, width, channels), WHITE, np.uint8)
    tiles[:count] = images
    table = tiles.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return table.reshape(rows * height, columns * width, channels)


def contact_sheet(
    images: Sequence[Image.Image | Array], columns: int, tile: int, gap: int = 4
) -> Image.Image:
    """Lay pictures of any sizes out row by row on white, shrunk to fit a tile, never enlarged.

    Args:
        images: The pictures; none gives a sheet of one empty row.
        columns: Tiles in a row.
        tile: Side of a tile in px.
        gap: Space between tiles and around the sheet in px.
    """
    rows = max(1, -(-len(images) // columns))
    step = tile + gap
    sheet = Image.new("RGB", (columns * step + gap, rows * step + gap), "white")
    for position, image in enumerate(images):
        row, column = divmod(position, columns)
        small = Image.fromarray(np.asarray(image))
        small.thumbnail((tile, tile), Image.Resampling.LANCZOS)
        x = gap + column * step + (tile - small.width) // 2
        y = gap + row * step + (tile - small.height) // 2
        sheet.paste(small, (x, y))
    return sheet


def downsampled(images: NDArray[np.uint8], resolution: int) -> NDArray[np.uint8]:
    """Means of squares of pixels, halves rounded up: (..., R, R, 3) to (..., r, r, 3)."""
    *batch, side, _, channels = images.shape
    factor, rest = divmod(side, resolution)
    if rest:
        raise ValueError(f"{side} px is no multiple of {resolution} px")
    squares = images.reshape(*batch, resolution, factor, resolution, factor, channels)
    sums = squares.sum(axis=(-4, -2), dtype=np.uint32)
    return ((sums + factor**2 // 2) // factor**2).astype(np.uint8)


# --- symmetries of the square ------------------------------------------------------------------

# Of `augment.symmetries`: which of the eight.
SYMMETRIES: dict[int, tuple[int, ...]] = {1: (0,), 2: (0, 4), 4: (0, 1, 2, 3), 8: tuple(range(8))}


def apply_symmetry(images: NDArray[Any], k: int) -> NDArray[Any]:
    """Turn counter-clockwise by ``k % 4`` quarters, then for ``k >= 4`` mirror left-right.

    Args:
        images: (H, W, C) or (N, H, W, C).
        k: 0 to 7.

    Returns:
        The same number of dimensions, contiguous.
    """
    if not 0 <= k < 8:
        raise ValueError(f"symmetry {k}: the square has 0 to 7")
    turned = np.rot90(images, k % 4, axes=(-3, -2))
    return np.ascontiguousarray(np.flip(turned, axis=-2) if k >= 4 else turned)
