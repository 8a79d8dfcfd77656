"""Search for similar images: hashes propose pairs, colour thumbnails confirm them.

The search scans all hashes and is exact. At 12 of 64 bits, a multi-index hash has to search so many
buckets that it is 20 times slower (`benchmarks/dedup_scale.py`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from ganloom import params
from ganloom.images.arrays import Array, apply_symmetry

ROWS = 1024  # per block: bounds the memory if all images are similar
COLOURLESS = 2.0  # of 255: colour that JPEG compression adds to a grey image
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as in Pillow

Rows = NDArray[np.intp]


class Likenesses(NamedTuple):
    """Pairs of an image and a better one, sorted by the worse; of each, the most similar first.

    Attributes:
        worse: Row of the worse image of each pair.
        better: Row of the better image.
        bits: Distance of the hashes in bits.
        difference: Mean difference of the thumbnails, 0 to 255.
        symmetry: k of ``apply_symmetry`` that maps the worse image to the better one.
    """

    worse: Rows
    better: Rows
    bits: NDArray[np.int32]
    difference: NDArray[np.float32]
    symmetry: NDArray[np.int8]


def sorted_by_likeness(*parts: Likenesses) -> Likenesses:
    """Join lists of pairs, and sort the result."""
    joined = Likenesses._make(np.concatenate(x) for x in zip(*parts, strict=True))
    order = np.lexsort((joined.better, joined.difference, joined.bits, joined.worse))
    return Likenesses._make(x[order] for x in joined)


class Index:
    """Index of images by their hashes. It takes 8 bytes of memory per image at 64 bits.

    Args:
        prints: Table of fingerprints, the best image first.
        section: Section ``dedup`` with the thresholds.
    """

    def __init__(self, prints: NDArray[Any], section: params.Dedup) -> None:
        self._prints = prints
        self._section = section
        self._rows = np.empty(0, np.intp)
        self._index = faiss.IndexBinaryFlat(section.hash_size**2)

    def add(self, rows: Rows) -> None:
        """Add the images in ``rows``, apart from flat ones, whose hashes mean nothing."""
        rows = self._structured(rows)
        self._index.add(np.ascontiguousarray(self._prints["hashes"][rows, 0]))
        self._rows = np.concatenate([self._rows, rows])

    def search(self, rows: Rows) -> Likenesses:
        """Find the similar and better images in the index for each image in ``rows``."""
        rows = self._structured(rows)
        hashes, thumbnails = self._prints["hashes"][rows], self._prints["thumbnail"][rows]
        likenesses = []
        for k in range(8 if self._section.symmetries else 1):
            queries = np.ascontiguousarray(hashes[:, k])
            ends, bits, hits = self._index.range_search(queries, self._section.max_distance + 1)
            ends = ends.astype(np.intp)
            query = np.repeat(np.arange(len(rows)), ends[1:] - ends[:-1])
            better = self._rows[hits]
            ranks = better < rows[query]
            query, better, bits = query[ranks], better[ranks], bits[ranks]
            turned = apply_symmetry(thumbnails, k)
            difference = differences(turned, query, self._prints["thumbnail"], better)
            alike = difference <= self._section.max_difference
            query, better, bits = query[alike], better[alike], bits[alike]
            symmetry = np.full(len(query), k, np.int8)
            likenesses.append(Likenesses(rows[query], better, bits, difference[alike], symmetry))
        return sorted_by_likeness(*likenesses)

    def _structured(self, rows: Rows) -> Rows:
        # The hash of a flat image is noise, or that of all flat images.
        return rows[self._prints["contrast"][rows] >= self._section.min_contrast]


def distances(hashes: Array, others: Array, symmetries: bool) -> NDArray[np.int64]:
    """Compute the smallest distance in bits between an image, in any symmetry, and each other one.

    Args:
        hashes: (8, bytes), hashes of the image in each symmetry.
        others: (N, bytes), hashes of the other images.
        symmetries: Whether symmetries other than the identity are compared.

    Returns:
        (N,).
    """
    turned = hashes if symmetries else hashes[:1]
    return np.bitwise_count(turned[:, None] ^ others).sum(axis=2, dtype=np.int64).min(axis=0)


def differences(a: Array, rows_a: Rows, b: Array, rows_b: Rows) -> NDArray[np.float32]:
    """Compute the mean absolute difference of each pair of thumbnails, without that of brightness.

    If one of the two is colourless, the pair is compared in grey.

    Args:
        a: (N, S, S, 3) thumbnails.
        rows_a: (P,) row in ``a`` of each pair.
        b: (M, S, S, 3) thumbnails.
        rows_b: (P,) row in ``b`` of each pair.

    Returns:
        (P,), 0 to 255.
    """
    means = np.zeros(len(rows_a), np.float32)
    for first in range(0, len(rows_a), ROWS):
        x, y = (t[rows[first : first + ROWS]] for t, rows in ((a, rows_a), (b, rows_b)))
        grey = np.minimum(colourfulness(x), colourfulness(y)) < COLOURLESS
        difference = x.astype(np.float32) - y
        difference[grey] = (difference[grey] @ LUMA)[..., None]
        difference -= difference.mean(axis=(1, 2, 3), keepdims=True)
        means[first : first + ROWS] = np.abs(difference).mean(axis=(1, 2, 3))
    return means


def colourfulness(thumbnails: Array) -> NDArray[np.float64]:
    """Compute the mean range of the three channels, 0 (grey) to 255."""
    return np.ptp(thumbnails, axis=-1).mean(axis=(-1, -2))
