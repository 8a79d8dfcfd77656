"""The networks of SN-GAN (Miyato et al., 2018, arXiv:1802.05957, table 3).

The generator has nearest upsampling instead of transposed convolutions, which leave checkerboard
artefacts. ``channels`` is the width of the finest level.
"""

from __future__ import annotations

from torch import nn

from ganloom import params
from ganloom.nets import blocks


def generator(spec: params.SnganGenerator, resolution: int, width: int) -> nn.Module:
    """Build the generator: a dense layer, then ``blocks`` times upsampling and a convolution.

    Returns:
        Network from (B, width) float to (B, 3, resolution, resolution) in [-1, 1].
    """
    base = resolution >> spec.blocks
    coarse, *finer = reversed(blocks.widths(spec.channels, spec.blocks + 1))
    bias = spec.norm == "none"
    layers: list[nn.Module] = [
        nn.Linear(width, coarse * base * base),
        nn.Unflatten(1, (coarse, base, base)),
        nn.ReLU(inplace=True),
    ]
    channels = coarse
    for wider, rate in zip(finer, blocks.rates(spec.dropout, spec.blocks), strict=True):
        layers += [
            nn.UpsamplingNearest2d(scale_factor=2),
            nn.Conv2d(channels, wider, 3, padding=1, bias=bias),
            *blocks.norm(spec.norm, wider),
            nn.ReLU(inplace=True),
            *blocks.dropout(rate, spec.dropout_kind),
        ]
        channels = wider
    layers += [nn.Conv2d(channels, 3, 3, padding=1), nn.Tanh()]
    return blocks.finished(nn.Sequential(*layers), spec.norm)


def discriminator(
    spec: params.SnganDiscriminator, resolution: int, channels: int, outputs: int
) -> nn.Module:
    """Build the discriminator: ``blocks`` pairs of convolutions, 3x3 and strided 4x4.

    A 3x3 convolution and a dense layer follow; with ``dense`` units, two dense layers.

    Returns:
        Network from (B, channels, resolution, resolution) to a DiscriminatorOutput: the logit, and
        ``outputs`` - 1 more numbers.
    """
    *sizes, last = blocks.widths(spec.channels, spec.blocks + 1)

    def layer(wide: int, wider: int, stride: int, norm: str) -> list[nn.Module]:
        return [
            nn.Conv2d(wide, wider, 2 + stride, stride, padding=1, bias=norm != "batch"),
            *blocks.norm(norm, wider),
            nn.LeakyReLU(0.2, inplace=True),
        ]

    layers: list[nn.Module] = []
    for level, (wider, rate) in enumerate(
        zip(sizes, blocks.rates(spec.dropout, spec.blocks), strict=True)
    ):
        layers += [
            # Normalising the first layer would hide colours.
            *layer(channels, wider, 1, spec.norm if level > 0 else "none"),
            *layer(wider, wider, 2, spec.norm),
            *blocks.dropout(rate, spec.dropout_kind),
        ]
        channels = wider
    layers += [*layer(channels, last, 1, spec.norm), nn.Flatten()]
    flat = last * (resolution >> spec.blocks) ** 2
    if spec.dense:
        layers += [nn.Linear(flat, spec.dense), nn.LeakyReLU(0.2, inplace=True)]
        flat = spec.dense
    layers.append(nn.Linear(flat, outputs))
    return blocks.SplitOutput(blocks.finished(nn.Sequential(*layers), spec.norm))
