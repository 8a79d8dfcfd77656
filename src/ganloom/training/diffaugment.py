"""DiffAugment (Zhao et al., 2020, arXiv:2006.10738): differentiable augmentations of D's input.

Real and fake images are both augmented, at each call of D, so that G does not learn to generate
augmented images. Each image of a batch has its own draw from torch's global generator. Formulas
and strengths of colour, translation and cutout are those of the paper's code. Shift and symmetry
are for textures, which have no preferred position or orientation, affine for digits and letters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ganloom.resampling import moved


def augment(images: Tensor, kinds: Sequence[str]) -> Tensor:
    """Apply the augmentations named (keys of ``AUGMENTATIONS``), in the order given.

    Args:
        images: (B, 3, H, W) float in [-1, 1]. Colours may leave that range, as in the paper.
        kinds: Names of the augmentations; the empty sequence changes nothing.
    """
    for kind in kinds:
        images = AUGMENTATIONS[kind](images)
    return images


def color(x: Tensor) -> Tensor:
    """Change brightness by -0.5 to 0.5, saturation by 0 to 2, and contrast by 0.5 to 1.5."""
    brightness, saturation, contrast = torch.rand(3, len(x), 1, 1, 1, device=x.device)
    x = x + (brightness - 0.5)
    grey = x.mean(dim=1, keepdim=True)
    x = (x - grey) * (saturation * 2) + grey
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return (x - mean) * (contrast + 0.5) + mean


def translation(x: Tensor) -> Tensor:
    """Shift by up to 1/8 of the side along each axis, padding with 0 (mid-grey)."""
    count, _, height, width = x.shape
    return moved(x, _shifted(count, height, x.device), _shifted(count, width, x.device))


def _shifted(count: int, side: int, device: torch.device) -> Tensor:
    """Indices (count, side) into an axis, some outside it, each row shifted by its own draw."""
    reach = int(side * 0.125 + 0.5)
    shift = torch.randint(-reach, reach + 1, (count, 1), device=device)
    return torch.arange(side, device=device) + shift


def cutout(x: Tensor) -> Tensor:
    """Set a rectangle of half the sides to 0; part of it may be outside the image."""
    count, _, height, width = x.shape
    rows = _cut(count, height, x.device)[:, None, :, None]
    columns = _cut(count, width, x.device)[:, None, None, :]
    return x * ~(rows & columns)


def _cut(count: int, side: int, device: torch.device) -> Tensor:
    """Mask (count, side) of the indices of an axis within a random span of half its length."""
    length = int(side * 0.5 + 0.5)
    centre = torch.randint(0, side + 1 - length % 2, (count, 1), device=device)
    offset = torch.arange(side, device=device) - centre + length // 2
    return (offset >= 0) & (offset < length)


def shift(x: Tensor) -> Tensor:
    """Shift by any number of px along each axis, with wrap-around."""
    count, _, height, width = x.shape
    return moved(x, _turned(count, height, x.device), _turned(count, width, x.device))


def _turned(count: int, side: int, device: torch.device) -> Tensor:
    """Indices (count, side) into an axis, each row rotated by its own draw."""
    start = torch.randint(side, (count, 1), device=device)
    return (torch.arange(side, device=device) + start) % side


def symmetry(x: Tensor) -> Tensor:
    """Apply a random one of the 8 symmetries of the square."""
    mirrored, upside_down, transposed = torch.rand(3, len(x), 1, 1, 1, device=x.device) < 0.5
    x = torch.where(mirrored, x.flip(3), x)
    x = torch.where(upside_down, x.flip(2), x)
    x = torch.where(transposed, x.transpose(2, 3), x)
    return x.contiguous(memory_format=torch.channels_last)


def affine(x: Tensor) -> Tensor:
    """Rotate by up to 20 degrees, scale each axis by 0.8 to 1.25 and shear by up to 0.3.

    Bilinear, with the border repeated. Digits and letters stay legible.
    """
    count, _, height, width = x.shape
    angle, slant, wide, high = torch.rand(4, count, 1, 1, device=x.device) * 2 - 1
    cos, sin = torch.cos(0.35 * angle), torch.sin(0.35 * angle)
    # Source of each pixel, from -1 to 1 between the borders.
    row = torch.linspace(-1, 1, height, device=x.device)[:, None]
    column = torch.linspace(-1, 1, width, device=x.device)
    rows = 1.25**high * (sin * column + cos * row)
    columns = 1.25**wide * (cos * column - sin * row) + 0.3 * slant * rows
    return _interpolated(x, (rows + 1) / 2 * (height - 1), (columns + 1) / 2 * (width - 1))


def _interpolated(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Bilinear samples at (B, H, W) positions in px; deterministic, unlike ``grid_sample``."""
    image = torch.arange(len(x), device=x.device)[:, None, None]
    pixels = x.permute(0, 2, 3, 1)
    samples = torch.zeros_like(pixels)
    for row, by_row in _neighbours(rows, x.shape[2]):
        for column, by_column in _neighbours(columns, x.shape[3]):
            samples = samples + (by_row * by_column)[..., None] * pixels[image, row, column]
    return samples.permute(0, 3, 1, 2)


def _neighbours(positions: Tensor, side: int) -> list[tuple[Tensor, Tensor]]:
    """Indices before and after each position on an axis, and their weights."""
    positions = positions.clamp(0, side - 1)
    before = positions.floor()
    after = (before + 1).clamp(max=side - 1)
    return [(before.long(), 1 - (positions - before)), (after.long(), positions - before)]


AUGMENTATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "color": color,
    "translation": translation,
    "cutout": cutout,
    "shift": shift,
    "symmetry": symmetry,
    "affine": affine,
}
