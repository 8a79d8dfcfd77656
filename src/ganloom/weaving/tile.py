"""Large tiles from samples: folded, enlarged, and folded again."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganloom.enlarging.network import SAMPLES, Enlarger, enlarge
from ganloom.weaving.groups import FRIEZES, fold, refold

Array = NDArray[np.uint8]

# Roughness of folded samples, whose lines are made even: symmetry would repeat every dent.
FOLDED = 1.0

PAD = 8  # px of the adjacent tiles that take part in resampling, at each side


def make_tile(
    sample: Array, group: str, width: int, enlarger: Enlarger | None, *, periodic: bool = False
) -> Array:
    """Make a seamless tile from a sample.

    Args:
        sample: (R, R, 3), R even.
        group: Key of ``groups.WALLPAPERS``, or of ``groups.FRIEZES`` for a strip that repeats
            horizontally.
        width: Width of the tile in px, rounded to a multiple of 4.
        enlarger: Network that enlarges it; None: it is interpolated.
        periodic: Whether the sample itself repeats without a seam, so that it is a tile of `p1`.

    Returns:
        (H, width, 3), exactly invariant under the group.
    """
    whole = periodic and group == "p1"
    tile = sample if whole else fold(sample, group)
    wrap, roughness = (group not in FRIEZES, True), SAMPLES if whole else FOLDED
    size = _size(tile, width)
    return refold(enlarged_tile(tile, size, enlarger, wrap, roughness=roughness), group)


def enlarged_tile(
    tile: Array,
    size: tuple[int, int],
    enlarger: Enlarger | None,
    wrap: tuple[bool, bool] = (True, True),
    *,
    roughness: float = SAMPLES,
) -> Array:
    """Enlarge an image that repeats.

    Args:
        tile: (H, W, 3).
        size: New height and width.
        enlarger: Network that enlarges it; None: it is interpolated.
        wrap: Whether it repeats without a seam, vertically and horizontally.
        roughness: Roughness of the image, 0 to 1.
    """
    if enlarger:
        doublings = max(0, math.ceil(math.log2(size[1] / tile.shape[1])))
        tile = enlarge(enlarger, tile[None], doublings, roughness=roughness, wrap=wrap)[0]
    return _resized(tile, size, wrap)


def enlarged(sample: Array, width: int, enlarger: Enlarger | None) -> Array:
    """Enlarge an image that does not repeat, such as a photograph: (H, W, 3) to ``width`` px."""
    return enlarged_all(sample[None], width, enlarger)[0]


def enlarged_all(samples: Array, width: int, enlarger: Enlarger | None) -> Array:
    """Enlarge several images like ``enlarged``, in less time: (N, H, W, 3)."""
    _, height, own, _ = samples.shape
    size = round(height * width / own), width
    if enlarger:
        samples = enlarge(enlarger, samples, max(0, math.ceil(math.log2(width / own))))
    return np.stack([_resized(sample, size, (False, False)) for sample in samples])


def _size(tile: Array, width: int) -> tuple[int, int]:
    """Return height and width in px near the requested width, both multiples of 4."""
    height, own, _ = tile.shape
    columns = max(4, 4 * round(width / 4))
    return max(4, 4 * round(height * columns / own / 4)), columns


def _resized(picture: Array, size: tuple[int, int], wrap: tuple[bool, bool]) -> Array:
    """Resample with a Lanczos filter, across the seams of periodic axes."""
    if picture.shape[:2] == size:
        return picture
    height, width = size
    for axis, wraps in enumerate(wrap):
        pad = [(0, 0)] * 3
        pad[axis] = (PAD, PAD)
        picture = np.pad(picture, pad, mode="wrap" if wraps else "symmetric")
    box = (PAD, PAD, picture.shape[1] - PAD, picture.shape[0] - PAD)
    image = Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS, box=box)
    return np.asarray(image)
