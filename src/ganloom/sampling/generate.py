"""From latents to pictures."""

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
    """Run a generator, in the mode that it is in, on the device that it is on.

    Args:
        net: (B, D) to (B, 3, R, R) in [-1, 1].
        z: (N, D).
        batch: Latents at a time.

    Returns:
        (N, R, R, 3) RGB.

    Raises:
        FloatingPointError: the generator made NaN or infinite pixels.
    """
    device = next(net.parameters()).device
    return np.concatenate([_pictures(net, part.to(device)) for part in z.split(batch)])


def film(net: nn.Module, path: Tensor) -> NDArray[np.uint8]:
    """Square grids of pictures, one for each step of a path.

    Args:
        net: As in ``generate``, whose errors it raises.
        path: (T, points, D), points a square number.

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
        raise FloatingPointError("the generator makes NaN or infinite pixels: its training failed")
    return to_uint8(x)
