"""Comparison of two similar images in detail, after aligning one with the other.

Hashes and thumbnails are coarse: different pages of text, or screenshots of one program, have
nearly the same ones. Different photographs rarely do.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ganloom.dedup.fingerprint import DETAIL
from ganloom.images.arrays import Array

BLURS = 3.0, 1.0  # px: blurs of the coarse and the fine alignment
STEPS = 3  # of Gauss-Newton, for each blur
MARGIN = 3  # px: width of the edge that is ignored, since a crop may lack it
MAX_MOTION = 0.12  # in half sides: largest change of an entry of the affine map
SATURATED = 250  # of 255: brighter pixels may be clipped in a brighter copy
SMOOTH = 0.7  # px: removes artefacts of resampling and compression
FINE = 1.0  # px: detail is the difference from a blur of this standard deviation
PLACE = 2.0  # px: standard deviation of the window of local correlations
NOISE = 4.0  # variance of grey that compression may add
NOISE_SHARE = 0.04  # limit of the noise as a share of the image's variance, for thin lines
MIN_CORRELATION = 0.8  # of the detail of the whole images
MIN_LOCAL_CORRELATION = 0.58  # of grey in a window
ODD_PLACES = 0.05  # share of windows that may correlate less, such as a watermark or a date

Matrix = NDArray[np.float64]


def agree(a: Array, b: Array) -> bool:
    """Tell whether two images agree in detail, with or without alignment.

    Overall brightness and contrast do not matter. The alignment compensates for a trimmed edge or a
    rotation by up to two degrees.

    Args:
        a: (48, 48) uint8, grey.
        b: Image of the same shape.
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
    """Fit the affine map from points of ``b`` to points of ``a``, in half sides from the centre.

    This is the inverse compositional alignment of Baker and Matthews (2004), with gain and bias.
    """
    motion = np.eye(3)
    for blur in BLURS:
        moving, still = (ndimage.gaussian_filter(image, blur) for image in (a, b))
        jacobian = _jacobian(still)
        normal = jacobian.T @ jacobian
        # Damping, for images that some motion does not change.
        normal[range(6), range(6)] += 1 + 0.01 * np.trace(normal[:6, :6]) / 6
        solve = np.linalg.solve(normal + 1e-6 * np.eye(8), jacobian.T)
        for _ in range(STEPS):
            solution = solve @ _centre(_warp(moving, motion)).ravel()
            gain = solution[6]
            if gain < 0.1:
                return motion
            step = np.eye(3)
            step[:2] += np.clip(solution[:6] / gain, -0.05, 0.05).reshape(2, 3)
            motion = motion @ np.linalg.inv(step)
    return motion


def _jacobian(image: Matrix) -> Matrix:
    """Derivatives of each pixel by the six entries of an affine map, gain and bias: (pixels, 8)."""
    down, across = (_centre(np.gradient(image, 2 / DETAIL, axis=axis)) for axis in (0, 1))
    y, x = _points()
    columns = [across * x, across * y, across, down * x, down * y, down, _centre(image)]
    return np.stack([*(column.ravel() for column in columns), np.ones(x.size)], axis=1)


def _centre(image: Matrix) -> Matrix:
    return image[MARGIN:-MARGIN, MARGIN:-MARGIN]


@functools.cache
def _points() -> tuple[Matrix, Matrix]:
    """Coordinates y and x of the central pixels, in half sides from the centre."""
    at = (np.arange(DETAIL) + 0.5) * (2 / DETAIL) - 1
    y, x = np.meshgrid(at, at, indexing="ij")
    return _centre(y), _centre(x)


def _warp(image: Matrix, motion: Matrix, edge: str = "nearest") -> Matrix:
    matrix = motion[[1, 0]][:, [1, 0]]  # scipy's order: y, x
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
    """Brighten the darker image, so that the same highlights are clipped in both."""
    unclipped = (a < SATURATED) & (b < SATURATED)
    ratio = (1 + a[unclipped].sum()) / (1 + b[unclipped].sum())
    return np.minimum(255, a / min(1, ratio)), np.minimum(255, b * max(1, ratio))


def _correlation(a: Matrix, b: Matrix) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / max(1e-9, np.sqrt((a**2).sum() * (b**2).sum())))


def _lowest(a: Matrix, b: Matrix, inside: NDArray[np.bool_]) -> float:
    """Return the quantile ``ODD_PLACES`` of the correlations in windows with structure."""
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
