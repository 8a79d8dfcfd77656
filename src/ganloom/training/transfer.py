"""Transfer of weights from another training, by names and shapes of layers.

Features that were learned from many images need not be learned again from a few (Mo et al., 2020,
arXiv:2002.10964, who also freeze the lower layers of D).
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
    """Initial weights cannot be used; the message names the key and says what is wrong."""


def begin(generator: Generator, discriminator: Discriminator, spec: params.InitFrom) -> None:
    """Copy the weights that fit, print their number, and freeze layers.

    Raises:
        TransferError: A file is missing, has another hash, matches no tensor, or lacks weights of
            frozen layers.
    """
    taken = _begin(generator, "generator", spec.generator, spec)
    if spec.keep_statistics:
        keep_statistics(generator, taken)
    if spec.discriminator:
        taken = _begin(discriminator, "discriminator", spec.discriminator, spec)
        freeze(discriminator, spec.freeze, taken)


def _begin(net: nn.Module, player: str, sha256: str, spec: params.InitFrom) -> set[str]:
    """Copy weights; return the names of the tensors that fit."""
    path = Path(spec.folder) / f"{player}.safetensors"
    taken = _take_over(net, _read(path, player, sha256))
    if not taken:
        raise TransferError(
            f"init_from.folder: no tensor in {path} has the name and shape of a tensor of the "
            f"{player}; give the {player} the kind, channels and resolution of that training"
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
    actual = hashlib.sha256(data).hexdigest()
    if actual != sha256:
        raise TransferError(
            f"init_from.{player}: {path} has the sha256 {actual}; to use this file, write that hash"
        )
    try:
        return safetensors.torch.load(data)
    except safetensors.SafetensorError as error:
        raise TransferError(f"init_from.folder: {path}: not a safetensors file: {error}") from None


@torch.no_grad()
def _take_over(net: nn.Module, tensors: dict[str, Tensor]) -> set[str]:
    """Copy tensors with the name and shape of one of the network's; return their names."""
    own = net.state_dict()  # its tensors, not copies
    fitting = {n for n, t in own.items() if n in tensors and tensors[n].shape == t.shape}
    for name in fitting:
        own[name].copy_(tensors[name])
    return fitting


def keep_statistics(generator: Generator, taken: set[str]) -> None:
    """Use running statistics in the generator's batch normalisation during training.

    With statistics of a batch, the generator would learn to rely on the contrast of the batch,
    which images that are generated later do not have.

    Raises:
        TransferError: Some statistics are not from the other training.
    """
    for name, module in generator.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            if f"{name}.running_var" not in taken:
                raise TransferError(
                    f"init_from.keep_statistics: {name} of the generator is not in the file or has "
                    "another shape there; give the generator the channels of that training, or set "
                    "it to false"
                )
            module.eval()


def freeze(discriminator: Discriminator, layers: int, taken: set[str]) -> None:
    """Freeze the first layers of D, and the normalisation layers between them.

    Args:
        discriminator: Network to freeze in part.
        layers: Number of layers to freeze, counted from the image.
        taken: Names of the tensors that are from the other training.

    Raises:
        TransferError: No layer would be left to train, or a frozen one would be random.
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
