"""Training images: random slices of the originals, or whole originals made square.

A training image is a crop (a row of ``images.npy``) in one of the symmetries of the square; only
the crops are stored. The index has these columns (``COLUMNS``):

- ``image``: row of ``images.npy`` or ``holdout.npy``; ``symmetry``: symmetry to apply to it
  (``images.arrays.apply_symmetry``).
- ``sha256``, ``label``: hash and class of the original.
- ``x``, ``y``: centre of the box in px of the upright original. Its top left corner is (0, 0), the
  centre of its first pixel (0.5, 0.5). A border that was removed is included in them.
- ``side``: side of the box in the same px. For a whole original that was padded or stretched: its
  longer side without border.
- ``angle``: counter-clockwise rotation of the box in degrees. A point of the crop u px right of and
  v px below its centre (in px of the original) lies at
  (x + u cos + v sin, y - u sin + v cos).
"""

from __future__ import annotations

import functools
import hashlib
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from ganloom import params
from ganloom.images.arrays import SYMMETRIES, Array, apply_symmetry
from ganloom.images.decoding import decode
from ganloom.images.encoding import save_png
from ganloom.images.shards import Shards
from ganloom.images.sheets import contact_sheet

PREVIEW = 8  # side of the preview, in training images

COLUMNS = {
    "image": "int32",
    "symmetry": "int8",
    "sha256": "str",
    "label": "str",
    "x": "float64",
    "y": "float64",
    "side": "float64",
    "angle": "float64",
}

T = TypeVar("T")
R = TypeVar("R")


class Box(NamedTuple):
    """A rotated square in an image; see the module for its coordinates."""

    x: float
    y: float
    side: float
    angle: float


class CropJob(NamedTuple):
    """Settings of all crops of a split.

    Attributes:
        shards: Folder of the originals.
        images: Path of the .npy file of the crops.
        section: Section ``augment``.
        seed: Seed of the random draws, combined with the sha256 of the original.
        max_pixels: Limit of the size of an original.
    """

    shards: Path
    images: Path
    section: params.Slices | params.Whole
    seed: int
    max_pixels: int


class Task(NamedTuple):
    """Crops to make from an original.

    Attributes:
        sha256: Hash of the original.
        inner: Left, top, right and bottom of the area inside the border.
        first: Row of the first crop.
        crops: Number of crops.
    """

    sha256: str
    inner: tuple[int, int, int, int]
    first: int
    crops: int


# --- geometry ----------------------------------------------------------------------------------


def inner_box(pixels: Array, tolerance: int) -> tuple[int, int, int, int]:
    """Find the area inside a uniform border.

    From each side, lines are removed while all their pixels are within ``tolerance`` of the colour
    of the corner, in each channel. A uniform image is left whole.

    Returns:
        Left, top, right, bottom in px.
    """
    top, bottom = _uniform(pixels, tolerance), _uniform(pixels[::-1], tolerance)
    height, width, _ = pixels.shape
    if top == height:
        return 0, 0, width, height
    columns = pixels[top : height - bottom].swapaxes(0, 1)
    left, right = _uniform(columns, tolerance), _uniform(columns[::-1], tolerance)
    return left, top, width - right, height - bottom


def _uniform(lines: Array, tolerance: int) -> int:
    """Count the first lines that have the colour of the first pixel."""
    colour = lines[0, 0].astype(np.int16)
    for number, line in enumerate(lines):
        if (np.abs(line - colour) > tolerance).any():
            return number
    return len(lines)


def reach(angle: float) -> float:
    """Width of a square of side 1, rotated by ``angle`` degrees."""
    turn = math.radians(angle)
    return abs(math.cos(turn)) + abs(math.sin(turn))


def draw_box(
    rng: np.random.Generator, width: int, height: int, sizes: Sequence[int], max_angle: float
) -> Box:
    """Draw a rotated square inside the image.

    The side is uniform over the sizes that fit, the angle uniform over those within ``max_angle``
    at which that side still fits, the position uniform over the rest.

    Args:
        rng: Generator; four draws are made.
        width: Width of the image in px.
        height: Height of the image in px.
        sizes: Sides in px, at least one of which fits.
        max_angle: Limit in degrees, 0 to 180.
    """
    fitting = [size for size in sorted(sizes) if size <= min(width, height)]
    side = fitting[rng.integers(len(fitting))]
    angle = _draw_angle(rng, min(width, height) / side, max_angle)
    half = side * reach(angle) / 2
    # Rounding may make the box wider than the image by less than a millionth of a pixel.
    x = width / 2 + rng.uniform(-1, 1) * max(0.0, width / 2 - half)
    y = height / 2 + rng.uniform(-1, 1) * max(0.0, height / 2 - half)
    return Box(x, y, float(side), angle)


def _draw_angle(rng: np.random.Generator, room: float, max_angle: float) -> float:
    """Draw an angle within ``max_angle`` at which a square of side 1 is at most ``room`` wide.

    The square is sqrt(2) cos(45 - a) wide, where a is the angle to the nearest quarter turn. Angles
    within ``slack`` of a quarter turn fit.
    """
    slack = max(0.0, 45.0 - math.degrees(math.acos(min(1.0, room / math.sqrt(2)))))
    spans = [
        (max(quarter - slack, -max_angle), min(quarter + slack, max_angle))
        for quarter in (-180, -90, 0, 90, 180)
    ]
    spans = [(low, high) for low, high in spans if low <= high]
    place = rng.uniform(0, sum(high - low for low, high in spans))
    for low, high in spans:
        if place <= high - low:
            return low + place
        place -= high - low
    return spans[-1][1]


# --- pixels ------------------------------------------------------------------------------------


def pyramid(image: Image.Image) -> list[Image.Image]:
    """Return the image and its repeated halvings, to cut large boxes without aliasing."""
    levels = [image]
    while min(levels[-1].size) > 1:
        levels.append(levels[-1].reduce(2))
    return levels


def cut(levels: Sequence[Image.Image], box: Box, resolution: int) -> Image.Image:
    """Cut a rotated square out of an image, antialiased.

    The level of the pyramid is the one where the box is two to four times as wide as the crop. It
    is sampled at least once per pixel, then averaged.

    Args:
        levels: Result of ``pyramid``.
        box: Square in px of the first level.
        resolution: Side of the crop in px.
    """
    halvings = math.floor(math.log2(max(1.0, box.side / resolution / 2)))
    level = min(halvings, len(levels) - 1)
    scale = 2.0**-level
    ratio = box.side * scale / resolution
    oversampling = math.ceil(ratio)
    # Averaging four or more samples hides the difference, and BILINEAR takes 0.4 of the time.
    resample = Image.Resampling.BICUBIC if ratio < 2 else Image.Resampling.BILINEAR
    samples = resolution * oversampling
    turn = math.radians(box.angle)
    right, down = box.side * math.cos(turn), box.side * math.sin(turn)
    rows = (
        *(right / samples, down / samples, box.x - (right + down) / 2),
        *(-down / samples, right / samples, box.y - (right - down) / 2),
    )
    sampled = levels[level].transform(
        (samples, samples),
        Image.Transform.AFFINE,
        [scale * value for value in rows],
        resample,
    )
    return sampled.reduce(oversampling)


def whole(image: Image.Image, resolution: int, fit: str) -> tuple[Image.Image, Box]:
    """Make an image square, antialiased.

    Args:
        image: Image.
        resolution: Side in px.
        fit: ``crop`` to the central square, ``pad`` with the median colour of the outermost pixels,
            or ``stretch``.

    Returns:
        The square, and the box of the image that it shows.
    """
    width, height = image.size
    if fit == "crop":
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        image = image.crop((left, top, left + side, top + side))
        shown = Box(left + side / 2, top + side / 2, float(side), 0.0)
    else:
        side = max(width, height)
        shown = Box(width / 2, height / 2, float(side), 0.0)
    inner = (resolution, resolution)
    if fit == "pad":
        inner = (
            max(1, round(resolution * width / side)),
            max(1, round(resolution * height / side)),
        )
    square = Image.new("RGB", (resolution, resolution), _edge_colour(image))
    place = ((resolution - inner[0]) // 2, (resolution - inner[1]) // 2)
    square.paste(image.resize(inner, Image.Resampling.LANCZOS), place)
    return square, shown


def _edge_colour(image: Image.Image) -> tuple[int, int, int]:
    pixels = np.asarray(image)
    edges = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    red, green, blue = np.median(edges, axis=0).astype(int).tolist()
    return red, green, blue


# --- making the crops --------------------------------------------------------------------------


class SizeError(ValueError):
    """No original is large enough to make a training image of; the message names the limit."""


class Augmented(NamedTuple):
    """The crops of both splits.

    Attributes:
        train: Index of the training images.
        holdout: Index of the holdout images.
        unused: Reason for each original that is not used, by sha256.
        lost: Classes without a training image.
    """

    train: pd.DataFrame
    holdout: pd.DataFrame
    unused: dict[str, str]
    lost: set[str]


def augment(
    shards: Path,
    kept: pd.DataFrame,
    section: params.Slices | params.Whole,
    max_pixels: int,
    *,
    seed: int,
    out: Path,
    pool: Executor,
) -> Augmented:
    """Make the training and holdout images of a collection.

    Args:
        shards: Folder of the originals.
        kept: data/kept.csv.
        section: Section ``augment``.
        max_pixels: Limit of the size of an original.
        seed: Seed of the random draws.
        out: Folder for ``images.npy``, ``holdout.npy``, their indexes (``index.parquet``,
            ``holdout.parquet``), ``unused.csv`` and ``preview.png``.
        pool: Worker processes.

    Raises:
        ImageError: An original cannot be decoded.
        ShardError: An original cannot be read.
        SizeError: No training original is large enough.
    """
    out.mkdir(parents=True, exist_ok=True)
    labels = {
        split: dict(zip(t.sha256, t.label, strict=True)) for split, t in kept.groupby("split")
    }
    count, holdout_count, smallest = None, None, 0
    if isinstance(section, params.Slices):
        count, holdout_count = section.count, section.holdout_count
        smallest = min(section.sizes)
    job = CropJob(shards, out / "images.npy", section, seed, max_pixels)
    beside = job._replace(images=out / "holdout.npy")
    symmetries = SYMMETRIES[section.symmetries]
    train, unused = make(job, labels["train"], count, symmetries, pool)
    if train.empty:
        raise SizeError(
            f"none of {len(unused)} originals is as large as one of augment.sizes "
            f"({smallest} px at least) inside its border"
        )
    holdout, unused_holdout = make(beside, labels.get("holdout", {}), holdout_count, (0,), pool)
    unused |= unused_holdout

    train.to_parquet(out / "index.parquet", index=False)
    holdout.to_parquet(out / "holdout.parquet", index=False)
    table = pd.DataFrame(sorted(unused.items()), columns=["sha256", "reason"])
    table.to_csv(out / "unused.csv", index=False, lineterminator="\n")
    save_png(_preview(np.load(job.images, mmap_mode="r"), train, seed), out / "preview.png")
    return Augmented(train, holdout, unused, {*labels["train"].values()} - {*train["label"]})


def _preview(crops: Array, index: pd.DataFrame, seed: int) -> Image.Image:
    """Make a sheet of random training images."""
    rng = np.random.default_rng([seed, PREVIEW])
    rows = index.iloc[rng.permutation(len(index))[: PREVIEW**2]]
    turned = zip(rows["image"].tolist(), rows["symmetry"].tolist(), strict=True)
    tiles = [apply_symmetry(crops[image], symmetry) for image, symmetry in turned]
    return contact_sheet(tiles, PREVIEW, crops.shape[1])


def make(
    job: CropJob,
    labels: Mapping[str, str],
    rows: int | None,
    symmetries: Sequence[int],
    pool: Executor,
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Make the crops of a split and their index.

    Slices are distributed evenly over the originals, and each original has its own random stream,
    so that the result does not depend on the number of workers.

    Args:
        job: Settings of the split.
        labels: Label by the sha256 of each original.
        rows: Rows of the index, for slices; None: all originals whole, once in each symmetry.
        symmetries: Symmetries in which each crop is used.
        pool: Worker processes.

    Returns:
        The index, and the reason for each original that is not used, by sha256.

    Raises:
        ImageError: An original cannot be decoded.
        ShardError: An original cannot be read.
    """
    digests = sorted(labels)
    surveyed = _run(pool, "borders", functools.partial(_survey, job), digests)
    inners = dict(zip(digests, surveyed, strict=True))
    smallest = min(job.section.sizes) if isinstance(job.section, params.Slices) else 0
    unused = _too_small(inners, smallest)
    usable = [digest for digest in digests if digest not in unused]
    if rows is None or not usable:
        rows = len(usable) * len(symmetries)
    counts = _spread(math.ceil(rows / len(symmetries)), usable, job.seed)
    unused |= {d: "fewer crops than originals" for d in usable if counts[d] == 0}

    tasks, first = [], 0
    for digest in usable:
        if counts[digest]:
            tasks.append(Task(digest, inners[digest], first, counts[digest]))
            first += counts[digest]
    resolution = job.section.resolution
    shape = (first, resolution, resolution, 3)
    np.lib.format.open_memmap(job.images, "w+", np.uint8, shape).flush()
    if hasattr(os, "posix_fallocate"):  # macOS lacks it
        # A worker that writes to a memory-mapped file on a full disk would be killed (SIGBUS).
        with job.images.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, job.images.stat().st_size)
    made = _run(pool, "crops", functools.partial(_crop, job), tasks)
    crops = [
        (task.first + i, task.sha256, labels[task.sha256], box)
        for task, boxes in zip(tasks, made, strict=True)
        for i, box in enumerate(boxes)
    ]
    index = pd.DataFrame(
        [(row, k, *origin, *box) for row, *origin, box in crops for k in symmetries][:rows],
        columns=list(COLUMNS),
    )
    return index.astype(COLUMNS), unused


def _run(pool: Executor, what: str, function: Callable[[T], R], items: Sequence[T]) -> Iterable[R]:
    return tqdm(pool.map(function, items, chunksize=4), what, len(items), mininterval=1)


def _too_small(inners: Mapping[str, tuple[int, int, int, int]], smallest: int) -> dict[str, str]:
    sizes = {d: (right - left, bottom - top) for d, (left, top, right, bottom) in inners.items()}
    return {
        digest: f"too small for every size: {width}x{height}"
        for digest, (width, height) in sizes.items()
        if min(width, height) < smallest
    }


def _spread(count: int, digests: Sequence[str], seed: int) -> dict[str, int]:
    """Distribute ``count`` as evenly as possible; hashes decide which originals get one more."""
    ranked = sorted(digests, key=lambda d: hashlib.sha256(f"{seed}:{d}".encode()).digest())
    return {digest: len(range(place, count, len(ranked))) for place, digest in enumerate(ranked)}


# Each worker opens the shards once; their index is too large to send with each original.
_open_shards = functools.cache(Shards)


def _survey(job: CropJob, digest: str) -> tuple[int, int, int, int]:
    image = decode(_open_shards(job.shards)[digest], job.max_pixels)
    if job.section.border is None:
        return 0, 0, image.width, image.height
    return inner_box(np.asarray(image), job.section.border)


def _crop(job: CropJob, task: Task) -> list[Box]:
    """Write the crops of an original, and return their boxes in px of the whole original."""
    image = decode(_open_shards(job.shards)[task.sha256], job.max_pixels).crop(task.inner)
    section = job.section
    images = np.load(job.images, mmap_mode="r+")[task.first : task.first + task.crops]
    if isinstance(section, params.Whole):
        square, box = whole(image, section.resolution, section.fit)
        images[0] = np.asarray(square)
        boxes = [box]
    else:
        rng = np.random.default_rng([job.seed, int(task.sha256, 16)])
        levels = pyramid(image)
        boxes = [draw_box(rng, *image.size, section.sizes, section.max_angle) for _ in images]
        for row, box in zip(images, boxes, strict=True):
            row[:] = np.asarray(cut(levels, box, section.resolution))
    left, top, _, _ = task.inner
    return [box._replace(x=left + box.x, y=top + box.y) for box in boxes]
