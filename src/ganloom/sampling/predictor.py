"""A network that guesses, from a picture, what a generator was told: in one pass, not many steps.

It learns on the generator's own samples, of which everything is known, and then on real images, by
what the generator makes of its guess.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from ganloom import params
from ganloom.models import METADATA, Generator, ModelError
from ganloom.nets.blocks import norm, widths
from ganloom.nets.inputs import Inputs
from ganloom.sampling.inversion import PRIOR, SHARP, SOFT, apart, bound, off_sphere
from ganloom.sampling.latents import inputs

# Points of the curves: each is the mean of as many steps.
POINTS = 20


class Predictor(nn.Module):
    """Strided convolutions down to 4 to 7 px, and a dense layer.

    Normalised by layer: what it says of a real image must not depend on those beside it.
    """

    def __init__(self, channels: int, resolution: int, told: Inputs) -> None:
        super().__init__()
        self.inputs = told
        levels = 0
        while resolution >> levels > 7:
            levels += 1
        layers: list[nn.Module] = []
        before = 3
        for wide in widths(channels, levels):
            layers += [nn.Conv2d(before, wide, 4, stride=2, padding=1), *norm("layer", wide)]
            layers.append(nn.LeakyReLU(0.2))
            before = wide
        side = resolution >> levels
        layers += [nn.Flatten(), nn.Linear(before * side * side, told.width)]
        self.net = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, R, R) in [-1, 1] to free numbers (B, inputs.width): logits for one-hot ones."""
        free: Tensor = self.net(x)
        return free

    @torch.no_grad()
    def guess(self, x: Tensor) -> Tensor:
        """What a generator may be told to make these pictures: (B, inputs.width)."""
        return bound(self.inputs, self(x), SHARP)


def load_predictor(path: Path, told: Inputs) -> Predictor:
    """Rebuild the predictor of a generator that is told ``told``, on the CPU, in eval mode.

    Raises:
        ModelError: the file is damaged, or the predictor of another generator.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})[METADATA])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        with torch.device("meta"):  # no fresh weights: nothing is drawn or allocated for them
            net = Predictor(about["channels"], about["resolution"], told)
        net.load_state_dict(tensors, assign=True)
    except (
        safetensors.SafetensorError,
        OSError,
        KeyError,
        TypeError,
        ValueError,
        RuntimeError,
    ) as error:
        raise ModelError(f"{path}: no predictor of this generator: {error!r}") from None
    return net.eval()


class Learned(NamedTuple):
    """A predictor and how it learned: the means of equal parts of the steps, in their order."""

    net: Predictor
    latent_loss: list[float]
    image_loss: list[float]


def learn(
    generator: Generator, spec: params.Predictor, images: NDArray[np.uint8], seed: int
) -> Learned:
    """Train a predictor for a generator.

    Args:
        generator: In eval mode; its weights stay as they are.
        spec: Size of the network, steps, loss, learning rate.
        images: (N, R, R, 3) real ones; at least a batch where there are ``image_steps``.
        seed: Of the weights, the samples and the order of images.
    """
    device = next(generator.parameters()).device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Predictor(spec.channels, images.shape[1], generator.inputs).to(device)
    adam = torch.optim.Adam(net.parameters(), lr=spec.lr)
    parameters = list(net.parameters())
    noted: list[Tensor] = []

    def step(loss: Tensor) -> None:
        adam.zero_grad()
        loss.backward(inputs=parameters)
        adam.step()
        noted.append(loss.detach())

    for i in tqdm(range(spec.steps), "predictor: samples", mininterval=1, leave=False):
        v = inputs(generator.inputs, spec.batch, seed, "predictor", i).to(device)
        with torch.no_grad():
            made = generator(v).float()
        step(latent_loss(generator.inputs, net(made), v))

    rng = np.random.default_rng([seed, int.from_bytes(b"predictor")])
    for _ in tqdm(range(spec.image_steps), "predictor: images", mininterval=1, leave=False):
        chosen = np.sort(rng.choice(len(images), min(spec.batch, len(images)), replace=False))
        real = as_input(images[chosen]).to(device)
        # Soft: through a sharp softmax, no gradient would reach the code.
        v = bound(generator.inputs, net(real), SOFT)
        error = apart(spec.image_loss, real)(generator(v).float())
        step((error + PRIOR * off_sphere(generator.inputs, v)).mean())

    losses = torch.stack(noted).cpu()
    return Learned(net.eval(), _means(losses[: spec.steps]), _means(losses[spec.steps :]))


def latent_loss(told: Inputs, free: Tensor, v: Tensor) -> Tensor:
    """How wrong a guess is: squared error of z and continuous codes, cross-entropy of the others.

    Args:
        told: The columns.
        free: (B, width) of a Predictor.
        v: (B, width) what the generator was told.

    Returns:
        (), the sum over z, class and each code.
    """
    (z, condition, code), (true_z, true_condition, true_code) = told.parts(free), told.parts(v)
    (categorical, continuous), (ones, numbers) = told.codes(code), told.codes(true_code)
    loss = F.mse_loss(z, true_z)
    pairs = list(zip(categorical, ones, strict=True))
    if told.classes:
        pairs.append((condition, true_condition))
    for logits, one_hot in pairs:
        loss = loss + F.cross_entropy(logits, one_hot)
    if told.continuous:
        loss = loss + F.mse_loss(continuous.tanh(), numbers)
    return loss


def as_input(images: NDArray[np.uint8]) -> Tensor:
    """Pictures (N, R, R, 3) as a network sees them: (N, 3, R, R) in [-1, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def _means(losses: Tensor) -> list[float]:
    parts = losses.tensor_split(min(POINTS, len(losses))) if len(losses) else ()
    return [float(part.mean()) for part in parts]
