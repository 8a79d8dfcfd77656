"""Generators and discriminators."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ganloom.params.types import Count, Fraction, Rates, Section


class _Network(Section):
    channels: Count = Field(
        description="Channels of the finest level; doubled with each halving, up to 16 times"
    )


class _Generator(_Network):
    latent: Count = Field(description="Length of the latent vector z")


DropoutKind = Literal["element", "channel"]


class _WithDropout(Section):
    dropout: Rates = Field(
        description="Share of activations dropped: one rate, or one per block from the input on"
    )
    dropout_kind: DropoutKind = Field(
        description="Drop single activations, or whole channels of an image"
    )


class PlainGenerator(_Generator):
    """Dense layer, then transposed convolutions of one width, nothing normalised."""

    kind: Literal["plain"] = Field(description="Kind of network, a module of ganloom.nets")
    channels: Count = Field(description="Channels of every convolution")
    dense: Count = Field(description="Channels of the dense layer's output")
    kernel: Literal[3, 5] = Field(description="Side of the last convolution in px")


class DcganGenerator(_Generator, _WithDropout):
    """Dense layer, then transposed convolutions (Radford et al., 2015)."""

    kind: Literal["dcgan"] = Field(description="Kind of network, a module of ganloom.nets")
    norm: Literal["batch", "none"] = Field(description="Normalisation after each layer")


class SnganGenerator(_Generator, _WithDropout):
    """Dense layer, then upsampling and convolutions (Miyato et al., 2018, without residuals)."""

    kind: Literal["sngan"] = Field(description="Kind of network, a module of ganloom.nets")
    blocks: Count = Field(description="Doublings of the side after the dense layer")
    norm: Literal["batch", "none"] = Field(description="Normalisation after each layer")


class ResnetGenerator(_Generator):
    """Residual blocks without normalisation (after Huang et al., 2024, R3GAN)."""

    kind: Literal["resnet"] = Field(description="Kind of network, a module of ganloom.nets")


class FastganGenerator(_Generator):
    """Gated upsampling with skip-layer excitation (Liu et al., 2021), the lighter form."""

    kind: Literal["fastgan"] = Field(description="Kind of network, a module of ganloom.nets")
    channels: Count = Field(
        description="Channels at 128 px; 16 times as many at 4 px, 8 at 8, 4 at 16, 2 at 32 and 64"
    )


class BeganGenerator(_Generator):
    """Convolutions of one width with ELU, nearest upsampling, no norm (Berthelot et al., 2017)."""

    kind: Literal["began"] = Field(description="Kind of network, a module of ganloom.nets")
    channels: Count = Field(description="Channels of every convolution")


Generator = Annotated[
    PlainGenerator
    | DcganGenerator
    | SnganGenerator
    | ResnetGenerator
    | FastganGenerator
    | BeganGenerator,
    Field(discriminator="kind"),
]


class PlainDiscriminator(Section):
    """Strided convolutions of one width, nothing normalised, dropout before the last layer."""

    kind: Literal["plain"] = Field(description="Kind of network, a module of ganloom.nets")
    first: Count = Field(description="Channels of the first convolution, at full resolution")
    channels: Count = Field(description="Channels of every other convolution")
    kernel: Literal[3, 5] = Field(description="Side of the convolutions in px")
    dropout: Fraction = Field(description="Share of activations dropped before the last layer")


class DcganDiscriminator(_Network, _WithDropout):
    """Strided convolutions (Radford et al., 2015)."""

    kind: Literal["dcgan"] = Field(description="Kind of network, a module of ganloom.nets")
    norm: Literal["batch", "layer", "spectral", "none"] = Field(
        description="Normalisation: after each layer but the first, or (spectral) of all weights"
    )
    minibatch_stddev: bool = Field(
        description="Show the last layer how much the batch varies (Karras et al., 2018)"
    )


class SnganDiscriminator(_Network, _WithDropout):
    """Pairs of convolutions, the second strided (Miyato et al., 2018)."""

    kind: Literal["sngan"] = Field(description="Kind of network, a module of ganloom.nets")
    norm: Literal["batch", "layer", "spectral", "none"] = Field(
        description="Normalisation: after each layer but the first, or (spectral) of all weights"
    )
    blocks: Count = Field(description="Halvings of the side")
    dense: Count | None = Field(description="Units of a dense layer before the last; null: none")


class ResnetDiscriminator(_Network):
    """Residual blocks without normalisation (after Huang et al., 2024, R3GAN)."""

    kind: Literal["resnet"] = Field(description="Kind of network, a module of ganloom.nets")


class ProjectedDiscriminator(Section):
    """Four small networks on a frozen EfficientNet-Lite0's mixed features (Sauer et al., 2021)."""

    kind: Literal["projected"] = Field(description="Kind of network, a module of ganloom.nets")
    channels: Count = Field(description="Channels of the finest mixed features")
    side: Literal[64, 128, 256] = Field(
        description="Side in px to which smaller images are enlarged: 128 and 256 show more, slower"
    )
    pixels: Count | None = Field(
        default=None,
        description="Channels, at half the resolution, of a fifth network that judges the pixels",
    )


class BeganDiscriminator(Section):
    """An autoencoder: what it reproduces well is real (Berthelot et al., 2017)."""

    kind: Literal["began"] = Field(description="Kind of network, a module of ganloom.nets")
    channels: Count = Field(description="Channels of the first level; one more times each halving")
    hidden: Count = Field(description="Length of the code between encoder and decoder")


Discriminator = Annotated[
    PlainDiscriminator
    | DcganDiscriminator
    | SnganDiscriminator
    | ResnetDiscriminator
    | ProjectedDiscriminator
    | BeganDiscriminator,
    Field(discriminator="kind"),
]
