"""Whether two similar pictures agree in detail: align one with the other, then compare.

Hashes and thumbnails see a picture from afar, and from afar all pages of text, or all screenshots
of one program, look the same. Photographs of different things rarely do.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ganloom.dedup.fingerprint import DETAIL
from ganloom.images.arrays import Array

BLURS = 3.0, 1.0  # px: alignment is coarse, then fine
STEPS = 3  # of Gauss-Newton, for each blur
MARGIN = 3  # px: a crop may lack the edge, and says nothing about what is this near to it
MAX_MOTION = 0.12  # in half sides: no copy of this kind moves further
SATURATED = 250  # of 255: from here on, a brighter copy may have lost what the other shows
SMOOTH = 0.7  # px: removes what resampling and compression leave
FINE = 1.0  # px: detail is what differs from a blur of this standard deviation
PLACE = 2.0  # px: standard deviation of the window around a place
NOISE = 4.0  # variance of grey that compression may add, and
NOISE_SHARE = 0.04  # of the variance of a picture, at most: thin lines hardly vary
MIN_CORRELATION = 0.8  # of the detail of the whole pictures
MIN_LOCAL_CORRELATION = 0.58  # of greys around a place, but for
ODD_PLACES = 0.05  # the share of places that may differ: a watermark, a date stamp

Matrix = NDArray[np.float64]


def agree(a: Array, b: Array) -> bool:
    """Whether two pictures agree in detail, as they are or after alignment.

    Overall brightness and contrast do not matter. The alignment undoes a trimmed edge or a turn by
    a degree or two.

    Args:
        a: (48, 48) uint8, grey.
        b: The same.
    """
    x, y = a.astype(np.float64), b.astype(np.float64)
    everywhere = np.ones(x.shape, bool)
    if _matches(x, y, everywhere):
        return True
    motion = _motion(x, y)
    if np.abs(motion - np.eye(3)).max() > MAX_MOTION:
        return False
    inside = _warp(np.ones(x.shape), motion, "constant") > 0.99
    inside = ndimage.binary_erosion(inside, iterations=MARGIN, border_value=1)
    return _matches(_warp(x, motion), y, inside)


def _motion(a: Matrix, b: Matrix) -> Matrix:
    """The affine map, in half sides from the centre, from points of ``b`` to points of ``a``.

    Inverse compositional alignment (Baker and Matthews, 2004) that also fits gain and bias.
    """
    motion = np.eye(3)
    for blur in BLURS:
        moving, still = (ndimage.gaussian_filter(image, blur) for image in (a, b))
        jacobian = _jacobian(still)
        normal = jacobian.T @ jacobian
        # A little damping, for pictures in which some motion shows nowhere.
        normal[range(6), range(6)] += 1 + 0.01 * np.trace(normal[:6, :6]) / 6
        solve = np.linalg.solve(normal + 1e-6 * np.eye(8), jacobian.T)
        for _ in range(STEPS):
            found = solve @ _centre(_warp(moving, motion)).ravel()
            gain = found[6]
            if gain < 0.1:
                return motion
            step = np.eye(3)
            step[:2] += np.clip(found[:6] / gain, -0.05, 0.05).reshape(2, 3)
            motion = motion @ np.linalg.inv(step)
    return motion


def _jacobian(image: Matrix) -> Matrix:
    """How each pixel follows the six numbers of an affine map, gain and bias: (pixels, 8)."""
    down, across = (_centre(np.gradient(image, 2 / DETAIL, axis=axis)) for axis in (0, 1))
    y, x = _points()
    columns = [across * x, across * y, across, down * x, down * y, down, _centre(image)]
    return np.stack([*(column.ravel() for column in columns), np.ones(x.size)], axis=1)


def _centre(image: Matrix) -> Matrix:
    return image[MARGIN:-MARGIN, MARGIN:-MARGIN]


@functools.cache
def _points() -> tuple[Matrix, Matrix]:
    """Where the pixels of the centre lie, in half sides from the middle: y, x."""
    at = (np.arange(DETAIL) + 0.5) * (2 / DETAIL) - 1
    y, x = np.meshgrid(at, at, indexing="ij")
    return _centre(y), _centre(x)


def _warp(image: Matrix, motion: Matrix, edge: str = "nearest") -> Matrix:
    matrix = motion[[1, 0]][:, [1, 0]]  # as y, x
    middle = (DETAIL - 1) / 2
    offset = middle + motion[[1, 0], 2] * (DETAIL / 2) - matrix @ [middle, middle]
    return ndimage.affine_transform(image, matrix, offset, order=1, mode=edge)


def _matches(a: Matrix, b: Matrix, inside: NDArray[np.bool_]) -> bool:
    a, b = (ndimage.gaussian_filter(image, SMOOTH) for image in _equally_bright(a, b))
    fine = [(image - ndimage.gaussian_filter(image, FINE))[inside] for image in (a, b)]
    if _correlation(*fine) < MIN_CORRELATION:
        return False
    return _lowest(a, b, inside) >= MIN_LOCAL_CORRELATION


def _equally_bright(a: Matrix, b: Matrix) -> tuple[Matrix, Matrix]:
    """Brighten the darker picture, so that both lose the same highlights."""
    shown = (a < SATURATED) & (b < SATURATED)
    ratio = (1 + a[shown].sum()) / (1 + b[shown].sum())
    return np.minimum(255, a / min(1, ratio)), np.minimum(255, b * max(1, ratio))


def _correlation(a: Matrix, b: Matrix) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / max(1e-9, np.sqrt((a**2).sum() * (b**2).sum())))


def _lowest(a: Matrix, b: Matrix, inside: NDArray[np.bool_]) -> float:
    """The lowest correlation around a place with structure, leaving out ``ODD_PLACES`` of them."""
    window = functools.partial(ndimage.gaussian_filter, sigma=PLACE)
    mean_a, mean_b = window(a), window(b)
    var_a = np.maximum(0, window(a * a) - mean_a**2)
    var_b = np.maximum(0, window(b * b) - mean_b**2)
    noise = min(NOISE, NOISE_SHARE * float(min(a.var(), b.var())))
    structured = inside & (np.maximum(var_a, var_b) > 4 * noise)
    if not structured.any():
        return 1.0
    both = window(a * b) - mean_a * mean_b
    correlation = both / np.sqrt((var_a + noise) * (var_b + noise))
    return float(np.quantile(correlation[structured], ODD_PLACES))
