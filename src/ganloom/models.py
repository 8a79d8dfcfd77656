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
from torch import Tensor, nn

from ganloom.params import DcganDiscriminator, DcganGenerator

# The one metadata key of our files: safetensors stores several in an order that differs between
# processes.
METADATA = "ganloom"


class ModelError(ValueError):
    """A file does not hold a model; the message names it and says what is wrong."""


def build_generator(spec: DcganGenerator, resolution: int) -> nn.Module:
    """A generator with fresh weights: z (B, spec.latent) to (B, 3, R, R) in [-1, 1]."""
    return _module(spec.kind).generator(spec, resolution)


def build_discriminator(spec: DcganDiscriminator, resolution: int) -> nn.Module:
    """A discriminator with fresh weights: (B, 3, R, R) in [-1, 1] to logits (B,)."""
    return _module(spec.kind).discriminator(spec, resolution)


def _module(kind: str) -> Any:
    return importlib.import_module(f"ganloom.nets.{kind}")


def save(net: nn.Module, metadata: dict[str, Any], path: Path) -> None:
    """Write weights and what is needed to rebuild the network; the same, the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {key: tensor.cpu().contiguous() for key, tensor in net.state_dict().items()}
    path.write_bytes(
        safetensors.torch.save(tensors, {METADATA: json.dumps(metadata, sort_keys=True)})
    )


def load_generator(path: Path, device: torch.device | str) -> tuple[nn.Module, dict[str, Any]]:
    """Rebuild a trained generator.

    Returns:
        The network in eval mode (no dropout, fixed statistics), and its metadata: ``model`` (name),
        ``resolution`` (px), ``generator`` (specification), ``kimg`` (length of its training).

    Raises:
        ModelError: the file is missing, damaged or not a generator of ours.
    """
    try:
        with safetensors.safe_open(path, "pt", device=str(device)) as file:
            metadata = json.loads((file.metadata() or {})[METADATA])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        spec = DcganGenerator.model_validate(metadata["generator"])
        with torch.device("meta"):  # no fresh weights: nothing is drawn or allocated for them
            net = build_generator(spec, metadata["resolution"])
        net.load_state_dict(tensors, assign=True)
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file; the stage `train` makes it") from None
    except (safetensors.SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise ModelError(f"{path}: not a generator of ganloom: {error!r}") from None
    return net.to(memory_format=torch.channels_last).eval(), metadata


def to_uint8(images: Tensor) -> NDArray[np.uint8]:
    """Images of a generator, (N, 3, H, W) in [-1, 1], as pixels (N, H, W, 3)."""
    pixels = images.detach().float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).cpu().numpy()
