"""Decoding files that nobody vouches for."""

from __future__ import annotations

import io
import itertools
import re
import warnings
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError


class ImageError(ValueError):
    """A file is not a usable picture; the message says why in plain words."""


class ImageInfo(NamedTuple):
    """What a file holds: size in px after EXIF orientation, and its type by content."""

    width: int
    height: int
    mime: str
    extension: str


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
