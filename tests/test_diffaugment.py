"""Augmentations for textures; test_training.py compares those of the paper with its code."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ganloom.images.arrays import apply_symmetry
from ganloom.training import diffaugment


def test_shift_wraps_around_both_axes_by_any_amount() -> None:
    torch.manual_seed(0)
    (picture,) = x = torch.arange(48.0).view(1, 3, 4, 4)
    every = {(i, j): picture.roll((i, j), (1, 2)) for i in range(4) for j in range(4)}
    shifted = diffaugment.augment(x.expand(200, -1, -1, -1), ["shift"])
    met = set()
    for y in shifted:
        (by,) = (key for key, rolled in every.items() if torch.equal(rolled, y))
        met.add(by)
    assert met == set(every)


def test_symmetries_of_the_square_are_uniformly_distributed() -> None:
    torch.manual_seed(0)
    x = torch.arange(48.0).view(1, 3, 4, 4)
    pixels = x.permute(0, 2, 3, 1).numpy()
    every = [apply_symmetry(pixels, k)[0] for k in range(8)]
    turned = diffaugment.augment(x.expand(800, -1, -1, -1), ["symmetry"])
    counts = [0] * 8
    for y in turned.permute(0, 2, 3, 1).numpy():
        (k,) = (k for k, picture in enumerate(every) if np.array_equal(picture, y))
        counts[k] += 1
    assert min(counts) > 60  # of 100 each: four standard deviations below


def test_affine_equals_grid_sample() -> None:
    x = torch.rand(40, 3, 12, 9, dtype=torch.float64)
    torch.manual_seed(0)
    angle, slant, wide, high = torch.rand(4, 40) * 2 - 1
    torch.manual_seed(0)
    found = diffaugment.augment(x, ["affine"])
    cos, sin, none = torch.cos(0.35 * angle), torch.sin(0.35 * angle), torch.zeros(40)
    turned = torch.stack([cos, -sin, sin, cos], 1).view(-1, 2, 2)
    shaped = torch.stack([1.25**wide, 0.3 * slant * 1.25**high, none, 1.25**high], 1)
    maps = torch.cat([shaped.view(-1, 2, 2) @ turned, torch.zeros(40, 2, 1)], 2).double()
    grid = nn.functional.affine_grid(maps, list(x.shape), align_corners=True)
    expected = nn.functional.grid_sample(x, grid, padding_mode="border", align_corners=True)
    assert torch.allclose(found, expected, atol=1e-5)
    assert (found - x).abs().mean() > 0.05


@pytest.mark.parametrize("kind", ["shift", "symmetry"])
def test_gradient_returns_to_the_shifted_pixel(kind: str) -> None:
    x = torch.rand(6, 3, 8, 8, requires_grad=True)
    y = diffaugment.augment(x, [kind])
    assert torch.equal(y.flatten(1).sort(dim=1).values, x.flatten(1).sort(dim=1).values)
    y.square().sum().backward()
    assert x.grad is not None
    assert torch.allclose(x.grad, 2 * x)


@pytest.mark.parametrize("kind", ["shift", "symmetry", "affine"])
def test_augmentation_preserves_the_memory_format(kind: str) -> None:
    x = torch.rand(2, 3, 8, 8).to(memory_format=torch.channels_last)
    assert diffaugment.augment(x, [kind]).is_contiguous(memory_format=torch.channels_last)
