"""Discriminator on the features of a pretrained network (Projected GAN).

Sauer et al. (2021), arXiv:2111.01007. EfficientNet-Lite0, trained on ImageNet, gives features at
four scales. Random convolutions, which are not trained, mix channels and scales, so that a
discriminator cannot rely on a few features. Each scale has a discriminator of its own. A fifth one,
which the paper does not have, sees the pixels and has the weight of the four: without it, generated
images have noise of single pixels.
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

# Last block of the pretrained network at 1/4, 1/8, 1/16 and 1/32 of the side, and its channels.
ENDS = (2, 3, 5, 7)
CHANNELS = (24, 40, 112, 320)

# Channels of the mixed features of each scale, and of the last layer of each discriminator, in
# units of ``channels``.
MIXED = (1, 1, 2, 4)
WIDEST = 8


class Frozen(nn.Module):
    """The pretrained network: (B, 3, H, W) in [-1, 1] to its features at four scales.

    Its weights come with an installed package. They are not part of this module's state, so that
    they are neither trained nor stored.
    """

    def __init__(self) -> None:
        super().__init__()
        self._held = (network(LITE0),)  # in a tuple, so that nn.Module does not register it

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Frozen:
        self._held[0]._apply(fn, recurse)  # to a device, into a memory format
        return super()._apply(fn, recurse)

    def forward(self, x: Tensor) -> list[Tensor]:
        return self._held[0].after(x, ENDS)


class Mix(nn.Module):
    """A 1x1 convolution with fixed random weights: (B, wide, H, W) to (B, wider, H, W)."""

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
        # The next power of two, so that all scales are exact halves.
        self.finest = 1 << (resolution - 1).bit_length()
        self.side = max(side, self.finest)
        # The finest features have a quarter of the side and are upsampled to twice that. Up to
        # 128 px each discriminator ends at 4 px, with one logit.
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
        self.judges = nn.ModuleList(_discriminator(wide) for wide in widths)
        self.pixels: nn.Module | None = None
        if pixels:
            halvings = (self.finest // last).bit_length() - 1
            widths_of_pixels = [pixels * min(2**step, WIDEST) for step in range(halvings)]
            self.pixels = _discriminator([3, *widths_of_pixels])

    def forward(self, x: Tensor) -> blocks.DiscriminatorOutput:
        logits = []
        if self.pixels:  # repeated, to have the weight of all others
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


def _discriminator(widths: list[int]) -> nn.Module:
    """Strided convolutions, then a logit for each place: (B, widths[0], S, S) to (B, places)."""
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
    """Build the discriminator; images smaller than ``spec.side`` are upsampled to it.

    It supports neither classes nor codes, which params refuse: ``channels`` is 3, ``outputs`` 1.

    Returns:
        Network from (B, 3, resolution, resolution) to a DiscriminatorOutput.

    Raises:
        RuntimeError: The weights of the pretrained network are not the expected ones.
    """
    assert (channels, outputs) == (3, 1)
    return Projected(resolution, spec.channels, spec.side, spec.pixels)
