"""Training images: one uint8 tensor, and batches of it by index arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ganloom.images.arrays import apply_symmetry, downsampled

# Beyond this the images stay in the file and the operating system reads what a batch needs.
RESIDENT_BYTES = 4 << 30


class DataError(ValueError):
    """The slices cannot be trained on; the message says what to change."""


@dataclass(frozen=True)
class Images:
    """The rows of ``index.parquet``, each an image in one of the square's symmetries.

    Attributes:
        crops: (M, R * R, 3) uint8.
        image: (N,) row of ``crops``.
        symmetry: (N,) 0 to 7.
        label: (N,) number of its class.
        classes: Their names, sorted.
        turns: (8, R * R): for each symmetry, where its pixels are found in a crop.
        seed: Of the order.
        device: Where batches go.
    """

    crops: Tensor
    image: Tensor
    symmetry: Tensor
    label: Tensor
    classes: list[str]
    turns: Tensor
    seed: int
    device: torch.device

    def __len__(self) -> int:
        return len(self.image)

    def batch(self, step: int, size: int) -> tuple[Tensor, Tensor]:
        """The real images of a step: (size, 3, R, R) float in [-1, 1], channels last; their labels.

        A function of the step alone: rows come from an endless chain of permutations, so there is
        no cursor to lose, and a batch may reach from one permutation into the next.
        """
        epoch, start = divmod(step * size, len(self))
        home = self.image.device
        now, after = (
            _permutation(self.seed, number, len(self), home) for number in (epoch, epoch + 1)
        )
        rows = torch.cat([now[start : start + size], after[: max(0, start + size - len(self))]])
        crops = self.image[rows][:, None]
        pixels = self.crops[crops, self.turns[self.symmetry[rows]]]
        side = int(self.turns.shape[1] ** 0.5)
        images = pixels.view(size, side, side, 3).to(self.device, torch.float32)
        return images.div_(127.5).sub_(1).permute(0, 3, 1, 2), self.label[rows].to(self.device)


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, count: int, device: torch.device) -> Tensor:
    drawn = np.random.default_rng([seed, 0, epoch]).permutation(count)
    return torch.from_numpy(drawn).to(device)


def load(folder: Path, resolution: int, batch: int, seed: int, device: torch.device) -> Images:
    """Read ``images.npy`` and ``index.parquet``.

    Args:
        folder: With both files.
        resolution: Images are area-downsampled to this side; theirs is a multiple of it.
        batch: Images per step.
        seed: Of the order in which images are shown.
        device: Where batches go.

    Raises:
        DataError: less images than a batch.
    """
    index = pd.read_parquet(folder / "index.parquet", columns=["image", "symmetry", "label"])
    if len(index) < batch:
        raise DataError(
            f"{folder / 'index.parquet'}: {len(index)} training images are less than a batch of "
            f"{batch}; give more sources, keep more images, or make `batch` smaller"
        )
    # Copy on write: torch wants an array that it may write to, though nobody does.
    pixels = np.load(folder / "images.npy", mmap_mode="c")
    if pixels.shape[1] != resolution:
        small = np.empty((len(pixels), resolution, resolution, 3), np.uint8)
        for at in range(0, len(pixels), 1024):  # in parts: the sums take four times the room
            small[at : at + 1024] = downsampled(pixels[at : at + 1024], resolution)
        pixels = small
    crops = torch.from_numpy(pixels.reshape(len(pixels), resolution * resolution, 3))
    home = device if pixels.nbytes <= RESIDENT_BYTES else torch.device("cpu")
    label, classes = pd.factorize(index["label"], sort=True)
    positions = np.arange(resolution * resolution).reshape(resolution, resolution, 1)
    turns = np.stack([apply_symmetry(positions, k).reshape(-1) for k in range(8)])
    return Images(
        crops=crops.to(home, copy=pixels.nbytes <= RESIDENT_BYTES),
        image=torch.tensor(index["image"].to_numpy(np.int64), device=home),
        symmetry=torch.tensor(index["symmetry"].to_numpy(np.int64), device=home),
        label=torch.tensor(label, dtype=torch.int64, device=home),
        classes=list(classes),
        turns=torch.from_numpy(turns).to(home),
        seed=seed,
        device=device,
    )
