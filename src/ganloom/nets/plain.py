"""A plain convolutional GAN: one width at all levels, no normalisation.

Two of the systems that ganloom replaces have this architecture: one for textiles at 32, 64 and
128 px (kernels of 3), one for animals at 80 px (kernels of 5).
"""

from __future__ import annotations

from torch import nn

from ganloom import params
from ganloom.geometry import doublings
from ganloom.nets import blocks


def generator(spec: params.PlainGenerator, resolution: int, width: int) -> nn.Module:
    """Build the generator: a dense layer, transposed convolutions, and a last convolution.

    Returns:
        Network from (B, width) float to (B, 3, resolution, resolution) in [-1, 1].
    """
    levels = doublings(resolution)
    base = resolution >> levels
    layers: list[nn.Module] = [
        nn.Linear(width, spec.dense * base * base),
        nn.Unflatten(1, (spec.dense, base, base)),
        nn.LeakyReLU(0.2, inplace=True),
    ]
    channels = spec.dense
    for _ in range(levels):
        layers += [
            nn.ConvTranspose2d(channels, spec.channels, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        channels = spec.channels
    layers += [nn.Conv2d(channels, 3, spec.kernel, padding=spec.kernel // 2), nn.Tanh()]
    return blocks.initialise_bare(nn.Sequential(*layers))


def discriminator(
    spec: params.PlainDiscriminator, resolution: int, channels: int, outputs: int
) -> nn.Module:
    """Build the discriminator: a convolution, strided ones that halve the side, a dense layer.

    Returns:
        Network from (B, channels, resolution, resolution) to a DiscriminatorOutput: the logit, and
        ``outputs`` - 1 more numbers.
    """
    levels = doublings(resolution)
    layers: list[nn.Module] = [
        nn.Conv2d(channels, spec.first, spec.kernel, padding=spec.kernel // 2),
        nn.LeakyReLU(0.2, inplace=True),
    ]
    channels = spec.first
    for _ in range(levels):
        layers += [
            nn.Conv2d(channels, spec.channels, spec.kernel, stride=2, padding=spec.kernel // 2),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        channels = spec.channels
    layers += [
        nn.Flatten(),
        *blocks.dropout(spec.dropout),
        nn.Linear(channels * (resolution >> levels) ** 2, outputs),
    ]
    return blocks.SplitOutput(blocks.initialise_bare(nn.Sequential(*layers)))
