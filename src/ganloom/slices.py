"""Training images and the holdout, as the stage ``augment`` writes them to ``data/slices``.

A training image is a crop of an original in one of the symmetries of the square; the files hold
each crop once. Everything that reads slices, chooses some of them or splits the holdout is here,
so that every stage makes the same choice from the same seed.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ganloom.images.arrays import apply_symmetry, downsampled
from ganloom.params import Judge

# What a training reads, and what it reads as well if it measures itself on the way.
TRAINING = ("images.npy", "index.parquet")
HOLDOUT = ("holdout.npy", "holdout.parquet")

# The least holdout images of which half may be used to choose a state of a model: the KID of fewer
# says too little to choose by.
FEWEST_JUDGED = 16


class Slices:
    """The slices of a folder; each file is read when it is first used.

    Args:
        folder: Folder with the files of ``TRAINING``, and of ``HOLDOUT`` if that is used.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def crops(self) -> NDArray[np.uint8]:
        """(M, R, R, 3) crops of the training originals, memory-mapped (copy on write)."""
        return self._mapped("images.npy")

    @cached_property
    def index(self) -> pd.DataFrame:
        """The training images, a row each.

        ``image`` (row of ``crops``), ``symmetry`` (0 to 7), ``label``, ``sha256`` of the original,
        and the crop's square in px of the original: centre ``x`` and ``y``, ``side``, and ``angle``
        in degrees.
        """
        return pd.read_parquet(self.folder / "index.parquet")

    @cached_property
    def holdout(self) -> NDArray[np.uint8]:
        """(H, R, R, 3) images of originals that are held out, memory-mapped (copy on write)."""
        return self._mapped("holdout.npy")

    @cached_property
    def holdout_index(self) -> pd.DataFrame:
        """``sha256`` of the original and ``label`` of each holdout image."""
        return pd.read_parquet(self.folder / "holdout.parquet")

    def __len__(self) -> int:
        """Number of training images."""
        return len(self.index)

    @property
    def side(self) -> int:
        """R, in px."""
        return int(self.crops.shape[1])

    def choose(self, n: int, seed: int, stream: str) -> NDArray[np.int64]:
        """At most ``n`` rows of the index, spread evenly, in random order."""
        return spread(len(self), n, seed, stream)

    def images(self, rows: NDArray[np.int64], resolution: int) -> NDArray[np.uint8]:
        """Training images at a model's resolution, R over an integer.

        Args:
            rows: (N,) rows of the index.
            resolution: Side in px.

        Returns:
            (N, resolution, resolution, 3).
        """
        chosen = self.index.iloc[rows]
        return _images(self.crops, chosen["image"], chosen["symmetry"], resolution)

    def split_holdout(
        self, judge: Judge | None, seed: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Split the rows of the holdout; see the function of this name."""
        return split_holdout(self.holdout_index["sha256"], judge, seed)

    def holdout_images(
        self, rows: NDArray[np.int64], n: int, seed: int, resolution: int
    ) -> NDArray[np.uint8]:
        """At most ``n`` holdout images, each in a random one of the symmetries of the training set.

        A model that is trained on flipped and rotated images should generate such images; upright
        ones would make it look worse than it is.

        Args:
            rows: Rows to choose from; see ``split_holdout``.
            n: Number of images.
            seed: Seed of the choice.
            resolution: Side in px: R over an integer.

        Returns:
            (at most n, resolution, resolution, 3), of the rows ``holdout_rows(rows, n, seed)``.
        """
        chosen = holdout_rows(rows, n, seed)
        symmetries = np.sort(self.index["symmetry"].unique())
        drawn = generator(seed, "symmetry").choice(symmetries, len(chosen))
        return _images(self.holdout, pd.Series(chosen), pd.Series(drawn), resolution)

    def _mapped(self, name: str) -> NDArray[np.uint8]:
        pixels: NDArray[np.uint8] = np.load(self.folder / name, mmap_mode="c")
        return pixels


def spread(count: int, n: int, seed: int, stream: str) -> NDArray[np.int64]:
    """At most ``n`` numbers below ``count``, spread evenly, in random order.

    One is drawn from each of n equal ranges. As they are shuffled, the first few are a sample, too.

    Args:
        count: Numbers to choose from.
        n: Numbers to choose.
        seed: Seed of the project.
        stream: Purpose of the choice: another purpose makes another choice.
    """
    rng = generator(seed, stream)
    n = min(n, count)
    edges = np.arange(n + 1) * count // max(n, 1)
    return rng.permutation(rng.integers(edges[:-1], edges[1:]))


def halves(sources: pd.Series, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row numbers of two random halves that share no original.

    Args:
        sources: SHA-256 of the original of each row.
        seed: Seed of the choice.
    """
    originals = np.sort(sources.unique())
    chosen = generator(seed, "halves").permutation(originals)[: len(originals) // 2]
    first = sources.isin(chosen).to_numpy()
    return np.flatnonzero(first), np.flatnonzero(~first)


def split_holdout(
    sources: pd.Series, judge: Judge | None, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the holdout for evaluations during training, and rows for the reported metrics.

    The two share no original: a checkpoint that was selected by its KID on some images scores
    better on these than on others.

    Args:
        sources: SHA-256 of the original of each row.
        judge: Section ``train.judge``. Without it, or if half of the holdout has fewer than
            ``FEWEST_JUDGED`` images, all rows are for the reported metrics.
        seed: Seed of the split.
    """
    judged, unseen = halves(sources, seed)
    if judge is None or len(judged) < FEWEST_JUDGED:
        return np.empty(0, np.int64), np.arange(len(sources))
    return judged, unseen


def holdout_rows(rows: NDArray[np.int64], n: int, seed: int) -> NDArray[np.int64]:
    """At most ``n`` of ``rows``: those that ``Slices.holdout_images`` takes, in its order."""
    return rows[spread(len(rows), n, seed, "holdout")]


def labels_like(labels: pd.Series, classes: list[str], n: int, seed: int) -> NDArray[np.int64]:
    """Classes for ``n`` samples, in the proportions of some images, in random order.

    In other proportions, a distance between samples and images would measure the difference.

    Args:
        labels: Labels of the images.
        classes: Names of the classes, in the order of their numbers.
        n: Number of samples.
        seed: Seed of the order.

    Returns:
        (n,) numbers of classes.

    Raises:
        ValueError: An image has a label that is no class.
    """
    numbers = pd.Index(classes).get_indexer(pd.Index(labels))
    if numbers.min() < 0:
        unknown = ", ".join(sorted(set(labels) - set(classes)))
        raise ValueError(f"images have labels that the model was not trained on: {unknown}")
    return in_proportion(numbers, n, seed)


def in_proportion(classes: NDArray[np.int64], n: int, seed: int) -> NDArray[np.int64]:
    """``n`` numbers of classes, in the proportions in which they are given, in random order."""
    ordered = np.sort(classes)
    places = (2 * np.arange(n) + 1) * len(ordered) // (2 * n)
    return generator(seed, "labels").permutation(ordered[places])


def generator(seed: int, stream: str) -> np.random.Generator:
    """A generator of random numbers for one purpose."""
    return np.random.default_rng([seed, int.from_bytes(stream.encode())])


def _images(
    crops: NDArray[np.uint8], rows: pd.Series, symmetries: pd.Series, resolution: int
) -> NDArray[np.uint8]:
    images = np.empty((len(rows), resolution, resolution, 3), np.uint8)
    for at, (row, symmetry) in enumerate(zip(rows, symmetries, strict=True)):
        images[at] = apply_symmetry(downsampled(crops[row], resolution), symmetry)
    return images
