"""DCGAN (Radford et al., 2015, arXiv:1511.06434) at any resolution of base x 2^k px.

With a base of 4 to 7 px there are k levels, of base, 2 base, ... resolution / 2 px. ``channels`` is
the width of the finest level, which is one convolution away from the image.
"""

from __future__ import annotations

from torch import nn

from ganloom import params
from ganloom.geometry import doublings
from ganloom.nets import blocks


def generator(spec: params.DcganGenerator, resolution: int, width: int) -> nn.Module:
    """Build the generator: a dense layer, then transposed convolutions that double the side.

    Returns:
        Network from (B, width) float to (B, 3, resolution, resolution) in [-1, 1].
    """
    levels = doublings(resolution)
    base = resolution >> levels
    coarse, *finer = reversed(blocks.widths(spec.channels, levels))
    first, *rest = blocks.rates(spec.dropout, levels)
    bias = spec.norm == "none"  # batch normalisation would subtract it again
    layers = [
        nn.Linear(width, coarse * base * base, bias=bias),
        nn.Unflatten(1, (coarse, base, base)),
        *blocks.norm(spec.norm, coarse),
        nn.ReLU(inplace=True),
        *blocks.dropout(first, spec.dropout_kind),
    ]
    channels = coarse
    for wider, rate in zip(finer, rest, strict=True):
        layers += [
            nn.ConvTranspose2d(channels, wider, 4, stride=2, padding=1, bias=bias),
            *blocks.norm(spec.norm, wider),
            nn.ReLU(inplace=True),
            *blocks.dropout(rate, spec.dropout_kind),
        ]
        channels = wider
    layers += [nn.ConvTranspose2d(channels, 3, 4, stride=2, padding=1), nn.Tanh()]
    return blocks.finished(nn.Sequential(*layers), spec.norm)


def discriminator(
    spec: params.DcganDiscriminator, resolution: int, channels: int, outputs: int
) -> nn.Module:
    """Build the discriminator: strided convolutions that halve the side, and a last convolution.

    The first convolution is not normalised, as in the paper: normalisation would hide colours.

    Returns:
        Network from (B, channels, resolution, resolution) to a DiscriminatorOutput: the logit, and
        ``outputs`` - 1 more numbers.
    """
    levels = doublings(resolution)
    layers: list[nn.Module] = []
    sizes = blocks.widths(spec.channels, levels)
    for level, (wider, rate) in enumerate(
        zip(sizes, blocks.rates(spec.dropout, levels), strict=True)
    ):
        kind = spec.norm if level > 0 else "none"
        layers += [
            nn.Conv2d(channels, wider, 4, stride=2, padding=1, bias=kind != "batch"),
            *blocks.norm(kind, wider),
            nn.LeakyReLU(0.2, inplace=True),
            *blocks.dropout(rate, spec.dropout_kind),
        ]
        channels = wider
    if spec.minibatch_stddev:
        layers.append(blocks.MinibatchStddev())
        channels += 1
    layers += [nn.Conv2d(channels, outputs, resolution >> levels), nn.Flatten()]
    return blocks.SplitOutput(blocks.finished(nn.Sequential(*layers), spec.norm))
