"""Image arrays: downsampling, and the symmetries of the square.

An image array is RGB, uint8, (H, W, 3); a batch is (N, H, W, 3).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.uint8]

# Symmetries in use for each value of `augment.symmetries`.
SYMMETRIES: dict[int, tuple[int, ...]] = {1: (0,), 2: (0, 4), 4: (0, 1, 2, 3), 8: tuple(range(8))}


def downsampled(images: NDArray[np.uint8], resolution: int) -> NDArray[np.uint8]:
    """Average squares of pixels, halves rounded up: (..., R, R, 3) to (..., r, r, 3)."""
    *batch, side, _, channels = images.shape
    factor, rest = divmod(side, resolution)
    if rest:
        raise ValueError(f"{side} px is no multiple of {resolution} px")
    squares = images.reshape(*batch, resolution, factor, resolution, factor, channels)
    sums = squares.sum(axis=(-4, -2), dtype=np.uint32)
    return ((sums + factor**2 // 2) // factor**2).astype(np.uint8)


def apply_symmetry(images: NDArray[Any], k: int) -> NDArray[Any]:
    """Rotate counter-clockwise by ``k % 4`` quarter turns, then for ``k >= 4`` flip left-right.

    Args:
        images: (H, W, C) or (N, H, W, C).
        k: Symmetry, 0 to 7.

    Returns:
        Contiguous array with the same number of dimensions.
    """
    if not 0 <= k < 8:
        raise ValueError(f"symmetry {k}: the square has 0 to 7")
    turned = np.rot90(images, k % 4, axes=(-3, -2))
    return np.ascontiguousarray(np.flip(turned, axis=-2) if k >= 4 else turned)
