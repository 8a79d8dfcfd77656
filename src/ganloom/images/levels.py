"""Conversion of pixels of any depth to 8 bits.

A file states how many bits a pixel has, but not how many of them are used: scanners and medical
devices store 12 bits in 16, and masks consist of 0 and 1. The range is therefore derived from the
values of the image:

- Integers of more than 8 bits: the bits that the largest value needs, at least 8. So 12 bits in 16
  are treated as 12, and an image that uses all 16 keeps its high byte.
- Floating-point values: 0 to 1 if they are within it, else the bits that the largest value needs.
- Negative values, or floating-point values below one level of 255: from the smallest to the largest
  value. NaN counts as the smallest.
- 8 bits are unchanged, except in masks: two nearly equal colours, of which the darker one is black
  or which come from a palette, become black and white.
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
_ROWS = 256

_SAMPLE_FORMAT, _SIGNED = 0x0153, 2  # of TIFF
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
    if file.mode.startswith(("I", "F")):
        values = np.asarray(file)
        tags = getattr(file, "tag_v2", None)
        if file.mode == "I" and tags and _SIGNED not in tags.get(_SAMPLE_FORMAT, ()):
            values = values.view(np.uint32)  # Pillow has no mode for it
        return Image.fromarray(eight_bits(values))
    raw = {_raw_mode(tile) for tile in tiles}
    low_byte = _LOW_BYTE.get(raw.pop()) if len(raw) == 1 else None
    if low_byte and file.tell() == 0:  # later frames are composited over others
        return _of_16_bits_a_channel(file, data, low_byte)
    return file


def _of_16_bits_a_channel(file: ImageFile.ImageFile, data: bytes, low_byte: str) -> Image.Image:
    """Decode 16 bits per channel; Pillow keeps the high byte, which is wrong if all are small."""
    high = np.asarray(file)
    if high[..., :3].max() >= 0x80:
        return file
    with Image.open(io.BytesIO(data), formats=[str(file.format)]) as again:
        again.tile = [_with_raw_mode(tile, low_byte) for tile in again.tile]
        again.load()
        low = np.asarray(again)
    if low_byte == "RGBA":
        grey, alpha = (low[..., i].astype(np.uint16) << 8 | low[..., i + 1] for i in (0, 2))
        return Image.fromarray(np.stack([eight_bits(grey)] * 3 + [eight_bits(alpha)], axis=2))
    deep = high.astype(np.uint16) << 8 | low
    parts = [deep[..., :3]] + ([deep[..., 3:]] if deep.shape[2] == 4 else [])
    return Image.fromarray(np.concatenate([eight_bits(part) for part in parts], axis=2))


def _raw_mode(tile: ImageFile._Tile) -> str:
    """Return Pillow's raw mode of a tile: the layout of its bytes."""
    return str(tile.args if isinstance(tile.args, str) else (tile.args or ("",))[0])


def _with_raw_mode(tile: ImageFile._Tile, mode: str) -> ImageFile._Tile:
    args = mode if isinstance(tile.args, str) else (mode, *(tile.args or ())[1:])
    return tile._replace(args=args)


def eight_bits(values: NDArray[Any]) -> Array:
    """Reduce integers or floating-point numbers of any shape, at least (N,), to 8 bits."""
    if values.dtype.kind == "u" or (values.dtype.kind == "i" and values.min() >= 0):
        bits = max(8, int(values.max()).bit_length())
        return np.asarray(values >> (bits - 8)).astype(np.uint8)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if low >= 0 and high > 1 / 255:
        low, high = 0.0, 1.0 if high <= 1 else float((1 << max(8, int(high).bit_length())) - 1)
    span = (high - low) or 1.0
    found = np.empty(values.shape, np.uint8)
    for rows in range(0, len(values), _ROWS):  # in parts, since double precision takes memory
        shown = (values[rows : rows + _ROWS].astype(np.float64) - low) / span
        shown = np.nan_to_num(shown, nan=0.0, posinf=1.0, neginf=0.0)
        found[rows : rows + _ROWS] = np.round(np.clip(shown, 0, 1) * 255)
    return found


def unmasked(image: Image.Image, from_palette: bool) -> Image.Image:
    """Make a mask black and white; return any other RGB image unchanged."""
    counted: Any = image.getcolors(2)
    if counted is None or len(counted) < 2:
        return image
    dark, light = sorted((colour for _, colour in counted), key=lambda c: (sum(c), c))
    apart = max(abs(a - b) for a, b in zip(dark, light, strict=True))
    if apart >= _NEARLY_THE_SAME or not (from_palette or dark == (0, 0, 0)):
        return image
    is_light = (np.asarray(image) == np.array(light, np.uint8)).all(axis=2)
    return Image.fromarray(is_light.astype(np.uint8) * np.uint8(255)).convert("RGB")
