"""What a picture looks like, in numbers that help to choose: flags to sort by, never a verdict."""

from __future__ import annotations

import io
from typing import NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganloom.images import Array

PARTS = 8  # a side, of a picture whose detail is compared part by part
BLUR = 5  # px: the blur that a sharp picture would suffer from
GREY = 64  # px: what is encoded for `information` and described by `descriptor`
JPEG_QUALITY = 50
CELLS = 4  # a side, each with a histogram of edge directions
DIRECTIONS = 8
LEVELS = 4  # of red, green and blue
WIDTH = CELLS * CELLS * DIRECTIONS + LEVELS**3
_ROW, _COLUMN = np.indices((GREY - 2, GREY - 2)) * CELLS // (GREY - 2)
FIRST_BIN = (_ROW * CELLS + _COLUMN) * DIRECTIONS  # of the cell that a pixel lies in
NEIGHBOURS = 5  # how near their mean is says how much a picture belongs


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
        contrast=round(float(x.std()), 3),
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
    blurred = np.abs(x[:, BLUR:] - x[:, :-BLUR]) / BLUR  # neighbours in a mean of five
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


def descriptor(grey: Image.Image, thumbnail: Array) -> NDArray[np.float16]:
    """Shapes and colours in a few numbers: likeness of two pictures is their dot product.

    Histograms of edge directions in 4 x 4 cells (Dalal and Triggs, 2005) and one of 4 x 4 x 4
    colours, half the weight each.

    Args:
        grey: The picture.
        thumbnail: (S, S, 3) uint8, the same in colour.

    Returns:
        (192,) of unit length.
    """
    x = np.asarray(grey.resize((GREY, GREY), Image.Resampling.BOX), np.float32)
    dx, dy = x[1:-1, 2:] - x[1:-1, :-2], x[2:, 1:-1] - x[:-2, 1:-1]
    # Twice the angle, so that dark on light is as light on dark.
    direction = np.arctan2(2 * dx * dy, dx**2 - dy**2) * (DIRECTIONS / (2 * np.pi))
    bins = FIRST_BIN + np.floor(direction).astype(np.intp) % DIRECTIONS
    edges = np.bincount(bins.ravel(), np.hypot(dx, dy).ravel(), CELLS * CELLS * DIRECTIONS)
    level = thumbnail.reshape(-1, 3).astype(np.intp) * LEVELS // 256
    colours = np.bincount(level @ [LEVELS * LEVELS, LEVELS, 1], minlength=LEVELS**3)
    # Square roots, so that a dot product compares histograms (Hellinger) and none outweighs.
    parts = [np.sqrt(part / max(part.sum(), 1)) for part in (edges, colours)]
    found = np.concatenate(parts)
    return np.asarray(found / max(float(np.linalg.norm(found)), 1e-9), np.float16)


def off_topic(features: NDArray[np.float16]) -> NDArray[np.float32]:
    """How far pictures are from the others, as a robust z-score: above 3 or so is worth a look.

    The mean distance to the nearest five others, less its median, in units of 1.4826 times the
    median deviation (a standard deviation, were it a normal distribution).

    Args:
        features: (N, D) of unit length, one picture of each group of near-duplicates: copies
            would keep each other company.

    Returns:
        (N,).
    """
    if len(features) < NEIGHBOURS + 2:
        return np.zeros(len(features), np.float32)
    x = features.astype(np.float32)
    index = faiss.IndexFlatIP(x.shape[1])
    index.add(x)
    likeness, _ = index.search(x, NEIGHBOURS + 1)
    distance = np.sqrt(np.maximum(0, 2 - 2 * likeness[:, 1:])).mean(axis=1)
    away = distance - np.median(distance)
    return np.asarray(away / max(1.4826 * float(np.median(np.abs(away))), 1e-6), np.float32)
