"""Synthetic photographs of geometric textile designs in the style of Shipibo kené.

A source for trials and tests without a network: each image is computed from its URL, and the ground
truth of each candidate is known (columns `design` and `fault`, see `FAULTS`).

A design is a periodic network of lines, stored as one tile of its *distance field*: the distance of
each point from the nearest line (Green, "Improved alpha-tested magnification for vector textures
and special effects", SIGGRAPH 2007). The thick line, the thin lines beside it and the filled
interstices are functions of this distance. A design is therefore coloured with one look-up, and is
sharp at any size and under any distortion of the cloth.

Lengths of designs are in units of the *pitch*, the distance between neighbouring lines. Random
streams: `[seed, 0, kind]` for the designs with a kind of fault, `[seed, 1, number]` for a design,
`[seed, 2 + kind, number]` for a fault.
"""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageDraw, ImageFont, ImageOps

from ganloom import params
from ganloom.sources import Context, FetchError, candidate
from ganloom.tables import Candidate

Floats = NDArray[np.floating[Any]]
Point = tuple[float, float]
Colour = tuple[int, int, int]


# --- candidates --------------------------------------------------------------------------------


class Drawing(NamedTuple):
    """A result of the search: the photograph of a design, or a faulty version of it, or junk."""

    number: int  # of the design; of junk, a mere number
    fault: str  # one of FAULTS; "" for the photograph itself

    @property
    def key(self) -> str:
        return f"{self.number:05d}_{self.fault}" if self.fault else f"{self.number:05d}"

    @property
    def url(self) -> str:
        return f"kene:{self.key}.{EXTENSIONS.get(self.fault, 'jpg')}"


def search(name: str, spec: params.KeneSource, context: Context) -> list[Candidate]:
    """List all candidates of a source, sorted by id, without drawing them.

    Args:
        name: Name of the source, the first part of each id.
        spec: Parameters of the source.
        context: Settings that all sources share; only the seed is used.

    Returns:
        Candidates with the ground truth: `design` is the id of the design ("" for junk), `fault`
        the kind of fault ("" if there is none).
    """
    found = sorted(drawings(spec, context.seed), key=lambda drawing: drawing.key)
    return [_candidate(name, spec, drawing) for drawing in found]


def drawings(spec: params.KeneSource, seed: int) -> list[Drawing]:
    """List the photographs, then the faults: each kind equally often, at most once per design."""
    total = round(spec.designs * spec.faults)
    found = [Drawing(number, "") for number in range(spec.designs)]
    for kind, fault in enumerate(FAULTS):
        count = len(range(kind, total, len(FAULTS)))
        struck = np.random.default_rng([seed, 0, kind]).permutation(spec.designs)[:count]
        found += [Drawing(int(number), fault) for number in struck]
    return found


def _candidate(name: str, spec: params.KeneSource, drawing: Drawing) -> Candidate:
    number, fault = drawing
    motif, palette = _family(spec, number)
    junk = fault in JUNK
    return candidate(
        name,
        drawing.key,
        drawing.url,
        query=motif,
        title=f"{motif.capitalize()} design {number}, {palette}",
        creator="ganloom",
        licence="CC0-1.0",
        licence_url="https://creativecommons.org/publicdomain/zero/1.0/",
        label="other" if junk else motif,
        design="" if junk else f"{name}/{number:05d}",
        fault=fault,
    )


def _family(spec: params.KeneSource, number: int) -> tuple[params.Motif, params.Palette]:
    """Return motif and palette of a design; all combinations are equally frequent."""
    turn, motif = divmod(number, len(spec.motifs))
    return spec.motifs[motif], spec.palettes[turn % len(spec.palettes)]


def reader(spec: params.KeneSource, context: Context) -> Callable[[str], bytes]:
    """Return a function from the URL of a candidate to the bytes of its file.

    The bytes depend on the URL, `spec` and the seed alone, not on earlier calls.

    Raises:
        FetchError: No candidate has this URL (raised by the function).
    """
    seed = context.seed
    known = {drawing.url: drawing for drawing in drawings(spec, seed)}

    def read(url: str) -> bytes:
        if url not in known:
            raise FetchError(f"no such design: {url}")
        number, fault = known[url]
        if not fault:
            return _design(spec, seed, number)
        rng = np.random.default_rng([seed, 2 + FAULTS.index(fault), number])
        if fault in JUNK:
            return _encode(JUNK[fault](rng, spec.size), "JPEG")
        return COPIES[fault](rng, _design(spec, seed, number))

    return read


def _design(spec: params.KeneSource, seed: int, number: int) -> bytes:
    motif, palette = _family(spec, number)
    rng = np.random.default_rng([seed, 1, number])
    image = photograph(MOTIFS[motif](rng), PALETTES[palette], spec.size, rng)
    return _encode(image, "JPEG", quality=int(rng.integers(84, 94)))


# --- motifs: lines and fields of a tile ----------------------------------------------------------


class KenePattern(NamedTuple):
    """A periodic design: lines, and fields with another colour of the ground.

    The edges of fields are lines as well, so that the borders between colours are covered.
    """

    width: float
    height: float
    lines: list[list[Point]]
    fields: list[tuple[int, list[Point]]]  # (colour 0..2, closed polygon); later ones on top


def _mirrored(lines: Iterable[Sequence[Point]]) -> list[list[Point]]:
    """Mirror the lines of one quadrant into all four."""
    signs = itertools.product((1, -1), repeat=2)
    return [
        [(sx * x, sy * y) for x, y in line] for (sx, sy), line in itertools.product(signs, lines)
    ]


def _shifted(line: Sequence[Point], dx: float, dy: float) -> list[Point]:
    return [(x + dx, y + dy) for x, y in line]


def _closed(*quadrant: Point) -> list[Point]:
    """Complete a polygon that is symmetric to both axes from its corners in the first quadrant."""
    upper = [*quadrant, *[(-x, y) for x, y in reversed(quadrant)]]
    return list(dict.fromkeys([*upper, *[(-x, -y) for x, y in upper]]))


def meander(rng: Generator) -> KenePattern:
    """Draw angular spirals on both sides of a base line, in sequence or in pairs."""
    spiral = [(0.0, 0.0), (0.0, 3.0), (2.0, 3.0), (2.0, 1.0), (1.0, 1.0), (1.0, 2.0)]
    if rng.random() < 0.5:
        lines = [[(-1.5, 0.0), (1.5, 0.0)], spiral, [(x, -y) for x, y in spiral]]
        return KenePattern(3, 7, lines, [])
    return KenePattern(5, 7, [[(-2.5, 0.0), (2.5, 0.0)], *_mirrored([spiral])], [])


def cross(rng: Generator) -> KenePattern:
    """Draw crosses with squares in the gaps, or stepped crosses with crosses in the gaps."""
    if rng.random() < 0.5:
        outline = _closed((1.5, 0.5), (0.5, 0.5), (0.5, 1.5))
        gap = _shifted(_closed((0.5, 0.5)), 2, 2)
        side = 4
    else:
        outline = _closed((2.5, 0.5), (1.5, 0.5), (1.5, 1.5), (0.5, 1.5), (0.5, 2.5))
        gap = _shifted(_closed((0.5, 0.5)), 3, 3)
        side = 6
    return KenePattern(side, side, [], [(1, outline), (2, gap)])


def hexagon(rng: Generator) -> KenePattern:
    """Draw elongated hexagons in a honeycomb, one inside each; rows alternate in colour."""
    rise = float(rng.choice([0.5, 1.0]))
    height = 4 * rise + 4
    outer = _closed((2.0, rise), (0.0, rise + 2))
    inner = _closed((1.0, rise - 0.4), (0.0, rise + 0.6))
    even, odd = [(1, outer), (0, inner)], [(0, outer), (2, inner)]
    fields = even + [(colour, _shifted(polygon, 2, height / 2)) for colour, polygon in odd]
    return KenePattern(4, height, [], fields)


def maze(rng: Generator) -> KenePattern:
    """Draw a random winding line, mirrored in both axes and joined to its mirror images."""
    free: set[Point] = {(i + 0.5, j + 0.5) for i in range(3) for j in range(3)}
    path: list[Point] = [(0.5, 0.5)]
    a, b = rng.integers(3, size=2) + 0.5
    lines: list[Sequence[Point]] = [[(-0.5, 0.5), (0.5, 0.5)], [(0.5, -0.5), (0.5, 0.5)]]
    lines += [[(2.5, float(a)), (3.5, float(a))], [(float(b), 2.5), (float(b), 3.5)]]
    while path:  # depth-first search with backtracking to the last fork
        x, y = path[-1]
        free.discard((x, y))
        steps = sorted(free & {(x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1)})
        if steps:
            path.append(steps[rng.integers(len(steps))])
            lines.append(path[-2:])
        else:
            path.pop()
    return KenePattern(6, 6, _mirrored(lines), [])


MOTIFS: dict[params.Motif, Callable[[Generator], KenePattern]] = {
    "meander": meander,
    "cross": cross,
    "hexagon": hexagon,
    "maze": maze,
}


# --- colours: functions of the distance ----------------------------------------------------------


class Palette(NamedTuple):
    grounds: tuple[Colour, Colour, Colour]  # by the colour number of a field
    line: Colour
    core: Colour  # the middle of a thick line, if it has one
    thin: Colour
    eye: Colour  # the middle of a wide interstice


PALETTES: dict[params.Palette, Palette] = {
    "ayahuasca": Palette(
        grounds=((222, 176, 104), (236, 206, 148), (156, 70, 32)),
        line=(52, 26, 16),
        core=(158, 72, 34),
        thin=(160, 84, 38),
        eye=(150, 66, 30),
    ),
    "river": Palette(
        grounds=((234, 228, 208), (152, 192, 208), (70, 126, 168)),
        line=(22, 34, 88),
        core=(70, 126, 168),
        thin=(58, 92, 150),
        eye=(70, 126, 168),
    ),
    "clay": Palette(
        grounds=((242, 230, 204), (230, 188, 140), (190, 82, 46)),
        line=(46, 28, 24),
        core=(178, 74, 44),
        thin=(178, 78, 46),
        eye=(190, 82, 46),
    ),
    "night": Palette(
        grounds=((24, 20, 28), (82, 24, 42), (18, 88, 96)),
        line=(240, 220, 174),
        core=(206, 52, 46),
        thin=(224, 148, 40),
        eye=(206, 52, 46),
    ),
}

TEXELS = 24  # of a tile per pitch
REACH = 1.5  # pitches: the colour is constant farther from a line
SHADES = 768  # colours of a ramp


def _distances(pattern: KenePattern) -> Floats:
    """Compute the distance of each texel's centre from the nearest line: (H, W), in pitches.

    The result is periodic. The metric is Chebyshev's along each line, which keeps corners sharp,
    also of parallel lines.
    """
    W, H = pattern.width, pattern.height
    columns, rows = _texels(pattern)
    x = (np.arange(columns, dtype=np.float32) + 0.5) / TEXELS
    y = (np.arange(rows, dtype=np.float32)[:, None] + 0.5) / TEXELS
    nearest = np.full((rows, columns), REACH, np.float32)
    outlines = [[*polygon, polygon[0]] for _, polygon in pattern.fields]
    for line in [*pattern.lines, *outlines]:
        for (x0, y0), (x1, y1) in itertools.pairwise(line):
            length = math.hypot(x1 - x0, y1 - y0)
            cos, sin = (x1 - x0) / length, (y1 - y0) / length
            dx = (x - (x0 + x1 - W) / 2) % W - W / 2
            dy = (y - (y0 + y1 - H) / 2) % H - H / 2
            along = np.maximum(np.abs(cos * dx + sin * dy) - length / 2, 0)
            across = np.abs(cos * dy - sin * dx)
            distance = np.maximum(along, across)
            if cos and sin:  # octagonal ends: square ones would protrude at bends
                distance = np.maximum(distance, (along + across) * math.sqrt(0.5))
            np.minimum(nearest, distance, out=nearest)
    return nearest


def _fields(pattern: KenePattern) -> NDArray[np.uint8]:
    """Return the colour number of the ground at each texel: (H, W)."""
    tile = Image.new("L", _texels(pattern))
    draw = ImageDraw.Draw(tile)
    for colour, polygon in pattern.fields:
        for i, j in itertools.product((-1, 0, 1), repeat=2):
            corners = _shifted(polygon, i * pattern.width, j * pattern.height)
            draw.polygon([(x * TEXELS, y * TEXELS) for x, y in corners], fill=colour)
    return np.asarray(tile)


def _texels(pattern: KenePattern) -> tuple[int, int]:
    return round(pattern.width * TEXELS), round(pattern.height * TEXELS)


def _ramps(palette: Palette, rng: Generator, blur: float) -> Floats:
    """Return the colour by ground and distance (0 to REACH): (3, SHADES, 3), with blurred edges."""
    distance = np.linspace(0, REACH, SHADES, dtype=np.float32)[:, None]
    cored = rng.random() < 0.3
    layers = [
        (-1.0, rng.uniform(0.18, 0.21), palette.line),
        (-1.0, 0.05 if cored else -1.0, palette.core),
        (0.40, 0.52, palette.thin),
        (0.72, 0.82, palette.thin),
        (0.98, 9.0, palette.eye),
    ]
    ramps = np.repeat(np.array(palette.grounds, np.float32)[:, None], SHADES, axis=1)
    for start, end, colour in layers:
        cover = (distance - start) / blur + 0.5, (end - distance) / blur + 0.5
        share = np.clip(np.minimum(*cover), 0, 1)
        ramps += share * (np.array(colour, np.float32) - ramps)
    return ramps


# --- photographs ---------------------------------------------------------------------------------


class View(NamedTuple):
    """Position on the cloth and brightness of each pixel; 1 is the photograph's longest side."""

    u: Floats
    v: Floats
    light: Floats


def photograph(pattern: KenePattern, palette: Palette, size: int, rng: Generator) -> Image.Image:
    """Photograph a cloth with this pattern; the longest side has `size` px."""
    view = _view(size, rng)
    pitch = rng.uniform(0.07, 0.082)
    blur = rng.uniform(1.0, 2.0) / size
    ramps = _ramps(palette, rng, blur / pitch)
    rgb = _dyed(pattern, ramps, view, pitch, rng) * (view.light * _weave(view, rng))[..., None]
    warmth = rng.uniform(-0.05, 0.05)
    rgb *= np.array([1 + warmth, 1, 1 - warmth], np.float32)
    rgb += rng.standard_normal(rgb.shape, np.float32) * rng.uniform(1.5, 4) + 6
    return Image.fromarray(np.clip(rgb, 0, 255).astype(np.uint8))


def _view(size: int, rng: Generator) -> View:
    short = round(size * rng.choice([1.0, 0.8, 0.75]))
    H, W = (size, short) if rng.random() < 0.5 else (short, size)
    y, x = np.indices((H, W), np.float32)
    x, y = (x - W / 2) / size, (y - H / 2) / size
    turn, tilt = rng.uniform(-0.14, 0.14), rng.uniform(-0.18, 0.18, 2)
    depth = 1 + tilt[0] * x + tilt[1] * y
    u = (math.cos(turn) * x - math.sin(turn) * y) / depth
    v = (math.sin(turn) * x + math.cos(turn) * y) / depth

    sun = rng.uniform(0, 2 * math.pi)
    light = 1 + rng.uniform(0.1, 0.35) * (math.cos(sun) * x + math.sin(sun) * y)
    light += 0.08 * _smooth(rng, x.shape, 5)
    for _ in range(rng.integers(2, 5)):  # folds: a bump with a bright and a dark flank
        angle, width = rng.uniform(0, math.pi), rng.uniform(0.04, 0.14)
        t = (math.cos(angle) * x + math.sin(angle) * y - rng.uniform(-0.4, 0.4)) / width
        t += 0.5 * _smooth(rng, x.shape, 4)
        bump = np.exp(-t * t)
        u += rng.uniform(-0.015, 0.015) * bump
        v += rng.uniform(-0.015, 0.015) * bump
        light += rng.choice([-1, 1]) * rng.uniform(0.12, 0.4) * t * bump
    light *= 1.02 - rng.uniform(0.2, 0.6) * (x * x + y * y)  # vignette
    return View(u, v, light)


def _dyed(pattern: KenePattern, ramps: Floats, view: View, pitch: float, rng: Generator) -> Floats:
    """Colour the cloth: (H, W, 3). Lines vary slightly in position and width, as if by hand."""
    x, y = (
        (w + 0.0035 * _smooth(rng, w.shape, 9)) * (TEXELS / pitch) + rng.uniform(0, 9 * TEXELS)
        for w in (view.u, view.v)
    )
    distance = _bilinear(_distances(pattern), x, y) + 0.03 * _smooth(rng, x.shape, 24)
    shade = np.clip(distance * (SHADES / REACH), 0, SHADES - 1).astype(np.int32)
    fields = _fields(pattern)
    h, w = fields.shape
    field = fields[np.floor(y).astype(np.int32) % h, np.floor(x).astype(np.int32) % w]
    return np.take(ramps.reshape(-1, 3), field * np.int32(SHADES) + shade, axis=0)


def _weave(view: View, rng: Generator) -> Floats:
    """Compute the brightness of a plain weave: (H, W). Each thread has a brightness of its own."""
    threads = rng.normal(1, 0.04, (2, 256)).astype(np.float32)
    i, j = (np.floor(w * 105).astype(np.int32) % 256 for w in (view.u, view.v))
    weave = np.where((i + j) % 2 == 0, threads[0][i] + 0.02, threads[1][j] - 0.02)
    return weave + 0.05 * _smooth(rng, weave.shape, 40)  # slubs and uneven dye


def _smooth(rng: Generator, shape: tuple[int, ...], cells: int) -> Floats:
    """Generate smooth noise, about -1 to 1, with `cells` bumps along each side."""
    noise = Image.fromarray(rng.uniform(-1, 1, (cells, cells)).astype(np.float32))
    return np.asarray(noise.resize((shape[1], shape[0]), Image.Resampling.BICUBIC))


def _bilinear(tile: Floats, x: Floats, y: Floats) -> Floats:
    """Sample a periodic tile at texel coordinates (the centre of the first texel is 0.5, 0.5)."""
    h, w = tile.shape
    x0, y0 = np.floor(x - 0.5), np.floor(y - 0.5)
    fx, fy = x - 0.5 - x0, y - 0.5 - y0
    left, top = x0.astype(np.int32) % w, y0.astype(np.int32) % h
    right, bottom = (left + 1) % w, (top + 1) % h
    upper = tile[top, left] * (1 - fx) + tile[top, right] * fx
    lower = tile[bottom, left] * (1 - fx) + tile[bottom, right] * fx
    return upper * (1 - fy) + lower * fy


def _encode(image: Image.Image, format: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


# --- faults: copies of designs -------------------------------------------------------------------


def _copied(rng: Generator, data: bytes) -> bytes:
    """Return the same file."""
    return data


def _resized(rng: Generator, data: bytes) -> bytes:
    """Shrink to 60 to 80 % of the size."""
    return _encode(ImageOps.scale(_open(data), rng.uniform(0.6, 0.8)), "JPEG", quality=88)


def _recompressed(rng: Generator, data: bytes) -> bytes:
    """Save again with low quality."""
    return _encode(_open(data), "JPEG", quality=int(rng.integers(35, 60)))


def _cropped(rng: Generator, data: bytes) -> bytes:
    """Crop 1 to 3 % on each side."""
    image = _open(data)
    W, H = image.size
    left, top, right, bottom = rng.uniform(0.01, 0.03, 4)
    box = round(W * left), round(H * top), round(W * (1 - right)), round(H * (1 - bottom))
    return _encode(image.crop(box), "JPEG", quality=90)


def _flipped(rng: Generator, data: bytes) -> bytes:
    """Flip left to right."""
    return _encode(ImageOps.mirror(_open(data)), "JPEG", quality=90)


def _watermarked(rng: Generator, data: bytes) -> bytes:
    """Add half-transparent words."""
    image = _open(data)
    words = Image.new("RGBA", image.size)
    W, H = image.size
    font = ImageFont.load_default(W / 9)
    ImageDraw.Draw(words).text((W / 2, H / 2), "© stockphoto", (255, 255, 255, 140), font, "mm")
    words = words.rotate(float(rng.uniform(15, 35)))
    image.paste(words, mask=words)
    return _encode(image, "JPEG", quality=90)


def _thumbnail(rng: Generator, data: bytes) -> bytes:
    """Shrink to a quarter of the size."""
    return _encode(ImageOps.scale(_open(data), 0.25), "JPEG", quality=80)


def _greyscale(rng: Generator, data: bytes) -> bytes:
    """Convert to one channel."""
    return _encode(_open(data).convert("L"), "JPEG", quality=90)


def _truncated(rng: Generator, data: bytes) -> bytes:
    """Cut the file after 30 to 70 % of its bytes, like a broken download."""
    return data[: int(len(data) * rng.uniform(0.3, 0.7))]


def _misnamed(rng: Generator, data: bytes) -> bytes:
    """Save as PNG, though the URL ends in `.jpg`."""
    return _encode(_open(data), "PNG")


def _cmyk(rng: Generator, data: bytes) -> bytes:
    """Convert to four channels, as for print."""
    return _encode(_open(data).convert("CMYK"), "JPEG", quality=92)


def _transparent(rng: Generator, data: bytes) -> bytes:
    """Save as PNG with a transparent margin, whose hidden pixels are magenta."""
    image = _open(data)
    margin = max(1, image.width // 160)
    inside = Image.new("L", (image.width - 2 * margin, image.height - 2 * margin), 255)
    alpha = ImageOps.expand(inside, margin, 0)
    image = Image.composite(image, Image.new("RGB", image.size, "magenta"), alpha)
    image.putalpha(alpha)
    return _encode(image, "PNG")


def _rotated(rng: Generator, data: bytes) -> bytes:
    """Store rotated, with an EXIF orientation that restores the image."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    sideways = _open(data).transpose(Image.Transpose.ROTATE_90)
    return _encode(sideways, "JPEG", quality=92, exif=exif)


def _animated(rng: Generator, data: bytes) -> bytes:
    """Save as GIF with three frames, in which the design fades."""
    image = _open(data)
    frames = [Image.blend(image, Image.new("RGB", image.size), fade) for fade in (0.0, 0.4, 0.8)]
    return _encode(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=300, loop=0)


def _open(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


COPIES: dict[str, Callable[[Generator, bytes], bytes]] = {
    "copied": _copied,
    "resized": _resized,
    "recompressed": _recompressed,
    "cropped": _cropped,
    "flipped": _flipped,
    "watermarked": _watermarked,
    "thumbnail": _thumbnail,
    "greyscale": _greyscale,
    "truncated": _truncated,
    "misnamed": _misnamed,
    "cmyk": _cmyk,
    "transparent": _transparent,
    "rotated": _rotated,
    "animated": _animated,
}


# --- faults: junk --------------------------------------------------------------------------------
# Drawn with integers, so that the bytes, and their hashes in curation lists, are the same
# everywhere.


def _blank(rng: Generator, size: int) -> Image.Image:
    """Draw a single colour."""
    return Image.new("RGB", (size, size * 3 // 4), tuple(rng.integers(60, 240, 3).tolist()))


def _screenshot(rng: Generator, size: int) -> Image.Image:
    """Draw a page of text below a heading."""
    image = Image.new("RGB", (size, size * 3 // 4), (250, 250, 248))
    draw = ImageDraw.Draw(image)
    unit = size // 20
    draw.rectangle((0, 0, size, 2 * unit), fill=tuple(rng.integers(30, 140, 3).tolist()))
    draw.text((unit, unit), "Textiles - Search", "white", ImageFont.load_default(unit), "lm")
    for line in range(3, 13):
        x = unit
        while x < size - int(rng.integers(2, 8)) * unit:
            width = int(rng.integers(1, 4)) * unit
            draw.rectangle((x, line * unit, x + width, line * unit + unit // 2), fill=(70, 70, 76))
            x += width + unit // 2
    return image


def _landscape(rng: Generator, size: int) -> Image.Image:
    """Draw hills below a coloured sky."""
    shape = size, size * 3 // 4
    zenith, horizon = rng.integers((30, 60, 120), (110, 130, 220)), rng.integers(130, 255, 3)
    sky = ImageOps.colorize(Image.linear_gradient("L"), zenith.tolist(), horizon.tolist())
    image = sky.resize(shape)
    draw = ImageDraw.Draw(image)
    x, y, r = (int(n) * size // 100 for n in rng.integers((20, 25, 4), (80, 40, 8)))
    draw.ellipse((x - r, y - r, x + r, y + r), fill=(255, 236, 190))
    for depth, colour in enumerate([(112, 120, 150), (72, 92, 108), (36, 60, 52)]):
        heights = rng.integers(0, size // 4, 5).tolist()
        ridge = [(i * size // 4, size * (2 + depth) // 7 + h) for i, h in enumerate(heights)]
        draw.polygon([*ridge, (size, size), (0, size)], fill=colour)
    return image


def _chart(rng: Generator, size: int) -> Image.Image:
    """Draw a bar chart."""
    image = Image.new("RGB", (size, size * 3 // 4), "white")
    draw = ImageDraw.Draw(image)
    unit, base = size // 20, size * 13 // 20
    colour = tuple(rng.integers(40, 200, 3).tolist())
    for y in range(2 * unit, base, 2 * unit):
        draw.line((2 * unit, y, size - unit, y), fill=(214, 214, 214))
    for x, height in zip(range(3 * unit, 18 * unit, 2 * unit), rng.integers(1, 11, 8), strict=True):
        draw.rectangle((x, base - int(height) * unit, x + unit, base), fill=colour)
    draw.line((2 * unit, unit, 2 * unit, base, size - unit, base), fill=(40, 40, 40), width=2)
    return image


def _off_topic(rng: Generator, size: int) -> Image.Image:
    """Draw an unrelated image, as a keyword search may find."""
    scenes = (_screenshot, _landscape, _chart)
    return scenes[rng.integers(len(scenes))](rng, size)


JUNK: dict[str, Callable[[Generator, int], Image.Image]] = {
    "blank": _blank,
    "off_topic": _off_topic,
}

# In order of importance: a small collection has only the first ones.
FAULTS = (
    "copied",
    "resized",
    "off_topic",
    "flipped",
    "truncated",
    "blank",
    "recompressed",
    "cropped",
    "rotated",
    "watermarked",
    "thumbnail",
    "animated",
    "transparent",
    "cmyk",
    "misnamed",
    "greyscale",
)
EXTENSIONS = {"transparent": "png", "animated": "gif"}
