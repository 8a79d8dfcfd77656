"""Residual networks without normalisation, after R3GAN (Huang et al., 2024, arXiv:2501.05441).

Each block is a bottleneck whose last convolution is initialised to 0 (Fixup; Zhang et al., 2019),
so that gradients pass without normalisation. R3GAN widens the bottleneck and uses grouped 3x3
convolutions; here it has half the channels and no groups, which is faster on a CPU.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganloom import params
from ganloom.geometry import doublings
from ganloom.nets import blocks
from ganloom.resampling import bilinear

# Residual blocks of each level, as in the paper.
DEPTH = 2


class Residual(nn.Module):
    """x + bottleneck(x): (B, C, H, W) to the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = max(1, channels // 2)
        self.branch = nn.Sequential(
            nn.Conv2d(channels, narrow, 1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(narrow, narrow, 3, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(narrow, channels, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.branch(x)
        return out


class Doubling(nn.Module):
    """Bilinear upsampling to twice the side."""

    def forward(self, x: Tensor) -> Tensor:
        return bilinear(x, 2 * x.shape[-1])


class Pattern(nn.Conv2d):
    """Depthwise convolution over the whole map: (B, C, side, side) to (B, C, 1, 1).

    As a weighted sum: torch computes second derivatives of grouped convolutions, which gradient
    penalties need, group by group.
    """

    def __init__(self, channels: int, side: int) -> None:
        super().__init__(channels, channels, side, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        assert self.bias is not None
        return (x * self.weight.squeeze(1)).sum(dim=(2, 3), keepdim=True) + self.bias[:, None, None]


def generator(spec: params.ResnetGenerator, resolution: int, width: int) -> nn.Module:
    """Build the generator: a dense layer, and residual blocks at each level.

    Returns:
        Network from (B, width) float to (B, 3, resolution, resolution) in [-1, 1].
    """
    levels = doublings(resolution)
    base = resolution >> levels
    coarse, *finer = reversed(blocks.widths(spec.channels, levels + 1))
    layers: list[nn.Module] = [
        nn.Linear(width, coarse * base * base),
        nn.Unflatten(1, (coarse, base, base)),
        *(Residual(coarse) for _ in range(DEPTH)),
    ]
    channels = coarse
    for wider in finer:
        layers += [
            nn.Conv2d(channels, wider, 1),  # before upsampling: a quarter of the operations
            Doubling(),
            *(Residual(wider) for _ in range(DEPTH)),
        ]
        channels = wider
    layers += [nn.Conv2d(channels, 3, 1), nn.Tanh()]
    return _initialise(nn.Sequential(*layers))


def discriminator(
    spec: params.ResnetDiscriminator, resolution: int, channels: int, outputs: int
) -> nn.Module:
    """Build the discriminator: residual blocks at each level, average pooling between them.

    Returns:
        Network from (B, channels, resolution, resolution) to a DiscriminatorOutput: the logit, and
        ``outputs`` - 1 more numbers.
    """
    levels = doublings(resolution)
    first, *coarser = blocks.widths(spec.channels, levels + 1)
    layers: list[nn.Module] = [nn.Conv2d(channels, first, 1)]
    channels = first
    for wider in coarser:
        layers += [
            *(Residual(channels) for _ in range(DEPTH)),
            nn.AvgPool2d(2),
            nn.Conv2d(channels, wider, 1),
        ]
        channels = wider
    layers += [
        *(Residual(channels) for _ in range(DEPTH)),
        # Depthwise, then one weight for each channel: fewer weights than a dense layer.
        Pattern(channels, resolution >> levels),
        nn.Flatten(),
        nn.Linear(channels, outputs),
    ]
    return blocks.SplitOutput(_initialise(nn.Sequential(*layers)))


@torch.no_grad()
def _initialise(net: nn.Module) -> nn.Module:
    """Initialise by Fixup: weights of branches shrink with their number L."""
    blocks.initialise_bare(net)
    # Layers between residual blocks have no activation, so they need no gain.
    for layer in net.children():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.weight.div_(nn.init.calculate_gain("leaky_relu", 0.2))
    branches = [module.branch for module in net.modules() if isinstance(module, Residual)]
    for branch in branches:
        first, second, last = (layer for layer in branch if isinstance(layer, nn.Conv2d))
        first.weight.mul_(len(branches) ** -0.25)
        second.weight.mul_(len(branches) ** -0.25)
        nn.init.zeros_(last.weight)
    return net
