"""The averaged generator: an exponential moving average of the weights (Yazıcı et al., 2018)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

# Half-life as a share of the images seen so far, while that is less than the one asked for: without
# a ramp, the random initial weights would stay in the average for many half-lives (Karras et al.,
# 2020, `ema_rampup`).
RAMP_UP = 0.05


def shadow(net: nn.Module) -> nn.Module:
    """A copy of ``net`` to hold the average: without gradients, in eval mode."""
    average = copy.deepcopy(net)
    for module in average.modules():
        # `calibrate` wants the plain mean over its batches. What is in eval mode in training, too,
        # keeps the statistics that it has.
        if isinstance(module, nn.BatchNorm2d) and module.training:
            module.momentum = None
    return average.eval().requires_grad_(False)


def decay(images: float, batch: int, half_life: float) -> float:
    """Weight of the old average in one step.

    Args:
        images: Real images shown, this step's included; infinite where the first weights were no
            random ones.
        batch: Images per step.
        half_life: In images; RAMP_UP shortens it at the beginning.
    """
    return 0.5 ** (batch / min(half_life, RAMP_UP * images))


@torch.no_grad()
def update(average: nn.Module, net: nn.Module, decay: float) -> None:
    """Move the average towards the weights of ``net``, leaving buffers alone (see calibrate)."""
    torch._foreach_lerp_(list(average.parameters()), list(net.parameters()), 1 - decay)


@torch.no_grad()
def calibrate(average: nn.Module, latents: Tensor, batch: int) -> None:
    """Measure the statistics of batch normalisation under the averaged weights.

    The running statistics of the trained network belong to other weights, and a mean of them does
    too; the average would get wrong contrasts. "Standing statistics" of Brock et al. (2018).
    Dropout stays off, as when images are generated.

    Args:
        average: From ``shadow``.
        latents: (N, latent), always the same ones.
        batch: How many of them go through at once.
    """
    norms = [
        module
        for module in average.modules()
        if isinstance(module, nn.BatchNorm2d) and module.momentum is None
    ]
    if not norms:
        return
    for module in norms:
        module.reset_running_stats()
        module.train()
    for part in latents.split(batch):
        average(part)
    average.eval()
