"""The collection as the studio shows it: fetched images, their metadata and thumbnails.

The tables are joined with the functions of the stage ``curate``, and its rules are applied again.
The studio therefore shows what ``dvc repro`` would do now.
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from ganloom import curate, params
from ganloom.files import write_whole
from ganloom.images import decoding, encoding, formats
from ganloom.images.shards import Shards, sha256
from ganloom.params import Params

THUMBNAIL = 256  # px of the longer side: sharp in tiles of 128 px on a high-density screen
LARGE = 2560  # px of the longer side of a zoomed image
SMALL_FILE = 1_000_000  # px: zoomed images up to this size are sent losslessly
COARSE = 8  # px: side of the colour thumbnail that replaces missing features

# Columns of data/clusters.csv that are not flags. All other numeric and boolean columns are flags,
# so that columns added later appear in the studio, too.
NO_FLAGS = ("sha256", "cluster", "keeper")
# Columns of data/manifest.csv that the studio shows, besides the size.
FACTS = ("id", "source", "query", "url", "page", "title", "creator", "licence", "licence_url")


class CollectionError(RuntimeError):
    """There is no collection to show yet. The message names the command to run."""


class Collection(NamedTuple):
    """The fetched images and their metadata.

    Attributes:
        revision: Hash that changes with the tables and the parameters.
        params: Content of ``params.yaml``.
        table: One row per image, indexed by SHA-256: ``sha256, cluster, keeper, width, height,
            bytes, mime, label, copies, rule``, the columns ``FACTS`` and the flags. ``copies`` is
            the number of candidates with the same file, ``rule`` the reason for which the rules
            drop the image, "" if they keep it.
        flags: Names of the columns to sort by.
        known: SHA-256 of every candidate that has one, fetched or not.
        shards: Originals.
        features: (N, D) float16, in the order of ``table``; None if they are missing.
    """

    revision: str
    params: Params
    table: pd.DataFrame
    flags: list[str]
    known: frozenset[str]
    shards: Shards
    features: NDArray[np.float16] | None


def signature(project: Path) -> str:
    """Hash of the size and modification time of the files that ``load`` reads; cheap to compute."""
    data = project / "data"
    paths = [
        project / "params.yaml",
        *(data / name for name in ("manifest.csv", "clusters.csv", "features.npy")),
        *sorted((data / "raw").glob("*.tar")),
    ]
    stamps = []
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            stamps.append(f"{path.name} {status.st_mtime_ns} {status.st_size} {status.st_ino}")
    return sha256("\n".join(stamps).encode())


def load(project: Path) -> Collection:
    """Read the tables of a project.

    Raises:
        CollectionError: If the tables do not exist yet, or do not fit each other.
        ParamsError: If ``params.yaml`` is invalid.
        ShardError: If the originals are missing or damaged.
    """
    revision = signature(project)
    knobs = params.load(project / "params.yaml")
    data = project / "data"
    for name in ("manifest.csv", "clusters.csv"):
        if not (data / name).is_file():
            raise CollectionError(
                f"data/{name} does not exist: the images have not been fetched and compared yet, "
                "or a run is in progress. To create it: dvc repro dedup"
            )
    shards = Shards(data / "raw")
    try:
        manifest = pd.read_csv(data / "manifest.csv", dtype=str, keep_default_na=False)
        text = {"sha256": str, "cluster": str}
        clusters = pd.read_csv(data / "clusters.csv", dtype=text).sort_values("sha256")
        pictures = curate.pictures(manifest, clusters)
        rules = curate.drop_reasons(pictures, [], knobs.curate)
        fetched = manifest[manifest.error == ""].sort_values("id")
        facts = fetched.drop_duplicates("sha256").set_index("sha256")
        table = clusters.set_index("sha256", drop=False).loc[[p.sha256 for p in pictures]]
        table = table.astype({"keeper": bool})
        table = table.assign(
            width=[p.width for p in pictures],
            height=[p.height for p in pictures],
            label=[p.label for p in pictures],
            bytes=facts.bytes.loc[table.index].astype(int),
            mime=facts.mime.loc[table.index],
            copies=fetched.groupby("sha256").size().loc[table.index],
            rule=[rules.get(p.sha256, "") for p in pictures],
            **{name: facts[name].loc[table.index] for name in FACTS},
        )
    except (
        pd.errors.ParserError,
        ArithmeticError,
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
    ) as error:
        raise CollectionError(
            f"data/manifest.csv and data/clusters.csv cannot be read together ({error}); "
            "to create them again: dvc repro dedup"
        ) from error
    flags = [
        str(column)
        for column in clusters.columns
        if column not in NO_FLAGS and pd.api.types.is_numeric_dtype(clusters[column])
    ]
    features = _features(data / "features.npy", len(clusters))
    if features is not None and len(table) != len(clusters):
        features = features[clusters.sha256.isin(table.index).to_numpy()]
    known = frozenset(manifest.sha256) - {""}
    return Collection(revision, knobs, table, flags, known, shards, features)


def _features(path: Path, count: int) -> NDArray[np.float16] | None:
    """Load the features; None if they are missing, damaged or of another number of images."""
    try:
        features = np.load(path, allow_pickle=False)
    except (FileNotFoundError, ValueError, EOFError):
        return None
    return features if features.ndim == 2 and len(features) == count else None


def as_json(collection: Collection) -> dict[str, Any]:
    """Convert the table to columns and rows; missing values are null."""
    table = collection.table
    columns = ["sha256", "cluster", "keeper", "width", "height", "bytes", "mime", "label"]
    columns += ["copies", "rule", *FACTS]
    columns += [name for name in table.columns if name not in columns]
    finite = table[columns].replace([np.inf, -np.inf], np.nan)  # JSON has no infinities
    cells = finite.astype(object).where(finite.notna(), None)
    return {
        "revision": collection.revision,
        "columns": columns,
        "flags": collection.flags,
        "rows": cells.to_numpy().tolist(),
    }


# --- images --------------------------------------------------------------------------------------


def thumbnail(collection: Collection, digest: str, cache: Path) -> bytes:
    """Return a small WebP of an image from the cache; create it if it is missing or damaged.

    Args:
        collection: Collection with the original.
        digest: SHA-256 of the original.
        cache: Folder of the files ``<sha256>.webp``, which are written atomically.

    Raises:
        KeyError: If there is no such original.
        ImageError, ShardError: If it cannot be decoded or read.
    """
    path = cache / f"{digest}.webp"
    with contextlib.suppress(FileNotFoundError):
        if _is_whole_webp(data := path.read_bytes()):
            return data
    image = decoding.decode(collection.shards[digest], collection.params.fetch.max_pixels)
    data = small(image)
    write_whole(path, data)
    return data


def small(image: Image.Image) -> bytes:
    """Shrink an image to a thumbnail, and encode it as WebP."""
    image.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX, reducing_gap=2.0)
    return _encoded(image, "WEBP", quality=82, method=2)


def _is_whole_webp(data: bytes) -> bool:
    """Whether a file is complete. A power cut may leave an empty, zeroed or truncated file."""
    size = int.from_bytes(data[4:8], "little")  # of the bytes after this field
    return formats.sniff(data) == "WEBP" and len(data) == 8 + size


def large(collection: Collection, digest: str) -> tuple[bytes, str]:
    """Encode an image for the zoomed view.

    It is encoded again from its pixels, so that no byte of an untrusted original reaches the
    browser.

    Returns:
        The encoded file and its MIME type.

    Raises:
        KeyError, ImageError, ShardError: As in ``thumbnail``.
    """
    image = decoding.decode(collection.shards[digest], collection.params.fetch.max_pixels)
    image.thumbnail((LARGE, LARGE), Image.Resampling.LANCZOS, reducing_gap=2.0)
    if image.width * image.height <= SMALL_FILE:
        return encoding.png(image), "image/png"
    return _encoded(image, "JPEG", quality=92), "image/jpeg"


def _encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


# --- similarity ----------------------------------------------------------------------------------


def likeness(vectors: NDArray[np.floating[Any]], row: int) -> list[float]:
    """Cosine similarity of each image to one of them, in [-1, 1].

    Args:
        vectors: (N, D) feature vectors of unit length.
        row: Row of the image to compare with.
    """
    # In float32: the rounding errors of half precision add up to several percent.
    similarities = vectors.astype(np.float32) @ vectors[row].astype(np.float32)
    return [round(float(x), 4) for x in similarities]


def coarse_colours(collection: Collection, digest: str, cache: Path) -> NDArray[np.float32]:
    """Colours of a coarse thumbnail, to compare images without features: (192,) of unit length.

    An image that is missing or cannot be decoded has a vector of zeros, similar to no other.

    Raises:
        ShardError: As in ``thumbnail``.
    """
    try:
        data = thumbnail(collection, digest, cache)
    except (KeyError, decoding.ImageError):
        return np.zeros(3 * COARSE**2, np.float32)
    with Image.open(io.BytesIO(data), formats=["WEBP"]) as image:
        small = image.convert("RGB").resize((COARSE, COARSE), Image.Resampling.BOX)
    vector = np.asarray(small, np.float32).ravel() / 127.5 - 1
    return vector / max(float(np.linalg.norm(vector)), 1e-6)
