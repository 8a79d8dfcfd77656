"""What is compared with what: as many pictures of each, chosen evenly, measured by one function."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from ganloom.features import LITE2, features
from ganloom.images.arrays import apply_symmetry, downsampled
from ganloom.metrics.cache import remembered
from ganloom.metrics.distances import frechet, kid, kid_std
from ganloom.metrics.neighbours import authenticity, duplicates, thumbnails
from ganloom.metrics.prdc import prdc
from ganloom.metrics.swd import swd
from ganloom.params import Evaluate, Judge

# A covariance, a neighbour, an unbiased kernel mean: all need two.
FEWEST = 2

# A KID of fewer holdout images says too little to choose by.
FEWEST_JUDGED = 16


class Pictures(NamedTuple):
    """A set to compare: pictures (N, R, R, 3) in random order, and their features (N, D)."""

    images: NDArray[np.uint8]
    features: Tensor

    @classmethod
    def made(cls, images: NDArray[np.uint8]) -> Pictures:
        return cls(images, features(images, LITE2))

    @classmethod
    def real(cls, images: NDArray[np.uint8], cache: Path) -> Pictures:
        """Of real pictures, whose features are kept in the folder ``cache``."""
        return cls(images, remembered(images, LITE2, cache))

    def first(self, n: int) -> Pictures:
        return Pictures(self.images[:n], self.features[:n])


def compare(real: Pictures, fake: Pictures, evaluate: Evaluate, seed: int) -> dict[str, float]:
    """Every distance between two sets, each cut to the size of the smaller one.

    Returns:
        ``n`` (pictures of each set), ``kid_lite2``, ``kid_lite2_std``, ``fd_lite2``,
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


def originality(train: Pictures, thumbs: Tensor, fake: Pictures) -> dict[str, float]:
    """How much of a set is no copy, neither of training images nor of itself, as two eyes see it.

    Args:
        train: Some training images.
        thumbs: Thumbnails of all of them.
        fake: What may be copied.

    Returns:
        ``authenticity`` and ``duplicates`` (features, beside ``train``), ``authenticity_pixels``
        (thumbnails, beside the whole training set) and ``duplicates_pixels`` (beside ``train``).
    """
    small = thumbnails(fake.images)
    return {
        "authenticity": authenticity(train.features, fake.features),
        "authenticity_pixels": authenticity(thumbs, small),
        "duplicates": duplicates(train.features, fake.features),
        "duplicates_pixels": duplicates(thumbnails(train.images), small),
    }


def spread(rows: int, n: int, seed: int, stream: str) -> NDArray[np.int64]:
    """At most ``n`` of ``rows`` row numbers, spread evenly, in random order.

    One is drawn from each of n equal stretches. Shuffled, any first few are a sample as well.
    """
    rng = _rng(seed, stream)
    n = min(n, rows)
    edges = np.arange(n + 1) * rows // max(n, 1)
    return rng.permutation(rng.integers(edges[:-1], edges[1:]))


def labels_like(labels: pd.Series, classes: list[str], n: int, seed: int) -> NDArray[np.int64]:
    """Classes for ``n`` samples, in the shares in which images have them, in random order.

    Distances between sets of other shares would measure those as well.

    Args:
        labels: Of the images.
        classes: Names of the classes, in the order of their numbers.
        n: How many.
        seed: Of the order.

    Returns:
        (n,) numbers of classes.

    Raises:
        ValueError: an image has a label that is no class.
    """
    known = pd.Index(classes).get_indexer(pd.Index(labels))
    if known.min() < 0:
        strange = ", ".join(sorted(set(labels) - set(classes)))
        raise ValueError(f"images have labels that the model was not told: {strange}")
    return in_shares(known, n, seed)


def in_shares(classes: NDArray[np.int64], n: int, seed: int) -> NDArray[np.int64]:
    """``n`` of these numbers of classes, in the shares in which they are there, in random order."""
    known = np.sort(classes)
    return _rng(seed, "labels").permutation(known[(2 * np.arange(n) + 1) * len(known) // (2 * n)])


def halves(sources: pd.Series, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row numbers of two random halves that share no original.

    Args:
        sources: Which original (its sha256) each row comes from.
        seed: Of the choice.
    """
    originals = np.sort(sources.unique())
    chosen = _rng(seed, "halves").permutation(originals)[: len(originals) // 2]
    first = sources.isin(chosen).to_numpy()
    return np.flatnonzero(first), np.flatnonzero(~first)


def split_holdout(
    sources: pd.Series, judge: Judge | None, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the holdout that trainings look at, and rows that figures are reported on.

    A state that was chosen for its KID to some pictures looks better beside those than it is. The
    two share no original.

    Args:
        sources: ``sha256`` of ``data/slices/holdout.parquet``.
        judge: How trainings look at their model; None: they do not, all rows are reported on. So
            they are where half of them would be less than FEWEST_JUDGED.
        seed: Of the choice.
    """
    looked_at, unseen = halves(sources, seed)
    if judge is None or len(looked_at) < FEWEST_JUDGED:
        return np.empty(0, np.int64), np.arange(len(sources))
    return looked_at, unseen


def _rng(seed: int, stream: str) -> np.random.Generator:
    return np.random.default_rng([seed, int.from_bytes(stream.encode())])


def training_images(
    images: NDArray[np.uint8], index: pd.DataFrame, resolution: int
) -> NDArray[np.uint8]:
    """The training images that rows of the index stand for, at a model's resolution.

    Args:
        images: (M, R, R, 3), ``data/slices/images.npy``; may be memory-mapped.
        index: Rows of ``data/slices/index.parquet``.
        resolution: R over an integer.

    Returns:
        (len(index), resolution, resolution, 3).
    """
    found = np.empty((len(index), resolution, resolution, 3), np.uint8)
    for row, (image, symmetry) in enumerate(zip(index["image"], index["symmetry"], strict=True)):
        found[row] = apply_symmetry(downsampled(images[image], resolution), symmetry)
    return found


def holdout_rows(rows: NDArray[np.int64], n: int, seed: int) -> NDArray[np.int64]:
    """Those of ``rows``, at most ``n``, that ``holdout_images`` takes, in its order."""
    return rows[spread(len(rows), n, seed, "holdout")]


def holdout_images(  # noqa: PLR0917
    images: NDArray[np.uint8],
    rows: NDArray[np.int64],
    index: pd.DataFrame,
    n: int,
    seed: int,
    resolution: int,
) -> NDArray[np.uint8]:
    """At most ``n`` holdout images, each in a random one of the symmetries that training uses.

    A model that is trained on turned pictures should make turned ones; beside an upright holdout
    it would look worse for it.

    Args:
        images: (N, R, R, 3), ``data/slices/holdout.npy``; may be memory-mapped.
        rows: Those to choose from: see split_holdout.
        index: ``data/slices/index.parquet``, of the training images.
        n: How many.
        seed: Of the choice.
        resolution: R over an integer.
    """
    rows = holdout_rows(rows, n, seed)
    symmetries = _rng(seed, "symmetry").choice(np.sort(index["symmetry"].unique()), len(rows))
    turned = pd.DataFrame({"image": rows, "symmetry": symmetries})
    return training_images(images, turned, resolution)


def readable(value: float) -> float | int:
    """A number for a JSON file: six significant digits, more than any metric here has.

    Raises:
        ValueError: it is NaN or infinite, which JSON cannot hold.
    """
    if not np.isfinite(value):
        raise ValueError(f"a metric came out as {value}")
    return value if isinstance(value, int) else float(f"{value:.6g}")
