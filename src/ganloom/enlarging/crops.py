"""Crops of originals, on which an enlarger is trained."""

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
SMALLEST = 32  # least px of a halved crop that show the extent of a training image


class CropError(ValueError):
    """There are no crops to train on; the message says what to change."""


class Originals:
    """Originals without their border, at full size and halved.

    Args:
        shards: Folder of the tar shards.
        augment: Section ``augment``.
        max_pixels: Limit of the size of an original.
    """

    def __init__(
        self, shards: Path, augment: params.Slices | params.Whole, max_pixels: int
    ) -> None:
        self.shards, self.augment, self.max_pixels = Shards(shards), augment, max_pixels

    def image(self, sha256: str) -> Image.Image:
        """Decode an original and remove its border."""
        return self.inner(decode(self.shards[sha256], self.max_pixels))

    def inner(self, image: Image.Image) -> Image.Image:
        """Remove the border of an image, if borders are cropped away."""
        if self.augment.border is None:
            return image
        return image.crop(inner_box(np.asarray(image), self.augment.border))

    def levels(self, image: Image.Image) -> list[Image.Image]:
        """Return the image and its halvings, while these show more than training images do."""
        side = self._shown(image)
        smallest = 2 * min(SMALLEST, self.augment.resolution)
        halvings = [image]
        while min(halvings[-1].size) >= 2 * SIDE and side / 2 ** len(halvings) >= smallest:
            halvings.append(halvings[-1].reduce(2))
        return halvings

    def reach(self, image: Image.Image) -> float:
        """Ratio of the side that a training image shows, in px of the image, to its own side."""
        return self._shown(image) / self.augment.resolution

    def _shown(self, image: Image.Image) -> int:
        side = min(image.size)
        if isinstance(self.augment, params.Slices):
            side = min(side, max(self.augment.sizes))
        return side


def cut(originals: Originals, digests: Sequence[str], count: int, seed: int) -> Array:
    """Cut random crops at all levels, evenly over the originals that are large enough.

    Args:
        originals: Source of the images.
        digests: sha256 of each original to use.
        count: Number of crops.
        seed: Seed of positions and levels; each original has its own stream.

    Returns:
        (count, SIDE, SIDE, 3), grouped by original.

    Raises:
        CropError: No original is as large as a crop.
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
