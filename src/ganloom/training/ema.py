"""The averaged generator: an exponential moving average of the weights (Yazıcı et al., 2018)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

# Upper bound of the half-life, as a share of the images shown so far: without a ramp, the random
# initial weights would stay in the average for many half-lives (Karras et al., 2020, `ema_rampup`).
RAMP_UP = 0.05


def shadow(net: nn.Module) -> nn.Module:
    """Copy ``net`` to hold the average: without gradients, in eval mode."""
    average = copy.deepcopy(net)
    for module in average.modules():
        # `calibrate` needs the plain mean over its batches. Layers that are in eval mode during
        # training keep their statistics.
        if isinstance(module, nn.BatchNorm2d) and module.training:
            module.momentum = None
    return average.eval().requires_grad_(False)


def decay(images: float, batch: int, half_life: float) -> float:
    """Weight of the old average in one step.

    Args:
        images: Number of real images shown, including this step's; infinite if the initial
            weights were not random.
        batch: Images per step.
        half_life: Half-life in images; RAMP_UP shortens it at the beginning.
    """
    return 0.5 ** (batch / min(half_life, RAMP_UP * images))


@torch.no_grad()
def update(average: nn.Module, net: nn.Module, decay: float) -> None:
    """Move the average towards the weights of ``net``; for buffers see ``calibrate``."""
    torch._foreach_lerp_(list(average.parameters()), list(net.parameters()), 1 - decay)


@torch.no_grad()
def calibrate(average: nn.Module, latents: Tensor, batch: int) -> None:
    """Compute the statistics of batch normalisation for the averaged weights.

    The running statistics of the trained network, and averages of them, belong to other weights and
    would give wrong contrasts ("standing statistics"; Brock et al., 2018). Dropout is off, as when
    images are generated.

    Args:
        average: Network from ``shadow``.
        latents: (N, inputs.width), the same at each call.
        batch: Batch size.
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
