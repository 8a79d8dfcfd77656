"""Generators and discriminators."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ganloom.params.types import Count, Fraction, Rates, Section


class _Network(Section):
    channels: Count = Field(
        description="Channels at full resolution; doubled at each halving, at most 16-fold"
    )


class _Generator(_Network):
    latent: Count = Field(description="Length of the latent vector z")


DropoutKind = Literal["element", "channel"]


class _WithDropout(Section):
    dropout: Rates = Field(
        description="Dropout rate, or a list with one rate per block, from the input on"
    )
    dropout_kind: DropoutKind = Field(
        description="Drop single activations (element) or whole feature maps (channel)"
    )


class PlainGenerator(_Generator):
    """Dense layer, then transposed convolutions of constant width, no normalisation."""

    kind: Literal["plain"] = Field(description="Kind of network, a module of ganloom.nets")
    channels: Count = Field(description="Channels of every convolution")
    dense: Count = Field(description="Channels of the output of the dense layer")
    kernel: Literal[3, 5] = Field(description="Kernel size of the last convolution")


class DcganGenerator(_Generator, _WithDropout):
    """Dense layer, then transposed convolutions (Radford et al., 2015)."""

    kind: Literal["dcgan"] = Field(description="Kind of network, a module of ganloom.nets")
    norm: Literal["batch", "none"] = Field(description="Normalisation after each hidden layer")


class SnganGenerator(_Generator, _WithDropout):
    """Dense layer, upsampling, convolutions (Miyato et al., 2018, plain): no checkerboard."""

    kind: Literal["sngan"] = Field(description="Kind of network, a module of ganloom.nets")
    blocks: Count = Field(description="Number of blocks; each doubles the side")
    norm: Literal["batch", "none"] = Field(description="Normalisation after each hidden layer")


class ResnetGenerator(_Generator):
    """Residual blocks without normalisation (after Huang et al., 2024, R3GAN)."""

    kind: Literal["resnet"] = Field(description="Kind of network, a module of ganloom.nets")


class FastganGenerator(_Generator):
    """Gated upsampling with skip-layer excitation (Liu et al., 2021, the lighter version)."""

    kind: Literal["fastgan"] = Field(description="Kind of network, a module of ganloom.nets")
    channels: Count = Field(
        description="Channels at 128 px; 2-fold at 64 and 32 px, then 4-, 8- and 16-fold"
    )


class BeganGenerator(_Generator):
    """Convolutions of constant width, ELU, nearest upsampling (Berthelot et al., 2017)."""

    kind: Literal["began"] = Field(description="Kind of network, a module of ganloom.nets")
    channels: Count = Field(description="Channels of every convolution")


class CompactGenerator(_Generator):
    """DCGAN at half resolution with a pixel shuffle, and colours from a palette: fast on a CPU."""

    kind: Literal["compact"] = Field(description="Kind of network, a module of ganloom.nets")
    channels: Count = Field(
        description="Channels at half resolution; doubled at each halving, at most 16-fold"
    )
    palette: Annotated[int, Field(ge=2)] = Field(
        description="Colours of an image, which are mixed at each pixel"
    )


class TextureGenerator(_Generator):
    """Convolutions on a torus (after Bergmann et al., 2017): seamless pictures of any size."""

    kind: Literal["texture"] = Field(description="Kind of network, a module of ganloom.nets")
    channels: Count = Field(
        description="Channels at half resolution; doubled at each halving, at most 16-fold"
    )
    latent: Count = Field(
        description="Length of z: `local` numbers for each cell of the coarsest grid (4 x 4 at 32 "
        "px), and the style, which is the same everywhere"
    )
    local: Count = Field(description="Numbers of z for each cell of the coarsest grid")
    palette: Annotated[int, Field(ge=2)] = Field(
        description="Colours of an image, which are mixed at each pixel"
    )


Generator = Annotated[
    PlainGenerator
    | DcganGenerator
    | SnganGenerator
    | ResnetGenerator
    | FastganGenerator
    | BeganGenerator
    | CompactGenerator
    | TextureGenerator,
    Field(discriminator="kind"),
]


class PlainDiscriminator(Section):
    """Strided convolutions of constant width, no normalisation; dropout before the last layer."""

    kind: Literal["plain"] = Field(description="Kind of network, a module of ganloom.nets")
    first: Count = Field(description="Channels of the first convolution")
    channels: Count = Field(description="Channels of the other convolutions")
    kernel: Literal[3, 5] = Field(description="Kernel size of the convolutions")
    dropout: Fraction = Field(description="Dropout rate before the last layer")


class DcganDiscriminator(_Network, _WithDropout):
    """Strided convolutions (Radford et al., 2015)."""

    kind: Literal["dcgan"] = Field(description="Kind of network, a module of ganloom.nets")
    norm: Literal["batch", "layer", "spectral", "none"] = Field(
        description="Normalisation after each layer but the first; spectral: of all weights"
    )
    minibatch_stddev: bool = Field(
        description="Append the standard deviation over the batch (Karras et al., 2018)"
    )


class SnganDiscriminator(_Network, _WithDropout):
    """Pairs of convolutions, the second one strided (Miyato et al., 2018)."""

    kind: Literal["sngan"] = Field(description="Kind of network, a module of ganloom.nets")
    norm: Literal["batch", "layer", "spectral", "none"] = Field(
        description="Normalisation after each layer but the first; spectral: of all weights"
    )
    blocks: Count = Field(description="Number of blocks; each halves the side")
    dense: Count | None = Field(
        description="Units of a dense layer before the last layer; null: none"
    )


class ResnetDiscriminator(_Network):
    """Residual blocks without normalisation (after Huang et al., 2024, R3GAN)."""

    kind: Literal["resnet"] = Field(description="Kind of network, a module of ganloom.nets")


class ProjectedDiscriminator(Section):
    """Four small networks on mixed features of a frozen EfficientNet-Lite0 (Sauer et al., 2021)."""

    kind: Literal["projected"] = Field(description="Kind of network, a module of ganloom.nets")
    channels: Count = Field(description="Channels of the mixed features at the highest resolution")
    side: Literal[64, 128, 256] = Field(
        description="Side to which smaller images are upsampled, in px; larger sides are slower"
    )
    pixels: Count | None = Field(
        default=None,
        description="Channels, at half resolution, of a fifth network on the pixels; missing: none",
    )


class BeganDiscriminator(Section):
    """Autoencoder with a low reconstruction error on real images (Berthelot et al., 2017)."""

    kind: Literal["began"] = Field(description="Kind of network, a module of ganloom.nets")
    channels: Count = Field(
        description="Channels at full resolution; after n halvings, n + 1 times as many"
    )
    hidden: Count = Field(description="Length of the vector between encoder and decoder")


class CompactDiscriminator(_Network):
    """DCGAN at half resolution, after a pixel unshuffle: fast on a CPU."""

    kind: Literal["compact"] = Field(description="Kind of network, a module of ganloom.nets")
    channels: Count = Field(
        description="Channels at half resolution; doubled at each halving, at most 16-fold"
    )
    pairs: bool = Field(
        default=False,
        description="Batches have two images of each original, and D sees how far these are apart, "
        "so that samples of an original differ; missing: false",
    )


Discriminator = Annotated[
    PlainDiscriminator
    | DcganDiscriminator
    | SnganDiscriminator
    | ResnetDiscriminator
    | ProjectedDiscriminator
    | BeganDiscriminator
    | CompactDiscriminator,
    Field(discriminator="kind"),
]
