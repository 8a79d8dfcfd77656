"""Tiles and cloths from a trained generator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganloom.enlarging.network import Enlarger
from ganloom.metrics.copying import logits
from ganloom.models import Discriminator, Generator
from ganloom.sampling.generate import generate
from ganloom.sampling.latents import inputs, walk
from ganloom.weaving.cloth import compose
from ganloom.weaving.groups import fold, moved
from ganloom.weaving.native import is_torus, native
from ganloom.weaving.tile import enlarged_tile, make_tile

Array = NDArray[np.uint8]

TILE = 512  # px of a tile in a cloth
STEPS = 12  # tiles of a cloth with drift
BORDER = 1 / 8  # largest depth of a border, in shorter sides of the cloth, unless tiles are given


@dataclass(frozen=True)
class ClothPattern:
    """Design of a cloth.

    Attributes:
        group: Wallpaper group of the field, a key of ``groups.WALLPAPERS``.
        border: Frieze group of the border, a key of ``groups.FRIEZES``; None: no border.
        place: Upper left corner of the part of a sample that is folded, in sides of the sample.
    """

    group: str = "p4m"
    border: str | None = None
    place: tuple[float, float] = (0.0, 0.0)


def drift(net: Generator, v: Tensor, amount: float, seed: int) -> Tensor:
    """Interpolate from an input towards a random one; class and codes do not change.

    Args:
        net: Generator.
        v: (1, width) input of the generator.
        amount: Share of the interpolation: 0 stays at the start, 1 ends at the other input.
        seed: Seed of the other input.

    Returns:
        (STEPS, width), or (1, width) for an amount of 0.
    """
    if amount == 0:
        return v
    layout, other = net.inputs, inputs(net.inputs, 1, seed, "weave", "drift")
    z, end = v[:, : layout.latent], other[:, : layout.latent]
    end *= z.norm() / end.norm()  # z may be truncated
    return walk(v, other, layout, torch.linspace(0, amount, STEPS))[:, 0]


def is_whole(net: Generator, group: str) -> bool:
    """Whether a cloth of this wallpaper group is generated as a whole, not repeated."""
    return group == "p1" and is_torus(net)


def tile_of(
    sample: Array,
    pattern: ClothPattern,
    width: int,
    enlarger: Enlarger | None,
    *,
    periodic: bool = False,
) -> Array:
    """Make a tile from a sample.

    Args:
        sample: (R, R, 3), R even.
        pattern: Group and place.
        width: Width of the tile in px, rounded to a multiple of 4.
        enlarger: Network that enlarges it; None: it is interpolated.
        periodic: Whether the sample repeats without a seam, as those of ``native.is_torus``.

    Returns:
        (H, width, 3).
    """
    if periodic and pattern.group == "p1":
        x, y = (-round(shift * len(sample)) for shift in pattern.place)
        return make_tile(np.roll(sample, (y, x), (0, 1)), "p1", width, enlarger, periodic=True)
    return make_tile(moved(sample, *pattern.place), pattern.group, width, enlarger)


def cloth_of(
    net: Generator,
    v: Tensor,
    pattern: ClothPattern,
    size: tuple[int, int],
    *,
    enlarger: Enlarger | None,
    tile: int,
    seed: int,
) -> Array:
    """Weave a cloth from a generator.

    A generator on a torus makes a cloth of `p1` as a whole, without any tile that repeats.

    Args:
        net: Generator.
        v: (K, width) inputs, from the centre of the cloth to its edge.
        pattern: Groups and place.
        size: Height and width of the cloth in px.
        enlarger: Network that enlarges; None: pictures are interpolated.
        tile: Width in px of a tile, or of a square of R x R px of a cloth without tiles.
        seed: Seed of a cloth without tiles.

    Returns:
        (*size, 3).
    """
    samples = pictures(net, v)
    if not is_whole(net, pattern.group):
        return weave(samples, pattern, size, enlarger, tile)
    down, across = (side / tile for side in size)
    whole = enlarged_tile(native(net, v, (down, across), pattern.place, seed), size, enlarger)
    return compose([whole], *size, _strip(samples, pattern, tile, enlarger))


def weave(
    samples: Array,
    pattern: ClothPattern,
    size: tuple[int, int],
    enlarger: Enlarger | None,
    tile: int = TILE,
    *,
    periodic: bool = False,
) -> Array:
    """Compose samples to a cloth.

    Args:
        samples: (K, R, R, 3), R even: from the centre of the cloth to its edge.
        pattern: Groups and place.
        size: Height and width of the cloth in px.
        enlarger: Network that enlarges the tiles; None: they are interpolated.
        tile: Width of a tile in px.
        periodic: Whether the samples repeat without a seam.

    Returns:
        (*size, 3).
    """
    tiles = [tile_of(one, pattern, tile, enlarger, periodic=periodic) for one in samples]
    return compose(tiles, *size, _strip(samples, pattern, tile, enlarger))


def _strip(
    samples: Array, pattern: ClothPattern, tile: int, enlarger: Enlarger | None
) -> Array | None:
    """Make the border from the last sample, if there is one."""
    if pattern.border is None:
        return None
    return make_tile(moved(samples[-1], *pattern.place), pattern.border, tile, enlarger)


def tile_within(size: int, tile: int = TILE) -> int:
    """Width near ``tile`` px of a tile that fits a whole number of times into ``size`` px."""
    return size // max(1, round(size / tile))


def deep(border: str, tile: int) -> int:
    """Depth in px of the border of a frieze group whose tiles are ``tile`` px wide."""
    height, width = folded(8, border)
    return round(tile * height / width)


def folded(side: int, group: str) -> tuple[int, int]:
    """Height and width in px of the tile of a sample of ``side`` px, before it is enlarged."""
    even = side // 2 * 2
    height, width, _ = fold(np.zeros((even, even, 3), np.uint8), group).shape
    return height, width


def tile_with_border(border: str, shorter: int) -> int:
    """Width of a tile, at most ``TILE``, at which the border takes a small part of a cloth.

    Args:
        border: Frieze group of the border.
        shorter: Shorter side of the cloth in px.
    """
    return min(TILE, max(4, round(shorter * BORDER * TILE / deep(border, TILE))))


def choose(judge: Discriminator, net: Generator, v: Tensor) -> int:
    """Return the row of v (N, width) whose sample has the highest discriminator output."""
    condition = net.inputs.parts(v)[1]
    given = condition if net.inputs.conditions else None
    return int(logits(judge, generate(net, v), given).argmax())


def pictures(net: Generator, v: Tensor) -> Array:
    """Generate samples for ``weave``: (K, width) to (K, R, R, 3), R even."""
    made = generate(net, v)
    even = made.shape[1] // 2 * 2
    return made[:, :even, :even]


def facts(pattern: ClothPattern, **more: Any) -> dict[str, Any]:
    """Describe the design of a cloth, for its metadata."""
    place = {"place": list(pattern.place)} if any(pattern.place) else {}
    border = {"border": pattern.border} if pattern.border else {}
    return {"group": pattern.group, **border, **place, **more}
