"""Transitions between inputs of a generator."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganloom.nets.inputs import Inputs
from ganloom.sampling.latents import slerp

FRAMES, FPS = 48, 24  # of an animation: two seconds there, two back


def between(latent: int, a: Tensor, b: Tensor, steps: int, *, spherical: bool) -> Tensor:
    """Interpolate inputs from a to b; classes and codes are always mixed linearly.

    Args:
        latent: Number of columns of z.
        a: (N, width) starts of the transitions.
        b: (N, width) ends of the transitions.
        steps: Number of points, including both ends.
        spherical: Whether z is interpolated along a circle or along a straight line.

    Returns:
        (steps, N, width).
    """
    t = torch.linspace(0, 1, steps)
    v = torch.lerp(a, b, t[:, None, None])
    if spherical:
        v[..., :latent] = slerp(a[:, :latent], b[:, :latent], t)
    return v


def of_class(layout: Inputs, v: Tensor, number: int) -> Tensor:
    """Replace the class of inputs (N, width)."""
    changed = v.clone()
    changed[:, layout.latent : layout.latent + layout.classes] = 0
    changed[:, layout.latent + number] = 1
    return changed


def there_and_back(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Append the frames (T, H, W, 3) in reverse, without the ends, for a seamless loop."""
    return np.concatenate([frames, frames[-2:0:-1]])
