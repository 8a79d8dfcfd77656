"""Ways through what a generator is told, one step a frame, each ending where it began.

Repeated without end, a path has no seam: the step from its last frame to its first is like the
others.

=======  ==================================================================================
`loop`   each latent goes round a circle of its own, at a constant norm
`walk`   over the sphere, from random latent to random latent and back to the first
`sine`   all numbers of a latent rise and fall together
`morph`  each latent stands still, and the class goes from one to the next
`sweep`  each latent stands still, and one code after the other goes through its values
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

# A walk has a new latent so many frames later, but never less than so many of them.
WALK_FRAMES, WALK_STOPS = 48, 3


class PathError(ValueError):
    """There is no such path for this generator, or not in so few frames; the message says why."""


def closed_path(kind: str, told: Inputs, points: int, frames: int, seed: int) -> Tensor:
    """Make a path of a kind.

    Args:
        kind: One of the above.
        told: ``net.inputs`` of the generator.
        points: Pictures in each frame.
        frames: T, at least two for each leg of the path.
        seed: Same seed, same path; another kind has other draws.

    Returns:
        (T, points, told.width) float32.

    Raises:
        PathError: the generator knows no class to morph or no code to sweep; too few frames.
    """
    least = 2 * legs(kind, told)
    if frames < least:
        raise PathError(f"{frames} frames are too few for this {kind}: it takes {least} or more")
    start = inputs(told, points, seed, kind)
    if kind in ("morph", "sweep"):
        return _through(_settings(kind, told, start), frames, _eased)
    z, rest = start.tensor_split([told.latent], dim=1)
    if kind == "loop":
        z = circle(z, latents(points, told.latent, seed, kind, "plane"), frames)
    elif kind == "walk":
        stops = max(WALK_STOPS, frames // WALK_FRAMES)
        others = latents((stops - 1) * points, told.latent, seed, kind, "stops")
        z = _through(torch.cat([z, others]).view(stops, points, told.latent), frames, slerp)
    else:
        # Shipibo-GAN's animation. It leaves the sphere, along the diagonal, and comes back.
        turn = torch.arange(frames, dtype=torch.double) * (2 * math.pi / frames)
        z = z + turn.sin().float()[:, None, None]
    return torch.cat([z, rest.expand(frames, -1, -1)], dim=2)


def legs(kind: str, told: Inputs) -> int:
    """How many parts a path has at least, each from one latent or setting to the next.

    Raises:
        PathError: the generator knows no class to morph, or no code to sweep.
    """
    if kind in ("morph", "sweep"):
        return len(_settings(kind, told, torch.zeros(1, told.width)))
    return WALK_STOPS if kind == "walk" else 1


def _settings(kind: str, told: Inputs, start: Tensor) -> Tensor:
    """Every class, or the values of each code, that ``start`` passes: (legs, points, width)."""
    if kind == "morph":
        if not told.classes:
            raise PathError("there are no classes to morph: the model was not told any")
        return turned(start, class_knob(told)).transpose(0, 1)
    if not told.coded:
        raise PathError("there are no codes to sweep: the model has none")
    middle = start.clone()
    middle[:, told.width - told.continuous :] = 0
    # Back in between, so that never two codes change at once.
    stops = [(middle[None], turned(middle, k).transpose(0, 1)) for k in code_knobs(told, 2)]
    return torch.cat([part for pair in stops for part in pair])


def _through(
    stops: Tensor, frames: int, between: Callable[[Tensor, Tensor, Tensor], Tensor]
) -> Tensor:
    """From each stop to the next and from the last to the first, an equal time for each leg.

    Args:
        stops: (legs, points, width).
        frames: T.
        between: From two stops and (t,) in [0, 1) to (t, points, width).
    """
    at = torch.arange(frames, dtype=torch.double) * len(stops) / frames
    parts = [
        between(a, b, at[at.floor() == leg] - leg)
        for leg, (a, b) in enumerate(zip(stops, stops.roll(-1, 0), strict=True))
    ]
    return torch.cat(parts)


def _eased(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """A straight line that starts and arrives slowly, so that the stops themselves are seen."""
    return torch.lerp(a, b, ((1 - torch.cos(math.pi * t)) / 2).float()[:, None, None])
