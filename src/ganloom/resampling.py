"""Images enlarged and moved by products of matrices.

On a GPU the gradients of torch's interpolation and of indexing add up in any order, or are sorted
first, to be the same bits each time; those of a product are the same, and fast.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F


def bilinear(x: Tensor, side: int, align_corners: bool = False) -> Tensor:
    """(B, C, S, S) to (B, C, side, side), as torch's ``interpolate`` without antialiasing has it.

    On a CPU it is torch's, which is faster there.
    """
    if x.device.type == "cpu":
        return F.interpolate(x, (side, side), mode="bilinear", align_corners=align_corners)
    return enlarged(x, side, align_corners)


def enlarged(x: Tensor, side: int, align_corners: bool) -> Tensor:
    """``bilinear`` by products, in single precision as torch's is: channels last, the type of x."""
    lines = _weights(x.shape[-1], side, align_corners, x.device)
    with torch.autocast(x.device.type, enabled=False):
        found = lines @ x.float() @ lines.T
    return found.to(x.dtype, memory_format=torch.channels_last)


@cache
@torch.inference_mode(False)  # gradients may be asked of it later
def _weights(before: int, after: int, align_corners: bool, device: torch.device) -> Tensor:
    """What each pixel of a line counts in each one of the line to come: (after, before)."""
    identity = torch.eye(before)[None, None]
    size = (after, before)
    columns = F.interpolate(identity, size, mode="bilinear", align_corners=align_corners)
    return columns[0, 0].to(device)


def moved(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The pixels at these rows and columns of each image; outside it they are 0.

    Args:
        x: (B, C, H, W).
        rows: (B, h) numbers of rows, or (1, h) for all images.
        columns: (B, w) or (1, w).

    Returns:
        (B, C, h, w), channels last.
    """
    of_rows, of_columns = (
        (at.unsqueeze(2) == torch.arange(side, device=x.device)).to(x.dtype).unsqueeze(1)
        for at, side in ((rows, x.shape[2]), (columns, x.shape[3]))
    )
    return (of_rows @ x @ of_columns.mT).contiguous(memory_format=torch.channels_last)
