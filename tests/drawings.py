"""Distinct but similar drawings (charts, pages, plans, codes), and copies of them."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFont

INK = (30, 30, 34)
PALE = (225, 225, 225)
COLOURS = [(31, 119, 180), (255, 127, 14), (44, 160, 44)]  # of charts

Drawing = tuple[Image.Image, ImageDraw.ImageDraw]


def paper(width: int, height: int, colour: tuple[int, int, int] = (255, 255, 255)) -> Drawing:
    image = Image.new("RGB", (width, height), colour)
    return image, ImageDraw.Draw(image)


def typeface(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def sentence(rng: Generator, length: int) -> str:
    """Invented words of about ``length`` letters in total."""
    words: list[str] = []
    while sum(map(len, words)) < length:
        letters = rng.choice(list("aeiounrstldmkpgv"), rng.integers(2, 10))
        words.append("".join(letters))
    return " ".join(words)


def fitted(rng: Generator, font: ImageFont.FreeTypeFont, width: float) -> str:
    """Words that fill a line."""
    text = sentence(rng, int(width / font.size * 2))
    while font.getlength(text) > width:
        text = text.rpartition(" ")[0]
    return text


def axes(draw: ImageDraw.ImageDraw, rng: Generator) -> None:
    """Frame, grid and title of a chart of 640 x 480 px."""
    font = typeface(16)
    for y in range(60, 430, 61):
        draw.line((80, y, 600, y), PALE)
        draw.text((70, y), str(430 - y), INK, font, "rm")
    for x in range(80, 601, 104):
        draw.text((x, 440), str(x - 80), INK, font, "mt")
    draw.rectangle((80, 50, 600, 430), outline=INK)
    draw.text((340, 25), sentence(rng, 14), INK, font, "mm")


def bars(rng: Generator) -> Image.Image:
    image, draw = paper(640, 480)
    axes(draw, rng)
    for x, height in zip(range(100, 580, 60), rng.integers(20, 360, 8).tolist(), strict=True):
        draw.rectangle((x, 430 - height, x + 40, 430), fill=COLOURS[0])
    return image


def curves(rng: Generator) -> Image.Image:
    image, draw = paper(640, 480)
    axes(draw, rng)
    for colour in COLOURS:
        steps = rng.normal(0, 18, 53).cumsum()
        y = np.clip(rng.integers(150, 330) + steps, 55, 425)
        draw.line(list(zip(range(80, 601, 10), y.tolist(), strict=True)), colour, 2)
    return image


def scatter(rng: Generator) -> Image.Image:
    image, draw = paper(640, 480)
    axes(draw, rng)
    x = rng.uniform(90, 590, 60)
    y = 430 - (x - 80) * rng.uniform(0.2, 0.7) + rng.normal(0, 40, 60)
    for point in zip(x.tolist(), np.clip(y, 55, 425).tolist(), strict=True):
        draw.circle(point, 4, COLOURS[0])
    return image


def page(rng: Generator) -> Image.Image:
    """Justified paragraphs below a heading."""
    image, draw = paper(600, 800)
    font = typeface(14)
    draw.text((60, 50), sentence(rng, 20).title(), INK, typeface(24))
    last = set(rng.choice(32, 4, replace=False).tolist())
    for line in range(32):
        width = rng.uniform(80, 420) if line in last else 480
        words = fitted(rng, font, width).split()
        lengths = [font.getlength(word) for word in words]
        gap = 5.0 if line in last else (480 - sum(lengths)) / max(1, len(words) - 1)
        x = 60.0
        for word, length in zip(words, lengths, strict=True):
            draw.text((x, 100 + 20 * line), word, INK, font)
            x += length + gap
    return image


def window(title: str, menu: list[str]) -> Drawing:
    """The common part of all screenshots of a program: 800 x 600 px, a title bar and a menu."""
    image, draw = paper(800, 600, (246, 246, 246))
    font = typeface(14)
    draw.rectangle((0, 0, 800, 34), fill=(52, 73, 94))
    draw.text((20, 17), title, "white", font, "lm")
    for i, colour in enumerate([(231, 76, 60), (241, 196, 15), (46, 204, 113)]):
        draw.circle((780 - 24 * i, 17), 7, colour)
    draw.rectangle((0, 35, 180, 600), fill=(224, 228, 232))
    for i, word in enumerate(menu):
        draw.text((20, 60 + 34 * i), word, INK, font, "lm")
    return image, draw


def mail(rng: Generator) -> Image.Image:
    """List of subjects, one of them selected."""
    image, draw = window("Mail", ["Inbox", "Sent", "Drafts", "Archive", "Spam", "Trash"])
    font = typeface(14)
    chosen = rng.integers(14)
    for i in range(14):
        y = 50 + 39 * i
        draw.rectangle((190, y, 790, y + 36), "white" if i != chosen else (210, 225, 245), PALE)
        draw.text((200, y + 18), sentence(rng, 8), INK, font, "lm")
        draw.text((320, y + 18), sentence(rng, int(rng.integers(15, 50))), INK, font, "lm")
    return image


def editor(rng: Generator) -> Image.Image:
    """Indented lines of source code on white."""
    image, draw = window("Editor", ["main.py", "model.py", "data.py", "tests", "README"])
    draw.rectangle((181, 35, 800, 600), fill="white")
    font = typeface(13)
    depth = 0
    for line in range(30):
        depth = int(np.clip(depth + rng.integers(-1, 2), 0, 4))
        if rng.random() < 0.85:
            draw.text((190, 46 + 18 * line), str(line), (150, 150, 150), font)
            text = sentence(rng, int(rng.integers(8, 50)))
            colour = INK if rng.random() < 0.7 else (0, 100, 160)
            draw.text((220 + 26 * depth, 46 + 18 * line), text, colour, font)
    return image


def form(rng: Generator) -> Image.Image:
    """A form; only the contents of eight fields and a note differ."""
    image, draw = window("Settings", ["General", "Display", "Sound", "Network", "About"])
    font = typeface(14)
    for i, label in enumerate(["Name", "Street", "Town", "Country", "Phone", "Web", "Job", "Id"]):
        y = 60 + 44 * i
        draw.text((210, y + 14), label, INK, font, "lm")
        draw.rectangle((320, y, 760, y + 28), "white", (160, 160, 160))
        draw.text((330, y + 14), sentence(rng, int(rng.integers(4, 40))), INK, font, "lm")
    draw.rectangle((320, 420, 760, 530), "white", (160, 160, 160))
    for i in range(int(rng.integers(1, 5))):
        draw.text((330, 430 + 22 * i), fitted(rng, font, 400), INK, font)
    draw.rectangle((640, 550, 760, 580), fill=COLOURS[0])
    draw.text((700, 565), "Save", "white", font, "mm")
    return image


def plan(rng: Generator) -> Image.Image:
    """Floor plan: rooms, divided repeatedly, with doors."""
    image, draw = paper(800, 600)

    def divide(x0: int, y0: int, x1: int, y1: int) -> None:
        wide, high = x1 - x0, y1 - y0
        if max(wide, high) < 260 or min(wide, high) < 90:
            draw.text(((x0 + x1) / 2, (y0 + y1) / 2), sentence(rng, 4), INK, font, "mm")
        elif wide > high:
            x = int(rng.integers(x0 + wide // 4, x1 - wide // 4))
            door = int(rng.integers(y0 + 10, y1 - 50))
            draw.line((x, y0, x, y1), INK, 5)
            draw.line((x, door, x, door + 40), "white", 5)
            draw.arc((x - 40, door, x + 40, door + 80), 270, 360, INK)
            divide(x0, y0, x, y1)
            divide(x, y0, x1, y1)
        else:
            y = int(rng.integers(y0 + high // 4, y1 - high // 4))
            door = int(rng.integers(x0 + 10, x1 - 50))
            draw.line((x0, y, x1, y), INK, 5)
            draw.line((door, y, door + 40, y), "white", 5)
            divide(x0, y0, x1, y)
            divide(x0, y, x1, y1)

    font = typeface(14)
    draw.rectangle((50, 50, 750, 550), outline=INK, width=8)
    divide(50, 50, 750, 550)
    return image


def score(rng: Generator) -> Image.Image:
    """Six systems of sheet music."""
    image, draw = paper(600, 800)
    draw.text((300, 50), sentence(rng, 12).title(), INK, typeface(22), "mm")
    for top in range(110, 760, 110):
        for line in range(5):
            draw.line((40, top + 10 * line, 560, top + 10 * line), INK)
        for x in range(40, 561, 130):
            draw.line((x, top, x, top + 40), INK, 2)
        for x in range(70, 550, 26):
            if (x - 40) % 130 > 12 and rng.random() < 0.85:
                y = top + 5 * int(rng.integers(-1, 10))
                draw.ellipse((x - 6, y - 4, x + 6, y + 4), INK if rng.random() < 0.8 else None, INK)
                draw.line((x + 6, y, x + 6, y - 30), INK)
    return image


def streets(rng: Generator) -> Image.Image:
    """Map of streets, a river and names."""
    image, draw = paper(700, 700, (242, 239, 233))
    y = np.clip(rng.integers(150, 550) + rng.normal(0, 25, 36).cumsum(), 20, 680)
    draw.line(list(zip(range(0, 720, 20), y.tolist(), strict=True)), (170, 211, 223), 22)
    for _ in range(16):
        a, b = rng.uniform(0, 700, (2, 2))
        along = (b - a) / np.hypot(*(b - a)) * 1000
        for colour, width in (((200, 200, 200), 11), ((255, 255, 255), 8)):
            draw.line([*(a - along), *(a + along)], colour, width)
    font = typeface(13)
    for _ in range(10):
        draw.text(tuple(rng.uniform(30, 640, 2).tolist()), sentence(rng, 7), INK, font)
    return image


def comic(rng: Generator) -> Image.Image:
    """Comic page of two by three panels with speaking figures."""
    image, draw = paper(600, 800)
    font = typeface(13)
    for i in range(6):
        x, y = 30 + 275 * (i % 2), 30 + 250 * (i // 2)
        draw.rectangle((x, y, x + 265, y + 240), outline=INK, width=3)
        for _ in range(int(rng.integers(1, 4))):
            cx, cy = x + int(rng.integers(40, 225)), y + int(rng.integers(110, 150))
            draw.circle((cx, cy), 18, outline=INK, width=2)
            draw.line((cx, cy + 18, cx, cy + 60), INK, 2)
            for side in (-1, 1):
                hand, foot = rng.integers(-10, 30, 2).tolist()
                draw.line((cx, cy + 28, cx + 25 * side, cy + 28 + hand), INK, 2)
                draw.line((cx, cy + 60, cx + 12 * side, cy + 75 + foot // 3), INK, 2)
        left = x + int(rng.integers(10, 90))
        draw.ellipse((left, y + 10, left + 160, y + 80), outline=INK, width=2)
        for line in range(2):
            draw.text((left + 80, y + 34 + 20 * line), fitted(rng, font, 110), INK, font, "mm")
    return image


def code(rng: Generator) -> Image.Image:
    """Code like QR: 29 modules per side, three finder patterns."""
    modules = rng.integers(0, 2, (29, 29)).astype(bool)
    finder = np.zeros((8, 8), bool)
    finder[:7, :7] = True
    finder[1:6, 1:6] = False
    finder[2:5, 2:5] = True
    modules[:8, :8], modules[:8, -8:], modules[-8:, :8] = finder, finder[:, ::-1], finder[::-1]
    large = np.kron(np.pad(modules, 4), np.ones((10, 10), bool))
    return Image.fromarray(np.where(large, 0, 255).astype(np.uint8)).convert("RGB")


def contours(rng: Generator) -> Image.Image:
    """One thin line on a large white sheet."""
    image, draw = paper(1000, 800)
    angle = np.linspace(0, 2 * np.pi, 200)
    waves = [rng.normal(0, 60 / k) * np.sin(k * angle + rng.uniform(0, 6)) for k in range(1, 6)]
    radius = 200 + np.sum(waves, axis=0)
    x, y = 500 + radius * np.cos(angle), 400 + radius * np.sin(angle)
    draw.line(list(zip(x.tolist(), y.tolist(), strict=True)), INK, 1)
    return image


KINDS: dict[str, Callable[[Generator], Image.Image]] = {
    made.__name__: made
    for made in (
        bars,
        curves,
        scatter,
        page,
        mail,
        editor,
        form,
        plan,
        score,
        streets,
        comic,
        code,
        contours,
    )
}


def drawing(kind: str, number: int) -> Image.Image:
    return KINDS[kind](np.random.default_rng([list(KINDS).index(kind), number]))


# --- copies --------------------------------------------------------------------------------------


def encoded(image: Image.Image, form: str, **options: int) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def png(image: Image.Image) -> bytes:
    return encoded(image, "PNG")


def jpeg(image: Image.Image, quality: int = 90) -> bytes:
    return encoded(image, "JPEG", quality=quality)


def resized(image: Image.Image, share: float) -> Image.Image:
    size = round(image.width * share), round(image.height * share)
    return image.resize(size, Image.Resampling.LANCZOS)


def trimmed(image: Image.Image, share: float) -> Image.Image:
    x, y = round(image.width * share / 2), round(image.height * share / 2)
    return image.crop((x, y, image.width - x, image.height - y))


COPIES: dict[str, Callable[[Image.Image], bytes]] = {
    "JPEG, quality 40": lambda image: jpeg(image, 40),
    "JPEG, quality 10": lambda image: jpeg(image, 10),
    "WebP, quality 50": lambda image: encoded(image, "WEBP", quality=50),
    "palette of 16 colours": lambda image: png(image.quantize(16)),
    "grey": lambda image: png(image.convert("L")),
    "half the size, JPEG": lambda image: jpeg(resized(image, 0.5)),
    "0.3 times the size": lambda image: png(resized(image, 0.3)),
    "1.7 times the size": lambda image: jpeg(resized(image, 1.7)),
    "quarter turn": lambda image: jpeg(image.transpose(Image.Transpose.ROTATE_90)),
    "mirrored, half size": lambda image: jpeg(
        resized(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 0.5)
    ),
    "1 % cut off": lambda image: jpeg(trimmed(image, 0.01)),
    "2 % cut off": lambda image: jpeg(trimmed(image, 0.02)),
    "4 % cut off": lambda image: jpeg(trimmed(image, 0.04)),
    "1 % cut off at the top": lambda image: jpeg(
        image.crop((0, image.height // 100, image.width, image.height))
    ),
    "3 % cut off at the top": lambda image: jpeg(
        image.crop((0, 3 * image.height // 100, image.width, image.height))
    ),
}
