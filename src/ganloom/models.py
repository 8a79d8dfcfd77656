"""Networks from their specifications, and their files."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import numpy as np
import safetensors
import safetensors.torch
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ganloom import params
from ganloom.nets.blocks import DiscriminatorOutput
from ganloom.nets.conditioning import Embedded, EmbeddedPlane, OneHotPlanes, Projection
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
    """A discriminator: (B, 3, R, R) in [-1, 1], and a condition, to a DiscriminatorOutput."""

    def __init__(
        self, front: nn.Module | None, net: nn.Module, projection: Projection | None
    ) -> None:
        super().__init__()
        self.front, self.net, self.projection = front, net, projection

    def forward(self, x: Tensor, condition: Tensor | None = None) -> DiscriminatorOutput:
        if self.front is not None:
            x = self.front(x, condition)
        output: DiscriminatorOutput = self.net(x)
        if self.projection is not None and condition is not None:
            fit = self.projection(output.features, condition)
            output = output._replace(logits=output.logits + fit)
        return output


def inputs(model: params.Model, labels: int) -> Inputs:
    """The inputs of a model's generator; ``labels`` is the number of its classes or originals."""
    code, is_picture = model.code, model.condition == "picture"
    return Inputs(
        latent=model.generator.latent,
        classes=labels if model.condition and not is_picture else 0,
        categorical=tuple(code.categorical) if code else (),
        continuous=code.continuous if code else 0,
        pictures=labels if is_picture else 0,
    )


def build_generator(
    spec: params.Generator, resolution: int, inputs: Inputs, condition: str | None = None
) -> Generator:
    """Build a generator with random weights from torch's global generator.

    Args:
        spec: Specification of the network.
        resolution: R in px.
        inputs: Layout of v.
        condition: Key ``condition`` of the model.
    """
    embedded = condition in ("embedding", "picture")
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
    projection = Projection(inputs.pictures, net.features) if inputs.pictures else None
    return Discriminator(front, net, projection)


def networks(kind: str) -> Any:
    """The module of ``ganloom.nets`` with a kind of generator or discriminator."""
    return importlib.import_module(f"ganloom.nets.{kind}")


class Metadata(BaseModel):
    """What a file says about its network, so that the network can be built again."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)


class ModelInfo(Metadata):
    """Metadata that generator and discriminator share.

    Attributes:
        model: Name of the model.
        resolution: R in px.
        kimg: Length of the training.
        inputs: Layout of the generator's input.
        condition: Key ``condition`` of the model.
        classes: Names of the classes, in the order of their numbers.
        pictures: SHA-256 of the originals that the model is conditioned on, in the same way.
    """

    model: str
    resolution: int
    kimg: float
    inputs: Inputs
    condition: Literal["onehot", "embedding", "picture"] | None
    classes: list[str]
    pictures: list[str] = []

    @model_validator(mode="after")
    def _check_condition(self) -> Self:
        for names, of in ((self.classes, "classes"), (self.pictures, "pictures")):
            if len(names) != getattr(self.inputs, of):
                raise ValueError(f"{len(names)} {of}, but {getattr(self.inputs, of)} inputs")
        return self


class GeneratorInfo(ModelInfo):
    """Metadata of a generator: the specification of the network, and what models share."""

    generator: params.Generator


class DiscriminatorInfo(ModelInfo):
    """Metadata of a discriminator.

    Attributes:
        discriminator: Specification of the network.
        outputs: Number of its outputs for an image.
    """

    discriminator: params.Discriminator
    outputs: int


def save(net: nn.Module, info: Metadata, path: Path) -> None:
    """Write weights and metadata; equal networks give equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {key: tensor.cpu().contiguous() for key, tensor in net.state_dict().items()}
    text = json.dumps(info.model_dump(mode="json"), sort_keys=True)
    path.write_bytes(safetensors.torch.save(tensors, {METADATA: text}))


Info = TypeVar("Info", bound=Metadata)


def read_info(path: Path, kind: type[Info]) -> Info:
    """Read the metadata of a file, but not its weights; call it in ``refusing``."""
    with safetensors.safe_open(path, "pt") as file:
        return kind.model_validate_json((file.metadata() or {})[METADATA])


def read(
    path: Path, kind: type[Info], device: torch.device | str = "cpu"
) -> tuple[Info, dict[str, Tensor]]:
    """Read metadata and weights of a file; call it in ``refusing``."""
    with safetensors.safe_open(path, "pt", device=str(device)) as file:
        info = kind.model_validate_json((file.metadata() or {})[METADATA])
        return info, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


@contextmanager
def refusing(path: Path, what: str, origin: str = "the stage `train` makes it") -> Iterator[None]:
    """Turn the errors of reading a file that may be hostile into a ModelError.

    Args:
        path: Path of the file.
        what: What it should be, such as "a generator of ganloom".
        origin: Where the file comes from, for the message if it is missing.
    """
    try:
        yield
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file; {origin}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "metadata"
        raise ModelError(f"{path} is damaged or not {what}: {place}: {first['msg']}") from None
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{path} is damaged or not {what}: {error!r}") from None


def load_generator(path: Path, device: torch.device | str) -> tuple[Generator, GeneratorInfo]:
    """Load a trained generator, in eval mode, and its metadata.

    Raises:
        ModelError: The file is missing, damaged or not a generator.
    """
    with refusing(path, "a generator of ganloom"):
        info, tensors = read(path, GeneratorInfo, device)
        with torch.device("meta"), _Undrawn():  # allocates and draws no weights
            net = build_generator(info.generator, info.resolution, info.inputs, info.condition)
        net.load_state_dict(tensors, assign=True)
    return net.to(memory_format=torch.channels_last).eval(), info


def load_discriminator(
    path: Path, device: torch.device | str
) -> tuple[Discriminator, DiscriminatorInfo]:
    """Load a trained discriminator, in eval mode, and its metadata.

    Raises:
        ModelError: The file is missing, damaged or not a discriminator.
    """
    with refusing(path, "a discriminator of ganloom"):
        info, tensors = read(path, DiscriminatorInfo, device)
        # Not on "meta": a frozen network in it needs its own weights, which are not in the file.
        # Random weights are replaced below, so drawing them must not move the global generator.
        with torch.random.fork_rng(devices=[]):
            net = _discriminator(
                info.discriminator, info.resolution, info.inputs, info.condition, info.outputs
            )
        net.load_state_dict(tensors)
    return net.to(device).to(memory_format=torch.channels_last).eval(), info


class _Undrawn(TorchFunctionMode):
    """Skips random initialisation: on "meta" it makes torch import its compiler (two seconds)."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is nn.init.normal_:
            return kwargs["tensor"]
        return func(*args, **kwargs or {})


def from_uint8(images: NDArray[np.uint8], device: torch.device | str = "cpu") -> Tensor:
    """Convert pixels (N, H, W, 3) to images (N, 3, H, W) in [-1, 1] on a device."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).to(device)
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1


def to_uint8(images: Tensor) -> NDArray[np.uint8]:
    """Convert images (N, 3, H, W) in [-1, 1] to pixels (N, H, W, 3)."""
    pixels = images.detach().float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).cpu().numpy()
