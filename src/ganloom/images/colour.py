"""Colours of embedded ICC profiles as sRGB."""

from __future__ import annotations

import functools
import io

import numpy as np
from PIL import Image, ImageCms

# Of CMYK printing conditions the largest have some 3 MB.
MAX_PROFILE = 4 << 20
# A profile that moves no colour further, of 255, is sRGB written down in another way.
_ROUNDING = 2
_SPACES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # of ICC, and Pillow's mode


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert to sRGB.

    The intent is relative colorimetric with black point compensation. What is transparent keeps its
    alpha. A profile that is broken, larger than ``MAX_PROFILE``, for other channels than the
    picture's, or sRGB itself changes nothing.

    Args:
        image: Of 8 bits: L, LA, RGB, RGBA, P, PA, CMYK.
        profile: As embedded in its file.

    Returns:
        ``image`` itself if nothing is to change, else RGB or RGBA.
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
    return found.convert("L").convert("RGB") if space == "L" else found  # no tint by rounding


def from_lab(image: Image.Image) -> Image.Image:
    """CIELAB, which needs no profile, as sRGB."""
    lab = ImageCms.createProfile("LAB")
    found = ImageCms.profileToProfile(image, lab, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert found is not None
    return found


@functools.lru_cache(maxsize=16)
def _space(profile: bytes) -> str | None:
    """Pillow's mode of the pixels that a profile is for; None if it is broken or for others."""
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    except (OSError, ValueError, TypeError):
        return None
    return _SPACES.get(opened.profile.xcolor_space)


@functools.lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """A transform to sRGB; None if none can be made, or it would change nothing but roundings."""
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
    """All greys, and for RGB a lattice of colours as well, as a picture of one line."""
    greys = np.arange(256, dtype=np.uint8)
    if mode == "L":
        return Image.fromarray(greys[None])
    steps = np.arange(0, 256, 17, dtype=np.uint8)
    lattice = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    return Image.fromarray(np.concatenate([np.stack([greys] * 3, axis=1), lattice])[None])
