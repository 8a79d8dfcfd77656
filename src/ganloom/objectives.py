"""Training objectives: which network is updated, how often, and on which loss.

An objective is a tuple of phases, one update of one network each. A phase runs the discriminator D
on the real and on the fake images, once each, and adds up its terms: the adversarial loss first,
then code recovery, gradient penalties and matching, where the model has them. Adding an objective
takes its section in ``params``, a function here that returns its losses, and a case in
``adversarial``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple, assert_never

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganloom import matching, params
from ganloom.nets.blocks import DiscriminatorOutput
from ganloom.nets.inputs import Inputs
from ganloom.similarity import ms_ssim


class Batch(NamedTuple):
    """Real or fake images.

    Attributes:
        images: (B, 3, R, R) in [-1, 1].
        condition: (B, conditions) one-hot classes, or shares of originals; None for a model
            without a condition.
        v: (B, inputs.width) input of the generator; None for real images.
    """

    images: Tensor
    condition: Tensor | None = None
    v: Tensor | None = None


# The discriminator as a phase sees it, from images and their classes. It augments its input with
# new random draws at each call.
Discriminate = Callable[[Tensor, Tensor | None], DiscriminatorOutput]


class Pass:
    """Real and fake images of one step, and the discriminator's outputs for them.

    Each output is computed when a term first uses it, and at most once.

    Args:
        D: The discriminator.
        real: Real images.
        fake: As many fakes of the same classes.
    """

    def __init__(self, D: Discriminate, real: Batch, fake: Batch) -> None:
        self.D, self.real, self.fake = D, real, fake

    @cached_property
    def real_output(self) -> DiscriminatorOutput:
        return self.D(self.real.images, self.real.condition)

    @cached_property
    def fake_output(self) -> DiscriminatorOutput:
        return self.D(self.fake.images, self.fake.condition)


# The value to minimise, (), and values for the history, each averaged over a tick.
Loss = tuple[Tensor, dict[str, Tensor]]
Term = Callable[[Pass], Loss]


@dataclass(frozen=True)
class Phase:
    """One update of one network.

    Attributes:
        network: Network that is updated.
        interval: Number of steps between two updates.
        terms: Parts of the loss. Fakes carry gradients to the generator only in its own phases.
        image_gradients: Whether a term needs the gradients of D's logits at the images.
        clip: Bound of the absolute value of the network's weights after the update.
    """

    network: Literal["generator", "discriminator"]
    interval: int
    terms: tuple[Term, ...]
    image_gradients: bool = False
    clip: float | None = None

    def loss(self, D: Discriminate, real: Batch, fake: Batch) -> Loss:
        """Add up the terms."""
        if self.image_gradients:
            real, fake = (
                batch._replace(images=batch.images.detach().requires_grad_())
                for batch in (real, fake)
            )
        seen = Pass(D, real, fake)
        losses = [term(seen) for term in self.terms]
        total = torch.stack([value for value, _ in losses]).sum()
        return total, {name: value for _, logged in losses for name, value in logged.items()}

    @torch.no_grad()
    def constrain(self, network: nn.Module) -> None:
        """Clip the trainable weights of the network, if the phase has a bound."""
        if self.clip is not None:
            for weight in network.parameters():
                if weight.requires_grad:
                    weight.clamp_(-self.clip, self.clip)


@dataclass(frozen=True)
class Objective:
    """The updates of a training step, and their state.

    Attributes:
        phases: Updates in the order in which they run.
        memory: State that the terms keep from step to step, for the checkpoint.
        prepare: Functions to call with the fakes of each step that updates G, before its phases.
    """

    phases: tuple[Phase, ...]
    memory: dict[str, Tensor] = field(default_factory=dict)
    prepare: tuple[Callable[[Tensor], None], ...] = ()


def objective(model: params.Model, inputs: Inputs, device: torch.device) -> Objective:
    """Build the phases of a model."""
    memory: dict[str, Tensor] = {}
    losses = adversarial(model.objective, memory, device)
    d_terms, g_terms = [losses.discriminator], [losses.generator]
    prepare: list[Callable[[Tensor], None]] = []
    if model.code:
        d_terms.append(code_recovery(model.code, inputs, log=False))
        g_terms.append(code_recovery(model.code, inputs))
    if model.feature_matching:
        memory |= matching.feature_memory(device)
        features = FeatureMatching(model.feature_matching, memory)
        prepare.append(features.prepare)
        g_terms.append(features)
    if model.patch_matching:
        memory |= matching.patch_memory(model.resolution, device)
        g_terms.append(patch_matching(model.patch_matching, memory))

    interval = (model.penalties and model.penalties.interval) or 1
    penalties = gradient_penalties(model.penalties, interval) if model.penalties else []
    clip = model.penalties.clip if model.penalties else None
    lazy = interval > 1 and bool(penalties)
    if not lazy:
        d_terms += penalties
    phases = [
        Phase("discriminator", 1, tuple(d_terms), bool(penalties) and not lazy, clip),
        Phase("generator", losses.critic_steps, tuple(g_terms)),
    ]
    if lazy:
        phases.append(Phase("discriminator", interval, tuple(penalties), True, clip))
    return Objective(tuple(phases), memory, tuple(prepare))


# --- adversarial losses --------------------------------------------------------------------------


@dataclass(frozen=True)
class Adversarial:
    """The two losses of a game.

    Attributes:
        discriminator: D's loss.
        generator: G's loss.
        critic_steps: Updates of D for each update of G.
        least: D's loss when it tells real from fake with certainty; None where the scale of the
            logits is arbitrary, or where D has no logits. Alarms compare the losses with it.
    """

    discriminator: Term
    generator: Term
    critic_steps: int = 1
    least: float | None = None


def adversarial(
    spec: params.Objective, memory: dict[str, Tensor], device: torch.device
) -> Adversarial:
    """The losses of an objective; its state is added to ``memory``."""
    match spec:
        case params.NonSaturating():
            return nonsaturating(spec.label_noise)
        case params.Hinge():
            return hinge()
        case params.Wasserstein():
            return wasserstein(spec.critic_steps)
        case params.Relativistic():
            return relativistic()
        case params.Began():
            memory["k"] = torch.zeros((), device=device)
            return began(spec, memory["k"])
        case _:
            assert_never(spec)


def least_loss(spec: params.Objective) -> float | None:
    """The least loss of D; see ``Adversarial.least``."""
    return adversarial(spec, {}, torch.device("cpu")).least


def nonsaturating(label_noise: float) -> Adversarial:
    """Cross-entropy; G maximises log D(G(z)) (Goodfellow et al., 2014, section 3).

    Args:
        label_noise: D's targets are uniform in [0, label_noise] for fakes and in
            [1 - label_noise, 1] for real images, drawn for each image (Salimans et al., 2016,
            smooth only the targets of real images). G's target stays 1.
    """

    def discriminator(seen: Pass) -> Loss:
        real, fake = seen.real_output.logits, seen.fake_output.logits
        loss = F.binary_cross_entropy_with_logits(
            real, 1 - noise_like(real, label_noise)
        ) + F.binary_cross_entropy_with_logits(fake, noise_like(fake, label_noise))
        return loss, _logged(loss, seen)

    def generator(seen: Pass) -> Loss:
        loss = F.softplus(-seen.fake_output.logits).mean()  # -log sigmoid(logits)
        return loss, {"loss_g": loss}

    # Cross-entropy is linear in its target: the best logits are those of the mean target.
    p = label_noise / 2
    least = -2 * (p * math.log(p) + (1 - p) * math.log(1 - p)) if p else 0.0
    return Adversarial(discriminator, generator, least=least)


def hinge() -> Adversarial:
    """Hinge loss (Lim and Ye, 2017, arXiv:1705.02894), averaged over D's networks or places."""

    def discriminator(seen: Pass) -> Loss:
        real, fake = seen.real_output.logits, seen.fake_output.logits
        loss = F.relu(1 - real).mean() + F.relu(1 + fake).mean()
        return loss, _logged(loss, seen)

    return Adversarial(discriminator, _negative_mean, least=0.0)


def wasserstein(critic_steps: int) -> Adversarial:
    """Difference of the critic's means (Arjovsky et al., 2017, arXiv:1701.07875).

    Args:
        critic_steps: Updates of the critic for each update of G.
    """

    def critic(seen: Pass) -> Loss:
        real, fake = seen.real_output.logits, seen.fake_output.logits
        loss = fake.mean() - real.mean()
        return loss, _logged(loss, seen)

    return Adversarial(critic, _negative_mean, critic_steps)


def _negative_mean(seen: Pass) -> Loss:
    loss = -seen.fake_output.logits.mean()
    return loss, {"loss_g": loss}


def relativistic() -> Adversarial:
    """Softplus of the difference of pairs (Jolicoeur-Martineau, 2019; Huang et al., 2024)."""

    def discriminator(seen: Pass) -> Loss:
        real, fake = seen.real_output.logits, seen.fake_output.logits
        loss = F.softplus(fake - real).mean()
        return loss, _logged(loss, seen)

    def generator(seen: Pass) -> Loss:
        loss = F.softplus(seen.real_output.logits - seen.fake_output.logits).mean()
        return loss, {"loss_g": loss}

    return Adversarial(discriminator, generator, least=0.0)


def began(spec: params.Began, k: Tensor) -> Adversarial:
    """Reconstruction errors of an autoencoder, balanced by k (Berthelot et al., 2017).

    Args:
        spec: The error, and gamma and lambda_k of equations 6 and 7 of the paper.
        k: () the balance, updated in place by D's loss.
    """

    # An autoencoder has to reconstruct its own input, whether augmented or noisy; params refuse
    # augmentation with this objective, so that the input is the images themselves.
    def error(output: DiscriminatorOutput, batch: Batch) -> Tensor:
        assert output.reconstruction is not None
        return reconstruction_error(output.reconstruction, batch.images, spec.reconstruction)

    def discriminator(seen: Pass) -> Loss:
        error_real = error(seen.real_output, seen.real)
        error_fake = error(seen.fake_output, seen.fake)
        loss = error_real - k.clone() * error_fake
        balance = (spec.gamma * error_real - error_fake).detach()
        k.add_(spec.lambda_k * balance).clamp_(0, 1)
        return loss, {
            "loss_d": loss,
            "error_real": error_real,
            "error_fake": error_fake,
            "k": k.clone(),
            "convergence": error_real.detach() + balance.abs(),
        }

    def generator(seen: Pass) -> Loss:
        loss = error(seen.fake_output, seen.fake)
        return loss, {"loss_g": loss}

    return Adversarial(discriminator, generator)


def reconstruction_error(x: Tensor, y: Tensor, kind: Literal["l1", "mse", "ms_ssim"]) -> Tensor:
    """Distance between x and y, both (B, 3, R, R) in [-1, 1]: ()."""
    match kind:
        case "l1":
            return F.l1_loss(x, y)
        case "mse":
            return F.mse_loss(x, y)
        case "ms_ssim":
            return 1 - ms_ssim(x, y).mean()


def noise_like(logits: Tensor, noise: float) -> Tensor:
    """Distances of targets from 0 or 1: uniform in [0, noise], one for each logit."""
    return noise * torch.rand_like(logits)


def _logged(loss: Tensor, seen: Pass) -> dict[str, Tensor]:
    return {
        "loss_d": loss,
        "logits_real": seen.real_output.logits,
        "logits_fake": seen.fake_output.logits,
    }


# --- terms of both networks: codes ---------------------------------------------------------------


def code_recovery(code: params.Code, inputs: Inputs, *, log: bool = True) -> Term:
    """Error with which D recovers the code of a fake (InfoGAN; Chen et al., 2016).

    D and G both lower it: it bounds the information about the code that the image has lost.

    Args:
        code: Weights of the errors.
        inputs: Layout of the generator's input.
        log: Whether the history has it; in one of the two phases is enough.
    """

    def term(seen: Pass) -> Loss:
        assert seen.fake.v is not None
        assert seen.fake_output.code is not None
        loss = code_error(seen.fake_output.code, seen.fake.v, code, inputs)
        return loss, {"loss_code": loss} if log else {}

    return term


def code_error(recovered: Tensor, v: Tensor, code: params.Code, inputs: Inputs) -> Tensor:
    """The weighted sum of the errors of a recovered code: ().

    Args:
        recovered: (B, coded [+ latent]): logits of the categorical codes, then the continuous
            codes, then z if it has a weight.
        v: (B, inputs.width) input of the generator.
        code: Weights of the errors.
        inputs: Layout of v.
    """
    z, _, true_code = inputs.parts(v)
    categorical, continuous = inputs.codes(true_code)
    logits, estimate = inputs.codes(recovered[:, : inputs.coded])
    loss = recovered.new_zeros(())
    for guess, truth in zip(logits, categorical, strict=True):
        loss = loss + code.weight * F.cross_entropy(guess, truth)
    if inputs.continuous:
        loss = loss + code.weight_continuous * F.mse_loss(estimate, continuous)
    if code.weight_latent:
        loss = loss + code.weight_latent * F.mse_loss(recovered[:, inputs.coded :], z)
    return loss


# --- terms of the generator: matching ------------------------------------------------------------


class FeatureMatching:
    """Distance between the mean features of fakes and of real images.

    The network is frozen, so that its gradient at the fakes is independent of all updates of a
    step. On a CPU, a second thread computes it while D is updated. This saves a fifth of a step if
    a core is idle; the result is the same if none is.

    Args:
        spec: The weight, in units of the real features' variance, and the images of a batch used.
        memory: State from ``matching.feature_memory``.
    """

    _wait: Callable[[], tuple[Tensor, Tensor]]

    def __init__(self, spec: params.FeatureMatching, memory: dict[str, Tensor]) -> None:
        self.spec, self.memory = spec, memory
        # The setting of torch holds for the thread that sets it.
        threads = torch.get_num_threads()
        self._thread = ThreadPoolExecutor(1, "features", torch.set_num_threads, (threads,))

    def prepare(self, fakes: Tensor) -> None:
        """Begin to compute the gradient at fakes, (B, 3, R, R)."""
        images = fakes[: self.spec.images]
        if images.is_cuda:  # a CUDA graph records the kernels of one thread
            found = matching.feature_gradient(images, self.memory)
            self._wait = lambda: found
        else:
            self._wait = self._thread.submit(matching.feature_gradient, images, self.memory).result

    def __call__(self, seen: Pass) -> Loss:
        """Add the gradient when those of the other terms are known; the loss itself is 0."""
        gap = torch.zeros_like(self.memory["variance_real"])
        wait = self._wait

        def add(slope: Tensor) -> Tensor:
            gradient, distance = wait()
            gap.copy_(distance)
            slope = slope.clone()
            slope[: len(gradient)] += self.spec.weight * gradient
            return slope

        seen.fake.images.register_hook(add)
        return torch.zeros_like(gap), {"feature_gap": gap}


def patch_matching(spec: params.PatchMatching, memory: dict[str, Tensor]) -> Term:
    """Distance between the distributions of patches of fakes and of real images.

    Args:
        spec: The weight.
        memory: State from ``matching.patch_memory``.
    """

    def term(seen: Pass) -> Loss:
        gap = matching.patch_gap(seen.fake.images, memory)
        return spec.weight * gap, {"patch_gap": gap}

    return term


# --- terms of the discriminator: gradient penalties ----------------------------------------------


def gradient_penalties(spec: params.Penalties, interval: int = 1) -> list[Term]:
    """Penalties on the gradients of D's logits at images that require gradients.

    They are ``interval`` times heavier, for a phase that runs in every ``interval``-th step (lazy
    regularisation; Karras et al., 2020).
    """
    weighted = (
        ("penalty", spec.gradient, gradient_penalty),
        ("r1", spec.r1 and spec.r1 / 2, r1),
        ("r2", spec.r2 and spec.r2 / 2, r2),
    )
    return [
        _penalty(name, interval * weight, penalty) for name, weight, penalty in weighted if weight
    ]


def _penalty(name: str, weight: float, penalty: Callable[[Pass], Tensor]) -> Term:
    def term(seen: Pass) -> Loss:
        value = penalty(seen)
        return weight * value, {name: value}

    return term


def gradient_penalty(seen: Pass) -> Tensor:
    """Mean of (|gradient of D| - 1)^2 at mixtures (Gulrajani et al., 2017, arXiv:1704.00028)."""
    mixed = mixture(seen.real.images, seen.fake.images)
    gradient = _gradient(seen.D(mixed, seen.real.condition), mixed)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()


def r1(seen: Pass) -> Tensor:
    """Mean of |gradient of D|^2 at real images (Mescheder et al., 2018, arXiv:1801.04406)."""
    return _squared(_gradient(seen.real_output, seen.real.images))


def r2(seen: Pass) -> Tensor:
    """The same at fakes."""
    return _squared(_gradient(seen.fake_output, seen.fake.images))


def mixture(real: Tensor, fake: Tensor) -> Tensor:
    """A point drawn uniformly between each real image and its fake: (B, 3, R, R)."""
    t = torch.rand(len(real), 1, 1, 1, device=real.device, dtype=real.dtype)
    return torch.lerp(real, fake, t).detach().requires_grad_()


def _gradient(output: DiscriminatorOutput, images: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(output.logits.sum(), images, create_graph=True)
    return gradient


def _squared(gradient: Tensor) -> Tensor:
    return gradient.square().flatten(1).sum(dim=1).mean()
