"""Images and charts for a self-contained page: data URIs and SVG paths."""

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
    """At most ``count`` >= 2 of the items, evenly spaced, with the first and the last."""
    if len(items) <= count:
        return list(items)
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]


# --- images ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EncodedImage:
    """An encoded image; ``pixelated`` if the browser should enlarge it without interpolation."""

    uri: str
    width: int
    height: int
    pixelated: bool


def data_uri(data: bytes, mime: str) -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}"


def picture(image: Image.Image, side: int, limit: int) -> EncodedImage:
    """Encode an image as WebP.

    A small image is enlarged by an integer factor without interpolation: WebP stores colour at half
    the resolution, which would blur samples of 32 px.

    Args:
        image: RGB or RGBA.
        side: Limit of the longer side in px.
        limit: Limit of the size in bytes; to meet it, the quality is lowered, then the side halved.
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
            return EncodedImage(uri, *small.size, pixelated=factor > 1)
    return picture(image, side // 2, limit)


def picture_file(path: Path, side: int, limit: int) -> EncodedImage | None:
    """Like ``picture``, for a file of a stage; None if it does not exist."""
    if not path.is_file():
        return None
    with Image.open(path) as image:
        return picture(image.convert("RGB"), side, limit)


def sheet_file(path: Path, side: int, limit: int) -> EncodedImage | None:
    """Like ``picture_file``, for a sheet of images with white gaps, which become transparent.

    Rows and columns that are entirely white are gaps. A dark page would show them as white bars.
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
    """A named line of a chart.

    Attributes:
        name: Name of the line.
        path: The attribute ``d`` of the SVG path.
        last: Formatted last value.
        mark: Position of the point to mark, if any.
    """

    name: str
    path: str
    last: str
    mark: tuple[float, float] | None = None


@dataclass(frozen=True)
class Chart:
    """Geometry of a line chart in a box of WIDTH x HEIGHT; colours are in the CSS."""

    title: str
    x_label: str
    lines: list[Line]
    x_ticks: list[Tick]
    y_ticks: list[Tick]


def chart(
    title: str, x_label: str, series: Mapping[str, Points], mark: float | None = None
) -> Chart | None:
    """Lay out a line chart; values that are not finite leave gaps.

    Args:
        title: Title of the chart.
        x_label: Label of the horizontal axis.
        series: Points of each line by name.
        mark: Value of x at which points are marked.

    Returns:
        None if no point is finite.
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
    """A named point of a scatter plot.

    Attributes:
        name: Name of the point.
        at: Position.
        name_at: Vertical position of the name, so that names do not overlap.
        words: Description with both values.
        is_reference: Whether it is a reference instead of a model.
    """

    name: str
    at: tuple[float, float]
    name_at: float
    words: str
    is_reference: bool


@dataclass(frozen=True)
class Scatter:
    """Geometry of a scatter plot in a box of WIDTH x HEIGHT."""

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
    """Lay out a scatter plot; points that are not finite are left out.

    Args:
        x_label: Label of the horizontal axis.
        y_label: Label of the vertical axis.
        points: Positions by name.
        references: Names of the points that are references.

    Returns:
        None if there are fewer than two points.
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
    """Two to six round numbers in [low, high]; one if both are equal."""
    if low == high:
        return [low]
    step = 10.0 ** math.floor(math.log10(high - low))
    step *= next(f for f in (0.2, 0.5, 1.0, 2.0) if (high - low) / (step * f) <= 5)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def number(value: float) -> str:
    """Format with three significant digits and at most four decimals: 0.700, −0.0002, 4.0e−07."""
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
    """Format a count with its noun: 1 model, 2 models, 1,234 images."""
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
    return "".join([*parts, "h0"])  # makes a single point visible as a dot
