"""From one thing that a generator is told to another."""

from __future__ import annotations

import torch
from torch import Tensor

from ganloom.sampling.latents import slerp


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
