"""Export of images in the formats of other tools, with the origin of each.

=============  ===========================================================================
`folder`       files, in a folder for each split
`imagefolder`  files in a folder for each class, for torchvision's ``ImageFolder``
`stylegan`     a zip with dataset.json, for the StyleGAN family (NVlabs/stylegan3)
`webdataset`   tar shards of samples (webdataset/webdataset)
=============  ===========================================================================
"""

from __future__ import annotations

import csv
import io
import json
import re
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ganloom import tables
from ganloom.credits import fetched
from ganloom.images import arrays, encoding, formats
from ganloom.images.shards import Shards, sha256
from ganloom.tables import KeptRow, ManifestRow, TableError

# Fields of the manifest that are exported with each image.
FACTS = ("sha256", "source", "url", "page", "title", "creator", "licence", "licence_url")
PROVENANCE = "provenance.csv"
UNLABELLED = "unlabelled"
MAX_NAME = 240  # bytes; the limit of file systems is 255
SHARD_BYTES = 256 * 2**20
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date of the zip format


class ExportError(ValueError):
    """The export is impossible; the message gives the reason and alternatives."""


class Item(NamedTuple):
    """An image to export.

    Attributes:
        split: ``train`` or ``holdout``; ``all`` if there is no split yet.
        name: Name in the export, without suffix.
        extension: Suffix by content.
        label: Class; "" without one.
        origin: The manifest's row of its original.
        read: Function that returns the bytes of the file.
    """

    split: str
    name: str
    extension: str
    label: str
    origin: ManifestRow
    read: Callable[[], bytes]


def export(what: str, form: str, project: Path, out: Path) -> int:
    """Export the images of a project.

    Args:
        what: Key of ``CONTENTS``.
        form: Key of ``FORMS``.
        project: Folder of the project.
        out: A file, which is replaced, or a new or empty folder; it appears when it is complete.

    Returns:
        Number of images.

    Raises:
        ExportError: The images do not exist yet, or do not fit the format.
    """
    if form == "stylegan" and what != "slices":
        raise ExportError(
            "StyleGAN wants square pictures of one size: export `slices`, which params.yaml makes "
            "under `augment` (mode: whole for whole pictures)"
        )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"{out.parent} cannot be made: {error.strerror}") from error
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        new = Path(folder) / out.name
        try:
            items = CONTENTS[what](project / "data")
        except FileNotFoundError as error:
            raise ExportError(
                f"{error.filename} is missing; run `dvc repro` or `dvc checkout` first"
            ) from error
        except TableError as error:
            raise ExportError(f"{error}; to create it again: dvc repro") from error
        except KeyError as error:
            raise ExportError(
                f"data/manifest.csv does not know {error}; run `dvc repro` first"
            ) from error
        count = FORMS[form](items, new)
        new.rename(out)
    return count


# --- contents: raw, kept, slices ---------------------------------------------------------------


def _raw(data: Path) -> list[Item]:
    manifest = _manifest(data)
    places = {sha256: ("all", row.label) for sha256, row in manifest.items()}
    return _originals(data, manifest, places)


def _kept(data: Path) -> list[Item]:
    kept = tables.read(data / "kept.csv", KeptRow)
    return _originals(data, _manifest(data), {row.sha256: (row.split, row.label) for row in kept})


def _manifest(data: Path) -> dict[str, ManifestRow]:
    return fetched(tables.read(data / "manifest.csv", ManifestRow))


def _originals(
    data: Path, manifest: Mapping[str, ManifestRow], places: Mapping[str, tuple[str, str]]
) -> list[Item]:
    shards = Shards(data / "raw")
    extensions = {known.mime: known.extension for known in formats.FORMATS.values()}
    return [
        Item(
            split,
            sha256,
            extensions[manifest[sha256].mime],
            label,
            manifest[sha256],
            partial(shards.__getitem__, sha256),
        )
        for sha256, (split, label) in sorted(places.items())
    ]


def _slices(data: Path) -> list[Item]:
    manifest = _manifest(data)
    items = []
    for split, pixels, table in (
        ("train", "images.npy", "index.parquet"),
        ("holdout", "holdout.npy", "holdout.parquet"),
    ):
        crops = np.load(data / "slices" / pixels, mmap_mode="r")
        index = pd.read_parquet(data / "slices" / table)
        digits = len(str(len(index)))
        for number, row in enumerate(index.to_dict("records")):
            read = partial(_slice, crops, row["image"], row["symmetry"])
            name = f"{number:0{digits}d}"
            items.append(Item(split, name, "png", row["label"], manifest[row["sha256"]], read))
    return items


def _slice(crops: arrays.Array, row: int, symmetry: int) -> bytes:
    return encoding.png(arrays.apply_symmetry(crops[row], symmetry))


CONTENTS: dict[str, Callable[[Path], list[Item]]] = {
    "raw": _raw,
    "kept": _kept,
    "slices": _slices,
}


# --- formats -----------------------------------------------------------------------------------


def _folder(items: Sequence[Item], out: Path) -> int:
    return _files(items, out, lambda item: Path(item.split))


def _imagefolder(items: Sequence[Item], out: Path) -> int:
    return _files(items, out, lambda item: Path(item.split, folder_name(item.label)))


def _files(items: Sequence[Item], out: Path, place: Callable[[Item], Path]) -> int:
    out.mkdir()
    names = [(place(item) / f"{item.name}.{item.extension}").as_posix() for item in items]
    for name, item in zip(names, items, strict=True):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(item.read())
    (out / PROVENANCE).write_text(_provenance(names, items), encoding="utf-8")
    return len(items)


def _stylegan(items: Sequence[Item], out: Path) -> int:
    """Write training images only: the holdout is for measurements."""
    items = [item for item in items if item.split == "train"]
    names = [f"{n // 1000:05d}/img{n:08d}.{item.extension}" for n, item in enumerate(items)]
    classes = _classes(items)
    labels = [[name, classes[item.label]] for name, item in zip(names, items, strict=True)]
    about = {"labels": labels if len(classes) > 1 else None}
    with zipfile.ZipFile(out, "w") as archive:
        for name, item in zip(names, items, strict=True):
            archive.writestr(zipfile.ZipInfo(name, EPOCH), item.read())
        archive.writestr(zipfile.ZipInfo("dataset.json", EPOCH), json.dumps(about))
        archive.writestr(zipfile.ZipInfo(PROVENANCE, EPOCH), _provenance(names, items))
    return len(items)


def _webdataset(items: Sequence[Item], out: Path) -> int:
    """Write samples of an image, ``json``, and with classes ``cls``, the number of the class."""
    out.mkdir()
    classes = _classes(items)
    for split in sorted({item.split for item in items}):
        samples = (_sample(item, classes) for item in items if item.split == split)
        for number, shard in enumerate(_batched(samples, SHARD_BYTES)):
            with tarfile.open(out / f"{split}-{number:06d}.tar", "w") as tar:
                for name, content in shard:
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return len(items)


def _sample(item: Item, classes: Mapping[str, int]) -> list[tuple[str, bytes]]:
    facts = {"label": item.label, **{name: getattr(item.origin, name) for name in FACTS}}
    parts = {item.extension: item.read(), "json": json.dumps(facts).encode()}
    if len(classes) > 1:
        parts["cls"] = str(classes[item.label]).encode()
    return [(f"{item.name}.{suffix}", content) for suffix, content in parts.items()]


def _batched(
    samples: Iterable[list[tuple[str, bytes]]], limit: int
) -> Iterator[list[tuple[str, bytes]]]:
    """Group the files of samples, without splitting one, to about ``limit`` bytes."""
    batch: list[tuple[str, bytes]] = []
    size = 0
    for sample in samples:
        batch += sample
        size += sum(len(content) for _, content in sample)
        if size >= limit:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _classes(items: Sequence[Item]) -> dict[str, int]:
    return {label: number for number, label in enumerate(sorted({item.label for item in items}))}


FORMS: dict[str, Callable[[Sequence[Item], Path], int]] = {
    "folder": _folder,
    "imagefolder": _imagefolder,
    "stylegan": _stylegan,
    "webdataset": _webdataset,
}


def _provenance(names: Sequence[str], items: Sequence[Item]) -> str:
    """Format a table that maps each exported file to its original."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["file", "label", *FACTS])
    for name, item in zip(names, items, strict=True):
        table.writerow([name, item.label, *(getattr(item.origin, key) for key in FACTS)])
    return text.getvalue()


def folder_name(label: str) -> str:
    """Convert a class to a safe name of a folder, whatever characters it has.

    Different classes have different names; images without a class go to `unlabelled`.
    """
    quoted = re.sub(
        r'[\x00-\x1f\x7f/\\:*?"<>|%]|^\.|[. ]$',
        lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode()),
        label,
    )
    if len(quoted.encode()) > MAX_NAME:
        quoted = f"{quoted[: MAX_NAME // 8]}%{sha256(label.encode())[:16]}"
    return quoted or UNLABELLED
