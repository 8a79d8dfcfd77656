"""From specifications to networks, and between networks and files."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ganloom import params
from ganloom.nets.blocks import DiscriminatorOutput
from ganloom.nets.conditioning import Embedded, EmbeddedPlane, OneHotPlanes
from ganloom.nets.inputs import Inputs

# The one metadata key of our files: safetensors stores several in an order that differs between
# processes.
METADATA = "ganloom"


class ModelError(ValueError):
    """A file does not hold a model; the message names it and says what is wrong."""


class Generator(nn.Module):
    """A network and what it is told: v (B, inputs.width) to (B, 3, R, R) in [-1, 1]."""

    def __init__(self, front: nn.Module, net: nn.Module, inputs: Inputs) -> None:
        super().__init__()
        self.front, self.net, self.inputs = front, net, inputs

    def forward(self, v: Tensor) -> Tensor:
        images: Tensor = self.net(self.front(v))
        return images


class Discriminator(nn.Module):
    """A network and how it is told the class: (B, 3, R, R) in [-1, 1] to a DiscriminatorOutput."""

    def __init__(self, front: nn.Module | None, net: nn.Module) -> None:
        super().__init__()
        self.front, self.net = front, net

    def forward(self, x: Tensor, condition: Tensor | None = None) -> DiscriminatorOutput:
        if self.front is not None:
            x = self.front(x, condition)
        output: DiscriminatorOutput = self.net(x)
        return output


def inputs(model: params.Model, classes: int) -> Inputs:
    """What the generator of a model is told, where the training images have so many classes."""
    code = model.code
    return Inputs(
        model.generator.latent,
        classes if model.condition else 0,
        tuple(code.categorical) if code else (),
        code.continuous if code else 0,
    )


def build_generator(
    spec: params.Generator, resolution: int, inputs: Inputs, condition: str | None = None
) -> Generator:
    """A generator with fresh weights from torch's global generator.

    Args:
        spec: Of the network.
        resolution: R in px.
        inputs: What it is told.
        condition: How it is told the class: "onehot", "embedding" or None.
    """
    embedded = condition == "embedding"
    width = 2 * inputs.latent + inputs.coded if embedded else inputs.width
    front = Embedded(inputs) if embedded else nn.Identity()
    return Generator(front, networks(spec.kind).generator(spec, resolution, width), inputs)


def build_discriminator(model: params.Model, inputs: Inputs) -> Discriminator:
    """A discriminator with fresh weights from torch's global generator."""
    return _discriminator(
        model.discriminator, model.resolution, inputs, model.condition, outputs(model, inputs)
    )


def outputs(model: params.Model, inputs: Inputs) -> int:
    """How many numbers a discriminator says of an image: its logit, and what it recovers."""
    latent = inputs.latent if model.code and model.code.weight_latent else 0
    return 1 + inputs.coded + latent


def _discriminator(
    spec: params.Discriminator, resolution: int, inputs: Inputs, condition: str | None, outputs: int
) -> Discriminator:
    front: OneHotPlanes | EmbeddedPlane | None = None
    if condition == "onehot":
        front = OneHotPlanes(inputs.classes)
    elif condition == "embedding":
        front = EmbeddedPlane(inputs.classes, resolution)
    planes = front.planes if front else 0
    net = networks(spec.kind).discriminator(spec, resolution, 3 + planes, outputs)
    return Discriminator(front, net)


def networks(kind: str) -> Any:
    """The module of ``ganloom.nets`` for a kind of generator or discriminator."""
    return importlib.import_module(f"ganloom.nets.{kind}")


def save(net: nn.Module, metadata: dict[str, Any], path: Path) -> None:
    """Write weights and what is needed to rebuild the network; the same, the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {key: tensor.cpu().contiguous() for key, tensor in net.state_dict().items()}
    path.write_bytes(
        safetensors.torch.save(tensors, {METADATA: json.dumps(metadata, sort_keys=True)})
    )


def load_generator(path: Path, device: torch.device | str) -> tuple[Generator, dict[str, Any]]:
    """Rebuild a trained generator.

    Returns:
        The network in eval mode (no dropout, fixed statistics), and its metadata: ``model`` (name),
        ``resolution`` (px), ``generator`` (specification), ``condition`` (how it is told the
        class), ``classes`` (their names, in order), ``inputs``, ``kimg`` (length of its training).

    Raises:
        ModelError: the file is missing, damaged or not a generator of ours.
    """
    try:
        metadata, tensors = _read(path, device)
        spec: params.Generator = TypeAdapter(params.Generator).validate_python(
            metadata["generator"]
        )
        with torch.device("meta"), _Undrawn():  # no fresh weights: none are allocated or drawn
            net = build_generator(
                spec, metadata["resolution"], _inputs(metadata), metadata["condition"]
            )
        net.load_state_dict(tensors, assign=True)
    except FileNotFoundError:
        raise _missing(path) from None
    except _WRONG as error:
        raise ModelError(f"{path}: not a generator of ganloom: {error!r}") from None
    return net.to(memory_format=torch.channels_last).eval(), metadata


def load_discriminator(
    path: Path, device: torch.device | str
) -> tuple[Discriminator, dict[str, Any]]:
    """Rebuild the discriminator that was trained beside a generator.

    Returns:
        The network in eval mode, and its metadata: that of its generator with ``discriminator``
        (specification) and ``outputs`` instead of ``generator``.

    Raises:
        ModelError: the file is missing, damaged or not a discriminator of ours.
    """
    try:
        metadata, tensors = _read(path, device)
        spec: params.Discriminator = TypeAdapter(params.Discriminator).validate_python(
            metadata["discriminator"]
        )
        # Not on "meta": a frozen network within it, whose weights are not in the file, needs its
        # own. Nobody else's random numbers are drawn for weights that are replaced at once.
        with torch.random.fork_rng(devices=[]):
            net = _discriminator(
                spec,
                metadata["resolution"],
                _inputs(metadata),
                metadata["condition"],
                metadata["outputs"],
            )
        net.load_state_dict(tensors)
    except FileNotFoundError:
        raise _missing(path) from None
    except _WRONG as error:
        raise ModelError(f"{path}: not a discriminator of ganloom: {error!r}") from None
    return net.to(device).to(memory_format=torch.channels_last).eval(), metadata


class _Undrawn(TorchFunctionMode):
    """Draws no weights: for those without memory, torch would import its compiler (two seconds)."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is nn.init.normal_:
            return kwargs["tensor"]
        return func(*args, **kwargs or {})


# What reading a file raises that is none of ours.
_WRONG = (safetensors.SafetensorError, KeyError, TypeError, ValueError, RuntimeError)


def _missing(path: Path) -> ModelError:
    return ModelError(f"{path}: no such file; the stage `train` makes it")


def _read(path: Path, device: torch.device | str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Metadata and tensors of a file."""
    with safetensors.safe_open(path, "pt", device=str(device)) as file:
        metadata: dict[str, Any] = json.loads((file.metadata() or {})[METADATA])
        return metadata, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


def _inputs(metadata: dict[str, Any]) -> Inputs:
    told = metadata["inputs"]
    return Inputs(**told | {"categorical": tuple(told["categorical"])})


def to_uint8(images: Tensor) -> NDArray[np.uint8]:
    """Images of a generator, (N, 3, H, W) in [-1, 1], as pixels (N, H, W, 3)."""
    pixels = images.detach().float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).cpu().numpy()
