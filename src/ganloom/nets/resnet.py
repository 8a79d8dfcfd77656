"""Residual networks without normalisation, in the manner of R3GAN but small.

Huang et al. (2024), arXiv:2501.05441: each block is a bottleneck whose last convolution begins at
0 (fix-up initialisation, Zhang et al., 2019), so that the network begins as a plain chain of
resamplings and needs no normalisation to pass gradients. Theirs widens the bottleneck and groups
its 3x3 convolution; here it narrows to half, ungrouped, which costs a CPU less.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganloom import params
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
    """Twice the side, bilinear."""

    def forward(self, x: Tensor) -> Tensor:
        return bilinear(x, 2 * x.shape[-1])


class Pattern(nn.Conv2d):
    """The weighted sum of each channel's map: (B, C, side, side) to (B, C, 1, 1).

    A convolution with a group for each channel, which torch would differentiate a second time, as
    penalties want it, group after group.
    """

    def __init__(self, channels: int, side: int) -> None:
        super().__init__(channels, channels, side, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        assert self.bias is not None
        return (x * self.weight.squeeze(1)).sum(dim=(2, 3), keepdim=True) + self.bias[:, None, None]


def generator(spec: params.ResnetGenerator, resolution: int, width: int) -> nn.Module:
    """A dense layer to the coarsest level; residual blocks there and after each doubling.

    Returns:
        Network from (B, width) float to (B, 3, resolution, resolution) in [-1, 1].
    """
    levels = params.doublings(resolution)
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
            nn.Conv2d(channels, wider, 1),  # before the doubling: a quarter of the work
            Doubling(),
            *(Residual(wider) for _ in range(DEPTH)),
        ]
        channels = wider
    layers += [nn.Conv2d(channels, 3, 1), nn.Tanh()]
    return _initialise(nn.Sequential(*layers))


def discriminator(
    spec: params.ResnetDiscriminator, resolution: int, channels: int, outputs: int
) -> nn.Module:
    """The generator's mirror image: residual blocks before each halving and at the coarsest level.

    Returns:
        Network from (B, channels, resolution, resolution) to a DiscriminatorOutput: the logit, and
        ``outputs`` - 1 more numbers.
    """
    levels = params.doublings(resolution)
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
        # A pattern of its own for each channel, then a weight for each: few weights, unlike a
        # dense layer.
        Pattern(channels, resolution >> levels),
        nn.Flatten(),
        nn.Linear(channels, outputs),
    ]
    return blocks.SplitOutput(_initialise(nn.Sequential(*layers)))


@torch.no_grad()
def _initialise(net: nn.Module) -> nn.Module:
    """Fix-up: what L branches add must not grow with L, so their weights shrink with it."""
    blocks.initialise_bare(net)
    # Between residual blocks nothing is bent, so nothing is lost that a gain would make up for.
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
