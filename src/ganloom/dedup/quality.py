"""What a picture looks like, in numbers that help to choose: flags to sort by, never a verdict."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganloom.images.arrays import Array

PARTS = 8  # a side, of a picture whose detail is compared part by part
BLUR = 3  # px: the blur that a sharp picture would suffer from
LINES = 0.005  # share of a drawing that its thin lines cover, at least
MAX_DEPTH = 16.0  # of 255: enough not to be blank
GREY = 64  # px: what is encoded for `information` and described by `descriptor`
JPEG_QUALITY = 50
CELLS = 4  # a side, each with a histogram of edge directions
DIRECTIONS = 8
LEVELS = 4  # of red, green and blue
WIDTH = CELLS * CELLS * DIRECTIONS + LEVELS**3
_ROW, _COLUMN = np.indices((GREY - 2, GREY - 2)) * CELLS // (GREY - 2)
FIRST_BIN = (_ROW * CELLS + _COLUMN) * DIRECTIONS  # of the cell that a pixel lies in


class Looks(NamedTuple):
    """See ``Fingerprint``."""

    contrast: float
    sharpness: float
    detail: float
    blurred: float
    information: float


def looks(grey: Image.Image) -> Looks:
    """Measure a grey picture."""
    x = np.asarray(grey).astype(np.float32)
    laplacian = _laplacian(x)
    return Looks(
        # A few lines on a white sheet hardly change the standard deviation of its grey.
        contrast=round(max(float(x.std()), _line_depth(laplacian)), 3),
        sharpness=round(float(laplacian.var()), 3) if laplacian.size else 0.0,
        detail=round(_median_variance(laplacian), 3),
        blurred=round(max(_blurred(x), _blurred(x.T)), 3),
        information=round(_information(grey), 3),
    )


def _laplacian(x: NDArray[np.float32]) -> NDArray[np.float32]:
    if min(x.shape) < 3:
        return np.zeros((0, 0), np.float32)
    around = x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:]
    return around - 4 * x[1:-1, 1:-1]


def _line_depth(laplacian: NDArray[np.float32]) -> float:
    """How far thin lines stand out from their ground, up to ``MAX_DEPTH``; 0 for a slow gradient.

    A line one pixel wide and d darker or brighter than its ground has a Laplacian of 2 d. The limit
    leaves the contrast of textures to their standard deviation.
    """
    if not laplacian.size:
        return 0.0
    return min(MAX_DEPTH, float(np.quantile(np.abs(laplacian), 1 - LINES)) / 2)


def _median_variance(x: NDArray[np.float32]) -> float:
    height, width = (side // PARTS for side in x.shape)
    if min(height, width) < 1:
        return 0.0
    parts = x[: PARTS * height, : PARTS * width].reshape(PARTS, height, PARTS, width)
    # Laid out part by part: along the rows of a table numpy is twice as fast.
    table = parts.swapaxes(1, 2).reshape(PARTS**2, -1)
    return float(np.median(table.var(axis=1)))


def _blurred(x: NDArray[np.float32]) -> float:
    """Share of the differences between neighbours in a row that a blur leaves (Crété, 2007)."""
    if x.shape[1] <= BLUR:
        return 0.0
    sharp = np.abs(x[:, 1:] - x[:, :-1])
    blurred = np.abs(x[:, BLUR:] - x[:, :-BLUR]) / BLUR  # neighbours in a mean of three
    half = BLUR // 2
    sharp = sharp[:, half : half + blurred.shape[1]]
    lost = np.maximum(0, sharp - blurred)
    whole = float(sharp.sum())
    return 1 - float(lost.sum()) / whole if whole else 1.0


def _information(grey: Image.Image) -> float:
    file = io.BytesIO()
    small = grey.resize((GREY, GREY), Image.Resampling.BOX)
    small.save(file, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return 8 * file.tell() / GREY**2


def descriptors(greys: Sequence[Image.Image], thumbnails: Array) -> NDArray[np.float16]:
    """Shapes and colours in a few numbers: likeness of two pictures is their dot product.

    Histograms of edge directions in 4 x 4 cells (Dalal and Triggs, 2005) and one of 4 x 4 x 4
    colours, half the weight each.

    Args:
        greys: N pictures.
        thumbnails: (N, S, S, 3) uint8, the same in colour.

    Returns:
        (N, 192) of unit length.
    """
    size = GREY, GREY
    small = [np.asarray(grey.resize(size, Image.Resampling.BOX)) for grey in greys]
    x = np.stack(small).astype(np.float32)
    dx, dy = x[:, 1:-1, 2:] - x[:, 1:-1, :-2], x[:, 2:, 1:-1] - x[:, :-2, 1:-1]
    # Twice the angle, so that dark on light is as light on dark.
    direction = np.arctan2(2 * dx * dy, dx**2 - dy**2) * (DIRECTIONS / (2 * np.pi))
    bins = FIRST_BIN + np.floor(direction).astype(np.intp) % DIRECTIONS
    edges = _histograms(bins, CELLS * CELLS * DIRECTIONS, np.hypot(dx, dy))
    level = thumbnails.astype(np.intp) * LEVELS // 256
    colours = _histograms(level @ np.array([LEVELS * LEVELS, LEVELS, 1], np.intp), LEVELS**3)
    # Square roots, so that a dot product compares histograms (Hellinger) and none outweighs.
    parts = [np.sqrt(p / np.maximum(p.sum(axis=1, keepdims=True), 1)) for p in (edges, colours)]
    found = np.concatenate(parts, axis=1)
    length = np.linalg.norm(found, axis=1, keepdims=True)
    return np.asarray(found / np.maximum(length, 1e-9), np.float16)


def _histograms(
    bins: NDArray[np.intp], width: int, weights: NDArray[np.float32] | None = None
) -> NDArray[np.float64]:
    """Of each of N pictures: (N, width)."""
    count = len(bins)
    first = np.arange(count)[:, None, None] * width
    flat = None if weights is None else weights.ravel()
    found = np.bincount((first + bins).ravel(), flat, count * width)
    return found.reshape(count, width).astype(np.float64)
