"""Laplacian pyramid (Burt and Adelson, 1983)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import conv1d, pad

COARSEST = 16


def pyramid(x: Tensor) -> Iterator[Tensor]:
    """Yield the levels of (B, 3, R, R), finest first: (B, 3, R, R), (B, 3, R / 2, R / 2), ...

    Each level is the difference between the image at its scale and the upsampled image at the next
    one. The last level is the image at the coarsest scale, which has at least 16 px; odd sides are
    not halved.
    """
    while x.shape[-1] % 2 == 0 and x.shape[-1] // 2 >= COARSEST:
        blur = _blur(x.shape[-1], x.device, x.dtype)
        smaller, larger = blur[::2], 2 * blur[:, ::2]
        low = smaller @ x @ smaller.T
        yield x - larger @ low @ larger.T
        x = low
    yield x


@cache
@torch.inference_mode(False)  # cached: it may be used with gradients later
def _blur(side: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The one-dimensional binomial filter with reflected borders as a matrix, (side, side).

    Gradients of matrix products are deterministic on GPUs as well.
    """
    binomial = torch.tensor([[[1.0, 4.0, 6.0, 4.0, 1.0]]], dtype=dtype) / 16
    lines = pad(torch.eye(side, dtype=dtype)[:, None], (2, 2), mode="reflect")
    return conv1d(lines, binomial)[:, 0].T.contiguous().to(device)
