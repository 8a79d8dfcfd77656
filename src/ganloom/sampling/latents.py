"""Points in latent space, and paths between them."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ganloom.nets.inputs import Inputs


def latents(n: int, dim: int, seed: int, *stream: int | str) -> Tensor:
    """Draw latents from the standard normal distribution, on the CPU.

    Args:
        n: Number of latents.
        dim: Length of a latent.
        seed: Seed of the project.
        *stream: Purpose of the draws; another stream gives independent draws.

    Returns:
        (n, dim) float32.
    """
    return torch.randn(n, dim, generator=_generator(seed, *stream))


def inputs(
    layout: Inputs, n: int, seed: int, *stream: int | str, labels: Tensor | None = None
) -> Tensor:
    """Draw inputs of a generator, on the CPU: (n, layout.width) float32.

    Args:
        layout: ``net.inputs`` of a generator.
        n: Number of inputs.
        seed: Seed of the project.
        *stream: Purpose of the draws; another stream gives independent draws.
        labels: (n,) classes; drawn uniformly if not given.
    """
    return layout.draw(n, labels, _generator(seed, *stream))


def new(layout: Inputs, n: int, seed: int, label: int | None = None) -> Tensor:
    """Inputs for new images, the same in the command line and the studio: (n, layout.width).

    Args:
        layout: ``net.inputs`` of a generator.
        n: Number of images.
        seed: Seed of the images; it also chooses the first class.
        label: Class of all images; by default all classes in turn.
    """
    labels = (torch.arange(n) + seed) % layout.classes if layout.classes else None
    if label is not None:
        labels = torch.full((n,), label)
    return inputs(layout, n, seed, "generate", labels=labels)


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Spherical interpolation (White, 2016), with a linear norm.

    In high dimensions nearly all of a normal distribution lies close to a sphere. A straight line
    leaves it, through latents that the generator was not trained on.

    Args:
        a: (..., D), the value at t = 0.
        b: (..., D), the value at t = 1. If it is opposite to a, the path goes through a fixed
            direction perpendicular to both; a zero vector takes the direction of the other one.
        t: (T,) in [0, 1].

    Returns:
        (T, ..., D).
    """
    norm_a, norm_b = (x.double().norm(dim=-1, keepdim=True) for x in (a, b))
    u, v = a.double() / norm_a, b.double() / norm_b
    u, v = torch.where(norm_a > 0, u, v), torch.where(norm_b > 0, v, u)
    u, v = u.nan_to_num(), v.nan_to_num()
    # Kahan's formula, which is exact for angles near 0 and 180 degrees, unlike the arc cosine.
    angle = 2 * torch.atan2((u - v).norm(dim=-1, keepdim=True), (u + v).norm(dim=-1, keepdim=True))
    steps = t.double().reshape(-1, *[1] * a.dim())
    direction = torch.cos(steps * angle) * u + torch.sin(steps * angle) * _perpendicular(u, v)
    return (torch.lerp(norm_a, norm_b, steps) * direction).to(a.dtype)


def paths(v: Tensor, layout: Inputs, points: int) -> Tensor:
    """Interpolations of z and pictures between pairs of inputs, with class and code of the first.

    Args:
        v: (2 N, layout.width), N starts and N ends.
        layout: ``net.inputs`` of a generator.
        points: Points on a path, including its ends.

    Returns:
        (N * points, layout.width), path by path.
    """
    start, end = v.chunk(2)
    return walk(start, end, layout, torch.linspace(0, 1, points)).transpose(0, 1).flatten(0, 1)


def walk(a: Tensor, b: Tensor, layout: Inputs, t: Tensor) -> Tensor:
    """Interpolate z and pictures from a to b; class and code stay those of a.

    Args:
        a: (N, layout.width).
        b: (N, layout.width).
        layout: ``net.inputs`` of a generator.
        t: (T,) in [0, 1].

    Returns:
        (T, N, layout.width).
    """
    z = slerp(a[:, : layout.latent], b[:, : layout.latent], t)
    rest = a[:, layout.latent :].expand(len(t), -1, -1).clone()
    pictures = slice(layout.latent, layout.latent + layout.pictures)
    rest[..., : layout.pictures] = torch.lerp(a[:, pictures], b[:, pictures], t[:, None, None])
    return torch.cat([z, rest], dim=2)


def circle(start: Tensor, towards: Tensor, frames: int) -> Tensor:
    """Circles around the origin, in T equal steps.

    Args:
        start: (N, D).
        towards: (N, D), points that define the planes, with the starts and the origin.
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
