"""Finding what a generator must be told to make a given picture, by optimisation.

Every generator can be asked, whether or not it knows classes or codes: only z is free to go
anywhere. A class or a categorical code is a softmax of free numbers and a continuous code the tanh
of one, so that what is found is always something that a generator can be told.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganloom import params
from ganloom.features import LITE0, maps
from ganloom.models import Generator
from ganloom.nets.inputs import Inputs
from ganloom.sampling.latents import inputs
from ganloom.similarity import WINDOW, ms_ssim, psnr, ssim

# Weight of z's distance from the sphere near which nearly all latents lie. Off it, pictures are
# matched by latents that generate nothing sensible once a code is changed.
PRIOR = 0.1
# Softmaxes begin soft, to move between values, and end sharp: a generator was only ever told one.
SOFT, SHARP = 1.0, 0.1
# Where a start prefers a value, the others are not out of reach.
FLOOR = 0.05
# Points of the curves, and where they are cut: identical pictures have no finite PSNR.
POINTS = 21
PSNR_LIMIT = 100.0

Error = Callable[[Tensor], Tensor]
Watch = Callable[[int, Tensor, Tensor], None]


class Recovered(NamedTuple):
    """What was found for each of N pictures.

    Attributes:
        v: (N, inputs.width).
        loss: (N,) how far apart the pictures are in the end, without the prior.
        start: (N,) which start won.
        steps: The T steps after which it was looked, first and last among them.
        psnr: (T, N) in dB, of the start that won.
        ms_ssim: (T, N), of the same.
    """

    v: Tensor
    loss: Tensor
    start: Tensor
    steps: list[int]
    psnr: Tensor
    ms_ssim: Tensor


def invert(
    net: Generator,
    images: Tensor,
    settings: params.Invert,
    seed: int,
    *,
    guess: Tensor | None = None,
    labels: Tensor | None = None,
    watch: Watch | None = None,
) -> Recovered:
    """Recover v for pictures; all starts of all pictures go together, as one batch.

    Args:
        net: In eval mode; its weights stay as they are and get no gradients.
        images: (N, 3, R, R) in [-1, 1], on its device.
        settings: Steps, starts, loss, learning rate.
        seed: Of the starts.
        guess: (N, inputs.width) of a predictor: takes the place of the first start.
        labels: (N,) classes, where they are known; found like everything else if none.
        watch: Told each step's number, v (N * starts, width) and losses (N * starts,); what it
            raises ends the search.
    """
    told, count, starts = net.inputs, len(images), settings.starts
    if labels is not None:
        labels = labels.repeat_interleave(starts)
    begin = inputs(told, count * starts, seed, "invert", labels=labels).to(images.device)
    fixed = told.parts(begin)[1] if labels is not None else None
    free = unbound(told, begin)
    if guess is not None:
        free[::starts] = unbound(told, guess)
    free.requires_grad_()
    targets = images.repeat_interleave(starts, dim=0)
    error = apart(settings.loss, targets)
    adam = torch.optim.Adam([free], lr=settings.lr)
    points = min(POINTS, settings.steps + 1)
    looks = [round(i * settings.steps / (points - 1)) for i in range(points)]
    curves: list[tuple[Tensor, Tensor]] = []

    for step in range(settings.steps + 1):
        done = step / settings.steps
        v = bound(told, free, SOFT + done * (SHARP - SOFT), fixed)
        made = net(v).float()
        losses = error(made)
        if watch is not None:
            watch(step, v.detach(), losses.detach())
        if step in looks:
            curves.append(quality(made.detach(), targets))
        if step == settings.steps:
            break
        adam.param_groups[0]["lr"] = settings.lr * (1 + math.cos(math.pi * done)) / 2
        adam.zero_grad()
        total = (losses + PRIOR * off_sphere(told, v)).sum()
        total.backward(inputs=[free])
        adam.step()

    best = losses.detach().view(count, starts).argmin(dim=1)
    rows = torch.arange(count, device=best.device) * starts + best
    found = [torch.stack(values)[:, rows].cpu() for values in zip(*curves, strict=True)]
    return Recovered(v.detach()[rows], losses.detach()[rows].cpu(), best.cpu(), looks, *found)


# --- what a generator may be told ----------------------------------------------------------------


def bound(told: Inputs, free: Tensor, sharpness: float, fixed: Tensor | None = None) -> Tensor:
    """Free numbers (B, width) to what a generator may be told.

    Args:
        told: The columns.
        free: z; logits of the class and of each categorical code; numbers for the continuous ones.
        sharpness: Temperature of the softmaxes; 0.1: nearly one value.
        fixed: (B, classes) a class that is not to be found, but is known.
    """
    z, condition, code = told.parts(free)
    categorical, continuous = told.codes(code)
    if fixed is None and told.classes:
        fixed = F.softmax(condition / sharpness, dim=1)
    mixed = [F.softmax(logits / sharpness, dim=1) for logits in categorical]
    return torch.cat([z, condition if fixed is None else fixed, *mixed, continuous.tanh()], dim=1)


def unbound(told: Inputs, v: Tensor) -> Tensor:
    """Free numbers that are bound to nearly ``v`` at sharpness 1: nothing is out of reach."""
    z, condition, code = told.parts(v)
    categorical, continuous = told.codes(code)
    logits = [values.clamp_min(FLOOR).log() for values in (condition, *categorical)]
    return torch.cat([z, *logits, continuous.clamp(FLOOR - 1, 1 - FLOOR).atanh()], dim=1)


def off_sphere(told: Inputs, v: Tensor) -> Tensor:
    """How far |z| is from the square root of its length, of each: (B, width) to (B,)."""
    return (told.parts(v)[0].norm(dim=1) / math.sqrt(told.latent) - 1).square()


# --- how far apart pictures are ------------------------------------------------------------------


def apart(kind: params.LIKENESS, targets: Tensor) -> Error:
    """How far pictures are from these, of each: (B, 3, R, R) in [-1, 1] to (B,), 0 where equal."""
    match kind:
        case "mse":
            return lambda x: (x - targets).square().flatten(1).mean(dim=1)
        case "ssim":
            return lambda x: 1 - ssim(_visible(x), _visible(targets))
        case "ms_ssim":
            return lambda x: 1 - ms_ssim(_visible(x), _visible(targets))
        case "features":
            with torch.no_grad():
                seen = _directions(targets)
            return partial(_unlike, seen)


def _directions(images: Tensor) -> list[Tensor]:
    return [F.normalize(found, dim=1) for found in maps(images, LITE0)]


def _unlike(seen: list[Tensor], x: Tensor) -> Tensor:
    """As in LPIPS (Zhang et al., 2018), without its learned weights; of EfficientNet-Lite0."""
    pairs = zip(seen, _directions(x), strict=True)
    distances = [(a - b).square().sum(dim=1).mean(dim=(1, 2)) for a, b in pairs]
    return torch.stack(distances).mean(dim=0)


def quality(x: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """PSNR and MS-SSIM of each: (B,) twice."""
    return (
        psnr(x, targets).clamp_max(PSNR_LIMIT),
        ms_ssim(_visible(x), _visible(targets)),
    )


def _visible(x: Tensor) -> Tensor:
    """The smallest pictures enlarged, pixel by pixel, until the window of SSIM fits in."""
    factor = -(-WINDOW // x.shape[-1])
    return x if factor == 1 else nn.functional.interpolate(x, scale_factor=factor)
