"""Composition of a cloth: a field of tiles, and a border with matching corners."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.uint8]

ROWS = 64  # of the cloth that are composed at a time
LINE = 1 / 32  # width of the line between field and border, as a share of the border's depth


def compose(tiles: Sequence[Array], height: int, width: int, strip: Array | None = None) -> Array:
    """Compose a cloth.

    The field is symmetric about the centre of the cloth if the tiles are symmetric about their
    corner.
    From the centre to the edge, it changes from the first tile to the last one; neighbouring tiles
    are cross-faded, so they should be similar.

    The strip runs along all four sides, with its first row outside. It is reflected in the middle
    of each side and in the diagonals of the corners, so that it is continuous everywhere.

    Args:
        tiles: (h, w, 3) each, all of one size; one or more.
        height: Height of the cloth in px.
        width: Width of the cloth in px.
        strip: (B, W, 3), B at most half of the cloth's shorter side; repeats horizontally. None: no
            border.

    Returns:
        (height, width, 3).
    """
    cloth = np.empty((height, width, 3), np.uint8)
    stack = np.stack(tiles)
    for top in range(0, height, ROWS):
        y = np.arange(top, min(top + ROWS, height))
        cloth[y] = _field(stack, y, height, width)
    if strip is not None:
        _lay_border(cloth, strip)
    return cloth


def _field(tiles: Array, y: NDArray[np.int64], height: int, width: int) -> Array:
    """Compose some rows of the field."""
    rows = (y - height // 2) % tiles.shape[1]
    columns = (np.arange(width) - width // 2) % tiles.shape[2]
    if len(tiles) == 1:
        return tiles[0][rows[:, None], columns]
    down = np.abs(y + 0.5 - height / 2) / height
    right = np.abs(np.arange(width) + 0.5 - width / 2) / width
    at = np.hypot(down[:, None], right) / np.hypot(0.5, 0.5) * (len(tiles) - 1)
    first = np.minimum(at.astype(np.int64), len(tiles) - 2)
    share = (at - first)[..., None].astype(np.float32)
    inner = tiles[first, rows[:, None], columns]
    outer = tiles[first + 1, rows[:, None], columns]
    return np.rint(inner * (1 - share) + outer * share).astype(np.uint8)


def _lay_border(cloth: Array, strip: Array) -> None:
    """Draw a border along the edges of a cloth, in place."""
    deep = len(strip)
    line = round(LINE * deep)
    framed = strip.copy()
    if line:
        dark = np.percentile(strip.reshape(-1, 3), 5, axis=0).astype(np.uint8)
        framed[-line:] = dark
        framed[:line] = dark
    # First the upper and lower sides, then the others on the transposed cloth: views of one array.
    for picture in (cloth, cloth.swapaxes(0, 1)):
        long = picture.shape[1]
        along = np.minimum(np.arange(long), long - 1 - np.arange(long))
        side = framed[:, along % strip.shape[1]]
        inside = np.arange(deep)[:, None] <= along  # up to the diagonals of the corners
        for rim in (picture[:deep], picture[::-1][:deep]):
            np.copyto(rim, side, where=inside[..., None])
