"""Decoding files that nobody vouches for."""

from __future__ import annotations

import functools
import io
import itertools
import re
import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import AvifImagePlugin, Image, ImageFile, UnidentifiedImageError

from ganloom.images import av1, colour, formats, levels, metadata
from ganloom.images.formats import FORMATS, sniff

AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # processes share the work, not threads


class ImageError(ValueError):
    """A file is not a usable picture; the message says why in plain words."""


HEIC = "HEIC"  # what telephones take photographs in
INSTALL_HEIC = "pip install --editable '.[heic]'"


class UnreadFormatError(ImageError):
    """A file is of a format that is not read: ``KIND: name of the format; the way out``."""

    KIND = "format not read"

    def __init__(self, name: str, way_out: str = "convert it to PNG or JPEG") -> None:
        super().__init__(f"{self.KIND}: {name}; {way_out}")


class ImageInfo(NamedTuple):
    """What a file holds: size in px after EXIF orientation, and its type by content."""

    width: int
    height: int
    mime: str
    extension: str


# What a small file can repeat so often that reading it takes hours: how such files start, what it
# is called, and how each begins. Honest files have a dozen.
_REPEATED = (
    (re.compile(rb"\xff\xd8\xff"), "scans", re.compile(rb"\xff\xda\0[\x08\x0a\x0c\x0e][\1-\4]")),
    (re.compile(rb"P[1-3]"), "comments", re.compile(rb"#")),
)
MAX_REPEATS = 100
MAX_TILES = 100_000  # that a picture may be cut into; a strip of each line are a tenth of that

# Where a blank first frame is passed over; all frames that are looked at have no more pixels
# together than one picture may have.
_ANIMATED = {"GIF", "PNG", "WEBP"}
_MAX_FRAMES = 100
_BLANK = 4  # of 255: how far a channel may vary

_LOSSLESS = {"PNG", "GIF", "TIFF", "BMP", "PPM"}  # formats of masks
# What is drawn is hardly seen on white if less than a fiftieth of it differs by this, of 255.
_FAINT, _SEEN = 32, 1 / 50
_MOSTLY = 0.9  # opaque: there the background is a matter of edges and corners

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


def decode(data: bytes, max_pixels: int) -> Image.Image:
    """Decode a file that nobody vouches for.

    Upright by its EXIF orientation, in sRGB, reduced to 8 bits as ``levels`` says. Transparency is
    laid on white, or on black where what is drawn could hardly be seen on white. An animation is
    its first frame that is not blank.

    Args:
        data: The whole file.
        max_pixels: Refuse larger pictures, by their header, before anything is decoded.

    Returns:
        An RGB picture without metadata.

    Raises:
        UnreadFormatError: the file is of a format that is not read.
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
    name = _require_readable(data, max_pixels)
    profile, is_animated = None, name in _ANIMATED
    source = data
    if name == "PNG":
        # A sound picture in front of a broken animation is read as one without.
        source, profile, is_animated = metadata.strip_png(data, colour.MAX_PROFILE)
    elif name == "JPEG":
        source = metadata.strip_jpeg(data)
    try:
        with warnings.catch_warnings(action="ignore"), _opened(source, name, max_pixels) as file:
            width, height = file.size
            if side is not None and name == "JPEG":
                file.draft(file.mode, (side, side))
            coarseness = _coarseness(file)
            profile = profile or file.info.get("icc_profile")
            image = _rgb(file, source, name, profile)
            orientation = _orientation(file)
            if name == "HEIF":  # whose size is certain when it is decoded
                width, height = file.size
        if is_animated and _is_blank(image):
            image = _first_drawn(data, name, max_pixels, profile) or image
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise _unidentified(data, name) from None
    except Image.DecompressionBombError:
        raise ImageError(f"too many pixels: more than {max_pixels} (fetch.max_pixels)") from None
    except Exception as error:  # Pillow's decoders raise whatever their bytes lead them to
        raise ImageError(_broken(data, error)) from error
    if orientation in _SIDEWAYS:
        width, height = height, width
    image = _upright(image, orientation)
    image.info = {}
    return _Loaded(image, name, width, height, coarseness)


def _opened(data: bytes, name: str, max_pixels: int) -> ImageFile.ImageFile:
    """Open with the one decoder that the first bytes announce."""
    file = Image.open(io.BytesIO(data), formats=[name])
    if file.width * file.height > max_pixels:
        raise ImageError(_too_large(file.width, file.height, max_pixels))
    if len(file.tile) > MAX_TILES:
        raise ImageError(f"absurd {name}: {len(file.tile)} tiles")
    return file


# --- judging the bytes -------------------------------------------------------------------------


def _require_readable(data: bytes, max_pixels: int) -> str:
    """The name of the format of a file that may be given to its decoder."""
    if not data:
        raise ImageError("empty file")
    if other := formats.unread(data):
        raise UnreadFormatError(other)
    name = sniff(data)
    if name is None:
        raise ImageError(_no_image(data))
    if name == "HEIF" and not _reads_heic():
        raise UnreadFormatError(HEIC, INSTALL_HEIC)
    for start, what, part in _REPEATED:
        if start.match(data) and any(itertools.islice(part.finditer(data), MAX_REPEATS, None)):
            raise ImageError(f"absurd {name}: more than {MAX_REPEATS} {what}")
    if name == "AVIF":
        try:
            pixels = av1.largest_frame(data)
        except av1.Av1Error as error:
            raise ImageError(_broken(data, error)) from error
        if pixels > max_pixels:
            raise ImageError(
                f"too many pixels: {pixels}, more than {max_pixels} (fetch.max_pixels)"
            )
    return name


@functools.cache
def _reads_heic() -> bool:
    try:
        import pillow_heif  # noqa: PLC0415  (an extra)
    except ImportError:
        return False
    pillow_heif.register_heif_opener(
        thumbnails=False, depth_images=False, aux_images=False, decode_threads=1
    )
    return True


# --- frames ------------------------------------------------------------------------------------


def _is_blank(image: Image.Image) -> bool:
    return all(high - low <= _BLANK for low, high in image.getextrema())  # type: ignore[misc]


def _first_drawn(
    data: bytes, name: str, max_pixels: int, profile: bytes | None
) -> Image.Image | None:
    """The first frame of an animation that is not blank; None if there is none to be had."""
    source = data
    if name == "PNG":
        source = metadata.strip_png(data, colour.MAX_PROFILE, animation=True).data
    try:
        with _opened(source, name, max_pixels) as file:
            frames = max_pixels // (file.width * file.height)
            for number in range(1, min(frames, _MAX_FRAMES)):
                file.seek(number)
                image = _rgb(file, source, name, profile)
                if not _is_blank(image):
                    return image
    except Exception:  # no more frames, or broken ones: the first is sound
        return None
    return None


# --- pixels ------------------------------------------------------------------------------------


def _rgb(file: ImageFile.ImageFile, data: bytes, name: str, profile: bytes | None) -> Image.Image:
    """Decode a frame: in sRGB, of 8 bits, opaque."""
    shown = levels.of_8_bits(file, data)
    if shown.mode == "LAB":
        return colour.from_lab(shown)
    from_palette = shown.mode in ("P", "PA")
    image = _opaque(colour.to_srgb(shown, profile))
    return levels.unmasked(image, from_palette) if name in _LOSSLESS else image


def _opaque(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    shown = image.convert("RGBA")
    ground = "black" if _is_lost_on_white(np.asarray(shown)) else "white"
    return Image.alpha_composite(Image.new("RGBA", image.size, ground), shown).convert("RGB")


def _is_lost_on_white(pixels: NDArray[np.uint8]) -> bool:
    """Whether a good part is transparent, and next to nothing of what is drawn is darker."""
    alpha = pixels[..., 3]
    drawn = int(alpha.sum(dtype=np.int64))
    if not 0 < drawn < _MOSTLY * 255 * alpha.size:
        return False
    is_seen = pixels[..., :3].min(axis=2) < 255 - _FAINT
    return int(alpha[is_seen].sum(dtype=np.int64)) < _SEEN * drawn


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


# --- reasons -----------------------------------------------------------------------------------


def _too_large(width: int, height: int, max_pixels: int) -> str:
    return f"too many pixels: {width}x{height}, more than {max_pixels} (fetch.max_pixels)"


def _no_image(data: bytes) -> str:
    if re.match(rb"\s*(<!--.*?-->\s*)?<(!doctype html|html|head|body)", data[:4096], re.I | re.S):
        return "not an image: an HTML page"
    return f"not an image: none of {', '.join(FORMATS)}"


def _unidentified(data: bytes, name: str) -> ImageError:
    if name == "TIFF" and formats.names_camera(data):
        return UnreadFormatError(formats.CAMERA_RAW)
    return ImageError(f"broken {name}: its header cannot be read")


def _broken(data: bytes, error: Exception) -> str:
    name = sniff(data) or "image"
    # WebP's decoder does not say what is wrong; its header says how long the file should be.
    short = name == "WEBP" and int.from_bytes(data[4:8], "little") + 8 > len(data)
    if short or re.search("truncated|EOF|end of file", str(error), re.IGNORECASE):
        return f"truncated {name}"
    return f"broken {name}: {error or type(error).__name__}"
