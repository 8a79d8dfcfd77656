"""Conversion of colours to sRGB, by embedded ICC profiles or as Adobe RGB."""

from __future__ import annotations

import functools
import io
import struct

import numpy as np
from PIL import Image, ImageCms

# The largest profiles, for CMYK printing, have some 3 MB.
MAX_PROFILE = 4 << 20
# A profile that changes no colour by more than this, of 255, is equivalent to sRGB.
_ROUNDING = 2
_SPACES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # ICC's name: Pillow's mode


def _matrix_profile(white: _Xyz, primaries: tuple[_Xyz, _Xyz, _Xyz], gamma: float) -> bytes:
    """Build an ICC profile, version 2, of an RGB space with one gamma for all channels."""

    def xyz(values: _Xyz) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(65536 * v) for v in values))

    curve = b"curv\0\0\0\0" + struct.pack(">IHxx", 1, round(256 * gamma))
    tags = {b"wtpt": xyz(white)}
    tags |= {c + b"XYZ": xyz(p) for c, p in zip((b"r", b"g", b"b"), primaries, strict=True)}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + len(table) + 12 * len(tags)
    for name, content in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(content))
        body += content
    header = struct.pack(
        ">I4xI4s4s4s12x4s28x12s",
        start + len(body), 0x02400000, b"mntr", b"RGB ", b"XYZ ", b"acsp", xyz(white)[8:],
    )  # fmt: skip
    return header.ljust(128, b"\0") + table + body


_Xyz = tuple[float, float, float]
# Adobe RGB (1998), under D50: what EXIF means by the interoperability index R03.
ADOBE_RGB = _matrix_profile(
    (0.96420, 1.0, 0.82491),
    ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)),
    563 / 256,
)


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert to sRGB.

    The intent is relative colorimetric with black point compensation. Alpha is preserved. A profile
    is ignored if it is damaged, larger than ``MAX_PROFILE``, for other channels than those of the
    image, or equivalent to sRGB.

    Args:
        image: Image of 8 bits: L, LA, RGB, RGBA, P, PA, CMYK.
        profile: Embedded profile.

    Returns:
        ``image`` itself if nothing changes, else RGB or RGBA.
    """
    if not profile or len(profile) > MAX_PROFILE:
        return image
    if image.has_transparency_data:
        alpha = image.convert("RGBA").getchannel("A")
        opaque = image.convert("L" if image.mode in ("L", "LA") else "RGB")
        converted = to_srgb(opaque, profile)
        if converted is opaque:
            return image
        converted.putalpha(alpha)
        return converted
    space = _space(profile)
    if space == "RGB" and image.mode not in ("CMYK", "LAB"):
        shown = image.convert("RGB")
    elif space == image.mode:
        shown = image
    else:
        return image
    transform = _transform(profile, shown.mode)
    if transform is None:
        return image
    found = ImageCms.applyTransform(shown, transform)
    assert found is not None  # not in place
    return found.convert("L").convert("RGB") if space == "L" else found  # removes tints of rounding


def from_lab(image: Image.Image) -> Image.Image:
    """Convert CIELAB, which needs no profile, to sRGB."""
    lab = ImageCms.createProfile("LAB")
    found = ImageCms.profileToProfile(image, lab, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert found is not None
    return found


@functools.lru_cache(maxsize=16)
def _space(profile: bytes) -> str | None:
    """Return Pillow's mode for a profile's colour space; None if damaged or not supported."""
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return _SPACES.get(opened.profile.xcolor_space)
    except (OSError, ValueError, TypeError):
        return None


@functools.lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Build a transform to sRGB; None if that fails, or it would change nothing but roundings."""
    try:
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    if mode == "CMYK":
        return transform
    colours = _samples(mode)
    moved = np.asarray(ImageCms.applyTransform(colours, transform), np.int16)
    before = np.asarray(colours.convert("RGB"), np.int16)
    return transform if np.abs(moved - before).max() > _ROUNDING else None


def _samples(mode: str) -> Image.Image:
    """Build an image of one line with all greys, and for RGB also a lattice of colours."""
    greys = np.arange(256, dtype=np.uint8)
    if mode == "L":
        return Image.fromarray(greys[None])
    steps = np.arange(0, 256, 17, dtype=np.uint8)
    lattice = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    return Image.fromarray(np.concatenate([np.stack([greys] * 3, axis=1), lattice])[None])
