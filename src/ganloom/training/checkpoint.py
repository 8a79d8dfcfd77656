"""Checkpoints from which a training continues bit for bit.

A checkpoint is one safetensors file: tensors by name, everything else as JSON in its metadata.
Without pickle, loading executes no code. The file is written under another name and then renamed,
so that a kill at any time leaves a complete file, old or new.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor
from torch.optim import Optimizer

STATE = "state.safetensors"
_FACTS = "facts"

# Modules that no result depends on, and that are therefore not part of a fingerprint:
# values of parameters are part of the facts, and checks can only refuse to start a stage.
EXEMPT = {"git", "params", "preflight"}

# Tensors by name, nested to any depth.
Tree = dict[str, Any]


class BusyError(RuntimeError):
    """Another process runs the same training; the message gives its process id."""


class DamagedError(RuntimeError):
    """A checkpoint is invalid; the message gives its path and a remedy."""


def fingerprint(facts: dict[str, Any], files: list[Path]) -> str:
    """Identify a training by 16 hexadecimal digits of a hash over everything its bits depend on.

    The hash covers ``facts`` (JSON), the content of ``files``, the loaded modules of this package
    (without ``EXEMPT``), and the version of torch. A checkpoint is used only by the training that
    wrote it.
    """
    modules = (
        Path(str(module.__file__))
        for name, module in sys.modules.items()
        if name.startswith("ganloom.") and name.split(".")[1] not in EXEMPT
    )
    digest = hashlib.sha256(json.dumps([facts, torch.__version__], sort_keys=True).encode())
    for path in [*files, *sorted(modules)]:
        with path.open("rb") as file:
            digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


@contextmanager
def hold(folder: Path, what: str) -> Iterator[None]:
    """Lock ``folder`` for this process; it is deleted on exit without an exception.

    Raises:
        BusyError: Another process has the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise BusyError(f"{what} is running (pid {lock.read() or 'unknown'})") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
        shutil.rmtree(folder)


def save(folder: Path, tensors: Tree, facts: dict[str, Any]) -> None:
    """Write a checkpoint durably and atomically."""
    data = safetensors.torch.save(_flat(tensors), {_FACTS: json.dumps(facts)})
    temporary = folder / f"{STATE}.new"
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / STATE)
    directory = os.open(folder, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


def load(folder: Path) -> tuple[Tree, dict[str, Any]] | None:
    """Read a checkpoint; None if there is none."""
    path = folder / STATE
    if not path.exists():
        return None
    tree: Tree = {}
    with safetensors.safe_open(path, "pt") as file:
        for key in file.keys():  # noqa: SIM118
            *branches, leaf = key.split("/")
            node = tree
            for branch in branches:
                node = node.setdefault(branch, {})
            node[leaf] = file.get_tensor(key)
        return tree, json.loads(file.metadata()[_FACTS])


def _flat(tree: Tree, prefix: str = "") -> dict[str, Tensor]:
    flat = {}
    for name, value in tree.items():
        if isinstance(value, Tensor):
            flat[prefix + name] = value.detach().cpu().contiguous()
        else:
            flat |= _flat(value, f"{prefix}{name}/")
    return flat


def optimizer_state(optimizer: Optimizer) -> Tree:
    """Return moments and counters of an optimizer by the number of the parameter."""
    return {
        str(number): optimizer.state[parameter]
        for number, parameter in enumerate(_parameters(optimizer))
    }


def set_optimizer_state(optimizer: Optimizer, tree: Tree) -> None:
    """Restore the result of ``optimizer_state`` in place."""
    for number, parameter in enumerate(_parameters(optimizer)):
        for name, value in optimizer.state[parameter].items():
            saved = tree[str(number)][name]
            value.copy_(saved.view_as(value))  # view_as raises an error if the size differs


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def random_state(device: torch.device) -> Tree:
    """Return the state of torch's global generators."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_random_state(states: Tree, device: torch.device) -> None:
    """Restore the result of ``random_state``."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)
