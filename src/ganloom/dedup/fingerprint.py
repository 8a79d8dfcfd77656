"""What is compared of a picture: hashes, a thumbnail, a descriptor, and what its quality shows in.

Everything is seen at a shorter side of 72 px, so a JPEG is decoded at a fraction of its size and
numbers of pictures of different sizes can be compared. Whether two files show the very same pixels
is asked only of those that look the same at that size.
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

SIDE = 72  # px: half of that is enough for the hash; a JPEG of 576 px is decoded at an eighth
TASK = 64  # originals that a worker reads at a time
THUMBNAIL = 16  # px: coarse enough to forgive a trimmed edge
DETAIL = 48  # px: fine enough to tell pages of text apart
DECIMALS = 3  # of a coefficient: noise of rounding must not decide a symmetric picture's bits


class Fingerprint(NamedTuple):
    """What is compared of a picture, seen at a shorter side of 72 px (smaller ones: as they are).

    Attributes:
        sha256: Of the file.
        width: Of the picture in px, upright.
        height: In px, upright.
        coarseness: Mean step of a JPEG's quantisation of brightness; 0 for other formats.
        pixels: Digest of what was seen and of the picture's size: files with the same pixels have
            the same, but for a JPEG and its copy in another format.
        contrast: Standard deviation of grey, or the depth of thin lines if that is more; of 255.
        sharpness: Variance of the Laplacian of grey.
        detail: The same, in the median of 8 x 8 parts: a watermark adds little to it.
        blurred: 0 (sharp) to 1.
        information: Bits per pixel as a small grey JPEG.
        hashes: (8, bytes) uint8: the perceptual hash of the picture under each symmetry k.
        thumbnail: (16, 16, 3) uint8.
        grey: (48, 48) uint8, in which details are compared.
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
    """Of a table of fingerprints: about 4 kB a picture, and no objects."""
    types = ("U64", "i4", "i4", "f4", "U32", "f4", "f4", "f4", "f4", "f4")
    arrays = (
        ("u1", (8, hash_size**2 // 8)),
        ("u1", (THUMBNAIL, THUMBNAIL, 3)),
        ("u1", (DETAIL, DETAIL)),
        ("f2", (quality.WIDTH,)),
    )
    return np.dtype(list(zip(Fingerprint._fields, (*types, *arrays), strict=True)))


def table(prints: Iterable[Fingerprint], count: int, hash_size: int) -> NDArray[Any]:
    """Gather ``count`` fingerprints in one array with a field for each attribute."""
    return np.fromiter(prints, dtype(hash_size), count)


def fingerprints(
    shards: Shards, hash_size: int, max_pixels: int, pool: Executor
) -> Iterator[Fingerprint]:
    """Fingerprint every original, by sha256, in the workers of ``pool``.

    Raises:
        ImageError: an original cannot be decoded.
        ShardError: a shard is damaged.
    """
    of_part = functools.partial(_of_originals, hash_size, max_pixels)
    return itertools.chain.from_iterable(pool.map(of_part, _parts(shards, sorted(shards))))


def _parts(shards: Shards, digests: Sequence[str]) -> Iterator[Shards]:
    """Tasks: each brings its part of the index, so that no worker has to read all headers."""
    starts = range(0, len(digests), TASK)
    return (shards.part(digests[i : i + TASK]) for i in starts)


def _of_originals(hash_size: int, max_pixels: int, part: Shards) -> list[Fingerprint]:
    # First decode all, then measure all: in turns, each would find the processor's caches full of
    # the other's code and data.
    seen = {digest: preview(data, max_pixels, SIDE) for digest, data in part.items()}
    return describe(seen, hash_size)


def describe(seen: Mapping[str, Preview], hash_size: int) -> list[Fingerprint]:
    """Fingerprint pictures, seen at ``SIDE``, by the sha256 of their files."""
    greys = [picture.image.convert("L") for picture in seen.values()]
    thumbnails = np.stack(
        [np.asarray(p.image.resize((THUMBNAIL,) * 2, Image.Resampling.BOX)) for p in seen.values()]
    )
    described = quality.descriptors(greys, thumbnails)
    hashed = hashes(greys, hash_size)
    return [
        Fingerprint(
            digest,
            picture.width,
            picture.height,
            picture.coarseness,
            _digest(picture),
            *quality.looks(grey),
            hashes=hashed[i],
            thumbnail=thumbnails[i],
            grey=np.asarray(grey.resize((DETAIL,) * 2, Image.Resampling.LANCZOS)),
            descriptor=described[i],
        )
        for i, ((digest, picture), grey) in enumerate(zip(seen.items(), greys, strict=True))
    ]


def _digest(picture: Preview) -> str:
    image = picture.image
    size = f"{picture.width} {picture.height} {image.size}"
    return hashlib.sha256(size.encode() + image.tobytes()).hexdigest()[:32]


def hashes(greys: Sequence[Image.Image], hash_size: int) -> Array:
    """The DCT hash ("pHash", as of imagehash) of each symmetry: (N, 8, hash_size**2 / 8).

    One transform serves all eight: mirroring a picture changes the sign of every other coefficient,
    and turning it by a quarter transposes them besides.
    """
    side = 4 * hash_size
    small = np.stack(
        [np.asarray(grey.resize((side, side), Image.Resampling.LANCZOS)) for grey in greys]
    )
    cosines = _cosines(side)[:hash_size]
    low = np.round(cosines @ small.astype(np.float64) @ cosines.T, DECIMALS)
    sign = 1 - 2 * (np.arange(hash_size) % 2)
    across, down = sign[None, :], sign[:, None]
    # In the order of images.apply_symmetry: turned counter-clockwise by k quarters, then mirrored.
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
    """The matrix of the cosine transform: its rows are the waves."""
    halves = np.arange(1, 2 * side, 2)
    return np.asarray(2 * np.cos(np.pi / (2 * side) * np.arange(side)[:, None] * halves))


def same_pixels(
    shards: Shards, digests: Sequence[str], max_pixels: int, pool: Executor
) -> list[str]:
    """The sha256 of each original's decoded picture, its size included.

    Raises:
        ImageError: an original cannot be decoded.
        ShardError: a shard is damaged.
    """
    of_part = functools.partial(_pixels_of_originals, max_pixels)
    return list(itertools.chain.from_iterable(pool.map(of_part, _parts(shards, digests))))


def _pixels_of_originals(max_pixels: int, part: Shards) -> list[str]:
    images = (decode(data, max_pixels) for data in part.values())
    return [hashlib.sha256(f"{i.size}".encode() + i.tobytes()).hexdigest() for i in images]
