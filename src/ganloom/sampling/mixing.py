"""From one thing that a generator is told to another."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganloom.nets.inputs import Inputs
from ganloom.sampling.latents import slerp

FRAMES, FPS = 48, 24  # of an animation: two seconds there, two back


def between(latent: int, a: Tensor, b: Tensor, steps: int, *, spherical: bool) -> Tensor:
    """What a generator is told on the way from a to b, ends included.

    Classes and codes are mixed in proportion, whatever the path of z: a one-hot vector has no
    angle, and a way through the numbers of classes would pass those between.

    Args:
        latent: How many columns are z.
        a: (N, width) where each transition begins.
        b: (N, width) where it ends.
        steps: Points on the way, both ends among them.
        spherical: Whether z goes along a circle, rather than straight.

    Returns:
        (steps, N, width).
    """
    t = torch.linspace(0, 1, steps)
    v = torch.lerp(a, b, t[:, None, None])
    if spherical:
        v[..., :latent] = slerp(a[:, :latent], b[:, :latent], t)
    return v


def of_class(told: Inputs, v: Tensor, number: int) -> Tensor:
    """The same input (N, width) with another class."""
    changed = v.clone()
    changed[:, told.latent : told.latent + told.classes] = 0
    changed[:, told.latent + number] = 1
    return changed


def there_and_back(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Frames (T, H, W, 3) and the same in reverse, each end once: repeats without a seam."""
    return np.concatenate([frames, frames[-2:0:-1]])
