"""Laplacian pyramid (Burt and Adelson, 1983): what images show at each scale."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import conv1d, pad

COARSEST = 16


def pyramid(x: Tensor) -> Iterator[Tensor]:
    """The levels of (B, 3, R, R), finest first: (B, 3, R, R), (B, 3, R / 2, R / 2), ...

    Each but the last is what the next one, enlarged, lacks; the last is the image at the coarsest
    scale, of 16 px or the last side before a smaller or an odd one.
    """
    while x.shape[-1] % 2 == 0 and x.shape[-1] // 2 >= COARSEST:
        blur = _blur(x.shape[-1], x.device, x.dtype)
        smaller, larger = blur[::2], 2 * blur[:, ::2]
        low = smaller @ x @ smaller.T
        yield x - larger @ low @ larger.T
        x = low
    yield x


@cache
@torch.inference_mode(False)  # gradients may be asked of it later
def _blur(side: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The binomial filter on a line, reflected at its ends, as a matrix: (side, side).

    As products of matrices, gradients are the same bits each time, on GPUs too.
    """
    binomial = torch.tensor([[[1.0, 4.0, 6.0, 4.0, 1.0]]], dtype=dtype) / 16
    lines = pad(torch.eye(side, dtype=dtype)[:, None], (2, 2), mode="reflect")
    return conv1d(lines, binomial)[:, 0].T.contiguous().to(device)
