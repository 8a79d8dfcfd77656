"""What the studio shows: the fetched pictures, what is known of them, their thumbnails.

The tables are joined as the stage ``curate`` joins them, and the rules are asked anew, so that what
is shown is what ``dvc repro`` would do now.
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

THUMBNAIL = 256  # px, the longest side: sharp on tiles of 128 px on a dense screen
LARGE = 2560  # px, the longest side when zoomed in
SMALL_FILE = 1_000_000  # px: up to here a zoomed picture is sent without loss
LOOK = 8  # px: side of the colour thumbnail that stands in for features

# Columns of data/clusters.csv that are no flags; every other column of numbers or of true and false
# is one, whoever adds it.
NO_FLAGS = ("sha256", "cluster", "keeper")
# Of data/manifest.csv, beside its size.
FACTS = ("id", "source", "query", "url", "page", "title", "creator", "licence", "licence_url")


class CollectionError(RuntimeError):
    """There is nothing to show yet; the message says what to run."""


class Collection(NamedTuple):
    """The pictures, by sha256, and where the rest of them lies.

    Attributes:
        revision: Changes whenever a table or the parameters do.
        params: What ``params.yaml`` says.
        table: A row for each picture: ``sha256, cluster, keeper, width, height, bytes, mime, label,
            copies, rule, FACTS`` and the flags. ``copies`` is how many candidates have this file,
            ``rule`` why the rules drop it, "" if they do not.
        flags: The names of the columns to sort by.
        known: The sha256 of every candidate that has one, fetched or not.
        shards: The originals.
        features: (N, D) float16, row for row with ``table``; None if there are none.
    """

    revision: str
    params: Params
    table: pd.DataFrame
    flags: list[str]
    known: frozenset[str]
    shards: Shards
    features: NDArray[np.float16] | None


def signature(project: Path) -> str:
    """Changes when a file that ``load`` reads is replaced or edited; cheap enough to ask often."""
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
        CollectionError: the pipeline has not made them yet, or they do not fit each other.
        ParamsError: ``params.yaml`` cannot be used.
        ShardError: the originals are missing or damaged.
    """
    revision = signature(project)
    knobs = params.load(project / "params.yaml")
    data = project / "data"
    for name in ("manifest.csv", "clusters.csv"):
        if not (data / name).is_file():
            raise CollectionError(
                f"data/{name} does not exist: no pictures have been fetched and compared yet, or "
                "that is going on now. To do it: dvc repro dedup"
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
            "to make them anew: dvc repro dedup"
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
    """The features if they are there and describe as many pictures; never unpickled."""
    try:
        features = np.load(path, allow_pickle=False)
    except (FileNotFoundError, ValueError, EOFError):
        return None
    return features if features.ndim == 2 and len(features) == count else None


def as_json(collection: Collection) -> dict[str, Any]:
    """The table as columns and rows; what is not known is null."""
    table = collection.table
    columns = ["sha256", "cluster", "keeper", "width", "height", "bytes", "mime", "label"]
    columns += ["copies", "rule", *FACTS]
    columns += [name for name in table.columns if name not in columns]
    finite = table[columns].replace([np.inf, -np.inf], np.nan)  # JSON has neither
    known = finite.astype(object).where(finite.notna(), None)
    return {
        "revision": collection.revision,
        "columns": columns,
        "flags": collection.flags,
        "rows": known.to_numpy().tolist(),
    }


# --- looking -----------------------------------------------------------------------------------


def thumbnail(collection: Collection, digest: str, cache: Path) -> bytes:
    """A small WebP of one picture, made once; what is damaged in the cache is made anew.

    Args:
        collection: Has the original.
        digest: Its sha256.
        cache: Folder of ``<sha256>.webp``; each is written in one step.

    Raises:
        KeyError: there is no such original.
        ImageError, ShardError: it cannot be decoded or read.
    """
    path = cache / f"{digest}.webp"
    with contextlib.suppress(FileNotFoundError):
        if _is_whole_webp(data := path.read_bytes()):
            return data
    image = decoding.decode(collection.shards[digest], collection.params.fetch.max_pixels)
    image.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX, reducing_gap=2.0)
    data = _encoded(image, "WEBP", quality=82, method=2)
    write_whole(path, data)
    return data


def _is_whole_webp(data: bytes) -> bool:
    """False of what a loss of power left: nothing, zeros, or the beginning of a file."""
    size = int.from_bytes(data[4:8], "little")  # of what follows it
    return formats.sniff(data) == "WEBP" and len(data) == 8 + size


def large(collection: Collection, digest: str) -> tuple[bytes, str]:
    """One picture as it is when zoomed in, made from its pixels: no byte of the original is in it.

    Returns:
        The file and its type.

    Raises:
        KeyError, ImageError, ShardError: as ``thumbnail``.
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


# --- likeness ------------------------------------------------------------------------------------


def likeness(vectors: NDArray[np.floating[Any]], row: int) -> list[float]:
    """How much each picture is like one of them: 1 for the same, less for others.

    Args:
        vectors: (N, D), each of unit length.
        row: Which of the N.
    """
    # Row by row in float32: half precision would add up to several percent of error.
    found = vectors.astype(np.float32) @ vectors[row].astype(np.float32)
    return [round(float(x), 4) for x in found]


def look(collection: Collection, digest: str, cache: Path) -> NDArray[np.float32]:
    """A coarse layout of colours, in place of features: (192,) of unit length.

    Raises:
        ShardError: as ``thumbnail``. A picture that is missing or cannot be decoded is like no
            other.
    """
    try:
        data = thumbnail(collection, digest, cache)
    except (KeyError, decoding.ImageError):
        return np.zeros(3 * LOOK**2, np.float32)
    with Image.open(io.BytesIO(data), formats=["WEBP"]) as image:
        small = image.convert("RGB").resize((LOOK, LOOK), Image.Resampling.BOX)
    vector = np.asarray(small, np.float32).ravel() / 127.5 - 1
    return vector / max(float(np.linalg.norm(vector)), 1e-6)
