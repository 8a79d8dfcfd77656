"""Points in latent space and paths between them."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ganloom.nets.inputs import Inputs


def latents(n: int, dim: int, seed: int, *stream: int | str) -> Tensor:
    """Draw latents from the standard normal distribution, on the CPU.

    Args:
        n: How many.
        dim: Length of each.
        seed: The seed of the project.
        *stream: What they are for; another stream gives independent draws.

    Returns:
        (n, dim) float32.
    """
    return torch.randn(n, dim, generator=_generator(seed, *stream))


def inputs(
    told: Inputs, n: int, seed: int, *stream: int | str, labels: Tensor | None = None
) -> Tensor:
    """Draw all that a generator is told, on the CPU: (n, told.width) float32.

    Args:
        told: ``net.inputs`` of a generator.
        n: How many.
        seed: The seed of the project.
        *stream: What they are for; another stream gives independent draws.
        labels: (n,) classes; drawn evenly if none.
    """
    return told.draw(n, labels, _generator(seed, *stream))


def new(told: Inputs, n: int, seed: int, label: int | None = None) -> Tensor:
    """What n new pictures are made of, wherever someone asks for them: (n, told.width) float32.

    Args:
        told: ``net.inputs`` of a generator.
        n: How many.
        seed: Same seed, same pictures; of some classes the seed's comes first.
        label: The class of all of them; each as often as another, in turn, if none.
    """
    labels = (torch.arange(n) + seed) % max(1, told.classes)
    if label is not None:
        labels = torch.full((n,), label)
    return inputs(told, n, seed, "generate", labels=labels)


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Spherical interpolation (White, 2016): the angle grows evenly, and so does the norm.

    In many dimensions nearly all of a normal distribution lies near one sphere; a straight line
    between two points leaves it, through latents that the generator never saw.

    Args:
        a: (..., D) where t = 0.
        b: (..., D) where t = 1. Opposite to a, the path leads through a fixed direction
            perpendicular to both; a zero vector has no direction and takes the other one's.
        t: (T,) in [0, 1].

    Returns:
        (T, ..., D).
    """
    norm_a, norm_b = (x.double().norm(dim=-1, keepdim=True) for x in (a, b))
    u, v = a.double() / norm_a, b.double() / norm_b
    u, v = torch.where(norm_a > 0, u, v), torch.where(norm_b > 0, v, u)
    u, v = u.nan_to_num(), v.nan_to_num()
    # Kahan's formula: unlike the arc cosine, exact for small and for nearly straight angles.
    angle = 2 * torch.atan2((u - v).norm(dim=-1, keepdim=True), (u + v).norm(dim=-1, keepdim=True))
    steps = t.double().reshape(-1, *[1] * a.dim())
    direction = torch.cos(steps * angle) * u + torch.sin(steps * angle) * _perpendicular(u, v)
    return (torch.lerp(norm_a, norm_b, steps) * direction).to(a.dtype)


def paths(v: Tensor, told: Inputs, points: int) -> Tensor:
    """Interpolations between two inputs each; class and code stay those of the first.

    Args:
        v: (2 N, told.width), N starts and N ends.
        told: ``net.inputs`` of a generator.
        points: On each path, its ends among them.

    Returns:
        (N * points, told.width), one path after the other.
    """
    z, rest = v.tensor_split([told.latent], dim=1)
    start, end = z.chunk(2)
    walked = slerp(start, end, torch.linspace(0, 1, points)).transpose(0, 1).flatten(0, 1)
    still = rest[: len(v) // 2].repeat_interleave(points, dim=0)
    return torch.cat([walked, still], dim=1)


def circle(start: Tensor, towards: Tensor, frames: int) -> Tensor:
    """Closed walks of constant norm: from each start around the origin, all steps alike.

    Args:
        start: (N, D).
        towards: (N, D), which with the start and the origin give the planes.
        frames: T.

    Returns:
        (T, N, D); the last frame is one step before the first.
    """
    radius = start.double().norm(dim=-1, keepdim=True)
    u = start / radius
    v = _perpendicular(u, torch.nn.functional.normalize(towards.double(), dim=-1))
    angle = (torch.arange(frames) * (2 * math.pi / frames)).reshape(-1, 1, 1)
    return (radius * (torch.cos(angle) * u + torch.sin(angle) * v)).to(start.dtype)


def _perpendicular(u: Tensor, v: Tensor) -> Tensor:
    """Unit vectors perpendicular to the unit vectors u, on the side of v or, if v is ±u, on any."""
    axis = torch.nn.functional.one_hot(u.abs().argmin(dim=-1), u.shape[-1]).to(u.dtype)
    towards = v - (u * v).sum(-1, keepdim=True) * u
    towards = torch.where(towards.norm(dim=-1, keepdim=True) > 1e-9, towards, axis)
    towards = towards - (u * towards).sum(-1, keepdim=True) * u
    return torch.nn.functional.normalize(towards, dim=-1)


def _generator(seed: int, *stream: int | str) -> torch.Generator:
    keys = [int.from_bytes(key.encode()) if isinstance(key, str) else key for key in stream]
    (state,) = np.random.SeedSequence([seed, *keys]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state))
