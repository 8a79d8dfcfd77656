"""Groups of near-duplicates, each around its keeper."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganloom import params
from ganloom.dedup import detail
from ganloom.dedup.search import (
    COLOURLESS,
    ROWS,
    Index,
    Rows,
    colourfulness,
    distances,
    sorted_by_likeness,
)
from ganloom.images.arrays import Array, apply_symmetry
from ganloom.images.sheets import contact_sheet

ATTEMPTS = 16  # keepers compared with an image in detail: bounds the work on many similar images

# Function from the sha256 of originals to digests of their decoded pixels.
Pixels = Callable[[Sequence[str]], Sequence[str]]


class Member(NamedTuple):
    """An original as a member of a group.

    Attributes:
        sha256: Hash of the original.
        cluster: The sha256 of the group's keeper.
        distance: Distance to the keeper, in bits of the hashes.
        kind: ``keeper``, or how the near-duplicate was found: ``pixels`` (equal when decoded),
            ``hash`` or ``deep`` (one shows a part of the other).
        diameter: Largest distance between two members of the group, in bits.
    """

    sha256: str
    cluster: str
    distance: int
    kind: str
    diameter: int


def group(
    prints: NDArray[Any],
    section: params.Dedup,
    pixels: Pixels,
    parts: Mapping[str, Sequence[str]],
) -> list[Member]:
    """Assign each original to a group.

    Originals are handled from the best to the worst: more pixels first, then colour, more detail,
    less compression, and the smaller sha256. Each one joins the most similar keeper so far with
    which it agrees in detail, or becomes a keeper. Only the ``ATTEMPTS`` most similar keepers are
    compared in detail. Each member is therefore similar to its keeper itself.

    Originals are compared in blocks, and only with keepers, so that memory does not grow with the
    number of similar pairs.

    Args:
        prints: Table of fingerprints with ``section.hash_size``, each sha256 once.
        section: Section ``dedup`` with the thresholds.
        pixels: Function that hashes decoded pixels; it is called for originals that may be equal.
        parts: Originals that overlap with each original, the most similar first. An original joins
            one of them if it is not similar to a whole keeper.

    Returns:
        Members of all groups, sorted by sha256; a group may have one member.
    """
    ranked = prints[_ranks(prints)]
    twin = _twins(ranked, pixels)
    keeper, kind = _lead(ranked, twin, section, parts)
    copies = np.flatnonzero(twin != np.arange(len(ranked)))
    keeper[copies] = keeper[twin[copies]]
    kind[copies] = np.where(kind[twin[copies]] == "keeper", "pixels", kind[twin[copies]])
    _recognise(ranked, keeper, kind, pixels)

    distance, diameter = _sizes(ranked, keeper, section)
    digests = ranked["sha256"]
    columns = (digests, digests[keeper], distance, kind, diameter[keeper])
    return sorted(Member(*row) for row in zip(*(c.tolist() for c in columns), strict=True))


def _ranks(prints: NDArray[Any]) -> Rows:
    octave = np.round(np.log2(1 + prints["detail"]))  # coarse, to ignore effects of compression
    keys = (
        prints["sha256"],
        -prints["detail"],
        prints["coarseness"],
        -octave,
        colourfulness(prints["thumbnail"]) < COLOURLESS,
        -prints["width"].astype(np.int64) * prints["height"],
    )
    return np.lexsort(keys)


def _twins(ranked: NDArray[Any], pixels: Pixels) -> Rows:
    """Return the row of the best original with the same pixels as each one, possibly its own."""
    _, inverse, counts = np.unique(ranked["pixels"], return_inverse=True, return_counts=True)
    candidates = np.flatnonzero(counts[inverse] > 1)
    key = ranked["sha256"].copy()
    key[candidates] = pixels(key[candidates].tolist()) if len(candidates) else []
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    return np.asarray(first[inverse], np.intp)


def _lead(
    ranked: NDArray[Any],
    twin: Rows,
    section: params.Dedup,
    parts: Mapping[str, Sequence[str]],
) -> tuple[Rows, NDArray[np.str_]]:
    """Return the row of the keeper, and the kind, of each original that is its own twin."""
    keeper = np.arange(len(ranked))
    kind = np.full(len(ranked), "keeper", "U6")
    digests = ranked["sha256"]
    row = {digest: int(twin[i]) for i, digest in enumerate(digests.tolist()) if digest in parts}
    distinct = np.flatnonzero(twin == keeper)
    greys = ranked["grey"]
    keepers = Index(ranked, section)
    for first in range(0, len(distinct), ROWS):
        rows = distinct[first : first + ROWS]
        block = Index(ranked, section)
        block.add(rows)
        alike = sorted_by_likeness(keepers.search(rows), block.search(rows))
        starts, ends = (np.searchsorted(alike.worse, rows, side) for side in ("left", "right"))
        for i, start, end in zip(rows.tolist(), starts, ends, strict=True):
            better, symmetry = alike.better[start:end], alike.symmetry[start:end]
            is_keeper = kind[better] == "keeper"
            similar = zip(better[is_keeper].tolist(), symmetry[is_keeper].tolist(), strict=True)
            agreeing = _first_agreeing(greys, i, itertools.islice(similar, ATTEMPTS))
            overlapping = [row[other] for other in parts.get(str(digests[i]), ())]
            overlapping = [j for j in overlapping if j < i and kind[j] == "keeper"]
            if agreeing is not None:
                keeper[i], kind[i] = agreeing, "hash"
            elif overlapping:
                keeper[i], kind[i] = overlapping[0], "deep"
        keepers.add(rows[kind[rows] == "keeper"])
    return keeper, kind


def _first_agreeing(greys: Array, row: int, similar: Iterable[tuple[int, int]]) -> int | None:
    """Return the first of the similar keepers (row, symmetry) that agrees with an image in detail.

    None if there is none.
    """
    for keeper, k in similar:
        if detail.agree(apply_symmetry(greys[row, ..., None], k)[..., 0], greys[keeper]):
            return keeper
    return None


def _recognise(ranked: NDArray[Any], keeper: Rows, kind: NDArray[np.str_], pixels: Pixels) -> None:
    """Change the kind of members to ``pixels`` if they equal their keeper in another format."""
    size = ranked["width"].astype(np.int64) << 32 | ranked["height"]
    candidates = np.flatnonzero((kind == "hash") & (size == size[keeper]))
    if len(candidates):
        rows = np.union1d(candidates, keeper[candidates])
        digest = dict(zip(rows.tolist(), pixels(ranked["sha256"][rows].tolist()), strict=True))
        equal = [i for i in candidates.tolist() if digest[i] == digest[int(keeper[i])]]
        kind[equal] = "pixels"


def _sizes(
    ranked: NDArray[Any], keeper: Rows, section: params.Dedup
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Compute the distance of each original to its keeper, and the diameter of each group.

    Both are in bits. The diameter is stored in the keeper's row.
    """
    distance = np.zeros(len(ranked), np.int64)
    diameter = np.zeros(len(ranked), np.int64)
    order = np.argsort(keeper, kind="stable")
    starts = np.flatnonzero(np.diff(keeper[order], prepend=-1))
    for members in np.split(order, starts[1:]):
        plain = ranked["hashes"][members, 0]
        flat = np.any(ranked["contrast"][members] < section.min_contrast)
        for n in range(1, 1 if flat else len(members)):
            bits = distances(ranked["hashes"][members[n]], plain[:n], section.symmetries)
            distance[members[n]] = bits[0]
            diameter[members[0]] = max(diameter[members[0]], bits.max())
    return distance, diameter


# --- contact sheet -----------------------------------------------------------------------------


def sheet(
    members: Sequence[Member],
    load: Callable[[str], Image.Image],
    groups: int = 12,
    columns: int = 8,
    tile: int = 128,
) -> Image.Image:
    """Make a contact sheet of the largest groups, one per row, sorted by distance to the keeper.

    Args:
        members: Result of ``group``.
        load: Function from a sha256 to the image.
        groups: Maximum number of rows.
        columns: Maximum number of images of a group.
        tile: Side of a tile in px.
    """
    by_cluster: dict[str, list[Member]] = defaultdict(list)
    for member in members:
        by_cluster[member.cluster].append(member)
    duplicated = [members for members in by_cluster.values() if len(members) > 1]
    duplicated.sort(key=lambda members: (-len(members), members[0].cluster))
    empty = Image.new("RGB", (1, 1), "white")
    tiles: list[Image.Image] = []
    for of_group in duplicated[:groups]:
        of_group.sort(key=lambda member: (member.kind != "keeper", member.distance, member.sha256))
        row = [load(member.sha256) for member in of_group[:columns]]
        tiles += row + [empty] * (columns - len(row))
    return contact_sheet(tiles, columns, tile)
