"""Networks from their specifications, and their files."""

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

# The only metadata key of the files: safetensors stores several keys in random order.
METADATA = "ganloom"


class ModelError(ValueError):
    """A file is not a model; the message names it and says what is wrong."""


class Generator(nn.Module):
    """A generator: v (B, inputs.width) to images (B, 3, R, R) in [-1, 1]."""

    def __init__(self, front: nn.Module, net: nn.Module, inputs: Inputs) -> None:
        super().__init__()
        self.front, self.net, self.inputs = front, net, inputs

    def forward(self, v: Tensor) -> Tensor:
        images: Tensor = self.net(self.front(v))
        return images


class Discriminator(nn.Module):
    """A discriminator: (B, 3, R, R) in [-1, 1], and classes, to a DiscriminatorOutput."""

    def __init__(self, front: nn.Module | None, net: nn.Module) -> None:
        super().__init__()
        self.front, self.net = front, net

    def forward(self, x: Tensor, condition: Tensor | None = None) -> DiscriminatorOutput:
        if self.front is not None:
            x = self.front(x, condition)
        output: DiscriminatorOutput = self.net(x)
        return output


def inputs(model: params.Model, classes: int) -> Inputs:
    """The inputs of a model's generator; ``classes`` is the number of classes of its images."""
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
    """Build a generator with random weights from torch's global generator.

    Args:
        spec: Specification of the network.
        resolution: R in px.
        inputs: Layout of v.
        condition: Form of the class: "onehot", "embedding", or None for no classes.
    """
    embedded = condition == "embedding"
    width = 2 * inputs.latent + inputs.coded if embedded else inputs.width
    front = Embedded(inputs) if embedded else nn.Identity()
    return Generator(front, networks(spec.kind).generator(spec, resolution, width), inputs)


def build_discriminator(model: params.Model, inputs: Inputs) -> Discriminator:
    """Build a discriminator with random weights from torch's global generator."""
    return _discriminator(
        model.discriminator, model.resolution, inputs, model.condition, outputs(model, inputs)
    )


def outputs(model: params.Model, inputs: Inputs) -> int:
    """Number of outputs for an image: the logit, and the estimates of code and z."""
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
    """The module of ``ganloom.nets`` with a kind of generator or discriminator."""
    return importlib.import_module(f"ganloom.nets.{kind}")


def save(net: nn.Module, metadata: dict[str, Any], path: Path) -> None:
    """Write weights and the metadata to rebuild the network; equal networks give equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {key: tensor.cpu().contiguous() for key, tensor in net.state_dict().items()}
    path.write_bytes(
        safetensors.torch.save(tensors, {METADATA: json.dumps(metadata, sort_keys=True)})
    )


def load_generator(path: Path, device: torch.device | str) -> tuple[Generator, dict[str, Any]]:
    """Load a trained generator.

    Returns:
        The network in eval mode, and its metadata: ``model`` (name), ``resolution`` (px),
        ``generator`` (specification), ``condition`` (form of the class), ``classes`` (names in the
        order of their numbers), ``inputs``, ``kimg`` (length of the training).

    Raises:
        ModelError: The file is missing, damaged or not a generator.
    """
    try:
        metadata, tensors = _read(path, device)
        spec: params.Generator = TypeAdapter(params.Generator).validate_python(
            metadata["generator"]
        )
        with torch.device("meta"), _Undrawn():  # allocates and draws no weights
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
    """Load a trained discriminator.

    Returns:
        The network in eval mode, and its metadata: that of the generator, with ``discriminator``
        (specification) and ``outputs`` instead of ``generator``.

    Raises:
        ModelError: The file is missing, damaged or not a discriminator.
    """
    try:
        metadata, tensors = _read(path, device)
        spec: params.Discriminator = TypeAdapter(params.Discriminator).validate_python(
            metadata["discriminator"]
        )
        # Not on "meta": a frozen network in it needs its own weights, which are not in the file.
        # Random weights are replaced below, so drawing them must not move the global generator.
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
    """Skips random initialisation: on "meta" it makes torch import its compiler (two seconds)."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is nn.init.normal_:
            return kwargs["tensor"]
        return func(*args, **kwargs or {})


# Raised by reading a file that is damaged or something else.
_WRONG = (safetensors.SafetensorError, KeyError, TypeError, ValueError, RuntimeError)


def _missing(path: Path) -> ModelError:
    return ModelError(f"{path}: no such file; the stage `train` makes it")


def _read(path: Path, device: torch.device | str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read metadata and tensors of a file."""
    with safetensors.safe_open(path, "pt", device=str(device)) as file:
        metadata: dict[str, Any] = json.loads((file.metadata() or {})[METADATA])
        return metadata, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


def _inputs(metadata: dict[str, Any]) -> Inputs:
    layout = metadata["inputs"]
    return Inputs(**layout | {"categorical": tuple(layout["categorical"])})


def to_uint8(images: Tensor) -> NDArray[np.uint8]:
    """Convert images (N, 3, H, W) in [-1, 1] to pixels (N, H, W, 3)."""
    pixels = images.detach().float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).cpu().numpy()
