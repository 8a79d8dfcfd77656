"""A look at a folder of images: how many, how large, which classes, textures or things."""

from __future__ import annotations

import collections
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganloom import params
from ganloom.images.decoding import ImageError, preview
from ganloom.sources import Context, FetchError, SourceWarning, folder
from ganloom.tables import Candidate

LOOKED_AT = 300  # maximum number of images to decode
SIDE = 64  # to which the centre of an image is scaled for the measures, in px
CELLS = 4  # rows and columns of the grid in which detail is measured
SAME = 16  # of 255: a smaller difference from the median of a border is the same colour
PIPELINE = ("data", "results", "work")  # folders that the pipeline writes


class StartError(ValueError):
    """A folder cannot be used; the message gives the reason and a remedy."""


@dataclass(frozen=True)
class Look:
    """What a folder contains.

    Attributes:
        count: Number of image files, exact copies counted once.
        looked_at: Number of these that were chosen to be decoded.
        unreadable: Those that cannot be decoded, with the reason.
        sides: Shorter sides of decoded images in px.
        classes: Number of files by class folder; "" for those outside of class folders.
        unevenness: Median over images of how much detail varies between cells; see ``unevenness``.
        ground: Median over images of the share of the border in one colour; see ``ground``.
        warnings: What could not be listed.
    """

    count: int
    looked_at: int
    unreadable: Sequence[str]
    sides: Sequence[int]
    classes: Mapping[str, int]
    unevenness: float
    ground: float
    warnings: Sequence[str]

    @property
    def readable(self) -> int:
        """Number of images without those that are known to be unreadable."""
        return self.count - len(self.unreadable)

    @property
    def side(self) -> int:
        """Median of the shorter sides, in px."""
        return int(np.median(self.sides))

    @property
    def small_side(self) -> int:
        """Shorter side that nine of ten images have at least, in px."""
        return int(np.quantile(self.sides, 0.1, method="lower"))


def look(path: Path, network: params.Network, fetch: params.Fetch, seed: int = 1) -> Look:
    """Look at a folder, as the source ``folder`` would read it.

    Args:
        path: The folder, relative to the project or absolute.
        network: Section of the parameters.
        fetch: Section of the parameters, with the limits of an image.
        seed: Seed of the choice of images to decode.

    Raises:
        StartError: It is no folder, or not one that the pipeline can use, or has no images.
    """
    _check_place(path)
    spec = params.FolderSource(kind="folder", path=str(path), licence=None)
    context = Context(seed, network)
    with warnings.catch_warnings(record=True, action="always", category=SourceWarning) as caught:
        found = folder.search("mine", spec, context)
    rows = list({row.sha256 or row.id: row for row in reversed(found)}.values())[::-1]
    if not rows:
        raise StartError(
            f"{path}: no images in it; name a folder of image files, or one with a folder per "
            "class (docs/sources.md has other sources, such as archives and datasets)"
        )
    chosen = np.random.default_rng(seed).permutation(len(rows))[:LOOKED_AT]
    sides, detail, grounds, unreadable = [], [], [], []
    read = folder.reader(spec, context)
    for row in (rows[number] for number in sorted(chosen)):
        try:
            seen = preview(_content(row, read, fetch.max_bytes), fetch.max_pixels, SIDE)
        except (ImageError, FetchError) as error:
            unreadable.append(f"{row.id.removeprefix('mine/')}: {error}")
            continue
        sides.append(min(seen.width, seen.height))
        detail.append(unevenness(seen.image))
        grounds.append(ground(np.asarray(seen.image)))
    if not sides:
        raise StartError(
            f"{path}: none of {len(chosen)} files can be decoded; the first: {unreadable[0]}"
        )
    return Look(
        count=len(rows),
        looked_at=len(chosen),
        unreadable=unreadable,
        sides=sides,
        classes=collections.Counter(row.label for row in rows),
        unevenness=float(np.median(detail)),
        ground=float(np.median(grounds)),
        warnings=[str(warning.message) for warning in caught],
    )


def _check_place(path: Path) -> None:
    project, place = Path.cwd().resolve(), path.resolve()
    if not str(path).isprintable():
        raise StartError(
            f"{str(path)!r}: a parameter file cannot hold this name; rename the folder"
        )
    if not path.exists():
        raise StartError(f"{path}: no such folder, seen from {project}")
    if not path.is_dir():
        raise StartError(f"{path}: a file; name the folder that contains your images")
    if project.is_relative_to(place):
        raise StartError(
            f"{path}: this project is in it; move your images to a folder of their own"
        )
    for name in PIPELINE:
        if place.is_relative_to(project / name):
            raise StartError(
                f"{path}: inside of {name}/, which the pipeline writes; move your images to a "
                f"folder outside, for example {project.parent / 'pictures'}"
            )


def _content(row: Candidate, read: Callable[[str], bytes], max_bytes: int) -> bytes:
    if int(row.bytes or 0) > max_bytes:
        raise FetchError(f"too large: {row.bytes} bytes, more than {max_bytes} (fetch.max_bytes)")
    return read(row.url)


def unevenness(image: Image.Image) -> float:
    """Measure how unevenly an image is filled: about 0.1 for textures, 0.3 and more for things.

    Detail is the mean gradient of the grey values. A texture has as much of it in each part of the
    image. A thing has more than what is around it, and a landscape more than its sky.

    Returns:
        Standard deviation over 4 x 4 cells of the logarithm of detail, in the largest centred
        square, at 64 px.
    """
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    square = image.convert("L").resize(
        (SIDE, SIDE), Image.Resampling.BICUBIC, (left, top, left + side, top + side)
    )
    gradient = np.hypot(*np.gradient(np.asarray(square, np.float64)))
    cell = SIDE // CELLS
    detail = gradient.reshape(CELLS, cell, CELLS, cell).mean(axis=(1, 3))
    return float(np.log(detail + 4).std())  # 4 of 255: less is noise


def ground(pixels: NDArray[np.uint8]) -> float:
    """Share of the border of an image (H, W, 3) that has about one colour, its median."""
    height, width, _ = pixels.shape
    b = max(1, min(height, width) // 16)
    sides = pixels[:b], pixels[-b:], pixels[:, :b], pixels[:, -b:]
    border = np.concatenate([part.reshape(-1, 3) for part in sides]).astype(np.float64)
    distance = np.abs(border - np.median(border, axis=0)).max(axis=1)
    return float((distance <= SAME).mean())
