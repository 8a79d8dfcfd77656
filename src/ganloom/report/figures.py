"""Pictures and charts in the form in which a page can carry them: data URIs and paths of SVG."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from ganloom.images.sheets import WHITE

T = TypeVar("T")
Points = Sequence[tuple[float, float]]


def spread(items: Sequence[T], count: int) -> list[T]:
    """At most ``count`` >= 2 of the items, evenly spaced, the first and the last among them."""
    if len(items) <= count:
        return list(items)
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]


# --- pictures ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Picture:
    """An encoded picture; ``pixelated`` where its pixels were enlarged and should stay square."""

    uri: str
    width: int
    height: int
    pixelated: bool


def data_uri(data: bytes, mime: str) -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}"


def picture(image: Image.Image, side: int, limit: int) -> Picture:
    """Encode a picture as WebP, its longer side at most ``side`` px.

    A small picture is enlarged by a whole number, pixel by pixel: WebP stores colour at half the
    resolution, which would smear samples of 32 px, and browsers would blur them.

    Args:
        image: RGB or RGBA.
        side: In px.
        limit: Lower the quality, and then halve the side, until it has at most so many bytes.
    """
    factor = min(4, side // max(image.size))
    if factor > 1:
        size = (image.width * factor, image.height * factor)
        small = image.resize(size, Image.Resampling.NEAREST)
    else:
        small = image.copy()
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
    for quality in (82, 65, 45):
        file = io.BytesIO()
        small.save(file, "WEBP", quality=quality, method=4)
        if file.tell() <= limit:
            uri = data_uri(file.getvalue(), "image/webp")
            return Picture(uri, *small.size, pixelated=factor > 1)
    return picture(image, side // 2, limit)


def picture_file(path: Path, side: int, limit: int) -> Picture | None:
    """Like ``picture``, of a file that a stage wrote; None where it does not exist."""
    if not path.is_file():
        return None
    with Image.open(path) as image:
        return picture(image.convert("RGB"), side, limit)


def sheet_file(path: Path, side: int, limit: int) -> Picture | None:
    """Like ``picture_file``, of pictures with white between them, which becomes transparent.

    Rows and columns that are white from end to end count as what is between: a page in dark colours
    would show them as white bars.
    """
    if not path.is_file():
        return None
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    is_white = (pixels == WHITE).all(axis=2)
    between = is_white.all(axis=1)[:, None] | is_white.all(axis=0)[None, :]
    alpha = np.where(between, 0, WHITE).astype(np.uint8)
    return picture(Image.fromarray(np.dstack([pixels, alpha])), side, limit)


# --- charts ------------------------------------------------------------------------------------

WIDTH, HEIGHT = 400, 230
LEFT, RIGHT, TOP, BOTTOM = 46, 8, 10, 26


@dataclass(frozen=True)
class Tick:
    at: float
    label: str


@dataclass(frozen=True)
class Line:
    """A named line: ``path`` is the `d` of an SVG path, ``last`` its last value in words.

    ``mark`` is where a point of it is to be marked, if one is.
    """

    name: str
    path: str
    last: str
    mark: tuple[float, float] | None = None


@dataclass(frozen=True)
class Chart:
    """Geometry of a line chart in a box of WIDTH x HEIGHT; the page's CSS gives it colours."""

    title: str
    x_label: str
    lines: list[Line]
    x_ticks: list[Tick]
    y_ticks: list[Tick]


def chart(
    title: str, x_label: str, series: Mapping[str, Points], mark: float | None = None
) -> Chart | None:
    """Lay out a line chart; a value that is not finite leaves a gap.

    Args:
        title: Of the chart.
        x_label: Of its horizontal axis.
        series: Names of the lines, and their points.
        mark: Where lines that have a point at this x are marked.

    Returns:
        None where there is nothing finite to draw.
    """
    finite = [p for points in series.values() for p in points if all(map(math.isfinite, p))]
    if not finite:
        return None
    xs, ys = zip(*finite, strict=True)
    x_ticks, y_ticks = ticks(min(xs), max(xs)), ticks(min(ys), max(ys))
    x = _scale(min(xs), max(xs), LEFT, WIDTH - RIGHT)
    y = _scale(min(*ys, *y_ticks), max(*ys, *y_ticks), HEIGHT - BOTTOM, TOP)
    return Chart(
        title,
        x_label,
        [
            Line(
                name,
                _path([(x(a), y(b)) for a, b in points]),
                number(points[-1][1]),
                next(((x(a), y(b)) for a, b in points if a == mark and math.isfinite(b)), None),
            )
            for name, points in series.items()
            if points
        ],
        [Tick(x(value), f"{value:,.6g}") for value in x_ticks],
        [Tick(y(value), f"{value:,.6g}") for value in y_ticks],
    )


@dataclass(frozen=True)
class Dot:
    """A named point, and in words where it lies; ``is_reference`` where it is no model's.

    Its name stands beside it at ``name_at``, where it covers no other name.
    """

    name: str
    at: tuple[float, float]
    name_at: float
    words: str
    is_reference: bool


@dataclass(frozen=True)
class Scatter:
    """Geometry of named points in a box of WIDTH x HEIGHT."""

    x_label: str
    y_label: str
    dots: list[Dot]
    x_ticks: list[Tick]
    y_ticks: list[Tick]


def scatter(
    x_label: str,
    y_label: str,
    points: Mapping[str, tuple[float, float]],
    references: Collection[str],
) -> Scatter | None:
    """Lay out named points; those that are not finite are left out.

    Args:
        x_label: Of the horizontal axis, as ``y_label`` is of the vertical one.
        y_label: As above.
        points: Names and where they lie.
        references: The names that are marked as no model's.

    Returns:
        None where there is nothing to compare: less than two points.
    """
    finite = {name: at for name, at in points.items() if all(map(math.isfinite, at))}
    if len(finite) < 2:
        return None
    xs, ys = zip(*finite.values(), strict=True)
    x_ticks, y_ticks = ticks(min(0.0, *xs), max(xs)), ticks(min(0.0, *ys), max(ys))
    x = _scale(min(*xs, *x_ticks), max(*xs, *x_ticks), LEFT, WIDTH - 2 * RIGHT)
    y = _scale(min(*ys, *y_ticks), max(*ys, *y_ticks), HEIGHT - BOTTOM, TOP)
    beside, last = {}, -math.inf
    for name in sorted(finite, key=lambda name: y(finite[name][1])):
        beside[name] = last = max(y(finite[name][1]), last + 13)
    return Scatter(
        x_label,
        y_label,
        [
            Dot(
                name,
                (x(a), y(b)),
                beside[name],
                f"{name}: {x_label} {number(a)}, {y_label} {number(b)}",
                name in references,
            )
            for name, (a, b) in finite.items()
        ],
        [Tick(x(value), f"{value:,.6g}") for value in x_ticks],
        [Tick(y(value), f"{value:,.6g}") for value in y_ticks],
    )


def ticks(low: float, high: float) -> list[float]:
    """Two to six round numbers within [low, high], or around it where that is a point."""
    if low == high:
        return [low]
    step = 10.0 ** math.floor(math.log10(high - low))
    step *= next(f for f in (0.2, 0.5, 1.0, 2.0) if (high - low) / (step * f) <= 5)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def number(value: float) -> str:
    """Three digits that matter, four decimals at most: 25,000, 0.700, −0.0002, 4.0e−07."""
    if not math.isfinite(value):
        return "–"
    size = abs(value)
    if size == 0 or size >= 1000:
        words = f"{value:,.0f}"
    elif size < 0.0001:
        words = f"{value:.1e}"
    else:
        words = f"{value:.{min(4, max(0, 2 - math.floor(math.log10(size))))}f}"
    return words.replace("-", "−")


def counted(count: int, noun: str, plural: str = "") -> str:
    """A number and what it counts: 1 model, 2 models, 1,234 images."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def _path(points: Points) -> str:
    parts, pen = [], "M"
    for x, y in points:
        if math.isfinite(x) and math.isfinite(y):
            parts.append(f"{pen}{x:.1f} {y:.1f}")
            pen = "L"
        else:
            pen = "M"
    return "".join([*parts, "h0"])  # so that a single point is seen, as a dot
