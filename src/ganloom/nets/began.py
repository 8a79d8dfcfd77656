"""BEGAN: an autoencoder as discriminator (Berthelot et al., 2017, arXiv:1703.10717).

ELU, nearest upsampling and no normalisation, as in section 3.5. The generator has the architecture
of the decoder. The optional skip connections of the paper are left out.
"""

from __future__ import annotations

from torch import Tensor, nn

from ganloom import params
from ganloom.geometry import doublings
from ganloom.nets import blocks


def generator(spec: params.BeganGenerator, resolution: int, width: int) -> nn.Module:
    """Build the generator: a decoder of v.

    Returns:
        Network from (B, width) float to (B, 3, resolution, resolution) in [-1, 1].
    """
    return blocks.initialise_bare(_decoder(width, resolution, spec.channels))


class Autoencoder(nn.Module):
    """Autoencoder whose reconstruction error serves as logit: (B, C, R, R) to its output."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module, head: nn.Module | None) -> None:
        super().__init__()
        self.encoder, self.decoder, self.head = encoder, decoder, head

    def forward(self, x: Tensor) -> blocks.DiscriminatorOutput:
        code = self.encoder(x)
        reconstruction = self.decoder(code)
        # The worse the reconstruction, the less real the image.
        logits = -(reconstruction - x).abs().flatten(1).mean(dim=1)
        estimate = self.head(code) if self.head else None
        return blocks.DiscriminatorOutput(logits, estimate, reconstruction)


def discriminator(
    spec: params.BeganDiscriminator, resolution: int, channels: int, outputs: int
) -> nn.Module:
    """Build the autoencoder; a dense layer predicts ``outputs`` - 1 numbers from its bottleneck.

    Returns:
        Network from (B, 3, resolution, resolution) to a DiscriminatorOutput; an image's logit is
        minus its mean absolute error.
    """
    assert channels == 3  # params refuse classes
    head = nn.Linear(spec.hidden, outputs - 1) if outputs > 1 else None
    return Autoencoder(
        blocks.initialise_bare(_encoder(spec.hidden, resolution, spec.channels)),
        blocks.initialise_bare(_decoder(spec.hidden, resolution, spec.channels)),
        blocks.initialise_bare(head) if head else None,
    )


def _encoder(hidden: int, resolution: int, channels: int) -> nn.Module:
    """(B, 3, R, R) to (B, hidden); each level has ``channels`` more channels."""
    levels = doublings(resolution)
    layers: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1), nn.ELU(inplace=True)]
    for level in range(1, levels + 1):
        layers += [
            *_convolutions(channels * level),
            nn.Conv2d(channels * level, channels * (level + 1), 3, stride=2, padding=1),
            nn.ELU(inplace=True),
        ]
    wide = channels * (levels + 1)
    return nn.Sequential(
        *layers,
        *_convolutions(wide),
        nn.Flatten(),
        nn.Linear(wide * (resolution >> levels) ** 2, hidden),
    )


def _decoder(hidden: int, resolution: int, channels: int) -> nn.Module:
    """(B, hidden) to (B, 3, R, R) in [-1, 1]; all levels are ``channels`` wide."""
    levels = doublings(resolution)
    base = resolution >> levels
    layers: list[nn.Module] = [
        nn.Linear(hidden, channels * base * base),
        nn.Unflatten(1, (channels, base, base)),
        *_convolutions(channels),
    ]
    for _ in range(levels):
        layers += [nn.UpsamplingNearest2d(scale_factor=2), *_convolutions(channels)]
    return nn.Sequential(*layers, nn.Conv2d(channels, 3, 3, padding=1), nn.Tanh())


def _convolutions(channels: int) -> list[nn.Module]:
    pair = ((nn.Conv2d(channels, channels, 3, padding=1), nn.ELU(True)) for _ in range(2))
    return [layer for both in pair for layer in both]
