"""Parts that several networks share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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
    """Normalisation layers of a block, none if ``kind`` is "none"."""
    return [nn.BatchNorm2d(channels)] if kind == "batch" else []


def dropout(rate: float) -> list[nn.Module]:
    """Dropout layers of a block, none if ``rate`` is 0."""
    return [Dropout(rate)] if rate > 0 else []


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
        return x * _mask(x, dropped=round(self.rate * 256))

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
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    return net
