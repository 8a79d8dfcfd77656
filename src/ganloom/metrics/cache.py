"""Features of real pictures, kept: every model is measured beside the same ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganloom import features as module
from ganloom.features import WIDTH, Weights, features
from ganloom.files import write_whole

DIGEST = sha256().digest_size


def remembered(images: NDArray[np.uint8], weights: Weights, folder: Path) -> Tensor:
    """``features`` of pictures, worked out once: see ``kept``.

    Args:
        images: (N, H, W, 3) RGB.
        weights: Which network.
        folder: Where they are kept.

    Returns:
        (N, 1280) float32 on the CPU.
    """
    describe = partial(features, weights=weights)
    return kept(images, describe, WIDTH, (weights.sha256, _code()), folder)


def kept(
    images: NDArray[np.uint8],
    describe: Callable[[NDArray[np.uint8]], Tensor],
    width: int,
    facts: tuple[str, ...],
    folder: Path,
) -> Tensor:
    """What a function says of pictures, worked out once; with and without the folder the same bits.

    A file is named by all that the features depend on: pixels and their shape, ``facts``, and what
    their last bits depend on (device, threads, torch). It holds float32 values and a hash of them.
    What is not whole is worked out again. Nothing in the folder is ever needed; it may be removed
    at any time.

    Args:
        images: (N, H, W, 3) RGB.
        describe: From these to (N, width) float32.
        width: Of the features.
        facts: What tells this function from others: its weights, its code.
        folder: Made if it does not exist.
    """
    path = folder / _name(images, facts)
    size = len(images) * width * np.dtype(np.float32).itemsize
    data = path.read_bytes() if path.is_file() and path.stat().st_size == size + DIGEST else b""
    values = data[:size]
    if not data or sha256(values).digest() != data[size:]:
        values = describe(images).numpy().tobytes()
        write_whole(path, values + sha256(values).digest())
    return torch.from_numpy(np.frombuffer(values, np.float32).reshape(len(images), width).copy())


def _name(images: NDArray[np.uint8], facts: tuple[str, ...]) -> str:
    device = torch.backends.cpu.get_cpu_capability()
    if torch.cuda.is_available():
        device = torch.cuda.get_device_name()
    bits = (device, torch.get_num_threads(), torch.__version__)
    digest = sha256(repr((images.shape, facts, bits)).encode())
    for image in images:  # one at a time: they may be mapped from a file
        digest.update(image.tobytes())
    return digest.hexdigest()


@cache
def _code() -> str:
    return sha256(Path(str(module.__file__)).read_bytes()).hexdigest()
