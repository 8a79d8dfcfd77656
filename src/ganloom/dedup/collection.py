"""Everything that the stage finds out about a collection, from its shards to its tables."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from concurrent.futures import Executor
from typing import Any, NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ganloom import params
from ganloom.dedup.fingerprint import fingerprints, same_pixels, table
from ganloom.dedup.group import Member, group
from ganloom.images.shards import Shards

NEIGHBOURS = 5  # how near their mean is says how much a picture belongs


class Found(NamedTuple):
    """What was found of N pictures, by their sha256.

    Attributes:
        members: Their groups.
        prints: Table of their fingerprints.
        features: (N, D) of unit length, so that likeness is a dot product: of the network with
            ``deep``, else shapes and colours in 192 numbers.
        off_topic: (N,) how far they are from the others; a copy is as far as its keeper.
    """

    members: list[Member]
    prints: NDArray[Any]
    features: NDArray[np.float16]
    off_topic: NDArray[np.float32]


def find(shards: Shards, section: params.Dedup, max_pixels: int, pool: Executor) -> Found:
    """Group the originals in ``shards``, and describe them.

    Raises:
        ImageError: an original cannot be decoded.
        ShardError: a shard is damaged.
        RuntimeError: ``section.deep`` asks for weights that are not there.
    """
    found = fingerprints(shards, section.hash_size, max_pixels, pool)
    shown = tqdm(found, "fingerprints", len(shards), mininterval=1)
    prints = table(shown, len(shards), section.hash_size)
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
    away = np.zeros(len(prints), np.float32)
    away[keepers] = off_topic(features[keepers])
    return Found(members, prints, np.ascontiguousarray(features), away[keeper])


def off_topic(features: NDArray[np.float16]) -> NDArray[np.float32]:
    """How far pictures are from the others, as a robust z-score: above 3 or so is worth a look.

    The mean distance to the nearest five others, less its median, in units of 1.4826 times the
    median deviation (a standard deviation, were it a normal distribution).

    Args:
        features: (N, D) of unit length, one picture of each group of near-duplicates: copies
            would keep each other company.

    Returns:
        (N,).
    """
    if len(features) < NEIGHBOURS + 2:
        return np.zeros(len(features), np.float32)
    x = features.astype(np.float32)
    index = faiss.IndexFlatIP(x.shape[1])
    index.add(x)
    likeness, _ = index.search(x, NEIGHBOURS + 1)
    distance = np.sqrt(np.maximum(0, 2 - 2 * likeness[:, 1:])).mean(axis=1)
    away = distance - np.median(distance)
    return np.asarray(away / max(1.4826 * float(np.median(np.abs(away))), 1e-6), np.float32)


def rows(found: Found) -> Iterator[dict[str, Any]]:
    """The table data/clusters.csv."""
    for member, looks, away in zip(found.members, found.prints, found.off_topic, strict=True):
        width, height = int(looks["width"]), int(looks["height"])
        yield {
            "sha256": member.sha256,
            "cluster": member.cluster,
            "keeper": "true" if member.kind == "keeper" else "false",
            "distance": member.distance,
            "kind": member.kind,
            "diameter": member.diameter,
            "contrast": f"{looks['contrast']:.3f}",
            "sharpness": f"{looks['sharpness']:.3f}",
            "blurred": f"{looks['blurred']:.3f}",
            "information": f"{looks['information']:.3f}",
            "aspect": f"{max(width, height) / min(width, height):.3f}",
            "off_topic": f"{away:.3f}",
        }
