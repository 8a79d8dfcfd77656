"""Near-duplicates: the same picture found twice, resized, recompressed, flipped or turned.

A perceptual hash proposes pairs, small colour thumbnails confirm them, and groups are built around
leaders, so that nobody joins a group over a chain of lookalikes.
"""

from __future__ import annotations

import functools
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import NamedTuple

import faiss
import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganloom import params
from ganloom.images import Array, Shards, apply_symmetry, contact_sheet, decode

THUMBNAIL = 16  # px: coarse enough to forgive a trimmed edge
COLOURLESS = 2.0  # of 255: what JPEG leaves of colour in a grey picture
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of ITU-R BT.601, as Pillow
SHARPNESS_WINDOW = 1024  # px: bounds the cost for large photographs
SEARCH_ROWS = 4096  # at a time: bounds memory where everything resembles everything


class Fingerprint(NamedTuple):
    """What is compared of a picture.

    Attributes:
        sha256: Of the file.
        pixels: sha256 of the decoded picture, size included.
        width: In px, upright.
        height: In px, upright.
        contrast: Standard deviation of grey, of 255.
        sharpness: Variance of the Laplacian of grey, in the middle of the picture.
        hashes: (8, bytes) uint8: the perceptual hash of the picture under each symmetry k.
        thumbnail: (16, 16, 3) uint8.
    """

    sha256: str
    pixels: str
    width: int
    height: int
    contrast: float
    sharpness: float
    hashes: Array
    thumbnail: Array


class Member(NamedTuple):
    """A picture in its group.

    Attributes:
        sha256: The picture.
        cluster: The sha256 of the group's keeper.
        distance: Bits between the hashes of the two.
        kind: How it was found: ``keeper``, ``pixels`` (the same when decoded) or ``hash``.
    """

    sha256: str
    cluster: str
    distance: int
    kind: str


# --- fingerprints ------------------------------------------------------------------------------


def fingerprints(
    shards: Shards, hash_size: int, max_pixels: int, pool: Executor
) -> Iterator[Fingerprint]:
    """Fingerprint every original, by sha256, in the workers of ``pool``.

    Raises:
        ImageError: an original cannot be decoded.
        ShardError: a shard is damaged.
    """
    one = functools.partial(_of_original, shards.folder, hash_size, max_pixels)
    return pool.map(one, sorted(shards), chunksize=8)


# Every worker opens the shards once; their index is too large to be sent with every original.
_open_shards = functools.cache(Shards)


def _of_original(folder: Path, hash_size: int, max_pixels: int, digest: str) -> Fingerprint:
    image = decode(_open_shards(folder)[digest], max_pixels)
    return fingerprint(digest, image, hash_size)


def fingerprint(digest: str, image: Image.Image, hash_size: int) -> Fingerprint:
    """Fingerprint the RGB picture whose file has the sha256 ``digest``."""
    grey = image.convert("L")
    return Fingerprint(
        sha256=digest,
        pixels=hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest(),
        width=image.width,
        height=image.height,
        contrast=round(float(np.asarray(grey).std()), 3),
        sharpness=round(_sharpness(grey), 3),
        hashes=_hashes(grey, hash_size),
        thumbnail=np.asarray(image.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)),
    )


def _hashes(grey: Image.Image, hash_size: int) -> Array:
    """The DCT hash ("pHash") of each symmetry of a picture: (8, hash_size**2 / 8)."""
    side = 4 * hash_size  # what imagehash.phash shrinks to; turned there, turning costs nothing
    small = np.asarray(grey.resize((side, side), Image.Resampling.LANCZOS))[..., None]
    turned = (Image.fromarray(apply_symmetry(small, k)[..., 0]) for k in range(8))
    bits = [imagehash.phash(image, hash_size).hash.ravel() for image in turned]
    return np.packbits(np.stack(bits), axis=1)


def _sharpness(grey: Image.Image) -> float:
    left = max(0, (grey.width - SHARPNESS_WINDOW) // 2)
    top = max(0, (grey.height - SHARPNESS_WINDOW) // 2)
    window = np.asarray(grey)[top : top + SHARPNESS_WINDOW, left : left + SHARPNESS_WINDOW]
    if min(window.shape) < 3:
        return 0.0
    x = window.astype(np.int16)
    around = x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:]
    return float((around - 4 * x[1:-1, 1:-1]).var())


# --- groups ------------------------------------------------------------------------------------


def group(prints: Sequence[Fingerprint], section: params.Dedup) -> list[Member]:
    """Put every picture into one group.

    From the best picture down (more pixels, then in colour, then sharper, then the smaller sha256),
    each joins the keeper so far that it resembles most, or becomes a keeper. So every member
    resembles its keeper directly, and a keeper is nobody's copy.

    Args:
        prints: Fingerprints with ``section.hash_size``, each sha256 once.
        section: Which hashes and thumbnails count as alike.

    Returns:
        The pictures by sha256; a group of one is a group.
    """
    ranked = sorted(prints, key=_rank)
    copies: dict[str, list[Fingerprint]] = defaultdict(list)
    for p in ranked:
        copies[p.pixels].append(p)
    distinct = [same[0] for same in copies.values()]

    child, better, distance = _likenesses(distinct, section)
    starts = np.searchsorted(child, np.arange(len(distinct) + 1))
    is_keeper = np.zeros(len(distinct), bool)
    members: list[Member] = []
    for i, p in enumerate(distinct):
        joinable = starts[i] + np.flatnonzero(is_keeper[better[starts[i] : starts[i + 1]]])
        is_keeper[i] = len(joinable) == 0
        if is_keeper[i]:
            member = Member(p.sha256, p.sha256, 0, "keeper")
        else:
            nearest = joinable[0]
            keeper = distinct[better[nearest]].sha256
            member = Member(p.sha256, keeper, int(distance[nearest]), "hash")
        kind = "pixels" if is_keeper[i] else "hash"
        same = [member._replace(sha256=q.sha256, kind=kind) for q in copies[p.pixels][1:]]
        members += [member, *same]
    return sorted(members)


def _rank(p: Fingerprint) -> tuple[int, bool, float, str]:
    colourless = bool(_colourfulness(p.thumbnail) < COLOURLESS)
    return -p.width * p.height, colourless, -p.sharpness, p.sha256


def _likenesses(
    ranked: Sequence[Fingerprint], section: params.Dedup
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.int32]]:
    """Which pictures resemble a better one under some symmetry.

    Returns:
        Positions of the worse and the better of each pair, and the bits between their hashes; by
        the worse, then the most alike first.
    """
    # A flat picture has no structure: the bits of its hash are noise, or those of all flat ones.
    rows = np.array(
        [i for i, p in enumerate(ranked) if p.contrast >= section.min_contrast], np.intp
    )
    if len(rows) == 0:
        return rows, rows, rows.astype(np.int32)
    hashes = np.stack([ranked[i].hashes for i in rows])
    thumbnails = np.stack([ranked[i].thumbnail for i in rows])
    index = faiss.IndexBinaryFlat(8 * hashes.shape[2])
    index.add(np.ascontiguousarray(hashes[:, 0]))
    found = []
    for k in range(8 if section.symmetries else 1):
        turned = apply_symmetry(thumbnails, k)
        for first in range(0, len(rows), SEARCH_ROWS):
            queries = np.ascontiguousarray(hashes[first : first + SEARCH_ROWS, k])
            ends, bits, better = index.range_search(queries, section.max_distance + 1)
            counts = (ends[1:] - ends[:-1]).astype(np.intp)
            worse = first + np.repeat(np.arange(len(queries)), counts)
            ranks = better < worse
            worse, better, bits = worse[ranks], better[ranks], bits[ranks]
            difference = _differences(turned, worse, thumbnails, better)
            alike = difference <= section.max_difference
            found.append((worse[alike], better[alike], bits[alike], difference[alike]))
    worse, better, bits, difference = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.lexsort((better, difference, bits, worse))
    return rows[worse[order]], rows[better[order]], bits[order]


def _differences(
    a: Array, rows_a: NDArray[np.intp], b: Array, rows_b: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Mean absolute differences of pairs of thumbnails, apart from one being brighter overall.

    If one of the two has no colour, their greys are compared.
    """
    found = np.zeros(len(rows_a), np.float32)
    for first in range(0, len(rows_a), SEARCH_ROWS):
        x, y = (t[rows[first : first + SEARCH_ROWS]] for t, rows in ((a, rows_a), (b, rows_b)))
        grey = np.minimum(_colourfulness(x), _colourfulness(y)) < COLOURLESS
        difference = x.astype(np.float32) - y
        difference[grey] = (difference[grey] @ LUMA)[..., None]
        difference -= difference.mean(axis=(1, 2, 3), keepdims=True)
        found[first : first + SEARCH_ROWS] = np.abs(difference).mean(axis=(1, 2, 3))
    return found


def _colourfulness(thumbnails: Array) -> NDArray[np.float64]:
    """Mean spread of the three channels, of 255: 0 for grey."""
    return np.ptp(thumbnails, axis=-1).mean(axis=(-1, -2))


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
