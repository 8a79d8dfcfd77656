"""Conversion of pixels of any depth to 8 bits.

A file states how many bits a pixel has, but not how many of them are used: scanners and medical
devices store 12 bits in 16, and masks consist of 0 and 1. The range is therefore derived from the
values of the image, without the few that are no picture:

1. Values that mark missing data are left out: NaN and infinity, the value that a TIFF names in
   GDAL's tag 42113, magnitudes of 1e20 and more, and the usual markers (``_MARKERS``) if a gap
   separates them from everything else.
2. Outliers, such as hot pixels, are left out: up to 1 % of the pixels if a gap of a factor of 4
   separates them from the others, and up to 0.1 %, but at least one pixel, if the largest of them
   is 4 times as large as the others. If there are negative values, the distances from the median
   are compared.
3. The rest determines the range:

   - Integers: the bits that the largest value needs, at least 8. So 12 bits in 16 are treated as
     12, and an image that uses all 16 keeps its high byte.
   - Floating-point values: 0 to 1 if they are within it, 0 to the largest value if that is below
     16, else the bits that the largest value needs. Up to 1 % of the pixels may exceed 1, 255 or
     65535 slightly, as they do after resampling.
   - Negative values, or floating-point values below one level of 255: from the smallest to the
     largest value.

Values outside of the range are clipped. NaN and the value that the tag names become black.

8 bits are unchanged, except in masks and label maps (see ``unmasked``).
"""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from ganloom.images.arrays import Array

_NEARLY_THE_SAME = 16  # of 255, in every channel
_MAX_LABEL = 31  # largest value of a label map that is stretched
_ROWS = 256

# Usual markers of missing data; a float of 1e20 or more is one as well.
_MARKERS = {-999, -9999, -99999, -32767, -32768, 32767, 65535, -(2**31), 2**31 - 1, 2**32 - 1}
_NO_MEASUREMENT = 1e20
_PICTURE_LEVELS = 16  # an image with fewer levels below such a marker may be a drawing
_APART = 4  # factor between outliers and the others
_MANY, _FEW = 100, 1000  # one pixel in so many may be an outlier beyond a gap, and without one
# Full scales of floating-point values, each with the largest value of a slight excess.
_EXCESS = ((1.0, 16.0), (255.0, 288.0), (65535.0, 73728.0))

_SAMPLE_FORMAT, _SIGNED = 0x0153, 2  # of TIFF
_NODATA = 42113  # GDAL's tag of TIFF: a number as text
# Pillow's raw modes of 16 bits per channel, each with the mode that yields the low byte instead.
_OTHER = "B" if sys.byteorder == "little" else "L"  # byte order unlike this machine's
_LOW_BYTE = {
    f"{channels};16{order}": f"{channels};16{swapped}"
    for channels in ("RGB", "RGBX", "RGBA")
    for order, swapped in (("B", "L"), ("L", "B"), ("N", _OTHER))
} | {"LA;16B": "RGBA"}  # read as four bytes per pixel


def of_8_bits(file: ImageFile.ImageFile, data: bytes) -> Image.Image:
    """Decode a frame; more than 8 bits per channel are reduced by the range in use.

    Args:
        file: Open image, at that frame.
        data: Content of the file.
    """
    tiles = list(file.tile)
    file.load()
    nodata = _nodata(file)
    if file.mode.startswith(("I", "F")):
        values = np.asarray(file)
        tags = getattr(file, "tag_v2", None)
        if file.mode == "I" and tags and _SIGNED not in tags.get(_SAMPLE_FORMAT, ()):
            values = values.view(np.uint32)  # Pillow has no mode for it
        return Image.fromarray(eight_bits(values, nodata))
    raw = {_raw_mode(tile) for tile in tiles}
    low_byte = _LOW_BYTE.get(raw.pop()) if len(raw) == 1 else None
    if low_byte and file.tell() == 0:  # later frames are composited over others
        return _of_16_bits_a_channel(file, data, low_byte, nodata)
    return file


def _nodata(file: ImageFile.ImageFile) -> float | None:
    """Return the value that a TIFF names as missing data; None if there is none."""
    try:
        return float(str(getattr(file, "tag_v2", {})[_NODATA]).strip(" \0"))
    except (KeyError, ValueError):
        return None


def _of_16_bits_a_channel(
    file: ImageFile.ImageFile, data: bytes, low_byte: str, nodata: float | None
) -> Image.Image:
    """Decode 16 bits per channel; Pillow keeps the high byte, which is wrong if most are small."""
    high = np.asarray(file)
    is_bright = np.mean(high[..., :3].max(axis=2) >= 0x40) > 1 / _MANY  # whatever the outliers
    if nodata is None and is_bright and high[..., :3].max() >= 0x80:
        return file
    with Image.open(io.BytesIO(data), formats=[str(file.format)]) as again:
        again.tile = [_with_raw_mode(tile, low_byte) for tile in again.tile]
        again.load()
        low = np.asarray(again)
    if low_byte == "RGBA":
        deep = np.stack([low[..., i].astype(np.uint16) << 8 | low[..., i + 1] for i in (0, 2)], 2)
        parts = [eight_bits(deep[..., :1], nodata).repeat(3, axis=2), _by_bits(deep[..., 1:])]
    else:
        deep = high.astype(np.uint16) << 8 | low
        parts = [eight_bits(deep[..., :3], nodata)]
        parts += [_by_bits(deep[..., 3:])] if deep.shape[2] == 4 else []
    return Image.fromarray(np.concatenate(parts, axis=2))


def _raw_mode(tile: ImageFile._Tile) -> str:
    """Return Pillow's raw mode of a tile: the layout of its bytes."""
    return str(tile.args if isinstance(tile.args, str) else (tile.args or ("",))[0])


def _with_raw_mode(tile: ImageFile._Tile, mode: str) -> ImageFile._Tile:
    args = mode if isinstance(tile.args, str) else (mode, *(tile.args or ())[1:])
    return tile._replace(args=args)


def eight_bits(values: NDArray[Any], nodata: float | None = None) -> Array:
    """Reduce integers or floating-point numbers to 8 bits.

    Args:
        values: (H, W) or, with unsigned integers, (H, W, C), whose channels have one range.
        nodata: Value of missing data.

    Returns:
        Array of the shape of ``values``.
    """
    is_void = np.isnan(values)
    if nodata is not None:
        is_void |= values == nodata
    if values.ndim == 3:
        is_void = is_void.all(axis=2)
    brightest = values.max(axis=2) if values.ndim == 3 else values
    low, high = _range(brightest[~is_void & np.isfinite(brightest)])
    if values.dtype.kind in "ui" and low == 0:
        found = _by_bits(np.clip(values, 0, int(high)), int(high))
    else:
        found = _stretched(values, low, high)
    found[is_void] = 0
    return found


def _by_bits(values: NDArray[Any], largest: int | None = None) -> Array:
    """Keep the highest 8 of the bits that the largest of non-negative integers needs."""
    bits = max(8, int(values.max() if largest is None else largest).bit_length())
    return np.asarray(values >> (bits - 8)).astype(np.uint8)


def _stretched(values: NDArray[Any], low: float, high: float) -> Array:
    span = (high - low) or 1.0
    found = np.empty(values.shape, np.uint8)
    for rows in range(0, len(values), _ROWS):  # in parts, since double precision takes memory
        shown = (values[rows : rows + _ROWS].astype(np.float64) - low) / span
        found[rows : rows + _ROWS] = np.round(np.clip(np.nan_to_num(shown), 0, 1) * 255)
    return found


# --- range of the values -------------------------------------------------------------------------


def _range(values: NDArray[Any]) -> tuple[float, float]:
    """Return the values that become 0 and 255; see the rules above.

    Args:
        values: (N,) finite.
    """
    values = _measured(values)
    if not values.size:
        return 0.0, 1.0
    if values.min() < 0:
        distances = np.abs(values - np.median(values).astype(np.float64))
        values = values[distances <= _largest(distances)]
    if values.min() < 0:
        return float(values.min()), float(values.max())
    if values.dtype.kind in "ui":
        return 0.0, _full_scale(_largest(values, 255))
    high = _largest(values, 1)
    for full, most in _EXCESS:
        if full < high <= most and np.mean(values > full) <= 1 / _MANY:
            return 0.0, full
    if high <= 1 / 255:
        return float(values.min()), high
    return 0.0, 1.0 if high <= 1 else high if high < 16 else _full_scale(high)


def _full_scale(high: float) -> float:
    return float((1 << max(8, int(high).bit_length())) - 1)


def _measured(values: NDArray[Any]) -> NDArray[Any]:
    """Remove markers of missing data."""
    if values.dtype.kind == "f":
        values = values[np.abs(values) < _NO_MEASUREMENT]
    while values.size and values.min() in _MARKERS:
        others = values[values > values.min()]
        if not others.size or float(others.min()) - float(values.min()) < np.ptp(others) / 2:
            break
        if others.min() == others.max():
            break
        values = others
    if values.size and values.max() in _MARKERS:
        others = values[values < values.max()]
        if (
            others.size
            and float(values.max()) >= _APART * float(others.max())
            and len(np.unique(others)) > _PICTURE_LEVELS
        ):
            values = others
    return values


def _largest(values: NDArray[Any], floor: float = 0.0) -> float:
    """Return the largest value that is no outlier.

    Args:
        values: (N,); at least one is positive or 0.
        floor: Smaller values are not told apart from it.
    """
    count = max(1, len(values) // _MANY)
    rank = max(0, len(values) - 1 - count)
    tail = np.sort(np.partition(values, rank)[rank:]).astype(np.float64)
    shown = np.maximum(tail, floor)
    gaps = np.flatnonzero(shown[1:] >= _APART * shown[:-1])
    few = len(tail) - 1 - max(1, len(values) // _FEW)
    places = [*gaps[:1], *([few] if few >= 0 and shown[-1] >= _APART * shown[few] else [])]
    others = float(tail[min(places, default=-1)])
    # If all others are equal, they are the ground, and the few are the drawing.
    return others if others > values.min() else float(tail[-1])


# --- masks and label maps ------------------------------------------------------------------------


def unmasked(image: Image.Image, from_palette: bool) -> Image.Image:
    """Make a mask black and white, and stretch the greys of a label map.

    A mask has two colours that differ by less than 16 of 255, of which the darker one is black or
    which come from a palette. A label map has three or more greys, none above 31; the largest one
    becomes white. Any other RGB image is returned unchanged.
    """
    counted: Any = image.getcolors(_MAX_LABEL + 1)
    colours = sorted((colour for _, colour in counted or ()), key=lambda c: (sum(c), c))
    if len(colours) == 2:
        dark, light = colours
        return _mask(image, dark, light, from_palette)
    is_grey = all(red == green == blue for red, green, blue in colours)
    if len(colours) > 2 and is_grey and colours[-1][0] <= _MAX_LABEL:
        scale = 255 / colours[-1][0]
        return image.point([min(255, round(scale * value)) for value in range(256)] * 3)
    return image


def _mask(
    image: Image.Image, dark: tuple[int, ...], light: tuple[int, ...], from_palette: bool
) -> Image.Image:
    apart = max(abs(a - b) for a, b in zip(dark, light, strict=True))
    if apart >= _NEARLY_THE_SAME or not (from_palette or dark == (0, 0, 0)):
        return image
    is_light = (np.asarray(image) == np.array(light, np.uint8)).all(axis=2)
    return Image.fromarray(is_light.astype(np.uint8) * np.uint8(255)).convert("RGB")
