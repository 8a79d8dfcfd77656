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
    """Take over what fits, say how much that was, and keep what is not to change.

    Raises:
        TransferError: a file is missing, is not the one that the hash names, fits nowhere, or lacks
            what is to be kept.
    """
    taken = _begin(generator, "generator", spec.generator, spec)
    if spec.keep_statistics:
        keep_statistics(generator, taken)
    if spec.discriminator:
        taken = _begin(discriminator, "discriminator", spec.discriminator, spec)
        freeze(discriminator, spec.freeze, taken)


def _begin(net: nn.Module, player: str, sha256: str, spec: params.InitFrom) -> set[str]:
    """The names of the tensors that fit."""
    path = Path(spec.folder) / f"{player}.safetensors"
    taken = _take_over(net, _read(path, player, sha256))
    if not taken:
        raise TransferError(
            f"init_from.folder: no tensor of {path} has the name and shape of one of the "
            f"{player}'s; give the {player} the kind, channels and resolution of that training"
        )
    print(f"{path}: {len(taken)} of {len(net.state_dict())} tensors", file=sys.stderr)
    return taken


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
def _take_over(net: nn.Module, tensors: dict[str, Tensor]) -> set[str]:
    """Copy what has the name and shape of one of the network's: the names."""
    own = net.state_dict()  # its tensors, not copies
    fitting = {n for n, t in own.items() if n in tensors and tensors[n].shape == t.shape}
    for name in fitting:
        own[name].copy_(tensors[name])
    return fitting


def keep_statistics(generator: Generator, taken: set[str]) -> None:
    """Let batch normalisation go by its running statistics while the generator learns.

    Otherwise it learns to make batches of some size, each with its own contrast, and pictures are
    made from it one by one, with the contrast of all.

    Raises:
        TransferError: some are not another training's.
    """
    for name, module in generator.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            if f"{name}.running_var" not in taken:
                raise TransferError(
                    f"init_from.keep_statistics: {name} of the generator is not in the file or has "
                    "another shape there; give the generator the channels of that training, or say "
                    "false"
                )
            module.eval()


def freeze(discriminator: Discriminator, layers: int, taken: set[str]) -> None:
    """Keep the weights of so many layers from the image on, and of norms between them.

    Args:
        discriminator: What is to learn with its later layers.
        layers: How many to keep.
        taken: Names of its tensors that are another training's.

    Raises:
        TransferError: D has no layer left to learn, or would keep random weights.
    """
    count = 0
    for name, module in discriminator.net.named_modules(prefix="net"):
        if isinstance(module, blocks.LAYERS):
            count += 1
        if isinstance(module, (*blocks.LAYERS, *blocks.NORMS)) and count <= layers:
            own = {f"{name}.{key}" for key in module.state_dict()}
            if own - taken:
                raise TransferError(
                    f"init_from.freeze: {min(own - taken)} of the discriminator is not in the file "
                    f"or has another shape there, so layer {count} would keep random weights; "
                    f"freeze {max(0, count - 1)}, or give it the channels, classes and resolution "
                    "of that training"
                )
            module.requires_grad_(False)
    if layers >= count:
        raise TransferError(
            f"init_from.freeze: the discriminator has {count} layers; at most {count - 1} can keep "
            "their weights"
        )
