"""Which pictures look alike: hashes propose, colour thumbnails confirm.

The scan of all hashes is exact. At 12 of 64 bits nothing beats it: a multi-index hash over the same
bits has to look into so many buckets that it is 20 times slower (`benchmarks/dedup_scale.py`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from ganloom import params
from ganloom.images.arrays import Array, apply_symmetry

ROWS = 1024  # at a time: bounds memory where everything resembles everything
COLOURLESS = 2.0  # of 255: what JPEG leaves of colour in a grey picture
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of ITU-R BT.601, as Pillow

Rows = NDArray[np.intp]


class Likenesses(NamedTuple):
    """Pairs of a picture and a better one, by the worse, then the most alike first."""

    worse: Rows
    better: Rows
    bits: NDArray[np.int32]
    difference: NDArray[np.float32]  # of their thumbnails, of 255
    symmetry: NDArray[np.int8]  # k of images.apply_symmetry that turns the worse as the better


def sorted_by_likeness(*parts: Likenesses) -> Likenesses:
    """Join lists of pairs into one in their order."""
    joined = Likenesses._make(np.concatenate(x) for x in zip(*parts, strict=True))
    order = np.lexsort((joined.better, joined.difference, joined.bits, joined.worse))
    return Likenesses._make(x[order] for x in joined)


class Index:
    """Pictures to be resembled. Its memory is 8 bytes for each (with hashes of 64 bits).

    Args:
        prints: Table of fingerprints, the best picture first.
        section: Which hashes and thumbnails count as alike.
    """

    def __init__(self, prints: NDArray[Any], section: params.Dedup) -> None:
        self._prints = prints
        self._section = section
        self._rows = np.empty(0, np.intp)
        self._index = faiss.IndexBinaryFlat(section.hash_size**2)

    def add(self, rows: Rows) -> None:
        """Let the pictures in ``rows`` be found; flat ones have no structure to find them by."""
        rows = self._structured(rows)
        self._index.add(np.ascontiguousarray(self._prints["hashes"][rows, 0]))
        self._rows = np.concatenate([self._rows, rows])

    def search(self, rows: Rows) -> Likenesses:
        """What in the index is better than a picture in ``rows`` and looks like it."""
        rows = self._structured(rows)
        hashes, thumbnails = self._prints["hashes"][rows], self._prints["thumbnail"][rows]
        found = []
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
            found.append(Likenesses(rows[query], better, bits, difference[alike], symmetry))
        return sorted_by_likeness(*found)

    def _structured(self, rows: Rows) -> Rows:
        # The bits of a flat picture's hash are noise, or those of all flat ones.
        return rows[self._prints["contrast"][rows] >= self._section.min_contrast]


def distances(hashes: Array, others: Array, symmetries: bool) -> NDArray[np.int64]:
    """Bits between a picture's hashes under each symmetry and plain hashes, the fewest.

    Args:
        hashes: (8, bytes).
        others: (N, bytes).
        symmetries: Whether any but the first counts.

    Returns:
        (N,).
    """
    turned = hashes if symmetries else hashes[:1]
    return np.bitwise_count(turned[:, None] ^ others).sum(axis=2, dtype=np.int64).min(axis=0)


def differences(a: Array, rows_a: Rows, b: Array, rows_b: Rows) -> NDArray[np.float32]:
    """Mean absolute differences of pairs of thumbnails, apart from one being brighter overall.

    If one of the two has no colour, their greys are compared.
    """
    found = np.zeros(len(rows_a), np.float32)
    for first in range(0, len(rows_a), ROWS):
        x, y = (t[rows[first : first + ROWS]] for t, rows in ((a, rows_a), (b, rows_b)))
        grey = np.minimum(colourfulness(x), colourfulness(y)) < COLOURLESS
        difference = x.astype(np.float32) - y
        difference[grey] = (difference[grey] @ LUMA)[..., None]
        difference -= difference.mean(axis=(1, 2, 3), keepdims=True)
        found[first : first + ROWS] = np.abs(difference).mean(axis=(1, 2, 3))
    return found


def colourfulness(thumbnails: Array) -> NDArray[np.float64]:
    """Mean spread of the three channels, of 255: 0 for grey."""
    return np.ptp(thumbnails, axis=-1).mean(axis=(-1, -2))
