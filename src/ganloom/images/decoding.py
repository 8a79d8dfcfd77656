"""Decoding of untrusted image files."""

from __future__ import annotations

import functools
import io
import itertools
import re
import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import AvifImagePlugin, ExifTags, Image, ImageFile, UnidentifiedImageError

from ganloom.images import av1, colour, formats, levels, metadata
from ganloom.images.formats import FORMATS, sniff

AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # several processes decode in parallel already


class ImageError(ValueError):
    """A file is not a usable image; the message gives the reason."""


HEIC = "HEIC"  # the usual format of photographs on telephones
INSTALL_HEIC = "pip install --editable '.[heic]'"


class UnreadFormatError(ImageError):
    """A file has an unsupported format; the message is ``KIND: name of the format; remedy``."""

    KIND = "format not read"

    def __init__(self, name: str, way_out: str = "convert it to PNG or JPEG") -> None:
        super().__init__(f"{self.KIND}: {name}; {way_out}")


class ImageInfo(NamedTuple):
    """Size in px after EXIF orientation, and the type of the content."""

    width: int
    height: int
    mime: str
    extension: str


# Parts that a small file can repeat so often that decoding takes hours: start of such files, name
# of the part, pattern of the part. Genuine files have about a dozen.
_REPEATED = (
    (re.compile(rb"\xff\xd8\xff"), "scans", re.compile(rb"\xff\xda\0[\x08\x0a\x0c\x0e][\1-\4]")),
    (re.compile(rb"P[1-3]"), "comments", re.compile(rb"#")),
)
MAX_REPEATS = 100
MAX_TILES = 100_000  # of an image; ten times as many as an image with a strip per line has

# Formats in which a blank first frame is skipped. All frames that are examined have no more pixels
# together than one image may have.
_ANIMATED = {"AVIF", "GIF", "PNG", "WEBP"}
_MAX_FRAMES = 100
_BLANK = 4  # of 255: range of a channel in a blank image

_FAINT = 32  # of 255: a smaller difference from white is not seen
_MOSTLY = 0.9  # opaque share from which the background matters only at edges and corners

_EXIF_ORIENTATION = 0x0112
_COLOUR_SPACE, _UNCALIBRATED = 0xA001, 0xFFFF
_INTEROPERABILITY_INDEX, _ADOBE_RGB = 1, "R03"
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
    """Decode an untrusted file.

    The image is rotated by its EXIF orientation, converted to sRGB and reduced to 8 bits (see
    ``levels``). Transparency is composited on white, or on black if more than half of the drawing
    would vanish on white. Of an animation, the first frame that is not blank is used.

    Args:
        data: Content of the file.
        max_pixels: Limit of the size, checked in the header before anything is decoded.

    Returns:
        RGB image without metadata.

    Raises:
        UnreadFormatError: The format is not supported.
        ImageError: The file is not an image, is damaged or too large.
    """
    return _load(data, max_pixels).image


class Preview(NamedTuple):
    """A reduced image, and properties of the original file.

    Attributes:
        image: RGB image, upright, without metadata.
        width: Width of the original in px, upright.
        height: Height of the original in px, upright.
        coarseness: Mean step of a JPEG's luma quantisation; 0 for other formats.
    """

    image: Image.Image
    width: int
    height: int
    coarseness: float


def preview(data: bytes, max_pixels: int, side: int) -> Preview:
    """Decode like ``decode``, and shrink until the shorter side has ``side`` px; never enlarge.

    A JPEG is decoded at the smallest sufficient scale, down to an eighth: up to four times faster,
    and with a fraction of the memory.

    Raises:
        ImageError: See ``decode``.
    """
    loaded = _load(data, max_pixels, side)
    image = loaded.image
    shrink = side / min(image.size)
    if shrink < 1:
        size = max(1, round(image.width * shrink)), max(1, round(image.height * shrink))
        image = image.resize(size, Image.Resampling.HAMMING, reducing_gap=2.0)
    return Preview(image, loaded.width, loaded.height, loaded.coarseness)


def probe(data: bytes, max_pixels: int) -> ImageInfo:
    """Describe a file after decoding it completely, so that ``decode`` will not fail.

    Raises:
        ImageError: See ``decode``.
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
    """Decode; with ``side``, a JPEG may be reduced, but no side to less than that."""
    name = _require_readable(data, max_pixels)
    profile, is_animated = None, name in _ANIMATED
    source = data
    if name == "PNG":
        # A damaged animation is read as the still image in front of it.
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
            from_palette = file.mode in ("P", "PA")
            image = _rgb(file, source, profile)
            orientation = _orientation(file)
            if name == "HEIF":  # its size is reliable only after decoding
                width, height = file.size
        if is_animated and _is_blank(image):
            image = _first_drawn(data, name, max_pixels, profile) or image
        if formats.is_lossless(data, name):
            image = levels.unmasked(image, from_palette)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise _unidentified(data, name) from None
    except Image.DecompressionBombError:
        raise ImageError(f"too many pixels: more than {max_pixels} (fetch.max_pixels)") from None
    except Exception as error:  # decoders may raise any exception on damaged data
        raise ImageError(_broken(data, error)) from error
    if orientation in _SIDEWAYS:
        width, height = height, width
    image = _upright(image, orientation)
    image.info = {}
    return _Loaded(image, name, width, height, coarseness)


def _opened(data: bytes, name: str, max_pixels: int) -> ImageFile.ImageFile:
    """Open with the decoder that matches the first bytes, and no other."""
    file = Image.open(io.BytesIO(data), formats=[name])
    if file.width * file.height > max_pixels:
        raise ImageError(_too_large(file.width, file.height, max_pixels))
    if len(file.tile) > MAX_TILES:
        raise ImageError(f"absurd {name}: {len(file.tile)} tiles")
    return file


# --- checks before decoding --------------------------------------------------------------------


def _require_readable(data: bytes, max_pixels: int) -> str:
    """Check that a file may be decoded, and return the name of its format."""
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
    """Return the first frame of an animation that is not blank; None if there is none."""
    source = data
    if name == "PNG":
        source = metadata.strip_png(data, colour.MAX_PROFILE, animation=True).data
    try:
        with _opened(source, name, max_pixels) as file:
            frames = max_pixels // (file.width * file.height)
            for number in range(1, min(frames, _MAX_FRAMES)):
                file.seek(number)
                image = _rgb(file, source, profile)
                if not _is_blank(image):
                    return image
    except Exception:  # no more frames, or damaged ones: keep the first
        return None
    return None


# --- pixels ------------------------------------------------------------------------------------


def _rgb(file: ImageFile.ImageFile, data: bytes, profile: bytes | None) -> Image.Image:
    """Decode a frame as opaque sRGB of 8 bits."""
    shown = levels.of_8_bits(file, data)
    if shown.mode == "LAB":
        return colour.from_lab(shown)
    return _opaque(colour.to_srgb(shown, profile or _exif_profile(file)))


def _opaque(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    shown = image.convert("RGBA")
    ground = "black" if _is_lost_on_white(np.asarray(shown)) else "white"
    return Image.alpha_composite(Image.new("RGBA", image.size, ground), shown).convert("RGB")


def _is_lost_on_white(pixels: NDArray[np.uint8]) -> bool:
    """Tell whether much is transparent, and more than half of the drawing would vanish on white.

    White parts vanish if they touch the transparency. Those inside an outline do not.
    """
    from scipy import ndimage  # noqa: PLC0415  (its import takes longer than most images)

    alpha = pixels[..., 3]
    drawn = int(alpha.sum(dtype=np.int64))
    if not 0 < drawn < _MOSTLY * 255 * alpha.size:
        return False
    darkness = (255 - pixels[..., :3].min(axis=2)).astype(np.uint16) * alpha // 255
    is_white = darkness < _FAINT
    if 2 * int(alpha[is_white].sum(dtype=np.int64)) <= drawn:
        return False
    regions, count = ndimage.label(is_white)
    is_open = np.zeros(count + 1, bool)
    is_open[regions[is_white & (alpha < _FAINT)]] = True
    return 2 * int(alpha[is_white & is_open[regions]].sum(dtype=np.int64)) > drawn


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 if EXIF is missing or unreadable."""
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:
        return 1


def _exif_profile(image: Image.Image) -> bytes | None:
    """Return the profile of Adobe RGB if EXIF declares it, as cameras do (DCF 2.0)."""
    try:
        exif = image.getexif()
        space = exif.get_ifd(ExifTags.IFD.Exif).get(_COLOUR_SPACE)
        index = exif.get_ifd(ExifTags.IFD.Interop).get(_INTEROPERABILITY_INDEX)
    except Exception:  # EXIF is unreadable
        return None
    is_adobe = space == _UNCALIBRATED and str(index).strip(" \0") == _ADOBE_RGB
    return colour.ADOBE_RGB if is_adobe else None


def _coarseness(image: Image.Image) -> float:
    tables: dict[int, list[int]] = getattr(image, "quantization", {})
    return sum(tables[0]) / 64 if 0 in tables else 0.0


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    turn = _UPRIGHT.get(orientation)
    return image if turn is None else image.transpose(turn)


# --- error messages ----------------------------------------------------------------------------


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
    # WebP's decoder gives no reason, but the header states the length of the file.
    short = name == "WEBP" and int.from_bytes(data[4:8], "little") + 8 > len(data)
    if short or re.search("truncated|EOF|end of file", str(error), re.IGNORECASE):
        return f"truncated {name}"
    return f"broken {name}: {error or type(error).__name__}"
