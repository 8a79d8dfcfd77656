"""Image arrays: means of squares of pixels, and the symmetries of the square.

An image array is RGB, uint8, (H, W, 3); a batch is (N, H, W, 3).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.uint8]

# Of `augment.symmetries`: which of the eight.
SYMMETRIES: dict[int, tuple[int, ...]] = {1: (0,), 2: (0, 4), 4: (0, 1, 2, 3), 8: tuple(range(8))}


def downsampled(images: NDArray[np.uint8], resolution: int) -> NDArray[np.uint8]:
    """Means of squares of pixels, halves rounded up: (..., R, R, 3) to (..., r, r, 3)."""
    *batch, side, _, channels = images.shape
    factor, rest = divmod(side, resolution)
    if rest:
        raise ValueError(f"{side} px is no multiple of {resolution} px")
    squares = images.reshape(*batch, resolution, factor, resolution, factor, channels)
    sums = squares.sum(axis=(-4, -2), dtype=np.uint32)
    return ((sums + factor**2 // 2) // factor**2).astype(np.uint8)


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
