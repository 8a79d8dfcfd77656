"""Resampling and shifting of images by matrix products.

On a GPU, the gradients of torch's interpolation and indexing are either not deterministic, or slow
because they are sorted first. Those of matrix products are deterministic and fast.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F


def bilinear(x: Tensor, side: int, align_corners: bool = False) -> Tensor:
    """Resample like torch's bilinear ``interpolate``: (B, C, S, S) to (B, C, side, side).

    On a CPU, torch's own function is used, which is faster there.
    """
    if x.device.type == "cpu":
        return F.interpolate(x, (side, side), mode="bilinear", align_corners=align_corners)
    return enlarged(x, side, align_corners)


def enlarged(x: Tensor, side: int, align_corners: bool) -> Tensor:
    """Compute ``bilinear`` by matrix products in single precision.

    Returns:
        (B, C, side, side), channels last, with the data type of ``x``.
    """
    lines = _weights(x.shape[-1], side, align_corners, x.device)
    with torch.autocast(x.device.type, enabled=False):
        resampled = lines @ x.float() @ lines.T
    return resampled.to(x.dtype, memory_format=torch.channels_last)


@cache
@torch.inference_mode(False)  # cached: it may be used with gradients later
def _weights(before: int, after: int, align_corners: bool, device: torch.device) -> Tensor:
    """Matrix of the one-dimensional resampling, (after, before)."""
    identity = torch.eye(before)[None, None]
    size = (after, before)
    columns = F.interpolate(identity, size, mode="bilinear", align_corners=align_corners)
    return columns[0, 0].to(device)


def moved(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Select rows and columns of each image; pixels outside it are 0.

    Args:
        x: (B, C, H, W).
        rows: (B, h) row numbers, or (1, h) for all images.
        columns: (B, w) column numbers, or (1, w).

    Returns:
        (B, C, h, w), channels last.
    """
    of_rows, of_columns = (
        (at.unsqueeze(2) == torch.arange(side, device=x.device)).to(x.dtype).unsqueeze(1)
        for at, side in ((rows, x.shape[2]), (columns, x.shape[3]))
    )
    return (of_rows @ x @ of_columns.mT).contiguous(memory_format=torch.channels_last)
