"""Training images: random slices of the originals, or whole ones made square.

A training image is a crop (a row of ``images.npy``) under one of the square's symmetries; only the
crops are stored. Where each comes from is in the index, with the columns ``COLUMNS``:

- ``image``: the row of ``images.npy`` or ``holdout.npy``; ``symmetry``: what to apply to it
  (``images.apply_symmetry``).
- ``sha256``, ``label``: the original.
- ``x``, ``y``: the centre of the box in px of the upright original, its top left corner being
  (0, 0) and the centre of its first pixel (0.5, 0.5). A border that was cropped away counts.
- ``side``: of the box, in the same px. A whole picture that was padded or stretched: its longer
  side without border.
- ``angle``: how far the box is turned counter-clockwise, in degrees: what the crop shows u px right
  of and v px below its centre (in px of the original) lies at
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
from ganloom.images.arrays import Array
from ganloom.images.decoding import decode
from ganloom.images.shards import Shards

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
    """A turned square in a picture; see the module for its coordinates."""

    x: float
    y: float
    side: float
    angle: float


class Job(NamedTuple):
    """What the crops of one split have in common.

    Attributes:
        shards: Folder of the originals.
        images: The .npy that the crops go into.
        section: What to make.
        seed: Of every draw, together with the original's sha256.
        max_pixels: Of an original.
    """

    shards: Path
    images: Path
    section: params.Slices | params.Whole
    seed: int
    max_pixels: int


class Task(NamedTuple):
    """What to do with one original.

    Attributes:
        sha256: The original.
        inner: Left, top, right, bottom of what is inside its border.
        first: Row of its first crop.
        crops: How many to make of it.
    """

    sha256: str
    inner: tuple[int, int, int, int]
    first: int
    crops: int


# --- geometry ----------------------------------------------------------------------------------


def inner_box(pixels: Array, tolerance: int) -> tuple[int, int, int, int]:
    """What is inside a uniform border.

    From each side, lines are cut off while every pixel is within ``tolerance`` of the colour in the
    corner, in each channel. A picture that is nothing but border is left whole.

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
    """How many lines from the first on have the colour of its first pixel."""
    colour = lines[0, 0].astype(np.int16)
    for number, line in enumerate(lines):
        if (np.abs(line - colour) > tolerance).any():
            return number
    return len(lines)


def reach(angle: float) -> float:
    """Width of a square of side 1, turned by ``angle`` degrees."""
    turn = math.radians(angle)
    return abs(math.cos(turn)) + abs(math.sin(turn))


def draw_box(
    rng: np.random.Generator, width: int, height: int, sizes: Sequence[int], max_angle: float
) -> Box:
    """Draw a turned square that lies entirely in the picture.

    The side is drawn evenly from the sizes that fit upright, the angle evenly from those within
    ``max_angle`` at which that side still fits, the place evenly from what that leaves.

    Args:
        rng: Drawn from four times.
        width: Of the picture in px.
        height: Of the picture in px.
        sizes: Sides in px; at least one fits.
        max_angle: In degrees, 0 to 180.
    """
    fitting = [size for size in sorted(sizes) if size <= min(width, height)]
    side = fitting[rng.integers(len(fitting))]
    angle = _draw_angle(rng, min(width, height) / side, max_angle)
    half = side * reach(angle) / 2
    # Rounding may make the box wider than the picture by less than a millionth of a pixel.
    x = width / 2 + rng.uniform(-1, 1) * max(0.0, width / 2 - half)
    y = height / 2 + rng.uniform(-1, 1) * max(0.0, height / 2 - half)
    return Box(x, y, float(side), angle)


def _draw_angle(rng: np.random.Generator, room: float, max_angle: float) -> float:
    """Draw from the angles within ``max_angle`` at which a square of side 1 is no wider than room.

    It is sqrt(2) cos(45 - a) wide, a being the angle to the nearest quarter turn: those up to some
    ``slack`` from any quarter turn fit.
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
    """The picture, then halved over and over: what large boxes are cut from without aliasing."""
    levels = [image]
    while min(levels[-1].size) > 1:
        levels.append(levels[-1].reduce(2))
    return levels


def cut(levels: Sequence[Image.Image], box: Box, resolution: int) -> Image.Image:
    """Cut a turned square out of a picture, antialiased.

    From the level of the pyramid at which the box is still two to four times as wide as the crop,
    it is sampled at least once a pixel, then averaged.

    Args:
        levels: From ``pyramid``.
        box: In px of the first level.
        resolution: Side of the crop in px.
    """
    halvings = math.floor(math.log2(max(1.0, box.side / resolution / 2)))
    level = min(halvings, len(levels) - 1)
    scale = 2.0**-level
    ratio = box.side * scale / resolution
    oversampling = math.ceil(ratio)
    # The mean of four samples or more hides the difference, and BILINEAR takes 0.4 of the time.
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
    """Make a picture square, antialiased.

    Args:
        image: The picture.
        resolution: Side in px.
        fit: ``crop`` to the square in the middle, ``pad`` with the median colour of its outermost
            pixels, or ``stretch``.

    Returns:
        The square, and the box in the picture that it shows.
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


# --- making a split ----------------------------------------------------------------------------


def make(
    job: Job,
    labels: Mapping[str, str],
    rows: int | None,
    symmetries: Sequence[int],
    pool: Executor,
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Make the crops of one split and their index.

    Slices are spread evenly over the originals, and each original has a random stream of its own:
    the bytes depend neither on the workers nor on how many there are.

    Args:
        job: Where from, where to, and how.
        labels: From the sha256 of each original to its label.
        rows: Rows of the index, for slices; None: every original whole, once under each symmetry.
        symmetries: Each crop is used under all of these.
        pool: Does the work.

    Returns:
        The index, and from the sha256 of each original that is not used to the reason.

    Raises:
        ImageError: an original cannot be decoded.
        ShardError: an original cannot be read.
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
        # Of a worker that writes where the disk has no room left, nothing would be heard any more.
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
    found = {}
    for digest, (left, top, right, bottom) in inners.items():
        if min(right - left, bottom - top) < smallest:
            found[digest] = f"too small for every size: {right - left}x{bottom - top}"
    return found


def _spread(count: int, digests: Sequence[str], seed: int) -> dict[str, int]:
    """Share ``count`` out as evenly as possible; who gets one more is drawn by hash."""
    ranked = sorted(digests, key=lambda d: hashlib.sha256(f"{seed}:{d}".encode()).digest())
    return {digest: len(range(place, count, len(ranked))) for place, digest in enumerate(ranked)}


# Every worker opens the shards once; their index is too large to be sent with every original.
_open_shards = functools.cache(Shards)


def _survey(job: Job, digest: str) -> tuple[int, int, int, int]:
    image = decode(_open_shards(job.shards)[digest], job.max_pixels)
    if job.section.border is None:
        return 0, 0, image.width, image.height
    return inner_box(np.asarray(image), job.section.border)


def _crop(job: Job, task: Task) -> list[Box]:
    """Write the crops of one original; their boxes in px of the whole original."""
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
