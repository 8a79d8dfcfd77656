"""A cache of features of real images, with which every model is compared."""

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
    """``features`` of images, computed once; see ``kept``.

    Args:
        images: (N, H, W, 3) RGB.
        weights: Network to use.
        folder: Folder of the cache.

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
    """Features of images, computed once; results have the same bits with and without the cache.

    A file is named by everything that the features depend on: pixels and their shape, ``facts``,
    and what changes their last bits (device, threads, torch). It holds float32 values and their
    hash. Damaged files are computed again. The folder may be removed at any time.

    Args:
        images: (N, H, W, 3) RGB.
        describe: Function from images to (N, width) float32.
        width: Number of features.
        facts: Identity of the function: its weights and its code.
        folder: Folder of the cache; created if it does not exist.
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
    for image in images:  # one at a time: they may be memory-mapped
        digest.update(image.tobytes())
    return digest.hexdigest()


@cache
def _code() -> str:
    return sha256(Path(str(module.__file__)).read_bytes()).hexdigest()
