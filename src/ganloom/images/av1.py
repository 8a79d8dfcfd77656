"""Frame sizes of an AVIF, read from its AV1 data.

The container states a size, and so does each frame in it, up to 16,384 px a side. Pillow checks
only the former before it decodes, so a file of one kilobyte could take gigabytes.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator

_CONTAINERS = {b"meta": 4, b"iinf": 6, b"moov": 0, b"trak": 0, b"mdia": 0, b"minf": 0, b"stbl": 0}
_SEQUENCE_HEADER = 1  # type of an open bitstream unit (OBU)
_MOST = 1000  # boxes in a box, items, chunks, or units of an image; genuine files have a dozen


class Av1Error(ValueError):
    """The structure of the file is invalid."""


def largest_frame(data: bytes) -> int:
    """Return the pixels of the largest frame in the images and tracks of an AVIF; 0 without any.

    Raises:
        Av1Error: The file is damaged or exceeds a limit.
    """
    try:
        coded = _coded(data)
        return max((_pixels(header) for part in coded for header in _headers(part)), default=0)
    except (struct.error, IndexError) as error:
        raise Av1Error("its boxes cannot be followed") from error


def _coded(data: bytes) -> Iterator[memoryview]:
    """Yield the coded data of each image, and of each chunk of a track."""
    whole = memoryview(data)
    boxes = list(itertools.islice(_boxes(whole, 0), _MOST))
    if len(boxes) == _MOST:
        raise Av1Error("too many boxes")
    store = next((box for name, box in boxes if name == b"idat"), memoryview(b""))
    images = {_item(box) for name, box in boxes if name == b"infe" and b"av01" in bytes(box[:16])}
    for name, box in boxes:
        if name == b"iloc":
            for item, parts in _located(box, whole, store):
                if item in images:
                    yield memoryview(b"".join(parts)) if len(parts) > 1 else parts[0]
        elif name in (b"stco", b"co64"):
            count = min(int.from_bytes(box[4:8]), _MOST)
            width = 4 if name == b"stco" else 8
            starts = (8 + width * i for i in range(count))
            yield from (whole[int.from_bytes(box[at : at + width]) :] for at in starts)


def _boxes(view: memoryview, depth: int) -> Iterator[tuple[bytes, memoryview]]:
    """Yield name and content of each box, and of the boxes inside."""
    at = 0
    while at + 8 <= len(view) and depth < 8:
        size, name = struct.unpack_from(">I4s", view, at)
        inner = 8
        if size == 1:
            (size,), inner = struct.unpack_from(">Q", view, at + 8), 16
        end = at + size if size else len(view)
        if end > len(view) and name in (b"meta", b"moov", b"mdat"):
            raise Av1Error("truncated")
        if not at + inner <= end <= len(view):
            return  # trailing data after the image
        box = view[at + inner : end]
        yield name, box
        if name in _CONTAINERS:
            skip = _CONTAINERS[name] + 2 * (name == b"iinf" and bool(box[0]))
            yield from _boxes(box[skip:], depth + 1)
        at = end


def _item(box: memoryview) -> int:
    """Return the number of the item that an ``infe`` describes."""
    return int.from_bytes(box[4:8] if box[0] >= 3 else box[4:6])


def _located(
    box: memoryview, file: memoryview, store: memoryview
) -> Iterator[tuple[int, list[memoryview]]]:
    """Yield number and parts of each item in an ``iloc``."""
    version, at = box[0], 6
    offset_size, length_size, base_size, index_size = (
        box[4] >> 4,
        box[4] & 15,
        box[5] >> 4,
        box[5] & 15,
    )

    def number(size: int) -> int:
        nonlocal at
        if at + size > len(box):
            raise Av1Error("a table of items is cut short")
        at += size
        return int.from_bytes(box[at - size : at])

    total = 0
    for _ in range(min(number(4 if version == 2 else 2), _MOST)):
        item = number(4 if version == 2 else 2)
        method = number(2) & 15 if version else 0
        number(2)  # data reference: the file that contains the item
        base, parts = number(base_size), []
        for _ in range(number(2)):
            if version:
                number(index_size)
            start, length = base + number(offset_size), number(length_size)
            held = (store if method else file)[start:]
            parts.append(held[:length] if length else held)
            total += len(parts[-1])
            if total > 2 * len(file):
                raise Av1Error("its items overlap")
        yield item, parts or [memoryview(b"")]


def _headers(coded: memoryview) -> Iterator[memoryview]:
    """Yield the sequence headers among the first units."""
    at = 0
    for _ in range(_MOST):
        if at >= len(coded):
            return
        unit, at = coded[at], at + 1
        at += bool(unit & 4)  # an extension of one byte
        size = len(coded) - at
        if unit & 2:
            size = 0
            for place in range(8):
                byte, at = coded[at], at + 1
                size |= (byte & 127) << (7 * place)
                if byte < 128:
                    break
        if unit >> 3 & 15 == _SEQUENCE_HEADER:
            yield coded[at : at + min(size, 256)]
        at += size


class _Bits:
    def __init__(self, data: memoryview) -> None:
        self._value, self._left = int.from_bytes(data), 8 * len(data)

    def __call__(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise Av1Error("a sequence header is cut short")
        return self._value >> self._left & ((1 << count) - 1)


def _pixels(header: memoryview) -> int:
    """Return the pixels of the largest frame under a sequence header (AV1 specification, 5.5)."""
    bits = _Bits(header)
    bits(4)  # profile, still picture
    is_reduced = bits(1)
    if is_reduced:
        bits(5)
    else:
        _skip_operating_points(bits)
    across, down = bits(4) + 1, bits(4) + 1
    width, height = bits(across) + 1, bits(down) + 1
    if not is_reduced:
        # Frames may have another size of as many bits; encoders use no more bits than needed.
        width, height = max(width, 1 << (across - 1)), max(height, 1 << (down - 1))
    return width * height


def _skip_operating_points(bits: _Bits) -> None:
    delay = 0
    has_model = False
    if bits(1):  # timing
        bits(64)
        if bits(1):  # uvlc: a number with as many bits as zeros precede it
            zeros = 0
            while not bits(1):
                zeros += 1
            bits(zeros)
        has_model = bool(bits(1))
        if has_model:
            delay = bits(5) + 1
            bits(42)
    has_display_delay = bits(1)
    for _ in range(bits(5) + 1):
        bits(12)
        if bits(5) > 7:
            bits(1)
        if has_model and bits(1):
            bits(2 * delay + 1)
        if has_display_delay and bits(1):
            bits(4)
