"""Image files with metadata on how they were made."""

from __future__ import annotations

import io
import json
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ganloom.models import METADATA

SUFFIXES = (".png", ".tif", ".tiff")

# zlib's level. For cloths, level 6 makes files a seventh smaller in five times the time.
LEVEL = 2


def text(facts: Mapping[str, Any]) -> str:
    """Format metadata as ASCII JSON; equal facts give equal text."""
    return json.dumps(facts, sort_keys=True)


def tagged_png(picture: NDArray[np.uint8], made: str, **options: Any) -> bytes:
    """Encode as PNG with the text chunk `ganloom`.

    Args:
        picture: (H, W, 3) RGB.
        made: Content of the text chunk, in ASCII.
        **options: Options of Pillow's encoder.
    """
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG", pnginfo=_chunk(made), **options)
    return file.getvalue()


def save(
    picture: NDArray[np.uint8], path: Path, facts: Mapping[str, Any], dpi: int | None = None
) -> None:
    """Write a PNG or TIFF file, by its suffix, atomically.

    Args:
        picture: (H, W, 3) RGB.
        path: Path that ends in one of ``SUFFIXES``.
        facts: Metadata for the PNG's text chunk `ganloom` or the TIFF's ImageDescription.
        dpi: Resolution in pixels per inch; None: not in the file.

    Raises:
        OSError: The file cannot be written.
    """
    resolution = {"dpi": (dpi, dpi)} if dpi else {}
    image = Image.fromarray(picture)
    with whole(path) as temporary:
        if path.suffix.lower() == ".png":
            chunk = _chunk(text(facts))
            image.save(temporary, "PNG", pnginfo=chunk, compress_level=LEVEL, **resolution)
        else:
            # LZW with horizontal differencing, which all print programs read.
            tags = {270: text(facts), 317: 2}  # ImageDescription, Predictor
            image.save(temporary, "TIFF", compression="tiff_lzw", tiffinfo=tags, **resolution)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a temporary file next to ``path``, with its suffix, that replaces it at the end."""
    path = path.resolve()  # keeps a link
    temporary = path.with_name(f".{secrets.token_hex(8)}{path.suffix.lower()}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that replaces ``path``, a new or empty folder, at the end."""
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder:
        new = Path(folder) / path.name
        new.mkdir()
        yield new
        new.replace(path)


def _chunk(made: str) -> PngInfo:
    info = PngInfo()
    info.add_text(METADATA, made)
    return info
