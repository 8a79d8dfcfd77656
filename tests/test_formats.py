"""Formats that are read, formats that are refused by name, and false sizes."""

from __future__ import annotations

import gzip
import io
import struct

import numpy as np
import pytest
from PIL import Image

from ganloom.images import av1, decoding, formats
from ganloom.images.decoding import ImageError, UnreadFormatError, decode, preview, probe

LIMIT = 1_000_000
RGB = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)


def encoded(image: Image.Image | np.ndarray, name: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    picture.save(file, name, **options)
    return file.getvalue()


def tiff(*tags: tuple[int, int], order: str = "<") -> bytes:
    """The beginning of a TIFF: a directory of short tags."""
    mark = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    entries = [struct.pack(f"{order}HHIHxx", tag, 3, 1, value) for tag, value in tags]
    return mark + struct.pack(f"{order}H", len(tags)) + b"".join(entries) + bytes(100)


def nested_raw() -> bytes:
    """A TIFF with a small image, whose directory refers to sensor data."""
    data = encoded(RGB, "TIFF")
    start = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, start)[0]
    entries = data[start + 2 : start + 2 + 12 * count]
    first = len(data) + 2 + 12 * (count + 1) + 4
    grown = struct.pack("<H", count + 1) + entries + struct.pack("<HHII", 330, 4, 1, first)
    inner = struct.pack("<HHHIHxx", 1, 262, 3, 1, 32803) + bytes(4)
    return data[:4] + struct.pack("<I", len(data)) + data[8:] + grown + bytes(4) + inner


def box(brand: bytes, *compatible: bytes) -> bytes:
    size = 16 + 4 * len(compatible)
    return struct.pack(">I", size) + b"ftyp" + brand + bytes(4) + b"".join(compatible) + bytes(40)


SVG = '<?xml version="1.0" encoding="UTF-16"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>'
TGA = ("RGB", "RGBA", "L", "P")
NAMED = {
    "JPEG 2000": encoded(RGB, "JPEG2000"),
    "JPEG XL": b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40),
    "JPEG XL, bare": b"\xff\x0a" + bytes(40),
    "camera RAW (CR2)": b"II*\0\x10\0\0\0CR\2\0" + bytes(40),
    "camera RAW (CR3)": box(b"crx ", b"crx ", b"isom"),
    "camera RAW (DNG)": tiff((254, 1), (50706, 1)),
    "camera RAW (NEF)": tiff((271, 1), (259, 34713), order=">"),
    "camera RAW (ARW)": tiff((259, 32767)),
    "camera RAW (by its maker)": tiff((271, 0)),
    "camera RAW (RAF)": b"FUJIFILMCCD-RAW 0201" + bytes(40),
    "camera RAW (RW2)": b"IIU\0\x18\0\0\0" + bytes(40),
    "camera RAW (ORF)": b"IIRO\x08\0\0\0" + bytes(40),
    "camera RAW (small picture first)": nested_raw(),
    "Photoshop (PSD)": b"8BPS\0\1" + bytes(40),
    "SVG": b'<?xml version="1.0"?>\n<!-- drawn -->\n<!DOCTYPE svg PUBLIC "x">\n<svg width="9">',
    "SVG, plain": b"\xef\xbb\xbf  <svg xmlns='http://www.w3.org/2000/svg'/>",
    "SVG, UTF-16": SVG.encode("utf-16"),
    "SVG, UTF-16 without a mark": SVG.encode("utf-16-be"),
    "SVG, compressed": gzip.compress(SVG.encode() + bytes(9999)),
    "SVG, UTF-16 compressed": gzip.compress(SVG.encode("utf-16")),
    **{f"TGA ({mode})": encoded(Image.fromarray(RGB).convert(mode), "TGA") for mode in TGA},
    **{
        f"TGA ({mode}, compressed)": encoded(
            Image.fromarray(RGB).convert(mode), "TGA", compression="tga_rle", orientation=1
        )
        for mode in TGA
    },
    **{f"PCX ({mode})": encoded(Image.fromarray(RGB).convert(mode), "PCX") for mode in "1LP"},
    "PCX (RGB)": encoded(RGB, "PCX"),
    "SGI": encoded(RGB, "SGI"),
    "SGI (RGBA)": encoded(Image.fromarray(RGB).convert("RGBA"), "SGI"),
    "X bitmap (XBM)": encoded(Image.fromarray(RGB).convert("1"), "XBM"),
    "X pixmap (XPM)": b"/* XPM */\nstatic char *picture[] = {",
    "Microsoft Paint (MSP)": encoded(Image.fromarray(RGB).convert("1"), "MSP"),
    "DDS": encoded(RGB, "DDS"),
    "BLP": encoded(Image.fromarray(RGB).convert("P"), "BLP"),
    "icon (ICO)": encoded(RGB, "ICO"),
    "icon (ICNS)": encoded(Image.new("RGB", (16, 16)), "ICNS"),
    "bitmap without a file header (DIB)": encoded(RGB, "DIB"),
    "Sun raster": b"\x59\xa6\x6a\x95" + bytes(40),
    "PAM": b"P7\nWIDTH 4\nHEIGHT 4\n",
    "PFM in colour": b"PF\n4 4\n-1.0\n",
    "PICT": bytes(522) + b"\0\x11\2\xff" + bytes(40),
    "IFF": b"FORM\0\0\1\0ILBMBMHD",
    "Krita or OpenRaster": b"PK\3\4" + bytes(26) + b"mimetypeapplication/x-krita",
    "DPX": b"SDPX" + bytes(40),
    "FLIC": b"\0\1\0\0\x11\xaf\x09\0\x40\1\xc8\0\x08\0" + bytes(40),
    "PDF": b"%PDF-1.7\n" + bytes(40),
    "video": box(b"isom", b"mp41"),
    "video (QuickTime)": box(b"qt  "),
    "video (Matroska)": b"\x1a\x45\xdf\xa3" + bytes(40),
    "video (AVI)": b"RIFF\0\0\0\0AVI LIST",
    "DICOM": bytes(128) + b"DICM" + bytes(40),
    "archive": b"PK\x03\x04" + bytes(40),
}


@pytest.mark.parametrize("name", NAMED)
def test_unsupported_formats_are_named(name: str) -> None:
    wanted = name.partition(", ")[0] if "SVG" in name or "XL" in name else name.partition(" (")[0]
    with pytest.raises(UnreadFormatError, match=f"^format not read: {wanted}.*; convert it to PNG"):
        probe(NAMED[name], LIMIT)


def test_unsupported_images_are_listed_but_other_files_are_not() -> None:
    listed = {name for name, data in NAMED.items() if formats.is_picture(data[: formats.HEAD])}
    assert set(NAMED) - listed == {
        name for name in NAMED if name.startswith(("PDF", "video", "arc"))
    }


@pytest.mark.parametrize(
    "other",
    [
        b"id,label\n1,cat\n",
        b"#include <stdio.h>\n",
        b"\0\1\0\0\0\x0f\0\x80" + bytes(40),  # TrueType
        b"\x40\2\0\0\0\0\0\0{" + b" " * 99,  # safetensors
        b"\x93NUMPY\1\0v\0{" + b" " * 99,
        b"\0\0\0\1Bud1" + bytes(99),  # macOS's .DS_Store
        b"SQLite format 3\0" + bytes(99),
        b"\x80\4\x95\x0b\0\0\0\0\0\0\0" + bytes(99),  # pickle
        gzip.compress(b"text", mtime=0),
        "words".encode("utf-16"),
        bytes(4096),
    ],
)
def test_files_that_are_no_pictures_are_not_listed(other: bytes) -> None:
    assert not formats.is_picture(other)


@pytest.mark.parametrize(
    "page",
    [
        b"<!DOCTYPE html><html><body><svg width='9'></svg>",
        b"<!-- x --><html><svg>",
        b"<html><head><title>404</title>",
    ],
)
def test_web_page_is_not_taken_for_svg(page: bytes) -> None:
    with pytest.raises(ImageError, match="not an image: an HTML page"):
        probe(page, LIMIT)


def test_tiff_from_a_camera_is_read() -> None:
    data = encoded(RGB, "TIFF", tiffinfo={271: "NIKON CORPORATION", 272: "D70"})
    assert np.array_equal(np.asarray(decode(data, LIMIT)), RGB)
    with pytest.raises(ImageError, match="truncated TIFF"):
        decode(data[:-600], LIMIT)


def test_iso_media_brands_select_the_format() -> None:
    assert formats.sniff(box(b"mif1", b"mif1", b"avif")) == "AVIF"
    assert formats.sniff(box(b"mif1", b"mif1", b"heic")) == "HEIF"
    assert formats.sniff(box(b"heic", b"mif1")) == "HEIF"


# --- AVIF ----------------------------------------------------------------------------------------


def lying(data: bytes) -> bytes:
    """The same file with a container that claims a size of 16 x 16 px."""
    at = data.index(b"ispe") + 8
    return data[:at] + struct.pack(">II", 16, 16) + data[at + 8 :]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
@pytest.mark.parametrize("size", [(40, 24), (300, 200), (1, 1)])
def test_avif_frames_are_measured(mode: str, size: tuple[int, int]) -> None:
    image = Image.new(mode, size)
    assert av1.largest_frame(encoded(image, "AVIF")) == size[0] * size[1]
    film = encoded(image, "AVIF", save_all=True, append_images=[image])
    assert size[0] * size[1] <= av1.largest_frame(film) <= 4 * size[0] * size[1]


def test_avif_with_a_false_size_is_refused_before_decoding() -> None:
    data = lying(encoded(Image.new("RGB", (1100, 1100)), "AVIF", speed=10))
    with Image.open(io.BytesIO(data)) as file:
        assert file.size == (16, 16)  # what Pillow knows
    with pytest.raises(ImageError, match="too many pixels: 1210000, more than"):
        decode(data, LIMIT)


def test_avif_with_trailing_data_is_read() -> None:
    data = encoded(RGB, "AVIF", quality=100)
    assert decode(data + b"something behind it", LIMIT).tobytes() == decode(data, LIMIT).tobytes()


def test_avif_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode(encoded(RGB, "AVIF", exif=exif), LIMIT).size == (24, 40)


# --- HEIC ----------------------------------------------------------------------------------------


def test_heic_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_reads_heic", lambda: False)
    with pytest.raises(UnreadFormatError, match=r"^format not read: HEIC; pip install.*\[heic\]"):
        probe(box(b"heic", b"mif1"), LIMIT)


def test_heic_is_read_with_the_extra() -> None:
    pytest.importorskip("pillow_heif")
    assert decoding._reads_heic()
    y, x = np.mgrid[:200, :300]
    source = np.stack([x % 256, y, (x + y) % 256], axis=2).astype(np.uint8)
    data = encoded(source, "HEIF", quality=95)
    assert probe(data, LIMIT) == (300, 200, "image/heic", "heic")
    assert np.abs(np.asarray(decode(data, LIMIT)).astype(int) - source).mean() < 5
    assert preview(data, LIMIT, 50).image.size == (75, 50)
    with pytest.raises(ImageError, match="HEIF"):
        decode(lying(data), LIMIT)
    with pytest.raises(ImageError, match="too many pixels"):
        decode(data, 59_999)
    for length in (len(data) // 2, len(data) - 9):
        with pytest.raises(ImageError, match="HEIF"):
            decode(data[:length], LIMIT)
