"""Closed paths through the generator's input, one step per frame.

A path is periodic: the step from its last frame to its first is no larger than the others.

=======  ==================================================================================
`loop`   each latent moves on its own circle, at a constant norm
`walk`   over the sphere, from random latent to random latent and back to the first
`sine`   all numbers of a latent rise and fall together
`morph`  the latents are fixed, and the class changes from one to the next
`sweep`  the latents are fixed, and one code after the other takes its values
=======  ==================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ganloom.nets.inputs import Inputs
from ganloom.sampling.conditional import class_knob, code_knobs, turned
from ganloom.sampling.latents import circle, inputs, latents, slerp

# Number of frames between the latents of a walk, and least number of latents.
WALK_FRAMES, WALK_STOPS = 48, 3


class PathError(ValueError):
    """The generator has no such path, or there are too few frames; the message gives the reason."""


def closed_path(kind: str, layout: Inputs, points: int, frames: int, seed: int) -> Tensor:
    """Compute a path.

    Args:
        kind: Kind of path, see above.
        layout: Layout of the generator's input.
        points: Number of images in each frame.
        frames: Number of frames T, at least two for each leg of the path.
        seed: Seed of the path; each kind has its own stream.

    Returns:
        (T, points, layout.width) float32.

    Raises:
        PathError: The generator has no classes to morph or no codes to sweep, or there are too few
            frames.
    """
    least = 2 * legs(kind, layout)
    if frames < least:
        raise PathError(f"{frames} frames are too few for this {kind}: it takes {least} or more")
    start = inputs(layout, points, seed, kind)
    if kind in ("morph", "sweep"):
        return _through(_settings(kind, layout, start), frames, _eased)
    z, rest = start.tensor_split([layout.latent], dim=1)
    if kind == "loop":
        z = circle(z, latents(points, layout.latent, seed, kind, "plane"), frames)
    elif kind == "walk":
        stops = max(WALK_STOPS, frames // WALK_FRAMES)
        others = latents((stops - 1) * points, layout.latent, seed, kind, "stops")
        z = _through(torch.cat([z, others]).view(stops, points, layout.latent), frames, slerp)
    else:
        # Shipibo-GAN's animation: it leaves the sphere along the diagonal and returns.
        turn = torch.arange(frames, dtype=torch.double) * (2 * math.pi / frames)
        z = z + turn.sin().float()[:, None, None]
    return torch.cat([z, rest.expand(frames, -1, -1)], dim=2)


def legs(kind: str, layout: Inputs) -> int:
    """Return the least number of legs of a path, each from one latent or setting to the next.

    Raises:
        PathError: The generator has no classes to morph, or no codes to sweep.
    """
    if kind in ("morph", "sweep"):
        return len(_settings(kind, layout, torch.zeros(1, layout.width)))
    return WALK_STOPS if kind == "walk" else 1


def _settings(kind: str, layout: Inputs, start: Tensor) -> Tensor:
    """Vary ``start`` over all classes, or the values of each code: (legs, points, width)."""
    if kind == "morph":
        if not layout.classes:
            raise PathError("there are no classes to morph: the model was not layout any")
        return turned(start, class_knob(layout)).transpose(0, 1)
    if not layout.coded:
        raise PathError("there are no codes to sweep: the model has none")
    middle = start.clone()
    middle[:, layout.width - layout.continuous :] = 0
    # Return to the middle in between, so that two codes never change at once.
    stops = [(middle[None], turned(middle, k).transpose(0, 1)) for k in code_knobs(layout, 2)]
    return torch.cat([part for pair in stops for part in pair])


def _through(
    stops: Tensor, frames: int, between: Callable[[Tensor, Tensor, Tensor], Tensor]
) -> Tensor:
    """Interpolate from each stop to the next and back to the first, with equal times.

    Args:
        stops: (legs, points, width).
        frames: Number of frames T.
        between: Function from two stops and (t,) in [0, 1) to (t, points, width).
    """
    at = torch.arange(frames, dtype=torch.double) * len(stops) / frames
    parts = [
        between(a, b, at[at.floor() == leg] - leg)
        for leg, (a, b) in enumerate(zip(stops, stops.roll(-1, 0), strict=True))
    ]
    return torch.cat(parts)


def _eased(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Interpolate linearly with ease-in and ease-out, so that the stops stay visible."""
    return torch.lerp(a, b, ((1 - torch.cos(math.pi * t)) / 2).float()[:, None, None])
