"""Real images measured against real images: the scale for the metrics of models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ganloom.geometry import resolutions
from ganloom.metrics.image_set import ImageSet
from ganloom.metrics.inception import Inception
from ganloom.metrics.neighbours import training_thumbnails
from ganloom.metrics.protocol import FEWEST, compare, originality
from ganloom.metrics.rounding import rounded
from ganloom.params import Evaluate, Judge
from ganloom.slices import Slices, halves, spread

# Images are compared down to this side in px: below it features and patches say little. Smaller
# collections are compared at their own side.
SMALLEST = 32


def compare_real(
    slices: Slices,
    settings: Evaluate,
    *,
    judge: Judge | None,
    seed: int,
    cache: Path,
    network: Inception | None,
) -> dict[str, dict[str, dict[str, float]]]:
    """Measure real images against real images, as the scale for the metrics of models.

    Args:
        slices: Training images and holdout.
        settings: Number of images, and settings of the metrics.
        judge: How trainings measure themselves; they look at half of the holdout then.
        seed: Seed of every random draw.
        cache: Folder in which features of real images are cached.
        network: Inception network, if its metrics are asked for.

    Returns:
        By side: ``train_half``, one half of the training originals against the other, and
        ``holdout``, unseen images against training images; each without a row if there are too
        few images.
    """
    thumbs = training_thumbnails(slices)
    _, unseen = slices.split_holdout(judge, seed)
    first, second = halves(slices.index["sha256"], seed)
    every = np.arange(len(slices))

    def sample(rows: NDArray[np.int64], side: int) -> ImageSet:
        chosen = rows[spread(len(rows), settings.samples, seed, "train")]
        return ImageSet.cached(slices.images(chosen, side), cache)

    def row(real: ImageSet, fake: ImageSet) -> dict[str, float]:
        found = compare(real, fake, settings, seed)
        return found | (network.compare(real.images, fake.images) if network else {})

    table: dict[str, dict[str, dict[str, float]]] = {}
    for side in resolutions(slices.side):
        if side < min(SMALLEST, slices.side):
            continue
        rows = table[str(side)] = {}
        if min(len(first), len(second)) >= FEWEST:
            real, fake = sample(first, side), sample(second, side)
            rows["train_half"] = rounded(row(real, fake) | originality(real, thumbs[first], fake))
        if min(len(unseen), len(slices)) >= FEWEST:
            real = ImageSet.cached(
                slices.holdout_images(unseen, settings.samples, seed, side), cache
            )
            train = sample(every, side)
            rows["holdout"] = rounded(row(real, train) | originality(train, thumbs, real))
    return table
