"""Training images as one uint8 tensor, and batches by index arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ganloom.images.arrays import apply_symmetry, downsampled
from ganloom.slices import Slices

# Larger sets of images stay memory-mapped.
RESIDENT_BYTES = 4 << 30


class DataError(ValueError):
    """The slices are too few to train on; the message says what to change."""


@dataclass(frozen=True)
class Images:
    """The N training images, each a crop in one of the symmetries of the square.

    Attributes:
        crops: (M, R * R, 3) uint8.
        image: (N,) row of ``crops``.
        symmetry: (N,) 0 to 7.
        label: (N,) number of the class.
        classes: Names of the classes, sorted.
        turns: (8, R * R) index of each pixel of a symmetry in a crop.
        seed: Seed of the order.
        device: Device of batches.
        pairs: Whether each image of the second half of a batch is another one of the class of the
            image at the same place in the first half.
    """

    crops: Tensor
    image: Tensor
    symmetry: Tensor
    label: Tensor
    classes: list[str]
    turns: Tensor
    seed: int
    device: torch.device
    pairs: bool = False

    def __len__(self) -> int:
        return len(self.image)

    def batch(self, step: int, size: int) -> tuple[Tensor, Tensor]:
        """Return the images of a step, (size, 3, R, R) float in [-1, 1], channels last, and labels.

        The result depends only on the step, so that a resumed training needs no cursor. Images come
        from an endless sequence of permutations; a batch may extend into the next permutation.
        """
        if self.pairs:
            first = self._rows(step, size // 2)
            rows = torch.cat([first, self._partners(step, first)])
        else:
            rows = self._rows(step, size)
        crops = self.image[rows][:, None]
        pixels = self.crops[crops, self.turns[self.symmetry[rows]]]
        side = int(self.turns.shape[1] ** 0.5)
        images = pixels.view(size, side, side, 3).to(self.device, torch.float32)
        return images.div_(127.5).sub_(1).permute(0, 3, 1, 2), self.label[rows].to(self.device)

    def _rows(self, step: int, size: int) -> Tensor:
        """Rows (size,) of a step in the sequence of permutations."""
        epoch, start = divmod(step * size, len(self))
        home = self.image.device
        now, after = (
            _permutation(self.seed, number, len(self), home) for number in (epoch, epoch + 1)
        )
        return torch.cat([now[start : start + size], after[: max(0, start + size - len(self))]])

    def _partners(self, step: int, rows: Tensor) -> Tensor:
        """For each row, a random row of the same class."""
        ordered, first, count = self._by_class
        label = self.label[rows]
        drawn = np.random.default_rng([self.seed, 1, step]).random(len(rows))
        place = (torch.from_numpy(drawn).to(rows.device) * count[label]).long()
        return ordered[first[label] + place]

    @cached_property
    def _by_class(self) -> tuple[Tensor, Tensor, Tensor]:
        """Rows ordered by class, (N,), and where each class begins there, and how many it has."""
        count = torch.bincount(self.label)
        return torch.argsort(self.label, stable=True), count.cumsum(0) - count, count


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, count: int, device: torch.device) -> Tensor:
    drawn = np.random.default_rng([seed, 0, epoch]).permutation(count)
    return torch.from_numpy(drawn).to(device)


def load(  # noqa: PLR0917
    folder: Path,
    resolution: int,
    batch: int,
    seed: int,
    device: torch.device,
    of: str = "label",
    *,
    pairs: bool = False,
) -> Images:
    """Load the training images of a folder of slices.

    Args:
        folder: Folder with ``images.npy`` and ``index.parquet``.
        resolution: Side to which images are downsampled; theirs is a multiple of it.
        batch: Images per step.
        seed: Seed of the order of images.
        device: Device of batches.
        of: Column of the index with the classes; ``sha256``: each original is a class.
        pairs: See ``Images``.

    Raises:
        DataError: There are fewer images than a batch.
    """
    slices = Slices(folder)
    index = slices.index
    if len(index) < batch:
        raise DataError(
            f"{folder / 'index.parquet'}: {len(index)} training images are fewer than a batch of "
            f"{batch}; give more sources, keep more images, or make `batch` smaller"
        )
    pixels = slices.crops
    if pixels.shape[1] != resolution:
        small = np.empty((len(pixels), resolution, resolution, 3), np.uint8)
        for at in range(0, len(pixels), 1024):  # in parts: the sums take four times the memory
            small[at : at + 1024] = downsampled(pixels[at : at + 1024], resolution)
        pixels = small
    crops = torch.from_numpy(pixels.reshape(len(pixels), resolution * resolution, 3))
    home = device if pixels.nbytes <= RESIDENT_BYTES else torch.device("cpu")
    label, classes = pd.factorize(index[of], sort=True)
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
        pairs=pairs,
    )
