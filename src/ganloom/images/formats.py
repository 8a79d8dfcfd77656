"""Recognition of file formats by content: supported ones, and others that are only named."""

from __future__ import annotations

import re
import struct
import zlib
from typing import NamedTuple

HEAD = 4096  # bytes at the start of a file that `sniff` and `is_picture` need


class Format(NamedTuple):
    """A supported format: extension, MIME type, and pattern of the first bytes."""

    extension: str
    mime: str
    start: re.Pattern[bytes]


def _format(extension: str, mime: str, start: bytes) -> Format:
    return Format(extension, mime, re.compile(start, re.DOTALL))


# By the name of Pillow's decoder. A file is passed only to the decoder that matches its first
# bytes.
# A format is supported if images in it are common, and its decoder is fuzzed, runs inside the
# process, loads nothing else, and reads the size from a header before it allocates memory.
FORMATS = {
    "JPEG": _format("jpg", "image/jpeg", rb"\xff\xd8\xff(?!\xf7)"),  # f7: JPEG-LS
    "PNG": _format("png", "image/png", rb"\x89PNG\r\n\x1a\n"),
    "GIF": _format("gif", "image/gif", rb"GIF8[79]a"),
    "WEBP": _format("webp", "image/webp", rb"RIFF....WEBP"),
    "BMP": _format("bmp", "image/bmp", rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0"),
    "TIFF": _format("tif", "image/tiff", rb"II[\x2a\x2b]\0|MM\0[\x2a\x2b]"),
    "PPM": _format("ppm", "image/x-portable-anymap", rb"P[1-6f]\s+[#\d]"),
    "AVIF": _format("avif", "image/avif", rb"....ftypavi[fs]"),
    "HEIF": _format("heic", "image/heic", rb"....ftyphe(?:i[cxms]|v[cxms])"),
}

# The container that AVIF and HEIC share; a list of compatible brands tells them apart.
_SHARED = re.compile(rb"....ftypmi[fa][1-9A-Z]|....ftypmsf1", re.DOTALL)
_AVIF_BRANDS = {b"avif", b"avis"}

_LOSSLESS = {"PNG", "GIF", "TIFF", "BMP", "PPM"}  # beside WebP, which has both kinds

CAMERA_RAW, SVG = "camera RAW", "SVG"
# Image formats that are not supported.
_UNREAD_PICTURES = {
    "JPEG 2000": rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51",
    "JPEG XL": rb"\0\0\0\x0cJXL \r\n\x87\n|\xff\x0a",
    "JPEG XR": rb"II\xbc[\0\1]",
    "JPEG-LS": rb"\xff\xd8\xff\xf7",
    CAMERA_RAW: rb"FUJIFILMCCD-RAW|FOVb|\0MRM|II[RU][OS\0]|MMOR|II\x1a\0\0\0HEAPCCDR|....ftypcrx ",
    "Photoshop (PSD)": rb"8BPS",
    "GIMP (XCF)": rb"gimp xcf",
    "icon (ICO)": rb"\0\0[\1\2]\0[^\0]\0",
    "icon (ICNS)": rb"icns\0",
    "DICOM": rb".{128}DICM",
    "DDS": rb"DDS \x7c",
    "OpenEXR": rb"v/1\x01",
    "Radiance HDR": rb"#\?(?:RADIANCE|RGBE)",
    "QOI": rb"qoif",
    "FITS": rb"SIMPLE  =",
    "DjVu": rb"AT&TFORM",
    "BPG": rb"BPG\xfb",
    "FLIF": rb"FLIF",
    "MNG": rb"[\x8a\x8b][MJ]NG\r\n",
    "Windows metafile": rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF",
    "PostScript": rb"%!PS|\xc5\xd0\xd3\xc6",
    "PCX": rb"\x0a[\0\2-\5]\x01[\1\2\4\x08]|\xb1\x68\xde\x3a",
    "SGI": rb"\x01\xda[\0\1][\1\2]\0[\1-\3]",
    "Sun raster": rb"\x59\xa6\x6a\x95",
    "X bitmap (XBM)": rb"\s*(?:/\*.*?\*/\s*)?#define\s+\S*width\s+\d",
    "X pixmap (XPM)": rb"/\* XPM \*/|! XPM2",
    "PFM in colour": rb"PF\s+\d",
    "bitmap without a file header (DIB)": rb"\x28\0\0\0.{8}\x01\0[\1\4\x08\x10\x18\x20]\0",
    "GIMP brush": rb".{20}GIMP",
    "Pixar": rb"\x80\xe8\0\0",
    "PAM": rb"P7\s+(?:#|WIDTH|HEIGHT|DEPTH|MAXVAL|TUPLTYPE)|P7 332",
    "PICT": rb".{522}\0\x11\x02\xff",
    "IFF": rb"FORM....(?:ILBM|PBM |ACBM|DEEP|RGBN|RGB8)",
    "Paint Shop Pro": rb"Paint Shop Pro Image File|~BK\0",
    "CorelDRAW": rb"RIFF....CDR",
    "Krita or OpenRaster": rb"PK\x03\x04.{26}mimetype(?:application/x-krita|image/openraster)",
    "DPX": rb"SDPX|XPDS",
    "Cineon": rb"\x80\x2a\x5f\xd7|\xd7\x5f\x2a\x80",
    "JBIG2": rb"\x97JB2\r\n\x1a\n",
    "FLIC": rb"....[\x11\x12]\xaf.{6}\x08\0",
    "KTX": rb"\xabKTX [12][10]\xbb",
    "VTF": rb"VTF\0\x07\0\0\0",
    "BLP": rb"BLP[12]",
    "farbfeld": rb"farbfeld",
    "MIFF": rb"id=ImageMagick",
    "Microsoft Paint (MSP)": rb"DanM|LinS",
    "NIfTI": rb".{344}(?:n\+1|ni1)\0",
    "NRRD": rb"NRRD000",
    "Photo CD": rb".{2048}PCD_",
    # Its header has no signature, but is improbable otherwise: a kind, an empty or a plausible
    # palette, sizes, a depth that fits the kind.
    "TGA": (
        rb".(?:\0(?:[\2\x0a]\0{5}....(?!\0\0)..(?!\0\0)..[\x0f\x10\x18\x20]"
        rb"|[\3\x0b]\0{5}....(?!\0\0)..(?!\0\0)..[\x08\x10])"
        rb"|\x01[\1\x09]..(?:[^\0]\0|\0\x01)[\x0f\x10\x18\x20]....(?!\0\0)..(?!\0\0)..\x08)"
        rb"[\0\1\x08\x10\x18\x20\x21\x28\x30\x38]"
    ),
    SVG: (
        rb"(?is)\s*<(?:svg[\s/>]"
        rb"|[?!](?:(?!doctype\s+html|<(?:html|head|body)[\s>]).)*?<svg[\s/>])"
    ),
}
# Other files that are found in place of images.
_OTHERS = {
    "PDF": rb"%PDF-",
    "video": (
        rb"....ftyp|\0...(?:moov|mdat|wide|free)|\x1a\x45\xdf\xa3|RIFF....AVI |FLV\x01|OggS"
        rb"|\0\0\x01[\xb3\xba]|\x30\x26\xb2\x75\x8e\x66\xcf\x11|\x47.{187}\x47.{187}\x47"
    ),
    "sound": rb"ID3[\2-\4]|fLaC|RIFF....WAVE|\xff[\xfb\xf3\xf2]",
    "archive": rb"PK\x03\x04|\x1f\x8b\x08|BZh[1-9]|\xfd7zXZ\0|7z\xbc\xaf\x27\x1c|Rar!\x1a\x07",
}


def _compiled(starts: dict[str, bytes]) -> dict[str, re.Pattern[bytes]]:
    return {name: re.compile(start, re.DOTALL) for name, start in starts.items()}


_GZIP = b"\x1f\x8b\x08"
_PICTURES, _REST = _compiled(_UNREAD_PICTURES), _compiled(_OTHERS)


def sniff(data: bytes) -> str | None:
    """Return the format (key of ``FORMATS``) that matches the first bytes; None if none does."""
    if _SHARED.match(data):
        return _shared(data)
    return next((name for name, known in FORMATS.items() if known.start.match(data)), None)


def _shared(data: bytes) -> str:
    size = min(int.from_bytes(data[:4]), 256)
    brands = {data[at : at + 4] for at in range(16, size, 4)}
    return "AVIF" if brands & _AVIF_BRANDS else "HEIF"


def is_lossless(data: bytes, name: str) -> bool:
    """Tell whether a file in the supported format ``name`` keeps the values of pixels exactly."""
    if name != "WEBP":
        return name in _LOSSLESS
    at = 12
    while at + 8 <= len(data):
        chunk = data[at : at + 4]
        if chunk in (b"VP8L", b"VP8 "):
            return chunk == b"VP8L"
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + (16 if chunk == b"ANMF" else size + size % 2)  # a frame contains chunks
    return False


def unread(data: bytes) -> str | None:
    """Return the name of an unsupported format; None if it is supported or unknown."""
    if sniff(data) == "TIFF":
        return CAMERA_RAW if _is_camera_raw(data) else None
    if sniff(data) is not None:
        return None
    return _unread_picture(data) or _first(_REST, data[:HEAD])


def is_picture(head: bytes) -> bool:
    """Tell whether the first ``HEAD`` bytes of a file are those of an image, supported or not."""
    return sniff(head) is not None or _unread_picture(head) is not None


def _unread_picture(data: bytes) -> str | None:
    head = data[:HEAD]
    if found := _first(_PICTURES, head):
        return found
    return SVG if _PICTURES[SVG].match(_text(head)) else None


def _first(known: dict[str, re.Pattern[bytes]], head: bytes) -> str | None:
    return next((name for name, start in known.items() if start.match(head)), None)


def _text(head: bytes) -> bytes:
    """Return the ASCII characters of a text in UTF-8 or UTF-16, which gzip may have compressed."""
    if head.startswith(_GZIP):
        try:
            head = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, HEAD)
        except zlib.error:
            return b""
    return re.sub(rb"\A(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)|\0", b"", head)


# --- camera RAW, whose container is TIFF ---------------------------------------------------------

_MAKE, _SUB_DIRECTORIES, _DNG_VERSION = 0x010F, 0x014A, 0xC612
_COMPRESSION, _PHOTOMETRIC = 0x0103, 0x0106
_SENSOR = {
    _PHOTOMETRIC: {32803, 34892},  # a colour filter array, or linear data made from one
    _COMPRESSION: {32767, 32769, 32770, 34713, 65000, 65535},  # Sony, Samsung, Nikon, Kodak, Pentax
}
_MAX_DIRECTORIES, _MAX_ENTRIES = 16, 1000


def _is_camera_raw(data: bytes) -> bool:
    """Tell whether a TIFF contains sensor data, beside small images made from it."""
    if data[8:10] == b"CR":  # Canon's CR2
        return True
    order = "<" if data.startswith(b"II") else ">"
    pending, seen = [_number(data, order + "I", 4)], set[int]()
    while pending and len(seen) < _MAX_DIRECTORIES:
        at = pending.pop()
        if not at or at in seen:
            continue
        seen.add(at)
        for entry in range(min(_number(data, order + "H", at), _MAX_ENTRIES)):
            place = at + 2 + 12 * entry
            tag, count = _number(data, order + "H", place), _number(data, order + "I", place + 4)
            if tag == _DNG_VERSION or _number(data, order + "H", place + 8) in _SENSOR.get(tag, ()):
                return True
            if tag == _SUB_DIRECTORIES:
                value = _number(data, order + "I", place + 8)
                places = range(value, value + 4 * min(count, _MAX_DIRECTORIES), 4)
                pending += (
                    [value] if count == 1 else [_number(data, order + "I", i) for i in places]
                )
    return False


def names_camera(data: bytes) -> bool:
    """Tell whether the first directory of a TIFF names the camera's manufacturer."""
    order = "<" if data.startswith(b"II") else ">"
    at = _number(data, order + "I", 4)
    entries = range(min(_number(data, order + "H", at), _MAX_ENTRIES))
    return any(_number(data, order + "H", at + 2 + 12 * entry) == _MAKE for entry in entries)


def _number(data: bytes, layout: str, at: int) -> int:
    """Read a number; 0 beyond the end of the file."""
    if at + struct.calcsize(layout) > len(data):
        return 0
    return int(struct.unpack_from(layout, data, at)[0])
