"""Analysis of a collection in the stage ``dedup``, from its shards to its tables."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from ganloom import params
from ganloom.dedup.fingerprint import fingerprints, same_pixels, table
from ganloom.dedup.group import Member, group, sheet
from ganloom.images.decoding import decode
from ganloom.images.encoding import save_png
from ganloom.images.shards import Shards

NEIGHBOURS = 5  # whose mean distance measures how off-topic an image is


class Found(NamedTuple):
    """Results for N originals, sorted by sha256.

    Attributes:
        members: Group of each original.
        prints: Table of fingerprints.
        features: (N, D) of unit length, so that the similarity of two originals is a dot product:
            features of the network with ``deep``, otherwise 192 numbers on shapes and colours.
        off_topic: (N,) robust z-scores of the distance to the others; copies have their keeper's.
    """

    members: list[Member]
    prints: NDArray[Any]
    features: NDArray[np.float16]
    off_topic: NDArray[np.float32]


def find(shards: Shards, section: params.Dedup, max_pixels: int, pool: Executor) -> Found:
    """Group the originals in ``shards``, and describe them.

    Args:
        shards: Originals.
        section: Section ``dedup``.
        max_pixels: Limit of the size of an original.
        pool: Worker processes.

    Raises:
        ImageError: An original cannot be decoded.
        ShardError: A shard is damaged.
        RuntimeError: ``section.deep`` needs weights that are missing.
    """
    computed = fingerprints(shards, section.hash_size, max_pixels, pool)
    counted = tqdm(computed, "fingerprints", len(shards), mininterval=1)
    prints = table(counted, len(shards), section.hash_size)
    digests = prints["sha256"].tolist()
    features, parts = prints["descriptor"], dict[str, list[str]]()
    if section.deep:
        from ganloom.dedup import deep  # noqa: PLC0415 - starts torch

        features = deep.descriptors(shards, digests, max_pixels, section.symmetries, pool)
        proposed = deep.proposals(prints, features, section)
        parts = deep.parts(shards, proposed, max_pixels, section, pool)
    pixels = functools.partial(same_pixels, shards, max_pixels=max_pixels, pool=pool)
    members = group(prints, section, pixels, parts)

    row = {digest: i for i, digest in enumerate(digests)}
    keeper = np.array([row[member.cluster] for member in members], np.intp)
    keepers = np.unique(keeper)
    scores = np.zeros(len(prints), np.float32)
    scores[keepers] = off_topic(features[keepers])
    return Found(members, prints, np.ascontiguousarray(features), scores[keeper])


def off_topic(features: NDArray[np.float16]) -> NDArray[np.float32]:
    """Compute a robust z-score of each image's distance to the others; outliers exceed about 3.

    The distance is the mean of those to the five nearest others. Its median is subtracted, and the
    result is divided by 1.4826 times the median absolute deviation, which equals the standard
    deviation of a normal distribution.

    Args:
        features: (N, D) of unit length, of one image per group of near-duplicates, since copies
            would be near to each other.

    Returns:
        (N,); zeros for fewer than seven images.
    """
    if len(features) < NEIGHBOURS + 2:
        return np.zeros(len(features), np.float32)
    x = features.astype(np.float32)
    index = faiss.IndexFlatIP(x.shape[1])
    index.add(x)
    similarity, _ = index.search(x, NEIGHBOURS + 1)
    distance = np.sqrt(np.maximum(0, 2 - 2 * similarity[:, 1:])).mean(axis=1)
    deviation = distance - np.median(distance)
    scale = max(1.4826 * float(np.median(np.abs(deviation))), 1e-6)
    return np.asarray(deviation / scale, np.float32)


def rows(found: Found) -> Iterator[dict[str, Any]]:
    """Yield the rows of data/clusters.csv."""
    for member, measured, score in zip(found.members, found.prints, found.off_topic, strict=True):
        width, height = int(measured["width"]), int(measured["height"])
        yield {
            "sha256": member.sha256,
            "cluster": member.cluster,
            "keeper": "true" if member.kind == "keeper" else "false",
            "distance": member.distance,
            "kind": member.kind,
            "diameter": member.diameter,
            "contrast": f"{measured['contrast']:.3f}",
            "sharpness": f"{measured['sharpness']:.3f}",
            "blurred": f"{measured['blurred']:.3f}",
            "information": f"{measured['information']:.3f}",
            "aspect": f"{max(width, height) / min(width, height):.3f}",
            "off_topic": f"{score:.3f}",
        }


def write(found: Found, shards: Shards, max_pixels: int, folder: Path) -> None:
    """Write ``clusters.csv``, ``features.npy`` and ``clusters.png``, a sheet of some groups.

    Args:
        found: Result of ``find``.
        shards: Originals.
        max_pixels: Limit of the size of an original.
        folder: Folder data.
    """
    table = pd.DataFrame(rows(found))
    table.to_csv(folder / "clusters.csv", index=False, lineterminator="\n")
    np.save(folder / "features.npy", found.features)
    groups = sheet(found.members, lambda digest: decode(shards[digest], max_pixels))
    save_png(groups, folder / "clusters.png")
