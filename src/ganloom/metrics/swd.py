"""Sliced Wasserstein distance of patches, which needs no pretrained network."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganloom.pyramid import pyramid

# As in the paper; values depend on them.
PATCH = 7
PATCHES_PER_IMAGE = 128

# Images in a pyramid and directions in a projection at a time, which bounds memory.
IMAGES = 128
DIRECTIONS = 32


def swd(
    real: NDArray[np.uint8], fake: NDArray[np.uint8], projections: int, seed: int
) -> dict[int, float]:
    """Sliced Wasserstein distance on a Laplacian pyramid (Karras et al., 2018).

    At each level, patches of 7 x 7 px from both sets, normalised to zero mean and unit variance
    per channel and set, are projected on random directions; the distance is the mean difference
    of the sorted projections. Both sets use the same places and directions. Fine levels measure
    texture, the coarsest composition; the normalisation removes the overall colour.

    Args:
        real: (N, R, R, 3) RGB, R at least 7.
        fake: (N, R, R, 3).
        projections: Number of directions.
        seed: Seed of places and directions.

    Returns:
        Distance x 1000 by side of the level in px, finest first (R, R/2, ... at least 16).
    """
    if real.shape != fake.shape:
        raise ValueError(f"swd compares sets of one shape, got {real.shape} and {fake.shape}")
    patches_real, patches_fake = _patches(real, seed), _patches(fake, seed)
    return {
        side: 1000 * _sliced(patches_real[side], patches_fake[side], projections, [seed, side])
        for side in patches_real
    }


def _patches(images: NDArray[np.uint8], seed: int) -> dict[int, Tensor]:
    """Patches (128 N, 3, 7, 7) by side of the level, normalised per channel."""
    found: dict[int, list[Tensor]] = defaultdict(list)
    for start in range(0, len(images), IMAGES):
        part = torch.from_numpy(np.ascontiguousarray(images[start : start + IMAGES]))
        for level in pyramid(part.permute(0, 3, 1, 2).float()):
            side = level.shape[-1]
            found[side].append(_cut(level, np.random.default_rng([seed, side, start])))
    return {side: _normalised(torch.cat(parts)) for side, parts in found.items()}


def _cut(level: Tensor, rng: np.random.Generator) -> Tensor:
    count, _, side, _ = level.shape
    image = torch.arange(count).repeat_interleave(PATCHES_PER_IMAGE)
    top, left = torch.from_numpy(rng.integers(side - PATCH + 1, size=(2, len(image))))
    return level.unfold(2, PATCH, 1).unfold(3, PATCH, 1)[image, :, top, left]


def _normalised(patches: Tensor) -> Tensor:
    centred = patches - patches.mean((0, 2, 3), keepdim=True)
    # The bound is for a generator whose images are all of one colour.
    return centred / centred.square().mean((0, 2, 3), keepdim=True).sqrt().clamp_min(1e-8)


def _sliced(a: Tensor, b: Tensor, projections: int, seed: list[int]) -> float:
    """Mean distance of the sorted projections of two sets of equal size."""
    rng = np.random.default_rng(seed)
    directions = torch.from_numpy(rng.standard_normal((projections, a[0].numel()), np.float32))
    total = 0.0
    for part in torch.nn.functional.normalize(directions).split(DIRECTIONS):
        sorted_a, sorted_b = (np.sort((part @ x.flatten(1).T).numpy(), axis=1) for x in (a, b))
        total += float(np.abs(sorted_a - sorted_b).mean(axis=1, dtype=np.float64).sum())
    return total / projections
