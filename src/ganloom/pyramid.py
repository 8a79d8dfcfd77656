"""Laplacian pyramid (Burt and Adelson, 1983): what images show at each scale."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

COARSEST = 16


def pyramid(x: Tensor) -> Iterator[Tensor]:
    """The levels of (B, 3, R, R), finest first: (B, 3, R, R), (B, 3, R / 2, R / 2), ...

    Each but the last is what the next one, enlarged, lacks; the last is the image at the coarsest
    scale, of 16 px or the last side before a smaller or an odd one.
    """
    while x.shape[-1] % 2 == 0 and x.shape[-1] // 2 >= COARSEST:
        low = _blurred(x)[..., ::2, ::2]
        wide = torch.zeros_like(x)
        wide[..., ::2, ::2] = low
        yield x - 4 * _blurred(wide)
        x = low
    yield x


def _blurred(x: Tensor) -> Tensor:
    return conv2d(pad(x, (2, 2, 2, 2), mode="reflect"), _gaussian(x.device, x.dtype), groups=3)


@cache
@torch.inference_mode(False)  # gradients may be asked of it later
def _gaussian(device: torch.device, dtype: torch.dtype) -> Tensor:
    binomial = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], dtype=dtype) / 16
    return torch.outer(binomial, binomial).expand(3, 1, 5, 5).to(device)
