"""The crops of originals that an enlarger learns from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganloom import params
from ganloom.augment import inner_box
from ganloom.images.decoding import decode
from ganloom.images.shards import Shards

Array = NDArray[np.uint8]

SIDE = 64  # px of a crop
SMALLEST = 32  # px that a halved crop must have for what a training image shows, at least


class CropError(ValueError):
    """There is nothing to learn from; the message says what to change."""


class Originals:
    """Originals without their border, at their own size and halved.

    Args:
        shards: Folder of the tar shards.
        augment: How training images are cut from them.
        max_pixels: Number of pixels of an original, at most.
    """

    def __init__(
        self, shards: Path, augment: params.Slices | params.Whole, max_pixels: int
    ) -> None:
        self.shards, self.augment, self.max_pixels = Shards(shards), augment, max_pixels

    def image(self, sha256: str) -> Image.Image:
        """An original inside its border."""
        return self.inner(decode(self.shards[sha256], self.max_pixels))

    def inner(self, image: Image.Image) -> Image.Image:
        """A picture without its border, where borders are cropped away."""
        if self.augment.border is None:
            return image
        return image.crop(inner_box(np.asarray(image), self.augment.border))

    def levels(self, image: Image.Image) -> list[Image.Image]:
        """The picture, then halved as long as it has more to give than training images show."""
        side = self._shown(image)
        smallest = 2 * min(SMALLEST, self.augment.resolution)
        found = [image]
        while min(found[-1].size) >= 2 * SIDE and side / 2 ** len(found) >= smallest:
            found.append(found[-1].reduce(2))
        return found

    def reach(self, image: Image.Image) -> float:
        """Side of what a training image shows of it, as a multiple of the training image's."""
        return self._shown(image) / self.augment.resolution

    def _shown(self, image: Image.Image) -> int:
        side = min(image.size)
        if isinstance(self.augment, params.Slices):
            side = min(side, max(self.augment.sizes))
        return side


def cut(originals: Originals, digests: Sequence[str], count: int, seed: int) -> Array:
    """Cut random crops at every level, evenly over the originals that are large enough.

    Args:
        originals: Source of the pictures.
        digests: sha256 of each original to use.
        count: Number of crops.
        seed: Seed of places and levels; each original has its own stream.

    Returns:
        (count, SIDE, SIDE, 3), those of one original together.

    Raises:
        CropError: no original is as large as a crop.
    """
    crops: list[Array] = []
    share = math.ceil(count / max(1, len(digests)))
    for digest in sorted(digests):
        image = originals.image(digest)
        if min(image.size) < SIDE:
            continue
        levels = [np.asarray(level) for level in originals.levels(image)]
        rng = np.random.default_rng([seed, int(digest, 16), 1])
        for _ in range(share):
            level = levels[rng.integers(len(levels))]
            top = rng.integers(level.shape[0] - SIDE + 1)
            left = rng.integers(level.shape[1] - SIDE + 1)
            crops.append(level[top : top + SIDE, left : left + SIDE])
    if not crops:
        raise CropError(
            f"enlarge: none of {len(digests)} training originals has {SIDE} px or more on its "
            "shorter side, inside its border; leave the section `enlarge` out"
        )
    rows = np.arange(count) * len(crops) // count
    return np.stack([crops[row] for row in rows])
