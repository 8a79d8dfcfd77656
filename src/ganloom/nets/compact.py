"""Networks that work at half resolution and below, which makes them fast on a CPU.

The discriminator moves each square of 2 x 2 px into channels before its first convolution, the
generator does the reverse after its last one (Shi et al., 2016, arXiv:1609.05158). Otherwise they
are those of DCGAN, with layer normalisation in the discriminator: unlike batch normalisation, it
allows gradient penalties. ``channels`` is the width at half resolution.

The generator computes a few colours for each image, and for each pixel the shares in
which these are mixed. Areas of one colour are then even, and all parts of an image agree on its
colours, which convolutions learn slowly.
"""

from __future__ import annotations

from torch import Tensor, nn

from ganloom import params
from ganloom.geometry import doublings
from ganloom.nets import blocks


def generator(spec: params.CompactGenerator, resolution: int, width: int) -> nn.Module:
    """Build the generator: a dense layer, transposed convolutions, and a pixel shuffle.

    Returns:
        Network from (B, width) float to (B, 3, resolution, resolution) in [-1, 1].
    """
    levels = doublings(resolution)
    base = resolution >> levels
    coarse, *finer = reversed(blocks.widths(spec.channels, levels))
    layers = [
        nn.Linear(width, coarse * base * base, bias=False),
        nn.Unflatten(1, (coarse, base, base)),
        nn.BatchNorm2d(coarse),
        nn.ReLU(inplace=True),
    ]
    channels = coarse
    for wider in finer:
        layers += [
            nn.ConvTranspose2d(channels, wider, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(wider),
            nn.ReLU(inplace=True),
        ]
        channels = wider
    layers += [nn.Conv2d(channels, 4 * spec.palette, 3, padding=1), nn.PixelShuffle(2)]
    net = Coloured(nn.Sequential(*layers), blocks.Palette(width, spec.palette))
    blocks.initialise(net)
    net.colours.spread()
    return net


class Coloured(nn.Module):
    """A network whose outputs are the shares of the colours of a palette.

    Args:
        shares: Network from (B, width) to logits of the shares, (B, colours, R, R).
        colours: Palette.
    """

    def __init__(self, shares: nn.Module, colours: blocks.Palette) -> None:
        super().__init__()
        self.shares, self.colours = shares, colours

    def forward(self, v: Tensor) -> Tensor:
        """(B, width) to (B, 3, R, R) in [-1, 1]."""
        return self.colours.mix(self.shares(v), v)


def discriminator(
    spec: params.CompactDiscriminator, resolution: int, channels: int, outputs: int
) -> nn.Module:
    """Build the discriminator: a pixel unshuffle, a convolution, and strided convolutions.

    Returns:
        Network from (B, channels, resolution, resolution) to a DiscriminatorOutput with features:
        the logit, and ``outputs`` - 1 more numbers.
    """
    levels = doublings(resolution)
    first, *sizes = blocks.widths(spec.channels, levels)
    layers: list[nn.Module] = [
        nn.PixelUnshuffle(2),
        nn.Conv2d(4 * channels, first, 3, padding=1),
        nn.LeakyReLU(0.2, inplace=True),
    ]
    narrower = first
    for wider in sizes:
        layers += [
            nn.Conv2d(narrower, wider, 4, stride=2, padding=1),
            *blocks.norm("layer", wider),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        narrower = wider
    head = nn.Sequential(
        blocks.MinibatchStddev(spec.pairs),
        nn.Conv2d(narrower + 1, outputs, resolution >> levels),
        nn.Flatten(),
    )
    return blocks.initialise(WithFeatures(nn.Sequential(*layers), head, narrower))


class WithFeatures(nn.Module):
    """A discriminator that also returns its last features, averaged over their places.

    Args:
        body: Network from images to features (B, features, H, W).
        head: Network from these to (B, outputs).
        features: Number of features.
    """

    def __init__(self, body: nn.Module, head: nn.Module, features: int) -> None:
        super().__init__()
        self.body, self.head, self.features = body, head, features

    def forward(self, x: Tensor) -> blocks.DiscriminatorOutput:
        maps = self.body(x)
        out = self.head(maps)
        code = out[:, 1:] if out.shape[1] > 1 else None
        return blocks.DiscriminatorOutput(out[:, 0], code, features=maps.mean(dim=(2, 3)))
