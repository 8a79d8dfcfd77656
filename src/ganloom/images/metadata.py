"""PNG and JPEG files without the metadata that the pixels do not need.

A sound picture is not refused for a text that unpacks to gigabytes, or for a wrong checksum in
something that nobody asks for. Other formats' decoders read metadata only when asked.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

_SIGNATURE = 8
_ANIMATION = {b"acTL", b"fcTL", b"fdAT"}
_TEXTS = (b"XML:com.adobe.xmp\0\0", b"Raw profile type exif\0")  # may say which side is up
_MAX_METADATA = 1 << 20  # bytes, unpacked

_START_OF_SCAN, _COMMENT = 0xDA, 0xFE
_APPLICATION = range(0xE0, 0xF0)
# What is kept of a JPEG's: how they start, and the fewest bytes of those that are whole.
_KEPT_SEGMENTS = (
    (b"JFIF\0", 12),  # with the next, how colours are coded
    (b"Adobe", 12),
    (b"Exif\0\0", 14),
    (b"http://ns.adobe.com/xap/1.0/\0", 30),
    (b"ICC_PROFILE\0", 15),
)


class Png(NamedTuple):
    """What is left of a PNG.

    Attributes:
        data: The file. Critical chunks are as they were, damaged or not.
        profile: The embedded ICC profile, not yet judged; None if there is none.
        is_animated: Whether it has the frames of an animation.
    """

    data: bytes
    profile: bytes | None
    is_animated: bool


def strip_png(data: bytes, max_profile: int, animation: bool = False) -> Png:
    """Leave out ancillary chunks; transparency and orientation stay if their checksum is right.

    Args:
        data: A PNG, damaged or not.
        max_profile: A profile of more bytes, unpacked, counts as none.
        animation: Keep the frames of an animation.
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
        is_critical = not name[0] & 0x20  # its name begins with a capital
        if is_critical or (animation and name in _ANIMATION):
            kept.append(chunk)
        elif name == b"iCCP" and profile is None and _is_whole(chunk):
            profile = _unpacked(bytes(chunk[8:-4]), max_profile)
        elif name not in seen and _is_needed(name, bytes(chunk[8:-4])) and _is_whole(chunk):
            kept.append(chunk)
            seen.add(name)
        if name == b"IEND":
            return Png(b"".join(kept), profile, is_animated)
    kept.append(view[at:])  # cut short, or no PNG from here on: the decoder says so
    return Png(b"".join(kept), profile, is_animated)


def _is_whole(chunk: memoryview) -> bool:
    return zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:])


def _is_needed(name: bytes, content: bytes) -> bool:
    """Whether it says what is transparent or which side is up, and is not absurdly large."""
    if name == b"zTXt" and content.startswith(_TEXTS):
        return _unpacked(content, _MAX_METADATA) is not None
    is_text = name in (b"tEXt", b"iTXt") and content.startswith(_TEXTS)
    return (is_text or name in (b"tRNS", b"eXIf")) and len(content) <= _MAX_METADATA


def _unpacked(content: bytes, most: int) -> bytes | None:
    """What follows a keyword, a zero and the method of compression; None if it is damaged or more.

    Args:
        content: Of a chunk iCCP or zTXt.
        most: Bytes, unpacked.
    """
    inflating = zlib.decompressobj()
    try:
        found = inflating.decompress(content.partition(b"\0")[2][1:], most)
    except zlib.error:
        return None
    return found if inflating.eof else None


def strip_jpeg(data: bytes) -> bytes:
    """Leave out comments and what programs added; coding of colours, EXIF, XMP and profile stay.

    Args:
        data: A JPEG, damaged or not.
    """
    view, at = memoryview(data), 2
    kept = [view[:at]]
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != _START_OF_SCAN:
        if data[at + 1] == 0xFF:  # a filling byte
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
