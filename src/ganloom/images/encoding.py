"""Encoding of images as PNG."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from ganloom.images.arrays import Array


def png(image: Image.Image | Array) -> bytes:
    """Encode as PNG without metadata: equal pixels give equal bytes."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(file, "PNG")
    return file.getvalue()


def save_png(image: Image.Image | Array, path: Path) -> None:
    """Write ``png(image)``; parent folders are created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(image))
