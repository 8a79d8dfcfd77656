"""Search for crops and strong edits: features propose pairs, template matching confirms them.

One image, at many sizes and in all symmetries, is placed on the other where their greys correlate
best. There, the two must also have the same colours.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganloom import params
from ganloom.dedup.fingerprint import THUMBNAIL
from ganloom.dedup.search import differences, distances
from ganloom.features import LITE0, SIDE, WIDTH, features
from ganloom.images.arrays import Array, apply_symmetry
from ganloom.images.decoding import preview
from ganloom.images.shards import Shards

PREVIEW = 120  # px, the shorter side of decoded images: enough for features and matching
CHUNK = 512  # images in memory at a time
NEIGHBOURS = 6  # maximum number of proposals per image
WHOLE = 64  # px, the longer side of the image that is searched
SHARES = 0.96 ** np.arange(18)  # sizes of the template, of the largest that fits, down to half
SMALLEST = 12  # px: smaller templates match anything


class Overlap(NamedTuple):
    """Best match of an image within another one.

    Attributes:
        correlation: Correlation of grey, at most 1.
        difference: Mean difference of the colour thumbnails there, without that of brightness, 0 to
            255.
    """

    correlation: float
    difference: float


def descriptors(
    shards: Shards, digests: Sequence[str], max_pixels: int, symmetries: bool, pool: Executor
) -> NDArray[np.float16]:
    """Compute features of originals: (N, 1280) of unit length.

    Args:
        shards: Originals.
        digests: The sha256 of N originals.
        max_pixels: Limit of the size of an original.
        symmetries: Whether to average over the eight symmetries, so that the result is invariant.
        pool: Worker processes that decode.

    Raises:
        ImageError: An original cannot be decoded.
        ShardError: A shard is damaged.
    """
    square = functools.partial(_square, shards.folder, max_pixels)
    chunks = [np.empty((0, WIDTH), np.float16)]
    for first in range(0, len(digests), CHUNK):
        images = np.stack(list(pool.map(square, digests[first : first + CHUNK], chunksize=8)))
        forms = [apply_symmetry(images, k) for k in range(8 if symmetries else 1)]
        mean = sum(features(form, LITE0).numpy() for form in forms) / len(forms)
        chunks.append((mean / np.linalg.norm(mean, axis=1, keepdims=True)).astype(np.float16))
    return np.concatenate(chunks)


# Each worker opens the shards once; their index is too large to send with each original.
_open_shards = functools.cache(Shards)


def _small(folder: Path, max_pixels: int, digest: str) -> Image.Image:
    return preview(_open_shards(folder)[digest], max_pixels, PREVIEW).image


def _square(folder: Path, max_pixels: int, digest: str) -> Array:
    return np.asarray(_small(folder, max_pixels, digest).resize((SIDE, SIDE)))


def proposals(
    prints: NDArray[Any], features: NDArray[np.float16], section: params.Dedup
) -> list[tuple[str, str, float]]:
    """List pairs of originals with similar features but different hashes, the most similar first.

    Args:
        prints: Table of N fingerprints.
        features: (N, D) of the same originals, of unit length.
        section: Section ``dedup`` with the thresholds.

    Returns:
        Two sha256 and the cosine similarity of each pair.
    """
    rows = np.flatnonzero(prints["contrast"] >= section.min_contrast)
    if len(rows) == 0:
        return []
    x = features[rows].astype(np.float32)
    index = faiss.IndexFlatIP(x.shape[1])
    index.add(x)
    pairs: dict[tuple[int, int], float] = {}
    for first in range(0, len(rows), CHUNK):
        similarity, hits = index.search(x[first : first + CHUNK], NEIGHBOURS + 1)
        near = (similarity >= section.deep_similarity) & (hits >= 0)
        for query, n in zip(*np.nonzero(near), strict=True):
            i, j = sorted((int(rows[first + query]), int(rows[hits[query, n]])))
            pairs[i, j] = float(similarity[query, n])
    digests, hashes = prints["sha256"].tolist(), prints["hashes"]
    return [
        (digests[i], digests[j], similarity)
        for (i, j), similarity in sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
        if i != j
        and distances(hashes[j], hashes[i, :1], section.symmetries)[0] > section.max_distance
    ]


def parts(
    shards: Shards,
    proposed: Sequence[tuple[str, str, float]],
    max_pixels: int,
    section: params.Dedup,
    pool: Executor,
) -> dict[str, list[str]]:
    """Confirm proposals.

    Args:
        shards: Originals.
        proposed: Result of ``proposals``.
        max_pixels: Limit of the size of an original.
        section: Section ``dedup`` with the thresholds.
        pool: Worker processes.

    Returns:
        The originals that overlap with each original, in the order of the proposals, by sha256.

    Raises:
        ImageError: An original cannot be decoded.
        ShardError: A shard is damaged.
    """
    confirm = functools.partial(_overlap_of, shards.folder, max_pixels, section.symmetries)
    pairs = [(a, b) for a, b, _ in proposed]
    overlapping: dict[str, list[str]] = defaultdict(list)
    for (a, b), match in zip(pairs, pool.map(confirm, pairs, chunksize=4), strict=True):
        same_colours = match.difference <= section.max_difference
        if same_colours and match.correlation >= section.deep_correlation:
            overlapping[a].append(b)
            overlapping[b].append(a)
    return dict(overlapping)


def _overlap_of(folder: Path, max_pixels: int, symmetries: bool, pair: tuple[str, str]) -> Overlap:
    a, b = (_small(folder, max_pixels, digest) for digest in pair)
    return overlap(a, b, symmetries)


def overlap(a: Image.Image, b: Image.Image, symmetries: bool) -> Overlap:
    """Locate each of two RGB images within the other, and return the better match."""
    return max(_within(whole, part, symmetries) for whole, part in ((a, b), (b, a)))


def _within(whole: Image.Image, part: Image.Image, symmetries: bool) -> Overlap:
    whole = whole.resize(_fitted(whole.size, (WHOLE, WHOLE)), Image.Resampling.BOX)
    grey = np.asarray(whole.convert("L"), np.float64)
    spectrum = np.fft.rfft2(grey)
    sums = [_integral(grey), _integral(grey**2)]
    best = Overlap(-1.0, 255.0)
    place = (0, 0, 1, 1)
    match = part
    for k in range(8 if symmetries else 1):
        turned = Image.fromarray(apply_symmetry(np.asarray(part), k))
        width, height = _fitted(turned.size, whole.size)
        for share in SHARES:
            size = round(width * share), round(height * share)
            if min(size) < SMALLEST:
                break
            small = np.asarray(turned.convert("L").resize(size, Image.Resampling.BOX), np.float64)
            correlation, x, y = _best(spectrum, sums, grey.shape, small)
            if correlation > best.correlation:
                best = best._replace(correlation=correlation)
                place, match = (x, y, x + size[0], y + size[1]), turned
    side = THUMBNAIL, THUMBNAIL
    a, b = (
        np.asarray(image.resize(side, Image.Resampling.BOX))[None]
        for image in (whole.crop(place), match)
    )
    first = np.zeros(1, np.intp)
    return best._replace(difference=float(differences(a, first, b, first)[0]))


def _fitted(size: tuple[int, int], room: tuple[int, int]) -> tuple[int, int]:
    scale = min(room[0] / size[0], room[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _integral(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.pad(x.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))


def _best(
    spectrum: NDArray[np.complex128],
    sums: Sequence[NDArray[np.float64]],
    shape: tuple[int, ...],
    part: NDArray[np.float64],
) -> tuple[float, int, int]:
    """Find the place where a part correlates best with the whole: (correlation, x, y)."""
    h, w = part.shape
    centred = part - part.mean()
    product = np.fft.irfft2(spectrum * np.conj(np.fft.rfft2(centred, shape)), shape)
    product = product[: shape[0] - h + 1, : shape[1] - w + 1]  # without wrap-around
    total, squares = (s[h:, w:] - s[:-h, w:] - s[h:, :-w] + s[:-h, :-w] for s in sums)
    spread = np.maximum(squares - total**2 / (h * w), 0)
    # A noise of one grey level is added, so that flat places match nothing.
    scale = np.sqrt((spread + h * w) * ((centred**2).sum() + h * w))
    correlation = product / scale
    y, x = np.unravel_index(int(correlation.argmax()), correlation.shape)
    return float(correlation[y, x]), int(x), int(y)
