"""Groups of near-duplicates around leaders, one keeper each."""

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

ATTEMPTS = 16  # keepers compared with a picture in detail: bounds the work on a set of lookalikes

# From the sha256 of originals to digests of their decoded pixels.
Pixels = Callable[[Sequence[str]], Sequence[str]]


class Member(NamedTuple):
    """A picture in its group.

    Attributes:
        sha256: The picture.
        cluster: The sha256 of the group's keeper.
        distance: Bits between the hashes of the two.
        kind: How it was found: ``keeper``, ``pixels`` (the same when decoded), ``hash`` or
            ``deep`` (one shows a part of the other).
        diameter: Bits between the two members of the group that resemble each other least.
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
    """Put every picture into one group.

    From the best picture down (more pixels, then in colour, then with more detail, then less
    compressed, then the smaller sha256), each joins the keeper so far that it resembles most and
    agrees with in detail, or becomes a keeper. Only the ``ATTEMPTS`` most similar keepers are
    compared in detail. So every member resembles its keeper directly.

    Memory does not grow with the number of pairs that are alike: pictures are compared in blocks,
    and only with keepers.

    Args:
        prints: Table of fingerprints with ``section.hash_size``, each sha256 once.
        section: Which hashes and thumbnails count as alike.
        pixels: Asked of pictures that could be equal.
        parts: From a picture to those that show a part of it or of which it shows a part, the most
            alike first: they are joined where nothing resembles the whole.

    Returns:
        The pictures by sha256; a group of one is a group.
    """
    ranked = prints[_ranks(prints)]
    twin = _twins(ranked, pixels)
    keeper, kind = _lead(ranked, twin, section, parts)
    copies = np.flatnonzero(twin != np.arange(len(ranked)))
    keeper[copies] = keeper[twin[copies]]
    kind[copies] = np.where(kind[twin[copies]] == "keeper", "pixels", kind[twin[copies]])
    _recognise(ranked, keeper, kind, pixels)

    apart, diameter = _sizes(ranked, keeper, section)
    digests = ranked["sha256"]
    columns = (digests, digests[keeper], apart, kind, diameter[keeper])
    return sorted(Member(*row) for row in zip(*(c.tolist() for c in columns), strict=True))


def _ranks(prints: NDArray[Any]) -> Rows:
    octave = np.round(np.log2(1 + prints["detail"]))  # what compression changes is not detail
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
    """The best picture with the same pixels as each, maybe itself."""
    _, inverse, counts = np.unique(ranked["pixels"], return_inverse=True, return_counts=True)
    asked = np.flatnonzero(counts[inverse] > 1)
    key = ranked["sha256"].copy()
    key[asked] = pixels(key[asked].tolist()) if len(asked) else []
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    return np.asarray(first[inverse], np.intp)


def _lead(
    ranked: NDArray[Any],
    twin: Rows,
    section: params.Dedup,
    parts: Mapping[str, Sequence[str]],
) -> tuple[Rows, NDArray[np.str_]]:
    """The keeper of every picture that is its own twin, and how it was found."""
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
            open_to = kind[better] == "keeper"
            likely = zip(better[open_to].tolist(), symmetry[open_to].tolist(), strict=True)
            same = _same(greys, i, itertools.islice(likely, ATTEMPTS))
            of_parts = [row[other] for other in parts.get(str(digests[i]), ())]
            whole = [j for j in of_parts if j < i and kind[j] == "keeper"]
            if same is not None:
                keeper[i], kind[i] = same, "hash"
            elif whole:
                keeper[i], kind[i] = whole[0], "deep"
        keepers.add(rows[kind[rows] == "keeper"])
    return keeper, kind


def _same(greys: Array, row: int, likely: Iterable[tuple[int, int]]) -> int | None:
    """The first of the likely keepers (row, symmetry) that agrees with a picture in detail."""
    for keeper, k in likely:
        if detail.agree(apply_symmetry(greys[row, ..., None], k)[..., 0], greys[keeper]):
            return keeper
    return None


def _recognise(ranked: NDArray[Any], keeper: Rows, kind: NDArray[np.str_], pixels: Pixels) -> None:
    """Mark as ``pixels`` what equals its keeper in another format."""
    size = ranked["width"].astype(np.int64) << 32 | ranked["height"]
    asked = np.flatnonzero((kind == "hash") & (size == size[keeper]))
    if len(asked):
        rows = np.union1d(asked, keeper[asked])
        digest = dict(zip(rows.tolist(), pixels(ranked["sha256"][rows].tolist()), strict=True))
        same = [i for i in asked.tolist() if digest[i] == digest[int(keeper[i])]]
        kind[same] = "pixels"


def _sizes(
    ranked: NDArray[Any], keeper: Rows, section: params.Dedup
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Bits between each picture and its keeper, and the diameter of each keeper's group."""
    apart = np.zeros(len(ranked), np.int64)
    diameter = np.zeros(len(ranked), np.int64)
    order = np.argsort(keeper, kind="stable")
    starts = np.flatnonzero(np.diff(keeper[order], prepend=-1))
    for members in np.split(order, starts[1:]):
        plain = ranked["hashes"][members, 0]
        flat = np.any(ranked["contrast"][members] < section.min_contrast)
        for n in range(1, 1 if flat else len(members)):
            bits = distances(ranked["hashes"][members[n]], plain[:n], section.symmetries)
            apart[members[n]] = bits[0]
            diameter[members[0]] = max(diameter[members[0]], bits.max())
    return apart, diameter


# --- looking -----------------------------------------------------------------------------------


def sheet(
    members: Sequence[Member],
    load: Callable[[str], Image.Image],
    groups: int = 12,
    columns: int = 8,
    tile: int = 128,
) -> Image.Image:
    """A contact sheet of the largest groups: one a row, the keeper first, the nearest next.

    Args:
        members: What ``group`` returned.
        load: From a sha256 to its picture.
        groups: Rows at most.
        columns: Pictures of a group at most.
        tile: Side of a tile in px.
    """
    by_cluster: dict[str, list[Member]] = defaultdict(list)
    for member in members:
        by_cluster[member.cluster].append(member)
    several = [found for found in by_cluster.values() if len(found) > 1]
    several.sort(key=lambda found: (-len(found), found[0].cluster))
    nothing = Image.new("RGB", (1, 1), "white")
    tiles: list[Image.Image] = []
    for found in several[:groups]:
        found.sort(key=lambda member: (member.kind != "keeper", member.distance, member.sha256))
        row = [load(member.sha256) for member in found[:columns]]
        tiles += row + [nothing] * (columns - len(row))
    return contact_sheet(tiles, columns, tile)
