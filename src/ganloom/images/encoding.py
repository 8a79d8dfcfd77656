"""Encoding pictures as PNG."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from ganloom.images.arrays import Array


def png(image: Image.Image | Array) -> bytes:
    """Encode as PNG without metadata, so that the same pixels give the same bytes."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(file, "PNG")
    return file.getvalue()


def save_png(image: Image.Image | Array, path: Path) -> None:
    """Write ``png(image)``; folders above ``path`` are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(image))
