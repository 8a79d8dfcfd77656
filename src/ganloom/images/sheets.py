"""Grids and contact sheets of several images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from ganloom.images.arrays import Array

WHITE = 255


def grid(images: Array, columns: int) -> Array:
    """Arrange a batch in rows; the rest of the last row is white.

    Args:
        images: (N, H, W, 3).
        columns: Number of images in a row.

    Returns:
        (rows * H, columns * W, 3).
    """
    count, height, width, channels = images.shape
    rows = -(-count // columns)
    tiles = np.full((rows * columns, height, width, channels), WHITE, np.uint8)
    tiles[:count] = images
    table = tiles.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return table.reshape(rows * height, columns * width, channels)


def contact_sheet(
    images: Sequence[Image.Image | Array], columns: int, tile: int, gap: int = 4
) -> Image.Image:
    """Arrange images of any sizes in rows on white, shrunk to fit a tile, never enlarged.

    Args:
        images: Images; none gives a sheet with one empty row.
        columns: Number of tiles in a row.
        tile: Side of a tile in px.
        gap: Space between tiles and around the sheet in px.
    """
    rows = max(1, -(-len(images) // columns))
    step = tile + gap
    sheet = Image.new("RGB", (columns * step + gap, rows * step + gap), "white")
    for position, image in enumerate(images):
        row, column = divmod(position, columns)
        small = Image.fromarray(np.asarray(image))
        small.thumbnail((tile, tile), Image.Resampling.LANCZOS)
        x = gap + column * step + (tile - small.width) // 2
        y = gap + row * step + (tile - small.height) // 2
        sheet.paste(small, (x, y))
    return sheet
