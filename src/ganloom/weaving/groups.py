"""Wallpaper and frieze groups: square samples are folded into tiles that repeat without a seam.

A wallpaper group is the set of reflections, rotations and translations that map a repeated pattern
to itself. One copy of its *fundamental domain* determines the whole tile.

======  =========================================  ==============================
group   symmetries except for translations         tile of a sample of R x R px
======  =========================================  ==============================
`p1`    none                                       R x R
`pm`    vertical mirrors                           2R wide, R high
`pmm`   mirrors in both directions                 2R x 2R
`cmm`   the same, and half turns between them      2R x 2R
`p4m`   quarter turns and mirrors in 4 directions  2R x 2R
`p3m1`  third turns and mirrors in 3 directions    3R wide, 3R / sqrt(3) high
`p6m`   sixth turns and mirrors in 6 directions    2R wide, 2R sqrt(3) high
======  =========================================  ==============================

If the domain is bounded by mirrors alone (`pmm`, `p4m`, `p3m1`, `p6m`), any sample continues into
its mirror images without a seam. In the other groups some edges are free: there, the sample is
blended with its continuation beyond the edge.

A frieze group is the equivalent for a strip that repeats in one direction only (`FRIEZES`).

Symbols are those of the International Tables for Crystallography, vol. A (2016) and E (2010). All
images are (H, W, 3) uint8. Tiles are invariant pixel by pixel, except those of `p3m1` and `p6m`,
where rotations by 60 and 120 degrees do not map pixels to pixels: these tiles sample an invariant
function (`orbit`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import grid_sample

Array = NDArray[np.uint8]

BLEND = 0.25  # width of the blended band at each free edge, as a share of the sample's side


class Group(NamedTuple):
    """A wallpaper or frieze group.

    Attributes:
        symmetries: Description for users.
        domain: Function from a sample to the fundamental domain, with free edges blended.
        unfold: Function from the domain to the tile.
        restrict: Function from a tile to its fundamental domain.
    """

    symmetries: str
    domain: Callable[[Array], Array]
    unfold: Callable[[Array], Array]
    restrict: Callable[[Array], Array]


def fold(sample: Array, group: str) -> Array:
    """Make a tile from a square sample.

    Args:
        sample: (R, R, 3), R even.
        group: Key of ``WALLPAPERS`` or ``FRIEZES``.

    Returns:
        The tile; for a frieze group, a strip of the sample's height that repeats horizontally.
    """
    chosen = (WALLPAPERS | FRIEZES)[group]
    return chosen.unfold(chosen.domain(sample))


def refold(tile: Array, group: str) -> Array:
    """Restore exact symmetry in a tile that was changed, for example by an enlarger.

    Args:
        tile: Result of ``fold``, at the same size or a multiple of it.
        group: Key of ``WALLPAPERS`` or ``FRIEZES``.
    """
    chosen = (WALLPAPERS | FRIEZES)[group]
    return chosen.unfold(chosen.restrict(tile))


def moved(sample: Array, x: float, y: float) -> Array:
    """Shift a sample to select another part of it as the fundamental domain.

    The sample is continued beyond its edges by reflection, so that all parts are continuous.

    Args:
        sample: (R, R, 3).
        x: Shift to the right in sides of the sample; periodic with 2.
        y: Shift down, likewise.
    """
    side = len(sample)
    torus = _mirrored(sample)
    shift = (-round(y * side) % (2 * side), -round(x * side) % (2 * side))
    return np.ascontiguousarray(np.roll(torus, shift, (0, 1))[:side, :side])


# --- blending of free edges ----------------------------------------------------------------------


def _blended(sample: Array, partner: Array, axis: int, edges: str) -> Array:
    """Blend an image with another one near its edges, with equal weights at the edge itself.

    The weights preserve the contrast, which a plain mean of two patterns would reduce.

    Args:
        sample: (H, W, 3).
        partner: (H, W, 3) continuation of the image beyond an edge, reflected in that edge.
        axis: Axis across the edges: 0 or 1.
        edges: "both", "last" (only the lower or right one) or "middle" (the line between them).
    """
    length = sample.shape[axis]
    at = (np.arange(length) + 0.5) / length
    distances = {"both": np.minimum(at, 1 - at), "last": 1 - at, "middle": np.abs(at - 0.5)}
    step = np.clip(distances[edges] / BLEND, 0, 1)
    weight = 0.5 + 0.5 * step * step * (3 - 2 * step)
    weight = weight.reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
    mean = sample.mean(axis=(0, 1))
    mixed = weight * (sample - mean) + (1 - weight) * (partner - mean)
    mixed /= np.sqrt(weight**2 + (1 - weight) ** 2)
    return np.rint(mixed + mean).clip(0, 255).astype(np.uint8)


def _periodic(sample: Array, axis: int) -> Array:
    """Blend opposite edges, so that the image repeats along an axis."""
    return _blended(sample, np.flip(sample, axis), axis, "both")


# --- unfolding -----------------------------------------------------------------------------------


def _same(picture: Array) -> Array:
    return np.ascontiguousarray(picture)


def _mirrored_right(picture: Array) -> Array:
    return np.concatenate([picture, picture[:, ::-1]], axis=1)


def _mirrored_down(picture: Array) -> Array:
    return np.concatenate([picture, picture[::-1]], axis=0)


def _mirrored(picture: Array) -> Array:
    return _mirrored_down(_mirrored_right(picture))


def _turned_down(picture: Array) -> Array:
    """Append the image, rotated by 180 degrees, below."""
    return np.concatenate([picture, picture[::-1, ::-1]], axis=0)


def _turned_right(picture: Array) -> Array:
    return np.concatenate([picture, picture[::-1, ::-1]], axis=1)


def _glided_right(picture: Array) -> Array:
    """Append the image, flipped vertically, on the right."""
    return np.concatenate([picture, picture[::-1]], axis=1)


def _symmetric(square: Array) -> Array:
    """Reflect the part on and below the main diagonal in it."""
    at = np.arange(len(square))
    below = (at[:, None] >= at)[..., None]
    return np.where(below, square, square.swapaxes(0, 1))


def _upper(picture: Array) -> Array:
    return picture[: len(picture) // 2]


def _left(picture: Array) -> Array:
    return picture[:, : picture.shape[1] // 2]


def _quarter(picture: Array) -> Array:
    return _upper(_left(picture))


# --- the hexagonal groups ------------------------------------------------------------------------
#
# Both consist of an equilateral triangle of side 1 with corners (0, 0), (1, 0) and (1/2,
# sqrt(3)/2).
# A barycentric coordinate is the distance from one side, in heights; a reflection in that side
# negates it and adds it to the other two. In p6m the triangle is also symmetric under all
# permutations of the three.

HEIGHT = math.sqrt(3) / 2  # of the triangle
PERIOD = {"p3m1": 3.0, "p6m": 1.0}  # width of the tile; its height is 2 HEIGHT


def orbit(x: NDArray[np.float64], y: NDArray[np.float64], group: str) -> NDArray[np.float64]:
    """Map points of the plane to the equivalent points of the fundamental domain.

    Args:
        x: Coordinates to the right in sides of the triangle, any shape.
        y: Coordinates down, likewise.
        group: "p3m1" or "p6m".

    Returns:
        (..., 2), equal for all points that the group maps to each other.
    """
    third = y / HEIGHT
    second = x - third / 2
    parts = np.stack([1 - second - third, second, third])
    while (parts < -1e-12).any():
        for i in range(3):
            outside = np.minimum(parts[i], 0)
            parts += outside
            parts[i] -= 3 * outside
    if group == "p6m":
        parts = -np.sort(-parts, axis=0)  # the largest one belongs to the corner (0, 0)
    return np.stack([parts[1] + parts[2] / 2, parts[2] * HEIGHT], axis=-1)


def _triangles(source: Array, group: str, unit: tuple[float, float]) -> Array:
    """Compute the fundamental domain of a tile from the triangle in an image.

    Args:
        source: (H, W, 3), with the corner (0, 0) of the triangle at the upper left.
        group: "p3m1" or "p6m".
        unit: Side of the triangle in px of the image, horizontally and vertically.

    Returns:
        A quarter of the tile for p3m1, an eighth for p6m.
    """
    rows = round(2 * HEIGHT * unit[1] / (4 if group == "p6m" else 2))
    columns = round(PERIOD[group] * unit[0] / 2)
    parts = 4 if group == "p6m" else 2
    x = (np.arange(columns) + 0.5) / columns * PERIOD[group] / 2
    y = (np.arange(rows) + 0.5) / rows * 2 * HEIGHT / parts
    height, width, _ = source.shape
    places = orbit(*np.meshgrid(x, y), group) * unit / (width, height) * 2 - 1
    sampled = grid_sample(
        torch.from_numpy(source.astype(np.float32)).permute(2, 0, 1)[None],
        torch.from_numpy(places.astype(np.float32))[None],
        mode="bicubic",
        padding_mode="reflection",
        align_corners=False,
    )
    return sampled[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).numpy()


def _of_sample(group: str) -> Callable[[Array], Array]:
    def domain(sample: Array) -> Array:
        unit = len(sample) * (2.0 if group == "p6m" else 1.0)
        return _triangles(sample, group, (unit, unit))

    return domain


def _of_tile(group: str) -> Callable[[Array], Array]:
    def restrict(tile: Array) -> Array:
        height, width, _ = tile.shape
        return _triangles(tile, group, (width / PERIOD[group], height / (2 * HEIGHT)))

    return restrict


# --- the groups ----------------------------------------------------------------------------------

WALLPAPERS = {
    "p1": Group(
        "translations alone",
        domain=lambda x: _periodic(_periodic(x, 0), 1),
        unfold=_same,
        restrict=_same,
    ),
    "pm": Group(
        "vertical mirrors",
        domain=lambda x: _periodic(x, 0),
        unfold=_mirrored_right,
        restrict=_left,
    ),
    "pmm": Group(
        "mirrors in two directions",
        domain=_same,
        unfold=_mirrored,
        restrict=_quarter,
    ),
    "cmm": Group(
        "mirrors in two directions, and half turns between them",
        domain=lambda x: _upper(_blended(x, x[::-1, ::-1], 0, "middle")),
        unfold=lambda x: _mirrored(_turned_down(x)),
        restrict=lambda x: _upper(_quarter(x)),
    ),
    "p4m": Group(
        "quarter turns, and mirrors in four directions",
        domain=_symmetric,
        unfold=_mirrored,
        restrict=lambda x: _symmetric(_quarter(x)),
    ),
    "p3m1": Group(
        "third turns, and mirrors in three directions",
        domain=_of_sample("p3m1"),
        unfold=lambda x: _mirrored_down(_glided_right(x)),
        restrict=_of_tile("p3m1"),
    ),
    "p6m": Group(
        "sixth turns, and mirrors in six directions",
        domain=_of_sample("p6m"),
        unfold=lambda x: _mirrored(_turned_down(x)),
        restrict=_of_tile("p6m"),
    ),
}

FRIEZES = {
    "p11": Group(
        "translations alone",
        domain=lambda x: _periodic(x, 1),
        unfold=_same,
        restrict=_same,
    ),
    "p11g": Group(
        "glides",
        domain=lambda x: _blended(x, x[::-1, ::-1], 1, "both"),
        unfold=_glided_right,
        restrict=_left,
    ),
    "p11m": Group(
        "a horizontal mirror",
        domain=lambda x: _upper(_periodic(x, 1)),
        unfold=_mirrored_down,
        restrict=_upper,
    ),
    "pm11": Group(
        "vertical mirrors",
        domain=_same,
        unfold=_mirrored_right,
        restrict=_left,
    ),
    "p112": Group(
        "half turns",
        domain=lambda x: _blended(x, x[::-1], 1, "both"),
        unfold=_turned_right,
        restrict=_left,
    ),
    "pm2g": Group(
        "vertical mirrors, half turns between them",
        domain=lambda x: _blended(x, x[::-1], 1, "last"),
        unfold=lambda x: _mirrored_right(_turned_right(x)),
        restrict=lambda x: _left(_left(x)),
    ),
    "pm2m": Group(
        "vertical mirrors and a horizontal one",
        domain=_upper,
        unfold=_mirrored,
        restrict=_quarter,
    ),
}
