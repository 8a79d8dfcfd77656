"""Generation of images from latents."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from ganloom.images.sheets import grid
from ganloom.models import to_uint8


def generate(net: nn.Module, z: Tensor, batch: int = 64) -> NDArray[np.uint8]:
    """Run a generator; its mode and device are not changed.

    Args:
        net: Network from (B, D) to (B, 3, R, R) in [-1, 1].
        z: (N, D).
        batch: Batch size.

    Returns:
        (N, R, R, 3) RGB.

    Raises:
        FloatingPointError: A pixel is NaN or infinite.
    """
    device = next(net.parameters()).device
    return np.concatenate([_pictures(net, part.to(device)) for part in z.split(batch)])


def film(net: nn.Module, path: Tensor) -> NDArray[np.uint8]:
    """Square grids of images, one for each step of a path.

    Args:
        net: Generator, as in ``generate``, whose errors are raised.
        path: (T, points, D), with a square number of points.

    Returns:
        (T, H, W, 3) RGB.
    """
    columns = math.isqrt(path.shape[1])
    steps = tqdm(path, "frames", mininterval=1, leave=False)
    return np.stack([grid(generate(net, v), columns) for v in steps])


@torch.inference_mode()
def _pictures(net: nn.Module, z: Tensor) -> NDArray[np.uint8]:
    x = net(z)
    if not x.isfinite().all():
        raise FloatingPointError("a generated pixel is NaN or infinite: the training failed")
    return to_uint8(x)
