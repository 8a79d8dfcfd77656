"""Layers and initialisation that several networks share."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from ganloom import params

LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
NORMS = (nn.BatchNorm2d, nn.GroupNorm)

# Of a palette: units of the hidden layer, and the factor of the logits of the shares. With a factor
# above 1, most pixels have nearly one colour from the start.
HIDDEN = 64
SHARPNESS = 8.0


class DiscriminatorOutput(NamedTuple):
    """Output of a discriminator for B images.

    Attributes:
        logits: (B,), or (B, K) from several networks or places; higher means more real.
        code: (B, n) estimate of the generator's code, and of z if that is recovered as well; None
            for models without a code.
        reconstruction: (B, 3, R, R) output of an autoencoder; None for other discriminators.
        features: (B, F) last features, averaged over their places, for a projection; None for
            networks without.
    """

    logits: Tensor
    code: Tensor | None = None
    reconstruction: Tensor | None = None
    features: Tensor | None = None

    def float(self) -> DiscriminatorOutput:
        """Convert to single precision, in which losses are computed."""
        return DiscriminatorOutput(*(None if part is None else part.float() for part in self))  # type: ignore[arg-type]


class SplitOutput(nn.Module):
    """Splits a network's outputs into the logit, which comes first, and the code's estimate."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        out = self.net(x)
        return DiscriminatorOutput(out[:, 0], out[:, 1:] if out.shape[1] > 1 else None)


def widths(channels: int, levels: int) -> list[int]:
    """Channels of each level, finest first: doubled each time the side halves.

    At most 16 times ``channels``, the ratio of DCGAN at 128 px: with more, nearly all weights
    would be those of the coarse levels, which a few images cannot determine.
    """
    return [channels * min(2**level, 16) for level in range(levels)]


def rates(dropout: float | list[float], blocks: int) -> list[float]:
    """Dropout rate of each block, first block first."""
    return dropout if isinstance(dropout, list) else [dropout] * blocks


def norm(kind: str, channels: int) -> list[nn.Module]:
    """Normalisation layers of a block; none for "none" and for "spectral", which is of weights.

    "layer" normalises each image over its channels and pixels (Ba et al., 2016).
    """
    match kind:
        case "batch":
            return [nn.BatchNorm2d(channels)]
        case "layer":
            return [nn.GroupNorm(1, channels)]
        case _:
            return []


def spectral(net: nn.Module) -> nn.Module:
    """Divide each weight by its largest singular value (Miyato et al., 2018).

    This bounds the Lipschitz constant of each layer, and so of D. Each forward pass makes a power
    iteration; within ``parametrize.cached``, which the training loop uses, several share one.
    """
    for module in list(net.modules()):
        if isinstance(module, nn.Conv2d | nn.Linear):
            spectral_norm(module)
    return net


def dropout(rate: float, kind: params.DropoutKind = "element") -> list[nn.Module]:
    """Dropout layer of a block; none if ``rate`` is 0."""
    if rate == 0:
        return []
    return [Dropout(rate) if kind == "element" else nn.Dropout2d(rate)]


class Dropout(nn.Module):
    """Element-wise dropout (Srivastava et al., 2014) with a mask that is fast on a CPU.

    On a CPU ``nn.Dropout`` draws one Bernoulli variable after the other, which takes many times as
    long as an activation. Here each 64-bit random number serves eight elements, with a byte each.
    The rate is therefore rounded to 1/256; outputs are scaled by the rounded rate, so that their
    mean is exact.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.rate)
        return x * _mask(x, dropped=min(round(self.rate * 256), 255))

    def extra_repr(self) -> str:
        return f"rate={self.rate}"


def _mask(x: Tensor, dropped: int) -> Tensor:
    """Mask of zeros and 256 / (256 - dropped), with the strides of ``x``."""
    words = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
    # Bytes below `dropped` become 0, the others 1. A comparison would be slower: booleans take
    # several times as long to create and to multiply as floats.
    keep = words.view(torch.uint8)[: x.numel()].to(x.dtype).sub_(dropped - 1).clamp_(0, 1)
    return keep.mul_(256 / (256 - dropped)).as_strided(x.shape, x.stride())


def initialise(net: nn.Module) -> nn.Module:
    """Initialise as Radford et al. (2015), from torch's global generator.

    Weights are drawn from N(0, 0.02), scales of normalisation layers from N(1, 0.02); biases are 0.
    """
    for module in net.modules():
        if isinstance(module, LAYERS):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, NORMS):
            nn.init.normal_(module.weight, 1.0, 0.02)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    return net


def initialise_bare(net: nn.Module) -> nn.Module:
    """Initialise a network without normalisation as He et al. (2015), arXiv:1502.01852.

    Weights are drawn for a leaky ReLU of slope 0.2, so that activations keep their variance, which
    N(0, 0.02) would lower at each narrow layer; biases are 0. The last layer is drawn from
    N(0, 0.02): the first images are grey, the first logits near 0.
    """
    layers = [m for m in net.modules() if isinstance(m, LAYERS)]
    for layer in layers:
        fan = layer.weight[0].numel()
        if isinstance(layer, nn.ConvTranspose2d):  # (in, out, ...); a pixel gets 1 / stride^2 of it
            fan = layer.weight[:, 0].numel() // (layer.stride[0] * layer.stride[1])
        nn.init.normal_(layer.weight, 0.0, nn.init.calculate_gain("leaky_relu", 0.2) / fan**0.5)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    nn.init.normal_(layers[-1].weight, 0.0, 0.02)
    return net


def finished(net: nn.Module, norm: str) -> nn.Module:
    """Initialise a network for its kind of normalisation."""
    match norm:
        case "none":
            return initialise_bare(net)
        case "spectral":
            return spectral(initialise_bare(net))
        case _:
            return initialise(net)


class MinibatchStddev(nn.Module):
    """Adds the standard deviation over the batch as a plane (Karras et al., 2018, section 3).

    Args:
        pairs: Whether to take it over pairs in training: images at the same place in the two
            halves of a batch. In evaluation, all images of a batch have the same plane, so that
            their logits can be compared.
    """

    def __init__(self, pairs: bool = False) -> None:
        super().__init__()
        self.pairs = pairs

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C + 1, H, W)."""
        if self.pairs and self.training:
            first, second = x.chunk(2)
            apart = ((first - second).square() / 4 + 1e-8).sqrt()
            spread = apart.mean(dim=(1, 2, 3), keepdim=True).repeat(2, 1, 1, 1)
        else:
            spread = (x.var(dim=0, unbiased=False) + 1e-8).sqrt().mean()
        return torch.cat([x, spread.expand(len(x), 1, *x.shape[2:])], dim=1)


class Palette(nn.Sequential):
    """Computes a few colours, and mixes them at each pixel.

    Args:
        width: Width of the input.
        colours: Number of colours.
    """

    def __init__(self, width: int, colours: int) -> None:
        super().__init__(
            nn.Linear(width, HIDDEN),
            nn.ReLU(inplace=True),
            nn.Linear(HIDDEN, 3 * colours),
            nn.Tanh(),
            nn.Unflatten(-1, (3, colours)),
        )

    def spread(self) -> None:
        """Draw the first colours far apart: of equal ones, no shares could be learned."""
        last = self[2]
        assert isinstance(last, nn.Linear)
        nn.init.uniform_(last.bias, -1, 1)

    def mix(self, logits: Tensor, v: Tensor) -> Tensor:
        """Mix the colours of each image.

        Args:
            logits: (B, colours, H, W), logits of the shares.
            v: (B, width).

        Returns:
            (B, 3, H, W) in [-1, 1].
        """
        mixed = self(v) @ shares(logits).flatten(2)
        return mixed.unflatten(2, logits.shape[2:])


def shares(logits: Tensor) -> Tensor:
    """Shares of the colours of a palette, which add up to 1: (B, colours, H, W)."""
    return (SHARPNESS * logits).softmax(dim=1)


class Torus(nn.Module):
    """A generator whose pictures repeat without a seam, and may have any size.

    Attributes:
        cells: Cells along each side of a picture of the training's resolution.
        side: Side of a cell, in px of the picture.
    """

    cells: int
    side: int

    def parts(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Split v into the field (B, local, cells, cells) and the style (B, style)."""
        raise NotImplementedError

    def woven(self, field: Tensor, style: Tensor) -> Tensor:
        """Generate a picture from a field of any size.

        Args:
            field: (B, local, H, W).
            style: (B, H, W, style), which may differ from cell to cell.

        Returns:
            (B, 3, side * H, side * W) in [-1, 1].
        """
        raise NotImplementedError
