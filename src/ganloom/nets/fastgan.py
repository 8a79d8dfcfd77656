"""The lighter generator of FastGAN, which Projected GAN found best for small collections.

Liu et al. (2021), arXiv:2101.04775: gated linear units after convolutions, and skip-layer
excitation, which weights the channels of a fine level by a coarse one. Sauer et al. (2021),
arXiv:2111.01007, leave out every second convolution. There are two differences: no noise is
added between layers, so that one z always gives one image, and weights are not spectrally
normalised, because nearly all of them precede batch normalisation, which removes their scale.
"""

from __future__ import annotations

from torch import Tensor, nn

from ganloom import params
from ganloom.nets import blocks

# Channels of the level of each side, in units of ``channels``.
WIDTHS = {4: 16.0, 8: 8.0, 16: 4.0, 32: 2.0, 64: 2.0, 128: 1.0, 256: 0.5}

# Ratio of the sides of a fine level and the coarse level that weights its channels.
REACH = 16


class Excitation(nn.Module):
    """Weights of a fine level's channels from a coarse level: (B, C, S, S) to (B, C', 1, 1)."""

    def __init__(self, side: int, coarse: int, fine: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.AvgPool2d(side // 4),
            nn.Conv2d(coarse, fine, 4, bias=False),
            nn.SiLU(),
            nn.Conv2d(fine, fine, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        weights: Tensor = self.net(x)
        return weights


class Fastgan(nn.Module):
    """Levels from 4 px to ``resolution``, each of twice the side of the one before."""

    def __init__(self, width: int, resolution: int, channels: int) -> None:
        super().__init__()
        wide = {side: max(1, round(unit * channels)) for side, unit in WIDTHS.items()}
        sides = [side for side in WIDTHS if side <= resolution]
        self.levels = nn.ModuleDict()
        self.excitations = nn.ModuleDict()
        for side in sides:
            if side == 4:
                first = [nn.Linear(width, 2 * wide[4] * 16), nn.Unflatten(1, (2 * wide[4], 4, 4))]
            else:
                first = [
                    nn.UpsamplingNearest2d(scale_factor=2),
                    nn.Conv2d(wide[side // 2], 2 * wide[side], 3, padding=1, bias=False),
                ]
            self.levels[str(side)] = nn.Sequential(
                *first, nn.BatchNorm2d(2 * wide[side]), nn.GLU(dim=1)
            )
            if side // REACH in wide:
                self.excitations[str(side)] = Excitation(
                    side // REACH, wide[side // REACH], wide[side]
                )
        self.last = nn.Sequential(nn.Conv2d(wide[sides[-1]], 3, 3, padding=1), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        seen: dict[int, Tensor] = {}
        for name, level in self.levels.items():
            x = level(x)
            if name in self.excitations:
                x = x * self.excitations[name](seen[int(name) // REACH])
            seen[int(name)] = x
        images: Tensor = self.last(x)
        return images


def generator(spec: params.FastganGenerator, resolution: int, width: int) -> nn.Module:
    """Build the generator for 32, 64, 128 or 256 px.

    At 32 px there is no skip-layer excitation: no level is 16 times finer than another.

    Returns:
        Network from (B, width) float to (B, 3, resolution, resolution) in [-1, 1].
    """
    return blocks.initialise(Fastgan(width, resolution, spec.channels))
