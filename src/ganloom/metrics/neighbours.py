"""Is it copied? The training image nearest to each generated one, and what that distance means."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from ganloom.images.arrays import apply_symmetry

THUMBNAIL = 16


def nearest(x: Tensor, among: Tensor) -> tuple[Tensor, Tensor]:
    """For each row of x (N, D) the nearest row of ``among`` (M, D).

    Returns:
        Its index (N,) and its Euclidean distance (N,); 0 exactly for a copy.
    """
    index = torch.cat([torch.cdist(rows, among).argmin(1) for rows in x.split(1024)])
    # Worked out anew: cdist is quick but leaves a copy at a small distance.
    return index, (x - among[index]).norm(dim=1)


def nearest_other(x: Tensor, index: Tensor) -> Tensor:
    """Distance of the rows x[index] to the nearest other row of x (N, D)."""
    rows, back = index.unique(return_inverse=True)
    distance = torch.cdist(x[rows], x)
    distance[torch.arange(len(rows)), rows] = torch.inf
    return (x[rows] - x[distance.argmin(1)]).norm(dim=1)[back]


def authenticity(train: Tensor, fake: Tensor) -> float:
    """Share of fakes that are no copy (Alaa et al., 2022).

    A fake counts as copied when the training sample nearest to it is nearer to it than to any
    other training sample. New samples of the training distribution itself score a half or more,
    and pictures unlike any training sample score 1; copies pull the share towards 0. Compare it
    with the reference row: near-identical training samples (mirrored ones of a symmetric picture)
    hide copies of them.

    Args:
        train: (N, D), N at least 2.
        fake: (M, D).
    """
    index, distance = nearest(fake, train)
    return float((distance > nearest_other(train, index)).double().mean())


def duplicates(train: Tensor, fake: Tensor) -> float:
    """Share of fakes that have a twin among the fakes.

    Twins are nearer to each other than all but a twentieth of training images are to their nearest
    other: as many training images, as more would lie closer. So the share is 0.05 in training
    images themselves, about that in new ones of their kind, and 1 in a generator that draws one
    picture. Training images that are equal (mirrored ones of symmetric pictures) can raise it.

    Args:
        train: (N, D), N at least 2.
        fake: (M, D), M at least 2.
    """
    n = min(len(train), len(fake))
    every = torch.arange(n)
    apart, between = nearest_other(train[:n], every), nearest_other(fake[:n], every)
    return float((between <= apart.quantile(0.05)).double().mean())


class Match(NamedTuple):
    """The training image nearest to each of N samples, in one space.

    Attributes:
        row: (N,) which.
        distance: (N,) to it.
        other: (N,) from it to the training image nearest to it.
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
        """Below 1 the sample is nearer to a training image than that is to any other."""
        return self.distance / np.maximum(self.other, 1e-6)


def by_suspicion(ratio: NDArray[np.float64], origin: NDArray[np.object_]) -> NDArray[np.int64]:
    """Order samples from the likeliest copy on, each original once before any comes again.

    Suspicious is what is nearer to a training image than that is to any other: by distance alone,
    plain pictures would come first, which are near to everything.

    Args:
        ratio: (N,) of the two distances.
        origin: (N,) the original that the nearest training image was cut from.
    """
    samples = pd.DataFrame({"origin": origin, "ratio": ratio})
    samples = samples.sort_values("ratio", kind="stable")
    samples["turn"] = samples.groupby("origin").cumcount()
    return samples.sort_values("turn", kind="stable").index.to_numpy()


def thumbnails(images: NDArray[np.uint8]) -> Tensor:
    """What little of a picture survives at 16 x 16 px: (N, H, W, 3) to (N, 768) in [0, 1].

    Two pictures with near thumbnails look alike, whatever a network says of them, and thumbnails
    of a whole training set are quickly made.
    """
    return _small(images).flatten(1)


def training_thumbnails(images: NDArray[np.uint8], index: pd.DataFrame) -> Tensor:
    """Thumbnails of every training image: (len(index), 768).

    Args:
        images: (M, R, R, 3), ``data/slices/images.npy``; may be memory-mapped.
        index: ``data/slices/index.parquet``.
    """
    small = _small(images).numpy()
    found = np.empty((len(index), *small.shape[1:]), np.float32)
    for symmetry in index["symmetry"].unique():
        rows = (index["symmetry"] == symmetry).to_numpy()
        found[rows] = apply_symmetry(small[index["image"].to_numpy()[rows]], symmetry)
    return torch.from_numpy(found).flatten(1)


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
