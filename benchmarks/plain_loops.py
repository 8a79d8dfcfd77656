"""Plain PyTorch training loops, with which the benchmarks compare ganloom.

The networks are those of ganloom, with torch's own dropout. Everything else is the default: images
from a DataLoader over files, NCHW, no autocast, default optimisers and ``backward``, losses read in
every step. Each loop follows the published code for its objective, which it names: how often D and
G are updated, on which fakes, and in how many backward passes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from ganloom import models, params
from ganloom.nets import blocks


class Training:
    """What every loop has: two networks, two optimisers, and images without end.

    Args:
        model: What is trained; of its optimiser the kind, the rate and the moments count.
        files: Folder with a folder of pictures for each class.
    """

    def __init__(self, model: params.Model, files: Path) -> None:
        self.model = model
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(0.5, 0.5)])
        pictures = datasets.ImageFolder(str(files), transform)
        self.loader = DataLoader(pictures, model.batch, shuffle=True, num_workers=2, drop_last=True)
        self.inputs = models.inputs(model, len(pictures.classes))
        generator = models.build_generator(
            model.generator, model.resolution, self.inputs, model.condition
        )
        discriminator = models.build_discriminator(model, self.inputs)
        self.G, self.D = (
            _usual(net).to(self.device).to(memory_format=torch.contiguous_format)
            for net in (generator, discriminator)
        )
        self.batches = self._batches()
        match model.optimizer:
            case params.Adam(lr=lr, betas=(beta1, beta2)):
                self.optimizer_G: torch.optim.Optimizer = torch.optim.Adam(
                    self.G.parameters(), lr, (beta1, beta2)
                )
                self.optimizer_D: torch.optim.Optimizer = torch.optim.Adam(
                    self.D.parameters(), lr, (beta1, beta2)
                )
            case params.RmsProp(lr=lr):
                self.optimizer_G = torch.optim.RMSprop(self.G.parameters(), lr)
                self.optimizer_D = torch.optim.RMSprop(self.D.parameters(), lr)

    def steps(self) -> Iterator[int]:
        """Train for ever: the number of real images shown in each step of G."""
        match self.model:
            case params.Model(code=params.Code()):
                loop = infogan
            case params.Model(objective=params.NonSaturating()):
                loop = cross_entropy
            case params.Model(objective=params.Hinge()):
                loop = hinge
            case params.Model(objective=params.Relativistic()):
                loop = relativistic
            case params.Model(objective=params.Began()):
                loop = began
            case params.Model(penalties=params.Penalties(clip=float())):
                loop = wgan
            case _:
                loop = wgan_gp
        return loop(self)

    def real(self) -> tuple[Tensor, Tensor | None]:
        """The next images (B, 3, R, R), and their classes, one-hot, where they matter."""
        images, labels = next(self.batches)
        condition = F.one_hot(labels, self.inputs.classes).float() if self.inputs.classes else None
        return images.to(self.device), None if condition is None else condition.to(self.device)

    def told(self, condition: Tensor | None = None) -> Tensor:
        """What G makes a batch of: (B, inputs.width)."""
        labels = None if condition is None else condition.argmax(dim=1)
        return self.inputs.draw(self.model.batch, labels).to(self.device)

    def _batches(self) -> Iterator[list[Tensor]]:
        while True:
            yield from self.loader


def cross_entropy(t: Training) -> Iterator[int]:
    """pytorch/examples, dcgan/main.py; with classes as in eriklindernoren/PyTorch-GAN, cgan.py."""
    criterion = nn.BCEWithLogitsLoss()
    ones = torch.ones(t.model.batch, device=t.device)
    zeros = torch.zeros(t.model.batch, device=t.device)
    while True:
        t.D.zero_grad()
        images, condition = t.real()
        error_real = criterion(t.D(images, condition).logits, ones)
        error_real.backward()
        fake = t.G(t.told(condition))
        error_fake = criterion(t.D(fake.detach(), condition).logits, zeros)
        error_fake.backward()
        t.optimizer_D.step()
        t.G.zero_grad()
        error_G = criterion(t.D(fake, condition).logits, ones)
        error_G.backward()
        t.optimizer_G.step()
        _ = error_real.item(), error_fake.item(), error_G.item()
        yield len(images)


def infogan(t: Training) -> Iterator[int]:
    """eriklindernoren/PyTorch-GAN, infogan.py: a third update, of both, on fresh fakes."""
    criterion = nn.BCEWithLogitsLoss()
    ones = torch.ones(t.model.batch, device=t.device)
    zeros = torch.zeros(t.model.batch, device=t.device)
    code = t.model.code
    assert code
    both = torch.optim.Adam([*t.G.parameters(), *t.D.parameters()], t.model.optimizer.lr)
    while True:
        images, _ = t.real()
        t.optimizer_G.zero_grad()
        fake = t.G(t.told())
        error_G = criterion(t.D(fake).logits, ones)
        error_G.backward()
        t.optimizer_G.step()
        t.optimizer_D.zero_grad()
        error_real = criterion(t.D(images).logits, ones)
        error_fake = criterion(t.D(fake.detach()).logits, zeros)
        error_D = (error_real + error_fake) / 2
        error_D.backward()
        t.optimizer_D.step()
        both.zero_grad()
        v = t.told()
        categorical, continuous = t.inputs.codes(t.inputs.parts(v)[2])
        guesses, found = t.inputs.codes(t.D(t.G(v)).code)
        error_code = code.weight * F.cross_entropy(guesses[0], categorical[0])
        error_code = error_code + code.weight_continuous * F.mse_loss(found, continuous)
        error_code.backward()
        both.step()
        _ = error_D.item(), error_G.item(), error_code.item()
        yield len(images)


def hinge(t: Training) -> Iterator[int]:
    """christiancosgrove/pytorch-spectral-normalization-gan, main.py."""
    while True:
        images, condition = t.real()
        t.optimizer_D.zero_grad()
        fake = t.G(t.told(condition)).detach()
        error_D = F.relu(1 - t.D(images, condition).logits).mean()
        error_D = error_D + F.relu(1 + t.D(fake, condition).logits).mean()
        error_D.backward()
        t.optimizer_D.step()
        t.optimizer_G.zero_grad()
        error_G = -t.D(t.G(t.told(condition)), condition).logits.mean()
        error_G.backward()
        t.optimizer_G.step()
        _ = error_D.item(), error_G.item()
        yield len(images)


def wgan(t: Training) -> Iterator[int]:
    """eriklindernoren/PyTorch-GAN, wgan.py: the critic's steps with clipping, then one of G."""
    objective, penalties = t.model.objective, t.model.penalties
    assert isinstance(objective, params.Wasserstein)
    assert penalties and penalties.clip
    while True:
        for _ in range(objective.critic_steps):
            images, _ = t.real()
            t.optimizer_D.zero_grad()
            fake = t.G(t.told()).detach()
            error_D = -t.D(images).logits.mean() + t.D(fake).logits.mean()
            error_D.backward()
            t.optimizer_D.step()
            clip = penalties.clip
            for p in t.D.parameters():
                p.data.clamp_(-clip, clip)
        t.optimizer_G.zero_grad()
        error_G = -t.D(t.G(t.told())).logits.mean()
        error_G.backward()
        t.optimizer_G.step()
        _ = error_D.item(), error_G.item()
        yield objective.critic_steps * len(images)


def wgan_gp(t: Training) -> Iterator[int]:
    """eriklindernoren/PyTorch-GAN, wgan_gp.py: one backward pass for loss and penalty."""
    objective, penalties = t.model.objective, t.model.penalties
    assert isinstance(objective, params.Wasserstein)
    assert penalties and penalties.gradient
    while True:
        for _ in range(objective.critic_steps):
            images, _ = t.real()
            t.optimizer_D.zero_grad()
            fake = t.G(t.told())
            alpha = torch.rand(len(images), 1, 1, 1, device=t.device)
            mixed = (alpha * images + (1 - alpha) * fake.detach()).requires_grad_(True)
            logits = t.D(mixed).logits
            gradients = torch.autograd.grad(
                logits, mixed, torch.ones_like(logits), create_graph=True, retain_graph=True
            )[0]
            penalty = ((gradients.flatten(1).norm(2, dim=1) - 1) ** 2).mean()
            error_D = -t.D(images).logits.mean() + t.D(fake.detach()).logits.mean()
            error_D = error_D + penalties.gradient * penalty
            error_D.backward()
            t.optimizer_D.step()
        t.optimizer_G.zero_grad()
        error_G = -t.D(t.G(t.told())).logits.mean()
        error_G.backward()
        t.optimizer_G.step()
        _ = error_D.item(), error_G.item()
        yield objective.critic_steps * len(images)


def relativistic(t: Training) -> Iterator[int]:
    """brownvc/R3GAN, R3GAN/Trainer.py: the penalties' gradients are of the pass that judges."""
    penalties = t.model.penalties
    assert penalties and penalties.r1
    weight = penalties.r1 / 2
    while True:
        images, condition = t.real()
        t.optimizer_D.zero_grad()
        real = images.detach().requires_grad_(True)
        fake = t.G(t.told(condition)).detach().requires_grad_(True)
        logits_real, logits_fake = t.D(real, condition).logits, t.D(fake, condition).logits
        r1 = _squared_gradient(logits_real, real)
        r2 = _squared_gradient(logits_fake, fake)
        error_D = (F.softplus(logits_fake - logits_real) + weight * (r1 + r2)).mean()
        error_D.backward()
        t.optimizer_D.step()
        t.optimizer_G.zero_grad()
        fake = t.G(t.told(condition))
        logits_fake, logits_real = t.D(fake, condition).logits, t.D(images, condition).logits
        error_G = F.softplus(logits_real - logits_fake).mean()
        error_G.backward()
        t.optimizer_G.step()
        _ = error_D.item(), error_G.item(), r1.mean().item(), r2.mean().item()
        yield len(images)


def _squared_gradient(logits: Tensor, images: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().sum([1, 2, 3])


def began(t: Training) -> Iterator[int]:
    """eriklindernoren/PyTorch-GAN, began.py: G first, the balance k as a Python number."""
    objective = t.model.objective
    assert isinstance(objective, params.Began)
    k, gamma, rate = 0.0, objective.gamma, objective.lambda_k
    while True:
        images, _ = t.real()
        t.optimizer_G.zero_grad()
        fake = t.G(t.told())
        error_G = (t.D(fake).reconstruction - fake).abs().mean()
        error_G.backward()
        t.optimizer_G.step()
        t.optimizer_D.zero_grad()
        error_real = (t.D(images).reconstruction - images).abs().mean()
        error_fake = (t.D(fake.detach()).reconstruction - fake.detach()).abs().mean()
        error_D = error_real - k * error_fake
        error_D.backward()
        t.optimizer_D.step()
        difference = (gamma * error_real - error_fake).item()
        k = min(max(k + rate * difference, 0), 1)
        _ = error_D.item(), error_G.item(), error_real.item() + abs(difference)
        yield len(images)


def _usual(net: nn.Module) -> nn.Module:
    """With torch's own dropout in place of ganloom's."""
    for name, module in net.named_children():
        if isinstance(module, blocks.Dropout):
            setattr(net, name, nn.Dropout(module.rate))
        else:
            _usual(module)
    return net
