"""Copies of training images, by nearest neighbours."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from ganloom.images.arrays import apply_symmetry
from ganloom.slices import Slices

THUMBNAIL = 16


def nearest(x: Tensor, among: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest row of ``among`` (M, D) for each row of x (N, D).

    Returns:
        Index (N,) and Euclidean distance (N,), exactly 0 for a copy.
    """
    index = torch.cat([torch.cdist(rows, among).argmin(1) for rows in x.split(1024)])
    # Computed again, as cdist is fast but gives copies a small distance.
    return index, (x - among[index]).norm(dim=1)


def nearest_other(x: Tensor, index: Tensor) -> Tensor:
    """Distance of the rows x[index] to the nearest other row of x (N, D)."""
    rows, back = index.unique(return_inverse=True)
    distance = torch.cdist(x[rows], x)
    distance[torch.arange(len(rows)), rows] = torch.inf
    return (x[rows] - x[distance.argmin(1)]).norm(dim=1)[back]


def authenticity(train: Tensor, fake: Tensor) -> float:
    """Share of fakes that are not copies (Alaa et al., 2022).

    A fake is a copy if its nearest training image is nearer to it than to any other training
    image. New samples of the training distribution score a half or more, images unlike any
    training image score 1, and copies lower the share towards 0. Compare it with the row of real
    images: near-identical training images (mirrored ones of a symmetric picture) hide copies.

    Args:
        train: (N, D), N at least 2.
        fake: (M, D).
    """
    index, distance = nearest(fake, train)
    return float((distance > nearest_other(train, index)).double().mean())


def duplicates(train: Tensor, fake: Tensor) -> float:
    """Share of fakes that have a near-duplicate among the fakes.

    The threshold is the 5 % quantile of the distances of training images to their nearest other
    one, among as many training images as fakes. The share is therefore 0.05 for training images,
    about that for new images of their kind, and 1 for a generator that repeats one image. Equal
    training images (mirrored ones of symmetric pictures) can raise it.

    Args:
        train: (N, D), N at least 2.
        fake: (M, D), M at least 2.
    """
    n = min(len(train), len(fake))
    every = torch.arange(n)
    apart, between = nearest_other(train[:n], every), nearest_other(fake[:n], every)
    return float((between <= apart.quantile(0.05)).double().mean())


class Match(NamedTuple):
    """The nearest training image of each of N samples, in one space.

    Attributes:
        row: (N,) row of the training image.
        distance: (N,) distance to it.
        other: (N,) distance from it to its nearest training image.
    """

    row: NDArray[np.int64]
    distance: NDArray[np.float32]
    other: NDArray[np.float32]

    @classmethod
    def of(cls, fake: Tensor, train: Tensor) -> Match:
        index, distance = nearest(fake, train)
        return cls(index.numpy(), distance.numpy(), nearest_other(train, index).numpy())

    @property
    def ratio(self) -> NDArray[np.float64]:
        """Distance over ``other``: below 1 the sample counts as a copy."""
        return self.distance / np.maximum(self.other, 1e-6)


def by_suspicion(ratio: NDArray[np.float64], origin: NDArray[np.object_]) -> NDArray[np.int64]:
    """Order samples by how likely they are copies, each original once before any is repeated.

    By distance alone, plain images would come first, which are near to everything.

    Args:
        ratio: (N,) ratio of the two distances; see ``Match.ratio``.
        origin: (N,) original of the nearest training image.
    """
    samples = pd.DataFrame({"origin": origin, "ratio": ratio})
    samples = samples.sort_values("ratio", kind="stable")
    samples["turn"] = samples.groupby("origin").cumcount()
    return samples.sort_values("turn", kind="stable").index.to_numpy()


def thumbnails(images: NDArray[np.uint8]) -> Tensor:
    """Thumbnails of 16 x 16 px: (N, H, W, 3) to (N, 768) in [0, 1].

    Images with similar thumbnails look alike, whatever their features are, and thumbnails of a
    whole training set are cheap.
    """
    return _small(images).flatten(1)


def training_thumbnails(slices: Slices) -> Tensor:
    """Thumbnails of every training image: (len(slices), 768)."""
    small = _small(slices.crops).numpy()
    images, symmetries = (slices.index[name].to_numpy() for name in ("image", "symmetry"))
    thumbs = np.empty((len(slices), *small.shape[1:]), np.float32)
    for symmetry in np.unique(symmetries):
        rows = symmetries == symmetry
        thumbs[rows] = apply_symmetry(small[images[rows]], symmetry)
    return torch.from_numpy(thumbs).flatten(1)


def _small(images: NDArray[np.uint8]) -> Tensor:
    """(N, 16, 16, 3) in [0, 1]."""
    parts = [
        adaptive_avg_pool2d(
            torch.from_numpy(np.array(images[start : start + 256])).permute(0, 3, 1, 2).float(),
            THUMBNAIL,
        )
        for start in range(0, len(images), 256)
    ]
    return torch.cat(parts).permute(0, 2, 3, 1).contiguous() / 255
