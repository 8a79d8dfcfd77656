"""Comparison of two sets of images, of equal size, by every metric."""

from __future__ import annotations

from torch import Tensor

from ganloom.metrics.frechet import frechet
from ganloom.metrics.image_set import ImageSet
from ganloom.metrics.kid import kid, kid_std
from ganloom.metrics.neighbours import authenticity, duplicates, thumbnails
from ganloom.metrics.prdc import prdc
from ganloom.metrics.swd import swd
from ganloom.params import Evaluate

# Covariances, nearest neighbours and unbiased kernel means all need two images.
FEWEST = 2


def compare(real: ImageSet, fake: ImageSet, evaluate: Evaluate, seed: int) -> dict[str, float]:
    """Compute every distance between two sets, each cut to the size of the smaller one.

    Returns:
        ``n`` (images of each set), ``kid_lite2``, ``kid_lite2_std``, ``fd_lite2``,
        ``precision``, ``recall``, ``density``, ``coverage``, ``swd`` (mean over the levels) and
        ``swd_<side>`` for each level.
    """
    n = min(len(real.images), len(fake.images))
    real, fake = real.first(n), fake.first(n)
    levels = swd(real.images, fake.images, evaluate.swd_projections, seed)
    return {
        "n": n,
        "kid_lite2": kid(real.features, fake.features),
        "kid_lite2_std": kid_std(
            real.features, fake.features, evaluate.kid_subsets, evaluate.kid_subset_size, seed
        ),
        "fd_lite2": frechet(real.features, fake.features),
        **prdc(real.features, fake.features, evaluate.nearest_k),
        "swd": sum(levels.values()) / len(levels),
        **{f"swd_{side}": value for side, value in levels.items()},
    }


def originality(train: ImageSet, thumbs: Tensor, fake: ImageSet) -> dict[str, float]:
    """Measure how many images are copies of training images or of each other.

    Args:
        train: A sample of the training images.
        thumbs: Thumbnails of all training images.
        fake: Images that may be copies.

    Returns:
        ``authenticity`` and ``duplicates``, both in features and relative to ``train``;
        ``authenticity_pixels``, in thumbnails and relative to the whole training set; and
        ``duplicates_pixels``, in thumbnails and relative to ``train``.
    """
    small = thumbnails(fake.images)
    return {
        "authenticity": authenticity(train.features, fake.features),
        "authenticity_pixels": authenticity(thumbs, small),
        "duplicates": duplicates(train.features, fake.features),
        "duplicates_pixels": duplicates(thumbnails(train.images), small),
    }
