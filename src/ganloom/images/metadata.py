"""Removal of unneeded metadata from PNG and JPEG files.

A valid image is then not rejected for a text that decompresses to gigabytes, or a wrong checksum of
an unneeded part. Decoders of other formats read metadata only on request.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

_SIGNATURE = 8
_ANIMATION = {b"acTL", b"fcTL", b"fdAT"}
_TEXTS = (b"XML:com.adobe.xmp\0\0", b"Raw profile type exif\0")  # may contain the orientation
_MAX_METADATA = 1 << 20  # bytes, decompressed

_START_OF_SCAN, _COMMENT = 0xDA, 0xFE
_APPLICATION = range(0xE0, 0xF0)
# Segments of a JPEG to keep: first bytes, and least length of a complete one.
_KEPT_SEGMENTS = (
    (b"JFIF\0", 12),  # this and the next determine the colour transform
    (b"Adobe", 12),
    (b"Exif\0\0", 14),
    (b"http://ns.adobe.com/xap/1.0/\0", 30),
    (b"ICC_PROFILE\0", 15),
)


class Png(NamedTuple):
    """A PNG without unneeded chunks.

    Attributes:
        data: The file. Critical chunks are unchanged, also if damaged.
        profile: Embedded ICC profile, unchecked; None if there is none.
        is_animated: Whether it has the frames of an animation.
    """

    data: bytes
    profile: bytes | None
    is_animated: bool


def strip_png(data: bytes, max_profile: int, animation: bool = False) -> Png:
    """Remove ancillary chunks, except transparency and orientation with a valid checksum.

    Args:
        data: PNG, also a damaged one.
        max_profile: Limit of a profile in bytes, decompressed; larger ones are ignored.
        animation: Whether to keep the frames of an animation.
    """
    view, at = memoryview(data), _SIGNATURE
    kept, seen = [view[:at]], set[bytes]()
    profile, is_animated = None, False
    while at + 12 <= len(data):
        name, end = bytes(view[at + 4 : at + 8]), at + 12 + int.from_bytes(view[at : at + 4])
        if end > len(data):
            break
        chunk, at = view[at:end], end
        is_animated |= name == b"acTL"
        is_critical = not name[0] & 0x20  # the name starts with a capital
        if is_critical or (animation and name in _ANIMATION):
            kept.append(chunk)
        elif name == b"iCCP" and profile is None and _is_whole(chunk):
            profile = _unpacked(bytes(chunk[8:-4]), max_profile)
        elif name not in seen and _is_needed(name, bytes(chunk[8:-4])) and _is_whole(chunk):
            kept.append(chunk)
            seen.add(name)
        if name == b"IEND":
            return Png(b"".join(kept), profile, is_animated)
    kept.append(view[at:])  # truncated or not a PNG from here on: the decoder will report it
    return Png(b"".join(kept), profile, is_animated)


def _is_whole(chunk: memoryview) -> bool:
    return zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:])


def _is_needed(name: bytes, content: bytes) -> bool:
    """Tell whether a chunk has transparency or orientation, and a reasonable size."""
    if name == b"zTXt" and content.startswith(_TEXTS):
        return _unpacked(content, _MAX_METADATA) is not None
    is_text = name in (b"tEXt", b"iTXt") and content.startswith(_TEXTS)
    return (is_text or name in (b"tRNS", b"eXIf")) and len(content) <= _MAX_METADATA


def _unpacked(content: bytes, most: int) -> bytes | None:
    """Decompress the content after keyword, zero byte and method; None if damaged or too long.

    Args:
        content: Content of a chunk iCCP or zTXt.
        most: Limit in bytes, decompressed.
    """
    inflating = zlib.decompressobj()
    try:
        found = inflating.decompress(content.partition(b"\0")[2][1:], most)
    except zlib.error:
        return None
    return found if inflating.eof else None


def strip_jpeg(data: bytes) -> bytes:
    """Remove comments and application segments, except colour transform, EXIF, XMP and profile.

    Args:
        data: JPEG, also a damaged one.
    """
    view, at = memoryview(data), 2
    kept = [view[:at]]
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != _START_OF_SCAN:
        if data[at + 1] == 0xFF:  # fill byte
            at += 1
            continue
        kind, end = data[at + 1], at + 2 + int.from_bytes(view[at + 2 : at + 4])
        content = bytes(view[at + 4 : min(end, at + 64)])
        is_added = kind in _APPLICATION or kind == _COMMENT
        if not is_added or any(
            content.startswith(start) and len(content) >= least for start, least in _KEPT_SEGMENTS
        ):
            kept.append(view[at:end])
        at = end
    kept.append(view[at:])
    return b"".join(kept)
