"""Objectives: who is trained, how often, on which loss.

An objective is a tuple of phases. The training loop runs those that are due, in their order, and
knows nothing else of it: another objective is another function here. Losses are functions of
logits; a phase calls D itself, because penalties need D and the images too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ganloom import params

# D as a phase sees it: (B, 3, R, R) in [-1, 1] to logits. It augments what it is given, anew each
# time.
Discriminate = Callable[[Tensor], Tensor]

# The loss to minimise, and what belongs in the history (each is averaged over a tick).
Loss = tuple[Tensor, dict[str, Tensor]]


@dataclass(frozen=True)
class Phase:
    """One update of one network.

    Attributes:
        network: The network that is updated.
        interval: Runs in every ``interval``-th step.
        loss: Takes D, real and fake images. The fakes carry gradients to the generator only when
            it is the one that is updated.
    """

    network: Literal["generator", "discriminator"]
    interval: int
    loss: Callable[[Discriminate, Tensor, Tensor], Loss]


def phases(spec: params.NonSaturating) -> tuple[Phase, ...]:
    """The phases of an objective, in the order in which they run."""
    return {"nonsaturating": nonsaturating}[spec.kind](spec)


def nonsaturating(spec: params.NonSaturating) -> tuple[Phase, ...]:
    """Cross-entropy; G maximises log D(G(z)) (Goodfellow et al., 2014, section 3).

    ``label_noise`` softens D's targets on both sides (Salimans et al., 2016, do it on one), drawn
    anew for each image; G's target stays 1.
    """

    def discriminator(D: Discriminate, real: Tensor, fake: Tensor) -> Loss:
        logits_real, logits_fake = D(real), D(fake)
        loss = F.binary_cross_entropy_with_logits(
            logits_real, 1 - noise_like(logits_real, spec.label_noise)
        ) + F.binary_cross_entropy_with_logits(
            logits_fake, noise_like(logits_fake, spec.label_noise)
        )
        return loss, {"loss_d": loss, "logits_real": logits_real, "logits_fake": logits_fake}

    def generator(D: Discriminate, real: Tensor, fake: Tensor) -> Loss:
        loss = F.softplus(-D(fake)).mean()  # -log sigmoid(logits)
        return loss, {"loss_g": loss}

    return Phase("discriminator", 1, discriminator), Phase("generator", 1, generator)


def noise_like(logits: Tensor, noise: float) -> Tensor:
    """How far targets lie from 0 or 1: uniform in [0, noise], one for each logit."""
    return noise * torch.rand_like(logits)
