"""Degradation of images to resemble the samples of a poorly trained generator, at half the side.

Such a generator blurs, mixes incompatible motifs, and leaves noise of single pixels and of small
patches. The strength of each is drawn for each image, up to the limits below times its roughness;
at a roughness of 0 the image is only halved.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

BLUR = 1.6  # weight of the two neighbours of a pixel, relative to its own of 1, in each direction
MIXED = 0.3  # share of another image
NOISE = 0.15  # standard deviations, where white is 1: of each channel,
GREY = 0.15  # of all three channels together,
PATCHES = 0.15  # of each channel in patches of 2 x 2 px


def degrade(pictures: Tensor, roughness: Tensor, generator: torch.Generator) -> Tensor:
    """Halve and degrade images.

    Args:
        pictures: (B, 3, H, W) in [0, 1]; H and W multiples of 4.
        roughness: (B,) in [0, 1].
        generator: Generator of the random draws.

    Returns:
        (B, 3, H / 2, W / 2), not clamped.
    """
    x = F.avg_pool2d(pictures, 2)
    count, _, height, width = x.shape
    amounts = torch.rand(5, count, 1, 1, 1, generator=generator) * roughness.view(-1, 1, 1, 1)
    mixed, blur, noise, grey, patches = amounts
    x = torch.lerp(x, x.roll(1, 0), mixed * MIXED)
    x = _blurred(_blurred(x, blur * BLUR, 2), blur * BLUR, 3)

    def drawn(channels: int, factor: int) -> Tensor:
        shape = (count, channels, height // factor, width // factor)
        return torch.randn(shape, generator=generator)

    x = x + drawn(3, 1) * noise * NOISE + drawn(1, 1) * grey * GREY
    return x + F.interpolate(drawn(3, 2), scale_factor=2, mode="bilinear") * patches * PATCHES


def _blurred(x: Tensor, weight: Tensor, dim: int) -> Tensor:
    length = x.shape[dim]
    wide = F.pad(x, (0, 0, 1, 1) if dim == 2 else (1, 1, 0, 0), mode="replicate")
    beside = wide.narrow(dim, 0, length) + wide.narrow(dim, 2, length)
    return (x + beside * weight / 2) / (1 + weight)
