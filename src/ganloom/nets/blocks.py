"""Parts that several networks share."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from ganloom import params

LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
NORMS = (nn.BatchNorm2d, nn.GroupNorm)


class DiscriminatorOutput(NamedTuple):
    """Output of a discriminator for B images.

    Attributes:
        logits: (B,), or (B, K) from several networks or places; higher means more real.
        code: (B, n) estimate of the generator's code, and of z if that is recovered as well; None
            for models without a code.
        reconstruction: (B, 3, R, R) output of an autoencoder; None for other discriminators.
    """

    logits: Tensor
    code: Tensor | None = None
    reconstruction: Tensor | None = None

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
    """Channels of each level, from the finest to the coarsest: doubled each time the side halves.

    At most 16 times ``channels``: that is the DCGAN ratio at 128 px, and beyond it the coarse
    levels would hold nearly all weights while a few images decide what they learn.
    """
    return [channels * min(2**level, 16) for level in range(levels)]


def rates(dropout: float | list[float], blocks: int) -> list[float]:
    """A dropout rate for each block, in the order in which data pass through them."""
    return dropout if isinstance(dropout, list) else [dropout] * blocks


def norm(kind: str, channels: int) -> list[nn.Module]:
    """Normalisation layers of a block; "none" and "spectral" (which is one of weights) have none.

    "layer" normalises over channels and places of each image alone (Ba et al., 2016).
    """
    match kind:
        case "batch":
            return [nn.BatchNorm2d(channels)]
        case "layer":
            return [nn.GroupNorm(1, channels)]
        case _:
            return []


def spectral(net: nn.Module) -> nn.Module:
    """Divide each weight by its largest singular value.

    Miyato et al. (2018): each layer, and so D, changes no faster than its input. Every pass makes a
    power iteration, unless ``parametrize.cached`` has several share it, as the training loop does.
    """
    for module in list(net.modules()):
        if isinstance(module, nn.Conv2d | nn.Linear):
            spectral_norm(module)
    return net


def dropout(rate: float, kind: params.DropoutKind = "element") -> list[nn.Module]:
    """Dropout layers of a block, none if ``rate`` is 0."""
    if rate == 0:
        return []
    return [Dropout(rate) if kind == "element" else nn.Dropout2d(rate)]


class Dropout(nn.Module):
    """Element-wise dropout (Srivastava et al., 2014) with a mask that is cheap on a CPU.

    On a CPU ``nn.Dropout`` draws each element from a Bernoulli distribution, one after the other,
    which takes many times as long as the convolution's activation. Here one 64-bit draw decides
    on eight elements, a byte each. So the rate is rounded to 1/256; what is kept is scaled by the
    rounded rate and keeps its mean exactly.
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
    """Zeros and 256 / (256 - dropped), in the memory layout of ``x``."""
    words = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
    # Bytes below `dropped` become 0, the others 1. A comparison would say the same, but booleans
    # take several times as long to make and to multiply as floats.
    keep = words.view(torch.uint8)[: x.numel()].to(x.dtype).sub_(dropped - 1).clamp_(0, 1)
    return keep.mul_(256 / (256 - dropped)).as_strided(x.shape, x.stride())


def initialise(net: nn.Module) -> nn.Module:
    """Draw weights from N(0, 0.02), scales of normalisation from N(1, 0.02); biases are 0.

    As in Radford et al. (2015), from torch's global generator.
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
    """Draw weights for a network without normalisation; biases are 0.

    As in He et al. (2015), arXiv:1502.01852, for a leaky ReLU of slope 0.2: what goes through a
    layer keeps its size, where N(0, 0.02) would shrink it at each narrow layer until nothing is
    left. The last layer alone is drawn from N(0, 0.02): images begin grey, logits near 0.
    """
    layers = [m for m in net.modules() if isinstance(m, LAYERS)]
    for layer in layers:
        fan = layer.weight[0].numel()
        if isinstance(layer, nn.ConvTranspose2d):  # (in, out, ...), and not all of it reaches a px
            fan = layer.weight[:, 0].numel() // (layer.stride[0] * layer.stride[1])
        nn.init.normal_(layer.weight, 0.0, nn.init.calculate_gain("leaky_relu", 0.2) / fan**0.5)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    nn.init.normal_(layers[-1].weight, 0.0, 0.02)
    return net


def finished(net: nn.Module, norm: str) -> nn.Module:
    """The network with its first weights, drawn for the normalisation that it has."""
    match norm:
        case "none":
            return initialise_bare(net)
        case "spectral":
            return spectral(initialise_bare(net))
        case _:
            return initialise(net)


class MinibatchStddev(nn.Module):
    """One more plane: how much the images of the batch differ (Karras et al., 2018, section 3)."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C + 1, H, W)."""
        spread = (x.var(dim=0, unbiased=False) + 1e-8).sqrt().mean()
        return torch.cat([x, spread.expand(len(x), 1, *x.shape[2:])], dim=1)
