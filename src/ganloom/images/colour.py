"""Conversion of colours with embedded ICC profiles to sRGB."""

from __future__ import annotations

import functools
import io

import numpy as np
from PIL import Image, ImageCms

# The largest profiles, for CMYK printing, have some 3 MB.
MAX_PROFILE = 4 << 20
# A profile that changes no colour by more than this, of 255, is equivalent to sRGB.
_ROUNDING = 2
_SPACES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # ICC's name: Pillow's mode


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
    except (OSError, ValueError, TypeError):
        return None
    return _SPACES.get(opened.profile.xcolor_space)


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
