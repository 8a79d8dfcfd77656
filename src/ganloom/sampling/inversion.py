"""GAN inversion by optimisation: the search for the generator's input that gives an image.

It works with any generator, with or without classes and codes. Only z is unbounded. A class or a
categorical code is a softmax of free numbers, and a continuous code the tanh of one, so that the
result is always a valid input.
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

# Weight of the distance of z from the sphere near which nearly all latents lie. Latents far from it
# match the image, but give poor samples once a code is changed.
PRIOR = 0.1
# Temperatures of the softmaxes: soft at first, to change between values, and sharp at the end,
# since a generator was trained on one-hot values.
SOFT, SHARP = 1.0, 0.1
# Least probability of the values that a start does not choose, so that they stay reachable.
FLOOR = 0.05
# Points of the curves, and the limit of PSNR, which is infinite for identical images.
POINTS = 21
PSNR_LIMIT = 100.0

Error = Callable[[Tensor], Tensor]
Watch = Callable[[int, Tensor, Tensor], None]


class Recovered(NamedTuple):
    """Result for N images.

    Attributes:
        v: (N, inputs.width) input of the generator.
        loss: (N,) loss at the end, without the prior.
        start: (N,) number of the best start.
        steps: The T steps of the curves, including the first and the last.
        psnr: (T, N) PSNR in dB for the best start.
        ms_ssim: (T, N) MS-SSIM for the best start.
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
    """Recover v of images; all starts of all images form one batch.

    Args:
        net: Generator in eval mode; its weights neither change nor get gradients.
        images: (N, 3, R, R) in [-1, 1], on the device of the generator.
        settings: Steps, starts, loss, learning rate.
        seed: Seed of the starts.
        guess: (N, inputs.width) output of a predictor, which replaces the first start.
        labels: (N,) classes; None: they are optimised as well.
        watch: Function of step, v (N * starts, width) and losses (N * starts,); its exceptions end
            the search.
    """
    layout, count, starts = net.inputs, len(images), settings.starts
    if labels is not None:
        labels = labels.repeat_interleave(starts)
    begin = inputs(layout, count * starts, seed, "invert", labels=labels).to(images.device)
    fixed = layout.parts(begin)[1] if labels is not None else None
    free = unbound(layout, begin)
    if guess is not None:
        free[::starts] = unbound(layout, guess)
    free.requires_grad_()
    targets = images.repeat_interleave(starts, dim=0)
    error = apart(settings.loss, targets)
    adam = torch.optim.Adam([free], lr=settings.lr)
    points = min(POINTS, settings.steps + 1)
    steps = [round(i * settings.steps / (points - 1)) for i in range(points)]
    curves: list[tuple[Tensor, Tensor]] = []

    for step in range(settings.steps + 1):
        done = step / settings.steps
        v = bound(layout, free, SOFT + done * (SHARP - SOFT), fixed)
        made = net(v).float()
        losses = error(made)
        if watch is not None:
            watch(step, v.detach(), losses.detach())
        if step in steps:
            curves.append(quality(made.detach(), targets))
        if step == settings.steps:
            break
        adam.param_groups[0]["lr"] = settings.lr * (1 + math.cos(math.pi * done)) / 2
        adam.zero_grad()
        total = (losses + PRIOR * off_sphere(layout, v)).sum()
        total.backward(inputs=[free])
        adam.step()

    best = losses.detach().view(count, starts).argmin(dim=1)
    rows = torch.arange(count, device=best.device) * starts + best
    measured = [torch.stack(values)[:, rows].cpu() for values in zip(*curves, strict=True)]
    return Recovered(v.detach()[rows], losses.detach()[rows].cpu(), best.cpu(), steps, *measured)


# --- valid inputs of a generator -----------------------------------------------------------------


def bound(layout: Inputs, free: Tensor, sharpness: float, fixed: Tensor | None = None) -> Tensor:
    """Map free numbers (B, width) to valid inputs of a generator.

    Args:
        layout: Layout of the input.
        free: z; logits of the condition and of each categorical code; numbers for the continuous
            codes.
        sharpness: Temperature of the softmaxes; 0.1 gives nearly one-hot values.
        fixed: (B, classes) known class; None: it is computed from ``free``.
    """
    z, condition, code = layout.parts(free)
    categorical, continuous = layout.codes(code)
    if fixed is None and layout.conditions:
        fixed = F.softmax(condition / sharpness, dim=1)
    mixed = [F.softmax(logits / sharpness, dim=1) for logits in categorical]
    return torch.cat([z, condition if fixed is None else fixed, *mixed, continuous.tanh()], dim=1)


def unbound(layout: Inputs, v: Tensor) -> Tensor:
    """Invert ``bound`` at temperature 1, approximately, so that all values stay reachable."""
    z, condition, code = layout.parts(v)
    categorical, continuous = layout.codes(code)
    logits = [values.clamp_min(FLOOR).log() for values in (condition, *categorical)]
    return torch.cat([z, *logits, continuous.clamp(FLOOR - 1, 1 - FLOOR).atanh()], dim=1)


def off_sphere(layout: Inputs, v: Tensor) -> Tensor:
    """Squared relative distance of |z| from the square root of its length: (B, width) to (B,)."""
    return (layout.parts(v)[0].norm(dim=1) / math.sqrt(layout.latent) - 1).square()


# --- image distances -----------------------------------------------------------------------------


def apart(kind: params.LIKENESS, targets: Tensor) -> Error:
    """Build a distance to the targets: (B, 3, R, R) in [-1, 1] to (B,), 0 for equal images."""
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
    return [F.normalize(level, dim=1) for level in maps(images, LITE0)]


def _unlike(seen: list[Tensor], x: Tensor) -> Tensor:
    """LPIPS distance (Zhang et al., 2018) without learned weights, on EfficientNet-Lite0."""
    pairs = zip(seen, _directions(x), strict=True)
    distances = [(a - b).square().sum(dim=1).mean(dim=(1, 2)) for a, b in pairs]
    return torch.stack(distances).mean(dim=0)


def quality(x: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Compute PSNR and MS-SSIM of each image: (B,) twice."""
    return (
        psnr(x, targets).clamp_max(PSNR_LIMIT),
        ms_ssim(_visible(x), _visible(targets)),
    )


def _visible(x: Tensor) -> Tensor:
    """Repeat the pixels of very small images until the window of SSIM fits."""
    factor = -(-WINDOW // x.shape[-1])
    return x if factor == 1 else nn.functional.interpolate(x, scale_factor=factor)
