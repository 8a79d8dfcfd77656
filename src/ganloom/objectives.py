"""Objectives: who is trained, how often, on which loss.

An objective is a tuple of phases. The training loop runs those that are due, in their order, and
knows nothing else of it: another objective is another function here. Losses are functions of
verdicts; a phase calls D itself, because penalties need D and the images too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganloom import matching, params
from ganloom.nets.blocks import Verdict
from ganloom.nets.inputs import Inputs
from ganloom.similarity import ms_ssim


class Batch(NamedTuple):
    """Real or fake images.

    Attributes:
        images: (B, 3, R, R) in [-1, 1].
        condition: (B, classes) one-hot; None where the model knows no classes.
        v: (B, inputs.width) what the generator was told; None of real images.
    """

    images: Tensor
    condition: Tensor | None = None
    v: Tensor | None = None


# D as a phase sees it: images and their classes to a verdict. It augments what it is given, anew
# each time.
Discriminate = Callable[[Tensor, Tensor | None], Verdict]

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
        after: What is done to the network after the update.
    """

    network: Literal["generator", "discriminator"]
    interval: int
    loss: Callable[[Discriminate, Batch, Batch], Loss]
    after: Callable[[nn.Module], None] = lambda network: None


@dataclass(frozen=True)
class Objective:
    """What a model is trained on.

    Attributes:
        phases: In the order in which they run.
        memory: Numbers that the phases keep from step to step, for a checkpoint.
    """

    phases: tuple[Phase, ...]
    memory: dict[str, Tensor] = field(default_factory=dict)


def objective(model: params.Model, inputs: Inputs, device: torch.device) -> Objective:
    """The phases of a model: its objective, its code's recovery, its penalties."""
    spec = model.objective
    memory: dict[str, Tensor] = {}
    match spec:
        case params.NonSaturating():
            phases = nonsaturating(spec)
        case params.Hinge():
            phases = hinge()
        case params.Wasserstein():
            phases = wasserstein(spec)
        case params.Relativistic():
            phases = relativistic()
        case params.Began():
            memory["k"] = torch.zeros((), device=device)
            phases = began(spec, memory["k"])
    if model.code:
        phases = tuple(informed(phase, model.code, inputs) for phase in phases)
    if model.penalties:
        phases = penalised(phases, model.penalties)
        phases = tuple(clipped(phase, model.penalties.clip) for phase in phases)
    if model.feature_matching:
        memory |= matching.feature_memory(device)
        phases = tuple(feature_matched(phase, model.feature_matching, memory) for phase in phases)
    if model.patch_matching:
        memory |= matching.patch_memory(model.resolution, device)
        phases = tuple(patch_matched(phase, model.patch_matching, memory) for phase in phases)
    return Objective(phases, memory)


def nonsaturating(spec: params.NonSaturating) -> tuple[Phase, ...]:
    """Cross-entropy; G maximises log D(G(z)) (Goodfellow et al., 2014, section 3).

    ``label_noise`` softens D's targets on both sides (Salimans et al., 2016, do it on one), drawn
    anew for each image; G's target stays 1.
    """

    def discriminator(D: Discriminate, real: Batch, fake: Batch) -> Loss:
        logits_real, logits_fake = _logits(D, real), _logits(D, fake)
        loss = F.binary_cross_entropy_with_logits(
            logits_real, 1 - noise_like(logits_real, spec.label_noise)
        ) + F.binary_cross_entropy_with_logits(
            logits_fake, noise_like(logits_fake, spec.label_noise)
        )
        return loss, _noted(loss, logits_real, logits_fake)

    def generator(D: Discriminate, real: Batch, fake: Batch) -> Loss:
        loss = F.softplus(-_logits(D, fake)).mean()  # -log sigmoid(logits)
        return loss, {"loss_g": loss}

    return Phase("discriminator", 1, discriminator), Phase("generator", 1, generator)


def hinge() -> tuple[Phase, ...]:
    """Hinge loss (Lim and Ye, 2017, 1705.02894), the mean over D's networks if it has several."""

    def discriminator(D: Discriminate, real: Batch, fake: Batch) -> Loss:
        logits_real, logits_fake = _logits(D, real), _logits(D, fake)
        loss = F.relu(1 - logits_real).mean() + F.relu(1 + logits_fake).mean()
        return loss, _noted(loss, logits_real, logits_fake)

    def generator(D: Discriminate, real: Batch, fake: Batch) -> Loss:
        loss = -_logits(D, fake).mean()
        return loss, {"loss_g": loss}

    return Phase("discriminator", 1, discriminator), Phase("generator", 1, generator)


def wasserstein(spec: params.Wasserstein) -> tuple[Phase, ...]:
    """The critic's difference of means (Arjovsky et al., 2017, arXiv:1701.07875)."""

    def critic(D: Discriminate, real: Batch, fake: Batch) -> Loss:
        logits_real, logits_fake = _logits(D, real), _logits(D, fake)
        loss = logits_fake.mean() - logits_real.mean()
        return loss, _noted(loss, logits_real, logits_fake)

    def generator(D: Discriminate, real: Batch, fake: Batch) -> Loss:
        loss = -_logits(D, fake).mean()
        return loss, {"loss_g": loss}

    return Phase("discriminator", 1, critic), Phase("generator", spec.critic_steps, generator)


def relativistic() -> tuple[Phase, ...]:
    """Each fake beside a real image (Jolicoeur-Martineau, 2019; Huang et al., 2024)."""

    def discriminator(D: Discriminate, real: Batch, fake: Batch) -> Loss:
        logits_real, logits_fake = _logits(D, real), _logits(D, fake)
        loss = F.softplus(logits_fake - logits_real).mean()
        return loss, _noted(loss, logits_real, logits_fake)

    def generator(D: Discriminate, real: Batch, fake: Batch) -> Loss:
        loss = F.softplus(_logits(D, real) - _logits(D, fake)).mean()
        return loss, {"loss_g": loss}

    return Phase("discriminator", 1, discriminator), Phase("generator", 1, generator)


def began(spec: params.Began, k: Tensor) -> tuple[Phase, ...]:
    """D reproduces real images well and fakes badly, k balances it (Berthelot et al., 2017).

    Args:
        spec: The error, and gamma and lambda_k of the paper's equations 6 and 7.
        k: () the balance, updated in place by D's phase.
    """

    def error(D: Discriminate, batch: Batch) -> Tensor:
        # An autoencoder has to reproduce what it was shown, augmented or noisy as that is; here it
        # is given the images as they are (params refuse augmentation with this objective).
        verdict = D(batch.images, None)
        assert verdict.reproduced is not None
        return reconstruction(verdict.reproduced, batch.images, spec.reconstruction)

    def discriminator(D: Discriminate, real: Batch, fake: Batch) -> Loss:
        error_real, error_fake = error(D, real), error(D, fake)
        loss = error_real - k.clone() * error_fake
        balance = (spec.gamma * error_real - error_fake).detach()
        k.add_(spec.lambda_k * balance).clamp_(0, 1)
        convergence = error_real.detach() + balance.abs()
        return loss, {
            "loss_d": loss,
            "error_real": error_real,
            "error_fake": error_fake,
            "k": k.clone(),
            "convergence": convergence,
        }

    def generator(D: Discriminate, real: Batch, fake: Batch) -> Loss:
        loss = error(D, fake)
        return loss, {"loss_g": loss}

    return Phase("discriminator", 1, discriminator), Phase("generator", 1, generator)


def reconstruction(x: Tensor, y: Tensor, kind: Literal["l1", "mse", "ms_ssim"]) -> Tensor:
    """How far x is from y, both (B, 3, R, R) in [-1, 1]: ()."""
    match kind:
        case "l1":
            return F.l1_loss(x, y)
        case "mse":
            return F.mse_loss(x, y)
        case "ms_ssim":
            return 1 - ms_ssim(x, y).mean()


# --- codes ---------------------------------------------------------------------------------------


def informed(phase: Phase, code: params.Code, inputs: Inputs) -> Phase:
    """The phase, in which D also recovers from a fake what G was told (Chen et al., 2016).

    D learns to find it, G to show it: both lower the same error, an upper bound of the information
    that is lost.
    """

    def loss(D: Discriminate, real: Batch, fake: Batch) -> Loss:
        seen: list[Verdict] = []

        def watched(images: Tensor, condition: Tensor | None) -> Verdict:
            verdict = D(images, condition)
            if images is fake.images:
                seen.append(verdict)
            return verdict

        value, noted = phase.loss(watched, real, fake)
        assert fake.v is not None
        assert seen[0].recovered is not None
        lost = information(seen[0].recovered, fake.v, code, inputs)
        noted = noted | ({"loss_code": lost} if phase.network == "generator" else {})
        return value + lost, noted

    return Phase(phase.network, phase.interval, loss, phase.after)


def information(recovered: Tensor, v: Tensor, code: params.Code, inputs: Inputs) -> Tensor:
    """The weighted errors of what D recovered: ().

    Args:
        recovered: (B, coded [+ latent]): logits of the categorical codes, then the continuous
            codes, then z where it has a weight.
        v: (B, inputs.width) what the generator was told.
        code: The weights.
        inputs: The columns of v.
    """
    z, _, told = inputs.parts(v)
    categorical, continuous = inputs.codes(told)
    logits, found = inputs.codes(recovered[:, : inputs.coded])
    loss = recovered.new_zeros(())
    for guess, truth in zip(logits, categorical, strict=True):
        loss = loss + code.weight * F.cross_entropy(guess, truth)
    if inputs.continuous:
        loss = loss + code.weight_continuous * F.mse_loss(found, continuous)
    if code.weight_latent:
        loss = loss + code.weight_latent * F.mse_loss(recovered[:, inputs.coded :], z)
    return loss


# --- matching ------------------------------------------------------------------------------------


def feature_matched(phase: Phase, spec: params.FeatureMatching, memory: dict[str, Tensor]) -> Phase:
    """The phase, in which G also draws the mean of a frozen network's features to the real ones'.

    Args:
        phase: Of the objective; D's stays as it is.
        spec: The weight of the squared distance, in units of the real features' variance.
        memory: Of ``matching.feature_memory``.
    """

    def pull(fake: Tensor) -> Loss:
        loss, gap = matching.feature_pull(fake[: spec.images], memory)
        return spec.weight * loss, {"feature_gap": gap}

    return _pulled(phase, pull)


def patch_matched(phase: Phase, spec: params.PatchMatching, memory: dict[str, Tensor]) -> Phase:
    """The phase, in which G also draws the distribution of its patches to that of real ones.

    Args:
        phase: Of the objective; D's stays as it is.
        spec: The weight of the distance.
        memory: Of ``matching.patch_memory``.
    """

    def pull(fake: Tensor) -> Loss:
        gap = matching.patch_gap(fake, memory)
        return spec.weight * gap, {"patch_gap": gap}

    return _pulled(phase, pull)


def _pulled(phase: Phase, pull: Callable[[Tensor], Loss]) -> Phase:
    """The phase, in which G's loss has another part, of its images alone."""

    def loss(D: Discriminate, real: Batch, fake: Batch) -> Loss:
        value, noted = phase.loss(D, real, fake)
        more, known = pull(fake.images)
        return value + more, noted | known

    if phase.network == "discriminator":
        return phase
    return Phase(phase.network, phase.interval, loss, phase.after)


# --- penalties -----------------------------------------------------------------------------------


def penalised(phases: tuple[Phase, ...], spec: params.Penalties) -> tuple[Phase, ...]:
    """The phases, and what D's gradients are held to.

    In every step it is a part of D's loss, of the same passes of D. Lazily (Karras et al., 2020) it
    is a phase of its own, every ``interval`` steps and as many times heavier.
    """
    if not (spec.gradient or spec.r1 or spec.r2):
        return phases

    def lazy(D: Discriminate, real: Batch, fake: Batch) -> Loss:
        total, noted = penalty(spec, D, real, fake)
        return spec.interval * total, noted

    if spec.interval > 1:
        return (*phases, Phase("discriminator", spec.interval, lazy))

    def joined(phase: Phase) -> Phase:
        def loss(D: Discriminate, real: Batch, fake: Batch) -> Loss:
            verdicts: dict[Tensor, Verdict] = {}

            def once(images: Tensor, condition: Tensor | None) -> Verdict:
                if images not in verdicts:
                    verdicts[images] = D(images, condition)
                return verdicts[images]

            real, fake = (
                batch._replace(images=batch.images.detach().requires_grad_())
                for batch in (real, fake)
            )
            value, noted = phase.loss(once, real, fake)
            total, more = penalty(spec, once, real, fake)
            return value + total, noted | more

        return Phase(phase.network, phase.interval, loss, phase.after)

    return tuple(joined(phase) if phase.network == "discriminator" else phase for phase in phases)


def penalty(spec: params.Penalties, D: Discriminate, real: Batch, fake: Batch) -> Loss:
    """The weighted sum of penalties on D's gradients, (), and each of them without its weight."""
    total, noted = real.images.new_zeros(()), {}
    if spec.gradient:
        mixed = mixture(real.images, fake.images)
        noted["penalty"] = gradient_penalty(D, mixed, real.condition)
        total = total + spec.gradient * noted["penalty"]
    if spec.r1:
        noted["r1"] = squared_gradient(D, real.images, real.condition)
        total = total + spec.r1 / 2 * noted["r1"]
    if spec.r2:
        noted["r2"] = squared_gradient(D, fake.images, fake.condition)
        total = total + spec.r2 / 2 * noted["r2"]
    return total, noted


def mixture(real: Tensor, fake: Tensor) -> Tensor:
    """A point drawn uniformly between each real image and its fake: (B, 3, R, R)."""
    t = torch.rand(len(real), 1, 1, 1, device=real.device, dtype=real.dtype)
    return torch.lerp(real, fake, t)


def gradient_penalty(D: Discriminate, x: Tensor, condition: Tensor | None) -> Tensor:
    """Mean of (|gradient of D| - 1)^2 (Gulrajani et al., 2017, arXiv:1704.00028)."""
    return (_gradient(D, x, condition).flatten(1).norm(dim=1) - 1).square().mean()


def squared_gradient(D: Discriminate, x: Tensor, condition: Tensor | None) -> Tensor:
    """Mean of |gradient of D|^2: R1 at real images, R2 at fakes (Mescheder et al., 2018)."""
    return _gradient(D, x, condition).square().flatten(1).sum(dim=1).mean()


def _gradient(D: Discriminate, x: Tensor, condition: Tensor | None) -> Tensor:
    if not x.requires_grad:
        x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(D(x, condition).logits.sum(), x, create_graph=True)
    return gradient


def clipped(phase: Phase, size: float | None) -> Phase:
    """The phase, after which all of D's weights that learn are clipped to [-size, size]."""

    @torch.no_grad()
    def clip(network: nn.Module) -> None:
        for weight in network.parameters():
            if weight.requires_grad:
                weight.clamp_(-size, size)  # type: ignore[operator]

    if size is None or phase.network != "discriminator":
        return phase
    return Phase(phase.network, phase.interval, phase.loss, clip)


# --- parts ---------------------------------------------------------------------------------------


def _logits(D: Discriminate, batch: Batch) -> Tensor:
    return D(batch.images, batch.condition).logits


def _noted(loss: Tensor, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
    return {"loss_d": loss, "logits_real": real, "logits_fake": fake}


def noise_like(logits: Tensor, noise: float) -> Tensor:
    """How far targets lie from 0 or 1: uniform in [0, noise], one for each logit."""
    return noise * torch.rand_like(logits)
