"""To begin with another training's weights, by the names and shapes of layers.

What a network learned of edges and weaves on many pictures need not be learned again from a few
(Mo et al., 2020, arXiv:2002.10964, who also freeze D's lower layers).
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from ganloom import params
from ganloom.models import Discriminator, Generator
from ganloom.nets import blocks


class TransferError(ValueError):
    """Weights to begin with cannot be used; the message names the key and says what is wrong."""


def begin(generator: Generator, discriminator: Discriminator, spec: params.InitFrom) -> None:
    """Take over what fits, say how much that was, and freeze D's lower layers.

    Raises:
        TransferError: a file is missing, is not the one that the hash names, fits nowhere, or D has
            no more layers than should be frozen.
    """
    for player, net, sha256 in (
        ("generator", generator, spec.generator),
        ("discriminator", discriminator, spec.discriminator),
    ):
        if sha256 is None:
            continue
        path = Path(spec.folder) / f"{player}.safetensors"
        fitting, all_of_them = _take_over(net, _read(path, player, sha256))
        if not fitting:
            raise TransferError(
                f"init_from.folder: no tensor of {path} has the name and shape of one of the "
                f"{player}'s; give the {player} the kind, channels and resolution of that training"
            )
        print(f"{path}: {fitting} of {all_of_them} tensors", file=sys.stderr)
    freeze(discriminator, spec.freeze)


def _read(path: Path, player: str, sha256: str) -> dict[str, Tensor]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise TransferError(
            f"init_from.folder: {path}: no such file; name the folder of a finished training, "
            "such as results/models/dcgan of a project"
        ) from None
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise TransferError(
            f"init_from.{player}: {path} has the sha256 {found}; if it is meant, write that there"
        )
    try:
        return safetensors.torch.load(data)
    except safetensors.SafetensorError as error:
        raise TransferError(f"init_from.folder: {path}: not a safetensors file: {error}") from None


@torch.no_grad()
def _take_over(net: nn.Module, tensors: dict[str, Tensor]) -> tuple[int, int]:
    """Copy what has the name and shape of one of the network's: how many did, of how many."""
    own = net.state_dict()  # its tensors, not copies
    fitting = [
        name for name, t in own.items() if name in tensors and tensors[name].shape == t.shape
    ]
    for name in fitting:
        own[name].copy_(tensors[name])
    return len(fitting), len(own)


def freeze(discriminator: Discriminator, layers: int) -> None:
    """Keep the weights of so many layers from the image on, and of norms between them.

    Raises:
        TransferError: D has no layer left to learn.
    """
    count = 0
    kept = []
    for module in discriminator.net.modules():
        if isinstance(module, blocks.LAYERS):
            count += 1
        if isinstance(module, (*blocks.LAYERS, *blocks.NORMS)) and count <= layers:
            kept.append(module)
    if layers >= count:
        raise TransferError(
            f"init_from.freeze: the discriminator has {count} layers; at most {count - 1} can keep "
            "their weights"
        )
    for module in kept:
        module.requires_grad_(False)
