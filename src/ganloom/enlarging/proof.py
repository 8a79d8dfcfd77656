"""Evaluation of an enlarger on holdout originals and on samples of the models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn.functional import normalize

from ganloom import params
from ganloom.augment import Box, pyramid, whole
from ganloom.augment import cut as cut_box
from ganloom.enlarging.crops import Originals
from ganloom.enlarging.network import Enlarger, enlarge
from ganloom.features import LITE0, maps
from ganloom.images.arrays import apply_symmetry
from ganloom.images.decoding import decode
from ganloom.metrics.image_set import ImageSet
from ganloom.metrics.kid import kid
from ganloom.metrics.rounding import readable
from ganloom.metrics.swd import swd
from ganloom.models import from_uint8
from ganloom.similarity import psnr, ssim

Array = NDArray[np.uint8]

BATCH = 16
FEWEST, MOST = 16, 256  # images in a comparison; the KID of fewer is meaningless


def interpolated(pictures: Array, side: int) -> Array:
    """Enlarge square images by bicubic interpolation: (N, R, R, 3) to (N, side, side, 3)."""
    size = (side, side)
    return np.stack(
        [np.asarray(Image.fromarray(p).resize(size, Image.Resampling.BICUBIC)) for p in pictures]
    )


def restored(net: Enlarger, crops: Array) -> tuple[Array, Array]:
    """Halve images and restore them, by interpolation and by the enlarger.

    Args:
        net: Enlarger.
        crops: (N, S, S, 3), S even.

    Returns:
        Interpolated and enlarged images, (N, S, S, 3) each.
    """
    half = np.stack([np.asarray(Image.fromarray(crop).reduce(2)) for crop in crops])
    return interpolated(half, crops.shape[1]), enlarge(net, half, 1, roughness=0.0)


def likeness(crops: Array, results: Array) -> dict[str, float]:
    """Compare restored images with the originals.

    Returns:
        Means over the images: ``psnr`` in dB, ``ssim``, and ``perceptual``: the squared distance of
        normalised feature maps of EfficientNet-Lite0, averaged over four scales (as LPIPS, Zhang et
        al., 2018, without its learned weights).
    """
    parts = []
    with torch.inference_mode():
        for start in range(0, len(crops), BATCH):
            x, y = (from_uint8(both[start : start + BATCH]) for both in (crops, results))
            apart = [
                (normalize(a, dim=1) - normalize(b, dim=1)).square().sum(1).mean((1, 2))
                for a, b in zip(maps(x, LITE0), maps(y, LITE0), strict=True)
            ]
            parts.append(torch.stack([psnr(x, y), ssim(x, y), torch.stack(apart).mean(0)]))
    means = torch.cat(parts, dim=1).double().clamp_max(100).mean(dim=1).tolist()
    return {k: readable(v) for k, v in zip(("psnr", "ssim", "perceptual"), means, strict=True)}


def sizes(resolution: int, reach: float) -> list[int]:
    """List the doublings of ``resolution`` that originals reach; see ``Originals.reach``."""
    reached: list[int] = []
    while resolution * 2 ** (len(reached) + 1) <= resolution * reach + 1e-9:
        reached.append(resolution * 2 ** (len(reached) + 1))
    return reached


def real_pictures(
    originals: Originals, index: pd.DataFrame, side: int, symmetries: NDArray[np.int64]
) -> Array:
    """Cut training or holdout images again, at a larger size.

    Args:
        originals: Originals that they are cut from.
        index: Rows of data/slices/index.parquet or holdout.parquet.
        side: Side of the images in px.
        symmetries: Symmetry of each row.

    Returns:
        (len(index), side, side, 3).
    """
    images = np.empty((len(index), side, side, 3), np.uint8)
    digests = index["sha256"].to_numpy()
    for digest in sorted(set(digests)):
        image = decode(originals.shards[digest], originals.max_pixels)
        levels = pyramid(image)
        for at in np.flatnonzero(digests == digest):
            box = Box(*(float(index[name].iloc[at]) for name in Box._fields))
            if isinstance(originals.augment, params.Whole):
                picture, _ = whole(originals.inner(image), side, originals.augment.fit)
            elif box.side == side and box.angle == 0:  # no resampling needed
                left, top = round(box.x - side / 2), round(box.y - side / 2)
                picture = image.crop((left, top, left + side, top + side))
            else:
                picture = cut_box(levels, box, side)
            images[at] = apply_symmetry(np.asarray(picture), int(symmetries[at]))
    return images


def distances(
    real: ImageSet, fake: Array, evaluate: params.Evaluate, seed: int
) -> dict[str, float]:
    """Compute KID and SWD to as many real images, and SWD at the finest scale only."""
    n = min(len(real.images), len(fake))
    real, made = real.first(n), ImageSet.of(fake[:n])
    levels = swd(real.images, made.images, evaluate.swd_projections, seed)
    return {
        "n": n,
        "kid_lite2": readable(kid(real.features, made.features)),
        "swd": readable(sum(levels.values()) / len(levels)),
        "swd_finest": readable(levels[max(levels)]),
    }


def real_beside(
    originals: Originals, folder: Path, side: int, seed: int
) -> tuple[ImageSet, Array] | None:
    """Cut holdout and training images at a size: a reference, and real images to compare with it.

    Args:
        originals: Originals that they are cut from.
        folder: Folder data/slices, with index.parquet and holdout.parquet.
        side: Side of the images in px.
        seed: Seed of the choice.

    Returns:
        Holdout and training images; None if there are too few.
    """
    rng = np.random.default_rng([seed, 3, side])
    chosen = []
    train = pd.read_parquet(folder / "index.parquet")
    for name in ("holdout", "index"):
        table = pd.read_parquet(folder / f"{name}.parquet")
        rows = np.sort(rng.permutation(len(table))[:MOST])
        turns = rng.choice(np.sort(train["symmetry"].unique()), len(rows))
        order = rng.permutation(len(rows))
        chosen.append(real_pictures(originals, table.iloc[rows], side, turns)[order])
    if min(map(len, chosen)) < FEWEST:
        return None
    return ImageSet.cached(chosen[0], Path("work/features")), chosen[1]
