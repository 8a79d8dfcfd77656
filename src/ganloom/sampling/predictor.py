"""A network that predicts the generator's input from an image, in one pass.

It is trained on the generator's own samples, whose inputs are known, and then on real images, with
the error of their reconstruction.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from ganloom import params
from ganloom.models import Generator, Metadata, from_uint8, read, refusing
from ganloom.nets.blocks import norm, widths
from ganloom.nets.inputs import Inputs
from ganloom.sampling.inversion import PRIOR, SHARP, SOFT, apart, bound, off_sphere
from ganloom.sampling.latents import inputs

# Points of the curves, each the mean of equally many steps.
POINTS = 20


class InputPredictor(nn.Module):
    """Strided convolutions down to 4 to 7 px, and a dense layer.

    Layer normalisation makes the prediction for an image independent of the rest of the batch.
    """

    def __init__(self, channels: int, resolution: int, layout: Inputs) -> None:
        super().__init__()
        self.inputs = layout
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
        layers += [nn.Flatten(), nn.Linear(before * side * side, layout.width)]
        self.net = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, 3, R, R) in [-1, 1] to free numbers (B, inputs.width) for ``bound``."""
        free: Tensor = self.net(x)
        return free

    @torch.no_grad()
    def guess(self, x: Tensor) -> Tensor:
        """Predict the generator's input for images: (B, inputs.width)."""
        return bound(self.inputs, self(x), SHARP)


class PredictorInfo(Metadata):
    """Metadata of a predictor.

    Attributes:
        model: Name of the generator's model.
        resolution: R in px.
        channels: Channels of the network.
        inputs: Layout of the generator's input.
    """

    model: str
    resolution: int
    channels: int
    inputs: Inputs


def load_predictor(path: Path, layout: Inputs) -> InputPredictor:
    """Load the predictor of a generator with this layout of the input, on the CPU, in eval mode.

    Raises:
        ModelError: The file is damaged, or belongs to another generator.
    """
    with refusing(path, "the predictor of this generator", "the stage `invert` makes it"):
        info, tensors = read(path, PredictorInfo)
        with torch.device("meta"):  # no initial weights: they are neither drawn nor allocated
            net = InputPredictor(info.channels, info.resolution, layout)
        net.load_state_dict(tensors, assign=True)
    return net.eval()


class Learned(NamedTuple):
    """A trained predictor, and its losses as means over equal parts of the steps, in order."""

    net: InputPredictor
    latent_loss: list[float]
    image_loss: list[float]


def learn(
    generator: Generator, spec: params.Predictor, images: NDArray[np.uint8], seed: int
) -> Learned:
    """Train a predictor for a generator.

    Args:
        generator: Generator in eval mode; its weights do not change.
        spec: Size of the network, steps, loss, learning rate.
        images: (N, R, R, 3) real images; at least a batch if there are ``image_steps``.
        seed: Seed of the weights, the samples and the order of images.
    """
    device = next(generator.parameters()).device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = InputPredictor(spec.channels, images.shape[1], generator.inputs).to(device)
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
        real = from_uint8(images[chosen]).to(device)
        # Soft, since no gradient would reach the code through a sharp softmax.
        v = bound(generator.inputs, net(real), SOFT)
        error = apart(spec.image_loss, real)(generator(v).float())
        step((error + PRIOR * off_sphere(generator.inputs, v)).mean())

    losses = torch.stack(noted).cpu()
    return Learned(net.eval(), _means(losses[: spec.steps]), _means(losses[spec.steps :]))


def latent_loss(layout: Inputs, free: Tensor, v: Tensor) -> Tensor:
    """Squared error of z and continuous codes, plus cross-entropy of class and categorical codes.

    Args:
        layout: Layout of the input.
        free: (B, width) output of a Predictor.
        v: (B, width) true input of the generator.

    Returns:
        (), the sum over z, class and each code.
    """
    (z, condition, code), (true_z, true_condition, true_code) = layout.parts(free), layout.parts(v)
    (categorical, continuous), (ones, numbers) = layout.codes(code), layout.codes(true_code)
    loss = F.mse_loss(z, true_z)
    pairs = list(zip(categorical, ones, strict=True))
    if layout.conditions:
        pairs.append((condition, true_condition))
    for logits, one_hot in pairs:
        loss = loss + F.cross_entropy(logits, one_hot)
    if layout.continuous:
        loss = loss + F.mse_loss(continuous.tanh(), numbers)
    return loss


def _means(losses: Tensor) -> list[float]:
    parts = losses.tensor_split(min(POINTS, len(losses))) if len(losses) else ()
    return [float(part.mean()) for part in parts]
