"""Measures of quality and content to sort by; only contrast has a rule in ``curate``."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganloom.images.arrays import Array

PARTS = 8  # per side, for the median of the detail
BLUR = 3  # px: width of the blur that `blurred` tests
LINES = 0.005  # smallest share of a drawing that its thin lines cover
MAX_DEPTH = 16.0  # of 255: more than the contrast of a blank image
GREY = 64  # px: size for `information` and for the edges of descriptors
JPEG_QUALITY = 50
CELLS = 4  # per side, each with a histogram of edge directions
DIRECTIONS = 8
LEVELS = 4  # per colour channel, of the colour histogram
WIDTH = CELLS * CELLS * DIRECTIONS + LEVELS**3
_ROW, _COLUMN = np.indices((GREY - 2, GREY - 2)) * CELLS // (GREY - 2)
FIRST_BIN = (_ROW * CELLS + _COLUMN) * DIRECTIONS  # first bin of the cell of each pixel


class Measures(NamedTuple):
    """Measures of an image; see ``Fingerprint``."""

    contrast: float
    sharpness: float
    detail: float
    blurred: float
    information: float


def measure(grey: Image.Image) -> Measures:
    """Measure a grey image."""
    x = np.asarray(grey).astype(np.float32)
    laplacian = _laplacian(x)
    return Measures(
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
    """Measure the contrast of thin lines, up to ``MAX_DEPTH``; 0 for a slow gradient.

    A line of 1 px that differs by d from the background has a Laplacian of 2 d. Because of the
    limit, the contrast of textures is their standard deviation.
    """
    if not laplacian.size:
        return 0.0
    return min(MAX_DEPTH, float(np.quantile(np.abs(laplacian), 1 - LINES)) / 2)


def _median_variance(x: NDArray[np.float32]) -> float:
    height, width = (side // PARTS for side in x.shape)
    if min(height, width) < 1:
        return 0.0
    parts = x[: PARTS * height, : PARTS * width].reshape(PARTS, height, PARTS, width)
    # A contiguous row per part: numpy is twice as fast along rows.
    table = parts.swapaxes(1, 2).reshape(PARTS**2, -1)
    return float(np.median(table.var(axis=1)))


def _blurred(x: NDArray[np.float32]) -> float:
    """Share of the differences between adjacent pixels that a blur leaves (Crété, 2007)."""
    if x.shape[1] <= BLUR:
        return 0.0
    sharp = np.abs(x[:, 1:] - x[:, :-1])
    # Differences between adjacent pixels of the moving average over BLUR pixels.
    blurred = np.abs(x[:, BLUR:] - x[:, :-BLUR]) / BLUR
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
    """Describe shapes and colours; the dot product of two descriptors is their similarity.

    A descriptor consists of histograms of edge directions in 4 x 4 cells (Dalal and Triggs, 2005)
    and a histogram of 4 x 4 x 4 colours. Both halves have equal weight.

    Args:
        greys: N grey images.
        thumbnails: (N, S, S, 3) uint8, the same images in colour.

    Returns:
        (N, 192) of unit length.
    """
    size = GREY, GREY
    small = [np.asarray(grey.resize(size, Image.Resampling.BOX)) for grey in greys]
    x = np.stack(small).astype(np.float32)
    dx, dy = x[:, 1:-1, 2:] - x[:, 1:-1, :-2], x[:, 2:, 1:-1] - x[:, :-2, 1:-1]
    # Twice the angle, so that dark on light equals light on dark.
    direction = np.arctan2(2 * dx * dy, dx**2 - dy**2) * (DIRECTIONS / (2 * np.pi))
    bins = FIRST_BIN + np.floor(direction).astype(np.intp) % DIRECTIONS
    edges = _histograms(bins, CELLS * CELLS * DIRECTIONS, np.hypot(dx, dy))
    level = thumbnails.astype(np.intp) * LEVELS // 256
    colours = _histograms(level @ np.array([LEVELS * LEVELS, LEVELS, 1], np.intp), LEVELS**3)
    # The dot product of square roots compares histograms (Hellinger).
    parts = [np.sqrt(p / np.maximum(p.sum(axis=1, keepdims=True), 1)) for p in (edges, colours)]
    vectors = np.concatenate(parts, axis=1)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-9), np.float16)


def _histograms(
    bins: NDArray[np.intp], width: int, weights: NDArray[np.float32] | None = None
) -> NDArray[np.float64]:
    """Compute a histogram of ``width`` bins for each of N images: (N, width)."""
    count = len(bins)
    first = np.arange(count)[:, None, None] * width
    flat = None if weights is None else weights.ravel()
    counts = np.bincount((first + bins).ravel(), flat, count * width)
    return counts.reshape(count, width).astype(np.float64)
