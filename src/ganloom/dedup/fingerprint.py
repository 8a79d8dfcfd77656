"""Fingerprints of images: hashes, a thumbnail, a descriptor and measures of quality.

Images are reduced to a shorter side of 72 px, so that JPEGs can be decoded at a fraction of their
size, and measures of images of different sizes can be compared. Only files that are equal at that
size are decoded in full to compare their pixels.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganloom.dedup import quality
from ganloom.images.arrays import Array
from ganloom.images.decoding import Preview, decode, preview
from ganloom.images.shards import Shards

SIDE = 72  # px: the hash needs half of that; a JPEG of 576 px is decoded at an eighth
TASK = 64  # originals per task of a worker
THUMBNAIL = 16  # px: coarse enough to tolerate a trimmed edge
DETAIL = 48  # px: fine enough to distinguish pages of text
DECIMALS = 3  # of a coefficient: rounding errors must not decide the bits of a symmetric image


class Fingerprint(NamedTuple):
    """Fingerprint of an image, reduced to a shorter side of 72 px unless it is smaller.

    Attributes:
        sha256: Hash of the file.
        width: Width of the original in px, upright.
        height: Height of the original in px, upright.
        coarseness: Mean quantisation step of a JPEG's brightness; 0 for other formats.
        pixels: Digest of the reduced image and the size of the original. It is equal for files with
            equal pixels, except for a JPEG and its copy in another format.
        contrast: Standard deviation of grey, or the depth of thin lines if that is more; of 255.
        sharpness: Variance of the Laplacian of grey.
        detail: Median of the sharpness of 8 x 8 parts, to which a watermark adds little.
        blurred: 0 (sharp) to 1.
        information: Bits per pixel as a small grey JPEG.
        hashes: (8, bytes) uint8, the perceptual hash in each symmetry k.
        thumbnail: (16, 16, 3) uint8.
        grey: (48, 48) uint8, for the comparison of details.
        descriptor: (192,) float16 of unit length.
    """

    sha256: str
    width: int
    height: int
    coarseness: float
    pixels: str
    contrast: float
    sharpness: float
    detail: float
    blurred: float
    information: float
    hashes: Array
    thumbnail: Array
    grey: Array
    descriptor: NDArray[np.float16]


def dtype(hash_size: int) -> np.dtype[Any]:
    """Data type of a table of fingerprints: about 4 kB per image, without Python objects."""
    types = ("U64", "i4", "i4", "f4", "U32", "f4", "f4", "f4", "f4", "f4")
    arrays = (
        ("u1", (8, hash_size**2 // 8)),
        ("u1", (THUMBNAIL, THUMBNAIL, 3)),
        ("u1", (DETAIL, DETAIL)),
        ("f2", (quality.WIDTH,)),
    )
    return np.dtype(list(zip(Fingerprint._fields, (*types, *arrays), strict=True)))


def table(prints: Iterable[Fingerprint], count: int, hash_size: int) -> NDArray[Any]:
    """Collect ``count`` fingerprints in one array with a field for each attribute."""
    return np.fromiter(prints, dtype(hash_size), count)


def fingerprints(
    shards: Shards, hash_size: int, max_pixels: int, pool: Executor
) -> Iterator[Fingerprint]:
    """Compute the fingerprints of all originals, sorted by sha256, in the workers of ``pool``.

    Raises:
        ImageError: An original cannot be decoded.
        ShardError: A shard is damaged.
    """
    of_part = functools.partial(_of_originals, hash_size, max_pixels)
    return itertools.chain.from_iterable(pool.map(of_part, _parts(shards, sorted(shards))))


def _parts(shards: Shards, digests: Sequence[str]) -> Iterator[Shards]:
    """Split originals into tasks, each with its part of the index, so that no worker reads all."""
    starts = range(0, len(digests), TASK)
    return (shards.part(digests[i : i + TASK]) for i in starts)


def _of_originals(hash_size: int, max_pixels: int, part: Shards) -> list[Fingerprint]:
    # First decode all, then measure all: alternating between the two would evict the code and data
    # of each from the processor's caches.
    previews = {digest: preview(data, max_pixels, SIDE) for digest, data in part.items()}
    return describe(previews, hash_size)


def describe(previews: Mapping[str, Preview], hash_size: int) -> list[Fingerprint]:
    """Compute the fingerprints of previews of ``SIDE`` px, by the sha256 of their files."""
    images = [small.image for small in previews.values()]
    greys = [image.convert("L") for image in images]
    thumbnails = np.stack(
        [np.asarray(image.resize((THUMBNAIL,) * 2, Image.Resampling.BOX)) for image in images]
    )
    descriptors = quality.descriptors(greys, thumbnails)
    all_hashes = hashes(greys, hash_size)
    return [
        Fingerprint(
            digest,
            small.width,
            small.height,
            small.coarseness,
            _digest(small),
            *quality.measure(grey),
            hashes=all_hashes[i],
            thumbnail=thumbnails[i],
            grey=np.asarray(grey.resize((DETAIL,) * 2, Image.Resampling.LANCZOS)),
            descriptor=descriptors[i],
        )
        for i, ((digest, small), grey) in enumerate(zip(previews.items(), greys, strict=True))
    ]


def _digest(small: Preview) -> str:
    image = small.image
    size = f"{small.width} {small.height} {image.size}"
    return hashlib.sha256(size.encode() + image.tobytes()).hexdigest()[:32]


def hashes(greys: Sequence[Image.Image], hash_size: int) -> Array:
    """Compute the DCT hash (imagehash's "pHash") in each symmetry: (N, 8, hash_size**2 / 8).

    One transform yields all eight hashes: a flip changes the sign of every other coefficient, and a
    quarter turn also transposes the coefficients.
    """
    side = 4 * hash_size
    small = np.stack(
        [np.asarray(grey.resize((side, side), Image.Resampling.LANCZOS)) for grey in greys]
    )
    cosines = _cosines(side)[:hash_size]
    low = np.round(cosines @ small.astype(np.float64) @ cosines.T, DECIMALS)
    sign = 1 - 2 * (np.arange(hash_size) % 2)
    across, down = sign[None, :], sign[:, None]
    # In the order of apply_symmetry: k quarter turns counter-clockwise, then flipped.
    across_down, transposed = low * across * down, low.swapaxes(1, 2)
    turned = [low, transposed * down, across_down, transposed * across]
    forms = np.stack([*turned, *(form * across for form in turned)], axis=1)
    forms = forms.reshape(len(greys), 8, -1)
    middle = forms.shape[2] // 2
    ordered = np.partition(forms, (middle - 1, middle), axis=2)
    median = ordered[..., middle - 1 : middle + 1].mean(axis=2, keepdims=True)
    return np.packbits(forms > median, axis=2)


@functools.cache
def _cosines(side: int) -> NDArray[np.float64]:
    """Matrix of the discrete cosine transform; its rows are the basis functions."""
    halves = np.arange(1, 2 * side, 2)
    return np.asarray(2 * np.cos(np.pi / (2 * side) * np.arange(side)[:, None] * halves))


def same_pixels(
    shards: Shards, digests: Sequence[str], max_pixels: int, pool: Executor
) -> list[str]:
    """Compute the sha256 of the size and decoded pixels of each original.

    Raises:
        ImageError: An original cannot be decoded.
        ShardError: A shard is damaged.
    """
    of_part = functools.partial(_pixels_of_originals, max_pixels)
    return list(itertools.chain.from_iterable(pool.map(of_part, _parts(shards, digests))))


def _pixels_of_originals(max_pixels: int, part: Shards) -> list[str]:
    images = (decode(data, max_pixels) for data in part.values())
    return [hashlib.sha256(f"{i.size}".encode() + i.tobytes()).hexdigest() for i in images]
