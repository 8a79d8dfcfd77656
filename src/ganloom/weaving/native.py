"""Cloths from generators on a torus, which make pictures of any size as a whole."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganloom.models import Generator, to_uint8
from ganloom.nets.blocks import Torus
from ganloom.sampling.latents import latents

Array = NDArray[np.uint8]

BAND = 2048  # cells that are generated at a time
MARGIN = 4  # cells beyond a band that can affect it, in nets.texture: 1 + 1 + 1 + 1/2 + 1/4 + ...


def is_torus(net: Generator) -> bool:
    """Whether samples of a generator repeat without a seam."""
    return isinstance(net.net, Torus)


@torch.inference_mode()
def native(
    net: Generator,
    v: Tensor,
    sides: tuple[float, float],
    place: tuple[float, float],
    seed: int,
) -> Array:
    """Generate one picture that repeats without a seam.

    The field is random. Its style changes with the distance from the corner, which is the centre
    of a cloth (``cloth.compose``).

    Args:
        net: Generator on a torus.
        v: (K, width) inputs of the generator, whose styles are those from the corner of the
            picture to its middle.
        sides: Height and width of the picture in sides of a sample, rounded to whole cells.
        place: Shift of the field to the left and up, in sides of a sample.
        seed: Seed of the field.

    Returns:
        (H, W, 3).
    """
    torus = net.net
    assert isinstance(torus, Torus)
    rows, columns = (max(1, round(side * torus.cells)) for side in sides)
    own, styles = torus.parts(net.front(v))
    local = own.shape[1]
    field = latents(local, rows * columns, seed, "weave", "field").view(1, local, rows, columns)
    field *= own[0].square().mean().sqrt()
    x, y = (-round(shift * torus.cells) for shift in place)
    field = field.roll((y, x), (2, 3))
    at = _distances(rows, columns) * (len(v) - 1)
    first = at.long().clamp(max=max(0, len(v) - 2))
    style = torch.lerp(styles[first], styles[(first + 1) % len(v)], (at - first)[..., None])
    picture = np.empty((rows * torus.side, columns * torus.side, 3), np.uint8)
    height = max(1, BAND // columns)
    for top in range(0, rows, height):
        bottom = min(top + height, rows)
        band = torch.arange(top - MARGIN, bottom + MARGIN) % rows
        made = torus.woven(field[:, :, band], style[None, band])
        inside = made[:, :, MARGIN * torus.side : -MARGIN * torus.side]
        picture[top * torus.side : bottom * torus.side] = to_uint8(inside)[0]
    return picture


def _distances(rows: int, columns: int) -> Tensor:
    """Distance of each cell from the corner of a torus, as a share of the greatest one."""
    down, right = (
        torch.minimum(at, length - at) / length
        for at, length in ((torch.arange(n) + 0.5, n) for n in (rows, columns))
    )
    return torch.hypot(down[:, None], right[None]) / 0.5**0.5
