"""A convolutional generator on a torus, for seamless pictures of any size.

As in the Periodic Spatial GAN (Bergmann et al., 2017, arXiv:1705.06566), z has two parts. The
*field* has a few numbers for each cell of a coarse grid and says where what is; the *style*, with
the class and the code, is the same in all cells. All layers are convolutions that continue at the
opposite edge, so that no layer knows positions: a shift of the field by one cell shifts the picture
by the side of a cell, the picture repeats without a seam, and a larger field gives a larger one.

There are no periodic inputs, unlike in that paper: their periods would have to divide the width of
the picture.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganloom import params
from ganloom.geometry import doublings
from ganloom.nets import blocks


def generator(spec: params.TextureGenerator, resolution: int, width: int) -> nn.Module:
    """Build the generator.

    Returns:
        Network from (B, width) float to (B, 3, resolution, resolution) in [-1, 1]. The first
        columns are the field.
    """
    levels = doublings(resolution)
    cells = resolution >> levels
    style = width - spec.local * cells**2
    widths = blocks.widths(spec.channels, levels)[::-1]
    net = Texture(widths, cells, spec.local, style, spec.palette)
    blocks.initialise(net)
    net.colours.spread()
    return net


class Texture(blocks.Torus):
    """Transposed convolutions and a pixel shuffle on a torus, with colours from a palette.

    Args:
        widths: Channels of each level, coarsest first.
        cells: Cells of the field along each side, for pictures of the training's resolution.
        local: Numbers of a cell.
        style: Numbers that all cells share.
        colours: Number of colours of the palette.
    """

    def __init__(self, widths: list[int], cells: int, local: int, style: int, colours: int) -> None:
        super().__init__()
        self.cells, self.local = cells, local
        self.side = 2 ** len(widths)  # of a cell, in px of the picture
        self.field = nn.Sequential(Wrap(), nn.Conv2d(local, widths[0], 3, bias=False))
        self.style = nn.Linear(style, widths[0], bias=False)
        layers: list[nn.Module] = [
            *_activated(widths[0]),
            # A second layer at the coarsest level, so that cells agree with their neighbours.
            Wrap(),
            nn.Conv2d(widths[0], widths[0], 3, bias=False),
            *_activated(widths[0]),
        ]
        for wide, narrow in pairwise(widths):
            layers += [
                Wrap(),
                # A padding of 3 removes the outputs beyond the edges.
                nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=3, bias=False),
                *_activated(narrow),
            ]
        layers += [Wrap(), nn.Conv2d(widths[-1], 4 * colours, 3), nn.PixelShuffle(2)]
        self.shares = nn.Sequential(*layers)
        self.colours = blocks.Palette(style, colours)

    def forward(self, v: Tensor) -> Tensor:
        """(B, width) to (B, 3, R, R) in [-1, 1]."""
        field, style = self.parts(v)
        logits = self.shares(self.field(field) + self.style(style)[:, :, None, None])
        return self.colours.mix(logits, style)

    def parts(self, v: Tensor) -> tuple[Tensor, Tensor]:
        field, style = v.tensor_split([self.local * self.cells**2], dim=1)
        return field.unflatten(1, (self.local, self.cells, self.cells)), style

    def woven(self, field: Tensor, style: Tensor) -> Tensor:
        logits = self.shares(self.field(field) + self.style(style).permute(0, 3, 1, 2))
        colours = self.colours(style).flatten(3).permute(0, 3, 1, 2)
        colours = _smooth(colours, self.side).unflatten(1, (3, -1))
        return (colours * blocks.shares(logits)[:, None]).sum(dim=2)


def _activated(channels: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]


class Wrap(nn.Module):
    """Adds one px of the opposite edge at each edge: (B, C, H, W) to (B, C, H + 2, W + 2).

    Unlike ``nn.CircularPad2d``, it keeps the memory format, which is faster on a CPU.
    """

    def forward(self, x: Tensor) -> Tensor:
        tall = torch.cat([x[:, :, -1:], x, x[:, :, :1]], dim=2)
        return torch.cat([tall[..., -1:], tall, tall[..., :1]], dim=3)


def _smooth(x: Tensor, factor: int) -> Tensor:
    """Bilinear interpolation on a torus: (B, C, H, W) to (B, C, factor * H, factor * W)."""
    larger = F.interpolate(Wrap()(x), scale_factor=factor, mode="bilinear")
    return larger[..., factor:-factor, factor:-factor]
